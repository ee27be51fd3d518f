"""What a terminal shows of a trajectory, and of the stages of a command."""

import math

import pandas as pd
from rich.table import Table

from gwaudit.cli.show import console
from gwaudit.cli.show.console import printable
from gwaudit.cli.show.problems import print_error
from gwaudit.cli.show.run import draw_trajectory
from gwaudit.cli.show.stages import StageDisplay


def drawn(alignment, alternative, width=9):
    return draw_trajectory(pd.DataFrame({"alignment": alignment, "alternative_alignment": alternative}), width=width)


def test_a_trajectory_is_drawn_around_zero_on_one_scale():
    assert drawn([-1.0, 0.0, 1.0], [1.0, -0.5, math.nan]) == ["●   │   ○", "  ○ ●    ", "    │   ●"]


def test_zero_is_always_on_the_scale():
    assert drawn([1.0, 2.0], [math.nan, math.nan], width=5) == ["│ ●  ", "│   ●"]
    assert drawn([-2.0], [-1.0], width=5) == ["● ○ │"]


def test_epochs_without_a_value_are_drawn_empty():
    assert drawn([math.nan], [math.nan], width=3) == ["│  "]


def test_without_a_terminal_only_the_notes_of_a_command_are_shown(capsys):
    with StageDisplay() as display:
        display.on_stage("reading the data")
        display.on_stage("drawing the samples", 3, 10)
        display.on_note("2 samples are [b]gone[/b].")
    assert capsys.readouterr().err == "2 samples are [b]gone[/b].\n"


def test_names_cannot_control_the_terminal(capsys):
    table = Table("name")
    table.add_row("\x1b[31mcat\x9b2J\u202e\udce9")
    console.out.print(table)
    console.out.print("a\rb\x07", markup=False)
    print_error("no \x1b]0;title\x07")
    shown = capsys.readouterr()
    assert "␛[31mcat�2J�\\xe9 ┃" in shown.out.replace("│", "┃")
    assert "a␍b␇" in shown.out
    assert not set(shown.out + shown.err) & {chr(code) for code in range(32) if chr(code) != "\n"}
    assert printable("tab\tand\nline") == "tab\tand\nline"
