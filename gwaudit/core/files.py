"""Files that are there whole or not at all, also after a crash of the machine."""

import hashlib
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

from gwaudit.core.errors import StoreExistsError, storing

TEMPORARY = ".partial"
"""How the name of a file that is still being written ends."""


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then put it in `path`'s place in one step.

    Raises:
        OSError: from writing; `path` is then what it was before.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}{TEMPORARY}")
    try:
        write(temporary)
        sync(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync(path.parent)


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
        with storing(folder):
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
