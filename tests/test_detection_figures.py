"""The figures of the detection benchmark: a method looks the same in every panel, and the legend knows all of them."""

from collections import defaultdict
from pathlib import Path

import pytest

from gwaudit.benchmarks.detection import read_rows
from gwaudit.benchmarks.figures import cost_quality_figure, precision_recall_figure

ROWS = read_rows(Path(__file__).resolve().parents[1] / "docs" / "detection" / "cifar10")


@pytest.mark.parametrize("draw", [precision_recall_figure, cost_quality_figure])
def test_a_method_has_one_colour_in_all_panels_and_a_place_in_the_legend(draw):
    figure = draw(ROWS)
    colours = defaultdict(set)
    for axes in figure.axes:
        for line in axes.lines:
            colours[line.get_label()].add(line.get_color())
    assert len(figure.axes) == len({row.label_set for row in ROWS if row.curve})
    assert all(len(of_method) == 1 for of_method in colours.values())
    assert "gwaudit fast 2" in colours
    assert {text.get_text() for text in figure.legends[0].get_texts()} == set(colours)


def test_nothing_measured_is_an_empty_figure():
    assert not precision_recall_figure([]).legends
