"""Copies in another split are kept beside the run, and an altered file is refused."""

import pytest

from gwaudit.core.errors import StoreDamagedError
from gwaudit.store.split_copies import SplitCopies, read_split_copies, write_split_copies


def test_copies_are_read_as_they_were_written_and_not_if_altered(tmp_path):
    assert read_split_copies(tmp_path) is None, "no other split was read"
    write_split_copies(tmp_path, [])
    assert read_split_copies(tmp_path) == ()
    groups = (
        SplitCopies(["a", "b"], ["cat", "dog"], ["train", "test"]),
        SplitCopies(["c", "d"], ["cat"] * 2, ["x", "y"]),
    )
    write_split_copies(tmp_path, groups)
    assert read_split_copies(tmp_path) == groups
    assert [group.is_contradictory for group in groups] == [True, False]
    file = tmp_path / "across_splits.json"
    file.write_text(file.read_text().replace("dog", "cat"))
    with pytest.raises(StoreDamagedError, match="its checksum differs"):
        read_split_copies(tmp_path)
