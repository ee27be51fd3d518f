"""A torture that was cut short goes on with the trials that it lacks, of the same version only."""

import pytest

from . import fuzz
from .rows import Rows, read_lines
from .table import table

SHARED = {"sources": "a", "seed": 0}


def test_rows_are_kept_and_a_line_that_was_cut_is_dropped(tmp_path):
    path = tmp_path / "rows.jsonl"
    with Rows(path, SHARED) as rows:
        rows.add({"key": "first", "n": 1})
        rows.add({"key": "second", "n": 2})
    path.write_bytes(path.read_bytes()[:-4])
    with Rows(path, SHARED) as rows:
        assert list(rows.rows) == ["first"]
        rows.add({"key": "second", "n": 3})
    assert read_lines(path) == [SHARED, {"key": "first", "n": 1}, {"key": "second", "n": 3}]


def test_rows_of_another_version_are_refused(tmp_path):
    path = tmp_path / "rows.jsonl"
    with Rows(path, SHARED) as rows:
        rows.add({"key": "first", "n": 1})
    with pytest.raises(SystemExit, match="choose another file"):
        Rows(path, {**SHARED, "sources": "b"})
    assert len(read_lines(path)) == 2


def test_the_table_counts_how_trials_ended():
    rows = [
        {"part": "kills", "of": 1100, "outcome": "whole and equal"},
        {"part": "kills", "of": 1100, "outcome": "whole and equal"},
        {"part": "kills", "of": 1100, "outcome": "failure"},
    ]
    lines = table(rows, {"kills": "kill before a step", "pairs": "two at once"}).splitlines()
    assert lines[2:] == ["| kill before a step | 3 | 1,100 | 2 whole and equal | 1 |"]


def test_fuzzing_goes_on_with_the_inputs_that_its_rows_lack(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fuzz, "CHUNK", 4)
    path = tmp_path / "rows.jsonl"
    read = []
    for inputs in ("4", "11", "11"):
        with pytest.raises(SystemExit) as ended:
            fuzz.main(["--kind", "JSON", "--rows", str(path), "--processes", "2", "--inputs", inputs])
        assert not ended.value.code
        read.append({line["key"] for line in read_lines(path)[1:]})
    assert read == [{"JSON/0-4"}, {"JSON/0-4", "JSON/4-8", "JSON/8-12"}, {"JSON/0-4", "JSON/4-8", "JSON/8-12"}]
    assert len(read_lines(path)) == 4
    assert "| JSON | 12 |" in capsys.readouterr().out.splitlines()[-1]
