"""Labels that are no classes are refused by their kind, and classes of a few levels are read."""

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes

from gwaudit.core.errors import DataError
from gwaudit.data.class_names import class_warnings
from gwaudit.data.labels import parse_labels
from gwaudit.data.loading import load_dataset
from helpers.command import FAST, gwaudit

RANDOM = np.random.default_rng(0)
NUMBERS, DATES, TEXTS = "measurements, counts or ids", "dates", "ids or free texts"
DAYS = pd.date_range("2024-01-01", periods=60)

NO_CLASSES = {
    "floats": (RANDOM.normal(size=400), NUMBERS),
    "floats of one decimal": (RANDOM.normal(0, 2, 2000).round(1), NUMBERS),
    "a regression target of whole numbers": (load_diabetes().target, NUMBERS),
    "counts with a long tail": ([*range(5)] * 100 + [*range(5, 300)], NUMBERS),
    "prices": ([f"${value:.2f}" for value in RANDOM.uniform(1, 5, 400)], NUMBERS),
    "decimal commas and missing values": (
        [f"{value:.1f}".replace(".", ",") for value in RANDOM.normal(0, 2, 900)] + ["NA"],
        NUMBERS,
    ),
    "ids": (range(1000, 1200), NUMBERS),
    "days": ([str(day.date()) for day in DAYS] * 9, DATES),
    "times": (list(DAYS + pd.Timedelta("1h")) * 9, DATES),
    "days as people write them": ([f"{day:%d.%m.%Y}" for day in DAYS] * 9, DATES),
    "texts": ([f"the comment of visitor {i}" for i in range(300)], TEXTS),
}
CLASSES = {
    "ratings of five levels": [1, 2, 3, 4, 5] * 20,
    "half stars": [level / 2 for level in range(1, 11)] * 8,
    "a hundred numbered classes": [*range(100)] * 10,
    "numbered classes, some of them rare": [*range(30)] * 8 + [*range(30, 50)] * 2,
    "twelve months": [f"2024-{month:02d}" for month in range(1, 13)] * 10,
    "names of classes of three": [f"person {i}" for i in range(40)] * 3,
    "versions": ["1.10", "1.2", "2.0"] * 20,
    "few rows": [0.5, 1.5, 2.5, 3.5],
}


@pytest.mark.parametrize("case", NO_CLASSES)
def test_labels_that_are_no_classes_are_refused_by_their_kind(case):
    labels, kind = NO_CLASSES[case]
    with pytest.raises(DataError, match=f"different values in .* rows .*: these are no classes, but {kind}\\. "):
        parse_labels(list(labels))


@pytest.mark.parametrize("case", CLASSES)
def test_classes_are_read(case):
    assert len(parse_labels(CLASSES[case]).class_names) == len(set(CLASSES[case]))


def test_many_numbers_that_do_not_count_the_classes_are_warned_of():
    ages = [str(age) for age in range(17, 90)]
    (warning,) = class_warnings(np.arange(73), ages)
    assert warning.startswith("the labels are 73 whole numbers from 17 to 89, read as classes without an order")
    assert class_warnings(np.arange(100), [str(label) for label in range(1, 101)]) == []
    assert class_warnings(np.arange(20), [str(year) for year in range(2000, 2020)]) == []


def test_all_classes_can_be_named_also_those_that_look_like_measurements():
    levels = [f"{value:.1f}" for value in np.arange(30) / 10]
    assert len(parse_labels(levels * 3, levels).class_names) == 30


def test_a_label_file_is_no_other_way_in(tmp_path):
    np.save(tmp_path / "x.npy", RANDOM.normal(size=(200, 3)))
    np.save(tmp_path / "counts.npy", np.arange(200) // 2)
    with pytest.raises(DataError, match=f"100 different values in 200 rows .* but {NUMBERS}"):
        load_dataset(tmp_path / "x.npy", labels=tmp_path / "counts.npy")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["cat"] * 20, "all 20 samples have one class ('cat'): an audit needs at least two classes"),
        (["cat", "dog"], "2 samples of 2 classes: an audit needs at least two classes with two samples each"),
        (["cat"] * 9 + ["dog"], "10 samples of 2 classes: an audit needs at least two classes with two samples each"),
        ([*"abcdefgh"], "8 samples of 8 classes: an audit needs at least two classes with two samples each"),
        ([None] * 20, "none of the 20 rows has a label"),
        (RANDOM.normal(size=40), "For a regression target, sort its values into a few bins"),
    ],
)
def test_an_audit_refuses_what_it_cannot_learn_in_one_line(tmp_path, labels, message):
    features = pd.DataFrame(RANDOM.normal(size=(len(labels), 2)), columns=["a", "b"])
    features.assign(label=labels).to_csv(tmp_path / "t.csv", index=False)
    done = gwaudit("audit", tmp_path / "t.csv", "-o", tmp_path / "run", *FAST)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
