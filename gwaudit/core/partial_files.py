"""Make the temporary file or folder beside an output that is being written, and delete those of dead writers.

A writer holds a lock on what it writes, which ends with its process. So the next writer of the same output recognises
what a killed one has left. Where the system cannot lock, nothing is deleted.
"""

import glob
import os
import shutil
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

if sys.platform != "win32":
    import fcntl

TEMPORARY = ".partial"
"""Suffix of a file or folder that is still being written."""

LONGEST_NAME = 255
"""Bytes of the longest name of a file on usual file systems."""

_LONGEST_PREFIX = 200  # bytes; the rest of a long name is left out of the temporary one


@contextmanager
def partial_beside(path: Path, *, folder: bool = False) -> Iterator[Path]:
    """Make an empty temporary file or folder beside a path, and delete it when the block ends, if it is still there.

    What dead writers of the same path have left is deleted first.

    Args:
        path: the output, in an existing folder.
        folder: whether to make a folder.

    Yields:
        The path of the temporary file or folder, for the block to fill and to rename.

    Raises:
        OSError: it cannot be made.
    """
    prefix = f".{os.fsencode(path.name)[:_LONGEST_PREFIX].decode(errors='ignore')}."
    for left in path.parent.glob(f"{glob.escape(prefix)}{'?' * 8}{TEMPORARY}"):
        _delete_if_abandoned(left)
    lock, temporary = None, path
    while lock is None:
        temporary = path.with_name(f"{prefix}{uuid.uuid4().hex[:8]}{TEMPORARY}")
        temporary.mkdir() if folder else temporary.touch(exist_ok=False)
        lock = _lock(temporary)  # None: another writer has just taken it for one that was left
    try:
        yield temporary
    finally:
        _delete(temporary)
        if lock >= 0:
            os.close(lock)


def _lock(path: Path) -> int | None:
    """Lock a file or folder.

    Returns:
        The descriptor that holds the lock; -1 where the system cannot lock; None where another process has it, or has
        deleted the file.
    """
    if sys.platform == "win32":
        return -1
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    except OSError:
        os.close(descriptor)
        return -1
    os.close(descriptor)
    return None


def _delete_if_abandoned(path: Path) -> None:
    with suppress(OSError):  # of another user, or in the middle of being deleted
        lock = _lock(path)
        if lock is not None and lock >= 0:
            try:
                _delete(path)
            finally:
                os.close(lock)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
