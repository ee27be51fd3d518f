"""Files and folders that exist whole or not at all."""

import errno
import os

import pytest

from gwaudit.core.errors import StoreError, StoreExistsError
from gwaudit.core.files import create_exclusively, sha256, write_atomically, write_folder, write_text


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_write_that_fails_leaves_the_earlier_file_and_nothing_else(tmp_path):
    path = write_text(tmp_path / "notes.txt", "before")

    def fail(temporary):
        temporary.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(StoreError, match=r"notes\.txt: No space left on device.*Free disk space"):
        write_atomically(path, fail)
    assert path.read_text() == "before"
    assert names(tmp_path) == ["notes.txt"]


def test_a_folder_is_written_whole_or_not_at_all(tmp_path):
    def write(folder):
        (folder / "a.txt").write_text("new")

    def fail(folder):
        (folder / "a.txt").write_text("half")
        raise ValueError("stop")

    write_folder(tmp_path / "out", write)
    with pytest.raises(StoreExistsError, match="exists"):
        write_folder(tmp_path / "out", write)
    with pytest.raises(ValueError, match="stop"):
        write_folder(tmp_path / "other", fail)
    assert (tmp_path / "out" / "a.txt").read_text() == "new"
    assert names(tmp_path) == ["out"]


def test_a_file_is_created_once(tmp_path):
    create_exclusively(tmp_path / "a", b"first")
    with pytest.raises(FileExistsError):
        create_exclusively(tmp_path / "a", b"second")
    assert (tmp_path / "a").read_bytes() == b"first"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOSPC])
def test_a_file_is_created_by_renaming_only_where_there_are_no_hard_links(tmp_path, monkeypatch, code):
    def refuse(*arguments):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", refuse)
    if code == errno.EPERM:
        create_exclusively(tmp_path / "a", b"first")
        assert names(tmp_path) == ["a"]
    else:
        with pytest.raises(OSError, match="No space left"):
            create_exclusively(tmp_path / "a", b"first")
        assert names(tmp_path) == []


def test_line_ends_stay_as_they_are(tmp_path):
    assert write_text(tmp_path / "a", "1\r\n2\n").read_bytes() == b"1\r\n2\n"


def test_the_checksum_is_that_of_sha256sum(tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    assert sha256(tmp_path / "empty").startswith("e3b0c44298fc1c14")
