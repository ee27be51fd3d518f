"""Labels are names of classes as they are written: no two become one, none is lost without a word."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from gwaudit import load_dataset
from gwaudit.core.errors import DataError
from gwaudit.data.class_names import class_warnings, label_text
from gwaudit.data.labels import class_indices, parse_labels


@pytest.mark.parametrize(
    ("values", "names"),
    [
        (["007", "7", "07"], ("007", "07", "7")),
        (["1e1", "10", "1_0"], ("10", "1_0", "1e1")),
        (["1.10", "1.1", "1.9"], ("1.1", "1.10", "1.9")),
        (["10", "9", "2"], ("2", "9", "10")),
        ([1, 2, 3], ("1", "2", "3")),
        ([-1, 1, -1], ("-1", "1")),
        ([-1, 0, 1], ("-1", "0", "1")),
        (["-1", "+1"], ("+1", "-1")),
        ([1.0, 2.0, float("nan")], ("1", "2")),
        (["1.0", "2.0", ""], ("1", "2")),  # as pandas writes whole numbers beside missing values
        (["1.0", "2.0", "1.0"], ("1", "2")),  # the same once these are filled in
        (["1.0", "2.0", "1.5"], ("1.0", "1.5", "2.0")),
        ([0.5, 1.0, 1.5], ("0.5", "1", "1.5")),
        ([b"cat", b"dog", "\xe9".encode()], ("cat", "dog", "\xe9")),
        ([True, False], ("False", "True")),
        ([Decimal("1.10"), Decimal("2.00")], ("1.10", "2")),
        (["NA", "None", "nan", None], ("NA", "None", "nan")),
        ([10**15, 3], ("3", "1000000000000000")),
        (["cat", " dog", "dog "], ("cat", " dog", "dog ")),
    ],
    ids=str,
)
def test_the_labels_that_occur_are_the_classes_each_under_its_own_name(values, names):
    parsed = class_indices(values)
    assert sorted(parsed.class_names) == sorted(names)
    assert not parsed.broken
    for value, label in zip(values, parsed.labels, strict=True):
        written = "" if label < 0 else parsed.class_names[label]
        assert written.strip() == label_text(value).strip().removesuffix("" if "1.5" in names else ".0")


@pytest.mark.parametrize(
    ("values", "names", "indices", "labels"),
    [
        ([1, 2, 3], ("1", "2", "3"), False, [0, 1, 2]),
        ([0, 2, 1], ("1", "2", "3"), False, [0, 2, 1]),  # 0 is no name, and all are indices
        ([1, 2, 3, 0], ("1", "2", "3"), False, [0, 1, 2, -1]),  # 3 is no index: names, and one is broken
        ([0, 1, 2], ("3", "2", "1"), True, [0, 1, 2]),
        ([0, 10, 1], ("0", "1", "10"), False, [0, 2, 1]),
        ([0, 1], ("0", "10"), True, [0, 1]),
        (["dog", 0, "1"], ("cat", "dog"), False, [1, 0, 1]),
        (["007", "0"], ("cat", "dog"), False, [-1, 0]),
        ([True, False], ("no", "yes"), False, [1, 0]),
        ([" dog", "cat "], ("cat", "dog"), False, [1, 0]),
        (["3.0", "1.0"], ("1", "3"), False, [1, 0]),
    ],
)
def test_labels_among_known_classes(values, names, indices, labels):
    parsed = class_indices(values, names, numbers_are_indices=indices)
    assert parsed.labels.tolist() == labels
    assert parsed.broken.keys() == {row for row, label in enumerate(labels) if label < 0}


def test_minus_one_is_a_class_unless_the_classes_are_known_and_never_lost_without_a_word():
    parsed = class_indices([-1, 0, 1, 1])
    assert parsed.class_names == ("-1", "0", "1")
    assert "-1 is read as a class (1 samples)" in class_warnings(parsed.labels, parsed.class_names)[0]
    parsed = class_indices([-1, 0, 1, 1], ("cat", "dog"))
    assert parsed.labels.tolist() == [-1, 0, 1, 1]
    assert parsed.remarks == ("1 labels are -1, which is none of the classes: they count as missing",)
    assert class_indices([-1, 1], ("-1", "1")).labels.tolist() == [0, 1]


def test_names_that_look_alike_or_missing_are_warned_about():
    names = ("7", "007", "cat", "Cat ", "caf\xe9", "cafe\u0301", "NA", "dog")
    alike, missing = class_warnings(np.arange(8), names)
    assert "'7' and '007'; 'cat' and 'Cat '; 'caf\xe9' and 'cafe\u0301'" in alike
    assert missing.startswith("'NA' is read as the name of a class (1 samples)")
    assert class_warnings(np.arange(3), ("cat", "dog", "1.1")) == []
    (changed,) = class_warnings(np.arange(4), ("1-Mar", "1.00E+05", "#NAME?", "a-1"))
    assert "a spreadsheet program may have written, such as '1-Mar', '1.00E+05', '#NAME?'" in changed


@pytest.mark.parametrize("separator", ["|", ";", ", "])
def test_classes_that_are_joined_from_others_are_warned_about(separator):
    names = tuple(separator.join(each) for each in (("even", "high"), ("even",), ("high", "prime"), ("prime", "even")))
    (warning,) = class_warnings(np.arange(4), names)
    assert warning.startswith("class names look like several classes each, such as")
    assert f"{separator.strip()!r}, by `label_separator`" in warning


@pytest.mark.parametrize("names", [("pants, men", "shirts, men", "socks"), ("a|b", "c"), ("1,5", "2,5", "3,5")])
def test_names_with_commas_are_classes(names):
    assert class_warnings(np.arange(len(names)), names) == []


def test_labels_that_are_no_classes_are_refused():
    with pytest.raises(DataError, match=r"200 different values in 200 rows \('0.5', .*these are no classes"):
        parse_labels([row + 0.5 for row in range(200)])
    with pytest.raises(DataError, match="the class names hold 'crane' twice"):
        class_indices(["crane", "dog"], ("crane", "dog", "crane"))
    assert class_indices([2, 1], ("crane", "dog", "crane")).class_names == ("crane", "dog", "crane (2)")
    with pytest.raises(DataError, match="30 different values in 30 rows"):
        parse_labels([row + 0.5 for row in range(30)])
    assert "label {'a': 1} is an object" in class_indices([{"a": 1}, "b"]).broken[0]
    assert "texts that look like lists" in class_warnings(np.arange(2), ("['a', 'b']", "c"))[0]
    assert class_indices([b"\xff", b"a"]).broken == {0: r"label b'\xff' is not text in UTF-8"}


class Flowers(torch.utils.data.Dataset):
    """Hold folders called 10 and 2 in the order of their names, as torchvision's ImageFolder does."""

    classes = ("10", "2")

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return torch.full((3,), float(index)), index % 2


