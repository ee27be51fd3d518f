"""JSON that every parser accepts."""

import json

import numpy as np
import pytest

from gwaudit.core.errors import StoreError
from gwaudit.core.json import read_json, to_json, without_nan, write_json


def test_nan_and_infinity_become_null_at_every_depth():
    value = {"a": float("nan"), "b": [float("inf"), {"c": (-float("inf"), 1.5)}], "d": "NaN"}
    assert json.loads(to_json(value)) == {"a": None, "b": [None, {"c": [None, 1.5]}], "d": "NaN"}


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.float32("nan"), None),
        (np.float64("inf"), None),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.array([1.0, np.nan]), [1.0, None]),
        (np.str_("cat"), "cat"),
    ],
)
def test_numpy_values_become_plain_ones(value, plain):
    assert without_nan(value) == plain
    assert json.loads(to_json({"value": value}, indent=None)) == {"value": plain}


def test_a_file_is_read_as_it_was_written(tmp_path):
    path = write_json(tmp_path / "new" / "facts.json", {"loss": float("nan"), "name": "süd", "epochs": [1, 2]})
    assert read_json(path) == {"loss": None, "name": "süd", "epochs": [1, 2]}


def test_a_file_that_holds_no_object_is_refused(tmp_path):
    for text in ("[1, 2]", "{", "3"):
        (tmp_path / "facts.json").write_text(text)
        with pytest.raises(ValueError, match=r"object|Expecting"):
            read_json(tmp_path / "facts.json")


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StoreError, match=r"facts\.json: Not a directory"):
        write_json(tmp_path / "file" / "facts.json", {})
