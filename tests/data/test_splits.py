"""Names of splits are recognised as the datasets library recognises them, and only as whole words."""

import pytest

from gwaudit.core.errors import DataError
from gwaudit.data.reading_notes import ReadingNotes
from gwaudit.data.splits import NoSplitsError, choose_split, split_kind, split_of_part


@pytest.mark.parametrize("name", ["trains", "train_station", "contest", "value", "developer", "latest", "été", "0", ""])
def test_other_names_are_no_splits(name):
    assert split_kind(name) is None or name in ("0", "")


def test_one_name_of_several_of_a_kind_must_be_given_exactly():
    notes = ReadingNotes()
    assert choose_split("dev", ["dev", "val"], "x", notes) == "dev"
    with pytest.raises(DataError, match="several splits that 'validation' may mean: dev, val"):
        choose_split("validation", ["dev", "val"], "x", notes)
    assert notes.splits == ["dev", "val"]


def test_a_part_of_a_data_set_is_read_without_its_name():
    notes = ReadingNotes()
    assert split_of_part("train", "test", "x", notes) == "test"
    assert split_of_part("train", "train[:10%]", "x", notes) == "train"
    with pytest.raises(DataError, match="has no split 'val': it has test"):
        split_of_part("val", "test", "x", notes)
    with pytest.raises(NoSplitsError):
        split_of_part("val", None, "x", notes)
