"""What a terminal shows of a trajectory, and of the stages of a command."""

import json
import math

import numpy as np
import pandas as pd
import torch
from rich.table import Table

from gwaudit import AlignmentRecorder, TrajectoryStore
from gwaudit.cli.show import console
from gwaudit.cli.show.console import printable
from gwaudit.cli.show.problems import print_error
from gwaudit.cli.show.run import draw_trajectory
from gwaudit.cli.show.stages import StageDisplay
from helpers.command import gwaudit


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


def test_a_sample_that_an_epoch_left_out_is_shown(tmp_path):
    """As `drop_last` leaves some out; epochs are counted from 1, and labels are integers."""
    inputs, labels, model = torch.randn(40, 8), torch.arange(40) % 4, torch.nn.Linear(8, 4)
    store = TrajectoryStore.create(tmp_path / "run", given_labels=labels.numpy(), class_names=list("abcd"))
    with store, AlignmentRecorder(model, store) as recorder:
        for ids in (torch.arange(32), torch.arange(40)):
            model(inputs[ids])
            recorder.observe(ids, labels[ids])
            recorder.end_epoch()
    shown = gwaudit("show", tmp_path / "run", "--sample", "39")
    assert shown.returncode == 0, shown.stderr
    trajectory = json.loads(gwaudit("show", tmp_path / "run", "--sample", "39", "--json").stdout)["trajectory"]
    assert [row["epoch"] for row in trajectory] == [1, 2]
    assert trajectory[0]["alternative_label"] is None
    assert trajectory[0]["alignment"] is None
    assert isinstance(trajectory[1]["alternative_label"], int)
    assert np.isfinite(trajectory[1]["alignment"])


def test_expected_numbers_are_of_the_labels_that_are_judged(tmp_path):
    """A class of three samples is too small to be judged; names of columns and classes stay as they are written."""
    random = np.random.default_rng(0)
    table = pd.DataFrame(random.normal(size=(203, 4)), columns=["batch_size", "image_size", "label_column", "epochs"])
    table["label"] = ["learning_rate"] * 100 + ["weight_decay"] * 100 + ["top_k"] * 3
    table["batch_size"] += 6 * (np.arange(203) >= 100)
    table.to_csv(tmp_path / "table.csv", index=False)
    done = gwaudit("audit", tmp_path / "table.csv", "--output", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert "in all of the 200 labels that are judged" in done.stdout
    said = (done.stdout + done.stderr).replace("\n", " ")
    assert "batch_size, image_size, label_column, epochs (features)" in said
    assert "learning_rate (100), weight_decay (100), top_k (3)" in said
    assert "Classes with fewer than 5 samples: top_k" in said or "top_k" in said.partition("fewer than 5")[2]


def test_labels_of_which_no_class_can_be_judged_are_not_trusted(tmp_path):
    random = np.random.default_rng(0)
    table = pd.DataFrame(random.normal(size=(150, 4)), columns=[*"abcd"])
    table["label"] = [f"k{row % 70}" for row in range(150)]
    table.to_csv(tmp_path / "table.csv", index=False)
    done = gwaudit("audit", tmp_path / "table.csv", "--output", tmp_path / "run", "--strict", "--epochs", "3")
    assert done.returncode == 4
    assert "no label can be judged: no class has 5 recorded samples or more" in done.stdout.replace("\n", " ")
    assert "Expected wrong labels" not in done.stdout
