"""What a terminal shows of a trajectory."""

import math

import pandas as pd

from gwaudit.cli.show.run import draw_trajectory


def drawn(alignment, alternative, width=9):
    return draw_trajectory(pd.DataFrame({"alignment": alignment, "alternative_alignment": alternative}), width=width)


def test_a_trajectory_is_drawn_around_zero_on_one_scale():
    assert drawn([-1.0, 0.0, 1.0], [1.0, -0.5, math.nan]) == ["●   │   ○", "  ○ ●    ", "    │   ●"]


def test_zero_is_always_on_the_scale():
    assert drawn([1.0, 2.0], [math.nan, math.nan], width=5) == ["│ ●  ", "│   ●"]
    assert drawn([-2.0], [-1.0], width=5) == ["● ○ │"]


def test_epochs_without_a_value_are_drawn_empty():
    assert drawn([math.nan], [math.nan], width=3) == ["│  "]
