"""What a killed writer has left beside an output goes with the next writer; what is being written stays."""

import signal
import subprocess
import sys

import pytest

from gwaudit.core.files import write_folder, write_text

HANG = """
import sys, time
from pathlib import Path
from gwaudit.core.files import write_atomically, write_folder
def write(path):
    (path / "half.txt" if path.is_dir() else path).write_text("half")
    print("writing", flush=True)
    time.sleep(60)
(write_folder if sys.argv[1] == "folder" else write_atomically)(Path(sys.argv[2]), write)
"""


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def write(kind, path):
    return (
        write_text(path, "whole") if kind == "file" else write_folder(path, lambda new: write_text(new / "a", "whole"))
    )


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_the_next_writer_deletes_what_a_killed_one_left_and_not_what_is_being_written(tmp_path, kind):
    output = tmp_path / "out[1].csv"  # a name that is a pattern, too
    other = tmp_path / ".out[1].csv.bak.0123abcd.partial"  # of another output
    other.write_text("")
    with subprocess.Popen([sys.executable, "-c", HANG, kind, output], stdout=subprocess.PIPE) as writer:
        assert writer.stdout.readline() == b"writing\n"
        write(kind, output)
        assert len(names(tmp_path)) == 3, "the other process is still writing"
        writer.send_signal(signal.SIGKILL)
    output.rename(tmp_path / "first")
    write(kind, output)
    assert names(tmp_path) == sorted(["first", other.name, output.name])


def test_nothing_is_deleted_where_the_system_cannot_lock(tmp_path, monkeypatch):
    left = tmp_path / ".out.0123abcd.partial"
    left.write_text("of a writer that may live")

    def cannot_lock(*arguments):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", cannot_lock)
    write_text(tmp_path / "out", "whole")
    assert names(tmp_path) == [left.name, "out"]


def test_a_name_may_be_as_long_as_the_file_system_allows(tmp_path):
    name = "é" * 127
    write_text(tmp_path / name, "whole")
    assert names(tmp_path) == [name]


def test_a_temporary_folder_is_gone_after_an_error(tmp_path):
    def write_half(folder):
        (folder / "a").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_folder(tmp_path / "out", write_half)
    assert names(tmp_path) == []