def test_numbers_are_indices_where_the_source_names_its_classes(tmp_path):
    dataset = load_dataset(Flowers())
    assert [dataset.class_names[label] for label in dataset.labels] == ["10", "2", "10", "2"]
    np.savez(tmp_path / "mine.npz", x=np.eye(4), y=[0, 1, 0, 1], class_names=np.array([b"2", b"1"]))
    dataset = load_dataset(tmp_path / "mine.npz")
    assert [dataset.class_names[label] for label in dataset.labels] == ["2", "1", "2", "1"]


def test_codes_stay_codes_from_file_to_class(tmp_path):
    frame = pd.DataFrame({"x": [0.5, 1.5, 2.5, 3.5], "label": ["007", "7", "1e1", "10"]})
    frame.to_csv(tmp_path / "codes.csv", index=False)
    dataset = load_dataset(tmp_path / "codes.csv")
    assert [dataset.class_names[label] for label in dataset.labels] == ["007", "7", "1e1", "10"]
    with pytest.raises(DataError, match="label '007' is none of the 2 classes"):
        load_dataset(tmp_path / "codes.csv", classes=["7", "10"])
    kinds = pa.DictionaryArray.from_arrays([1, 2, 1, 2], ["unused", "cat", "dog"])
    pq.write_table(pa.table({"x": frame["x"], "label": kinds}), tmp_path / "kinds.parquet")
    assert load_dataset(tmp_path / "kinds.parquet").class_names == ("cat", "dog")


def test_large_numbers_that_differ_do_not_look_alike():
    assert not class_warnings(np.arange(2), [str(2**60), str(2**60 + 1)])
    assert class_warnings(np.arange(2), ["10", "1e1"])
