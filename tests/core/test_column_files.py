"""Columns in temporary files are what was written, in memory or on the disk."""

import errno
import tempfile
from io import BytesIO

import numpy as np
import pytest

from gwaudit.core import column_files
from gwaudit.core.column_files import ColumnFiles
from gwaudit.core.errors import StoreError


@pytest.mark.parametrize("in_memory", [0, 10, 2**20])
def test_columns_are_read_as_they_were_written(in_memory, monkeypatch):
    monkeypatch.setattr(column_files, "_MOST_IN_MEMORY", in_memory)
    random, files = np.random.default_rng(0), ColumnFiles()
    whole = {"a": random.normal(size=100).astype(np.float32), "b": random.integers(-9, 9, 100), "c": np.arange(100) < 5}
    whole["a"][7] = np.nan
    for rows in (slice(0, 60), slice(60, 60), slice(60, 100)):
        files.append({name: values[rows] for name, values in whole.items()})
        assert len(files["a"]) == rows.stop  # reading between two blocks moves nothing
    for name, values in whole.items():
        np.testing.assert_array_equal(files[name], values, strict=True)
        np.testing.assert_array_equal(files.read(name, range(55, 65)), values[55:65], strict=True)
    assert "a" in files
    assert "d" not in files


def test_what_is_read_can_be_changed_without_a_change_of_the_file():
    files = ColumnFiles()
    files.append({"a": np.zeros(3)})
    files["a"][:] = 1
    assert files["a"].tolist() == [0, 0, 0]


def test_files_are_closed_with_the_columns(monkeypatch):
    monkeypatch.setattr(column_files, "_MOST_IN_MEMORY", 0)
    opened = []
    monkeypatch.setattr(
        tempfile,
        "SpooledTemporaryFile",
        lambda most, make=tempfile.SpooledTemporaryFile: opened.append(make(most)) or opened[-1],
    )
    columns = ColumnFiles()
    columns.append({"a": np.zeros(3), "b": np.ones(3)})
    assert [file.closed for file in opened] == [False, False]
    del columns
    assert [file.closed for file in opened] == [True, True]


def test_a_full_disk_is_named_with_the_way_on(monkeypatch):
    class Full(BytesIO):
        def write(self, content):
            raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(tempfile, "SpooledTemporaryFile", lambda most: Full())
    with pytest.raises(StoreError, match=r"No space left on device. Name a folder with more space .* TMPDIR"):
        ColumnFiles().append({"a": np.zeros(3)})
