"""The figures of the detection benchmark: a method looks the same in every panel, and the legend knows all of them."""

from collections import defaultdict
from pathlib import Path

import pytest

from gwaudit.benchmarks.detection.benchmark import read_rows
from gwaudit.benchmarks.detection.figures import (
    PUBLISHED,
    cost_quality_figure,
    precision_recall_figure,
    published_figure,
)

ROWS = read_rows(Path(__file__).resolve().parents[2] / "docs" / "benchmarks" / "results" / "detection" / "cifar10")


def drawn(axes):
    """The methods in a panel; the lines that join rounds have no name."""
    return {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}


@pytest.mark.parametrize("draw", [precision_recall_figure, cost_quality_figure, published_figure])
def test_a_method_has_one_colour_in_all_panels_and_a_place_in_the_legend(draw):
    figure = draw(ROWS)
    colours = defaultdict(set)
    for axes in figure.axes:
        for name, line in drawn(axes).items():
            colours[name].add(line.get_color())
    assert all(len(of_method) == 1 for of_method in colours.values())
    assert "gwaudit fast 2" in colours
    assert {text.get_text() for text in figure.legends[0].get_texts()} == set(colours)


def test_every_label_variant_has_its_curves():
    figure = precision_recall_figure(ROWS)
    assert [axes.get_title() for axes in figure.axes] == list(
        dict.fromkeys(row.label_variant for row in ROWS if row.curve)
    )


def test_cost_is_drawn_where_methods_differ_in_it_and_rounds_are_joined():
    figure = cost_quality_figure(ROWS)
    sets = list(dict.fromkeys(row.label_variant for row in ROWS if row.training == "fast"))
    assert [(axes.get_title(), axes.get_ylabel()) for axes in figure.axes] == [
        (name, measure) for measure in ("average precision", "F1 at the own cut") for name in sets
    ]
    for axes, name in zip(figure.axes, sets * 2, strict=True):
        column = axes.get_ylabel().replace("average precision", "average_precision").replace("F1 at the own cut", "f1")
        rows = [row for row in ROWS if row.label_variant == name and row.training == "fast"]
        least = min(row.training_flops for row in ROWS if row.label_variant == name)
        (course,) = [line for line in axes.lines if line.get_label().startswith("_")]  # of presets with several rounds
        assert list(course.get_ydata()) == pytest.approx([row.quality[column] for row in rows])
        assert list(course.get_xdata()) == pytest.approx([row.training_flops / least for row in rows])
        assert {"gwaudit combined", "ctrl"} <= set(drawn(axes))
        assert "gwaudit margin" not in drawn(axes)
        assert ("aum" in drawn(axes)) == (column == "average_precision"), "no cut of its own, no F1 there"


def test_published_numbers_stand_beside_each_cut_and_what_its_trainings_cost():
    figure = published_figure(ROWS)
    assert [axes.get_title() for axes in figure.axes] == ["worse_label", "random_label1", "aggre_label"]
    for axes in figure.axes:
        name = axes.get_title()
        (row,) = (row for row in ROWS if (row.label_variant, row.method) == (name, "gwaudit_fast_2"))
        point = drawn(axes)["gwaudit fast 2"]
        assert (point.get_xdata()[0], point.get_ydata()[0]) == (row.training_flops, row.quality["f1"])
        assert drawn(axes)["ProMix"].get_ydata()[0] == PUBLISHED[name]["ProMix"] > row.quality["f1"]
        assert {text.get_text() for text in axes.texts} == {f"{who} {f1:.3f}" for who, f1 in PUBLISHED[name].items()}
    assert not published_figure([row for row in ROWS if row.label_variant == "instance-20"]).legends


def test_what_costs_more_than_one_training_is_within_its_panel():
    dear = {row.label_variant for row in ROWS if row.training == "folds"}
    for axes in cost_quality_figure(ROWS).axes:
        if axes.get_title() in dear:
            ((value,),) = [drawn(axes)["cleanlab self confidence"].get_ydata()]
            assert axes.get_ylim()[0] < value < axes.get_ylim()[1]


def test_of_plain_trainings_alone_all_label_variants_are_drawn():
    plain = [row for row in ROWS if row.training == "plain" and row.label_variant != "clean"]
    names = list(dict.fromkeys(row.label_variant for row in plain))
    assert [axes.get_title() for axes in cost_quality_figure(plain).axes] == names * 2


def test_of_clean_labels_alone_there_is_nothing_to_draw():
    clean = [row for row in ROWS if row.label_variant == "clean"]
    assert clean
    for draw in (precision_recall_figure, cost_quality_figure):
        assert not draw(clean).axes


def test_nothing_measured_is_an_empty_figure():
    assert not precision_recall_figure([]).legends
