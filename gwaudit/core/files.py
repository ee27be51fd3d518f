"""Files that are there whole or not at all, also after a crash of the machine."""

import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gwaudit.core.errors import StoreError, StoreExistsError

TEMPORARY = ".partial"
"""How the name of a file that is still being written ends."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise an OSError of the block as a StoreError that names the path.

    An OSError that says that a file exists is left as it is: the caller has asked for that.
    """
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error).splitlines()[0]
        raise StoreError(
            f"cannot write {path}: {reason}. Make room or choose a folder that can be written; "
            "what was written before is intact"
        ) from error


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then put it in `path`'s place in one step.

    Args:
        path: the file; its folder is made where it is missing.
        write: takes the path of the temporary file.

    Raises:
        StoreError: the file cannot be written; `path` is then what it was before.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}{TEMPORARY}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write(temporary)
            sync(temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync(path.parent)


def write_text(path: Path, text: str, *, encoding: str = "utf-8") -> Path:
    """Write a text file atomically, with the line ends of the text, and return its path.

    Raises:
        StoreError: the file cannot be written.
    """
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding=encoding, newline=""))
    return path


def write_folder(folder: Path, write: Callable[[Path], object], *, replace: bool = False) -> Path:
    """Let `write` fill a temporary folder beside `folder`, then give it its name, in the place of an earlier one.

    Raises:
        StoreExistsError: the folder exists, and was not to be replaced.
        StoreError: it cannot be written.
    """
    if folder.exists() and not replace:
        raise StoreExistsError(f"{folder} exists: choose another folder, or delete it")
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}{TEMPORARY}")
    try:
        with writing(folder):
            temporary.mkdir(parents=True)
            write(temporary)
            if replace:
                shutil.rmtree(folder, ignore_errors=True)
            temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def create_exclusively(path: Path, data: bytes) -> None:
    """Create `path` with this content, whole from the moment it has its name.

    Raises:
        FileExistsError: it exists already; it is left as it is.
        OSError: from writing; `path` then does not exist.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}{TEMPORARY}")
    try:
        temporary.write_bytes(data)
        sync(temporary)
        # A hard link is the only way to give a finished file its name that fails where the name is taken.
        os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync(path.parent)


def sync(path: Path) -> None:
    """Have the file's content, or the folder's names, reach the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    """The checksum of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
