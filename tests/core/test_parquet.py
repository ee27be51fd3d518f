"""Parquet files lie at any path, and a damaged table is an error, not the end of the process."""

import pyarrow as pa
import pytest

from gwaudit.core.parquet import read_parquet, validated, write_parquet


def test_a_path_with_a_colon_is_no_address(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = (tmp_path / "run:1").relative_to(tmp_path)
    folder.mkdir()
    write_parquet(pa.table({"a": [1, 2]}), folder / "a.parquet")
    assert read_parquet(folder / "a.parquet")["a"].to_pylist() == [1, 2]


def test_texts_that_point_outside_the_memory_are_refused():
    offsets = pa.array([0, 10**9, 3], pa.int32()).buffers()[1]
    damaged = pa.Array.from_buffers(pa.string(), 2, [None, offsets, pa.py_buffer(b"cat")])
    with pytest.raises(pa.ArrowInvalid):
        validated(pa.table({"label": damaged}))
