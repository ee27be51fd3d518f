"""Lock a file against other processes, also on file systems that cannot lock."""

import errno
import sys
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from gwaudit.core.errors import StoreBusyError
from gwaudit.core.files import writing

if sys.platform != "win32":
    import fcntl

_NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK}


def acquire_lock(path: Path, busy: str, *, wait: float = 0) -> BaseFileLock:
    """Acquire a lock, which is a context manager, and which the system releases when the process ends.

    Where the file system cannot lock, as some of networks, the existence of the file `path` + ".exists" is the lock; a
    process that is killed leaves it behind.

    Args:
        path: The file of the lock, in an existing folder.
        busy: The error's text if another process has the lock.
        wait: Seconds to wait for it.

    Raises:
        StoreBusyError: Another process has the lock.
        StoreError: The file cannot be made.
    """
    lock: BaseFileLock = FileLock(path)
    with writing(path):
        try:
            lock.acquire(timeout=wait)
        except Timeout:
            if not _cannot_lock(path):
                raise StoreBusyError(busy) from None
            return _acquire_by_existence(path, busy, wait)
        except (NotImplementedError, OSError) as error:  # filelock raises NotImplementedError in place of ENOSYS
            if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
                raise
            return _acquire_by_existence(path, busy, wait)
    return lock


def _cannot_lock(path: Path) -> bool:
    """Return whether the file system cannot lock, which old versions of filelock take for a lock that is held."""
    if sys.platform == "win32":
        return False
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            return error.errno in _NO_LOCKS
    return False


def _acquire_by_existence(path: Path, busy: str, wait: float) -> BaseFileLock:
    file = path.with_name(f"{path.name}.exists")
    lock = SoftFileLock(file)
    try:
        lock.acquire(timeout=wait)
    except Timeout:
        raise StoreBusyError(f"{busy}; if no other process is running, delete {file}") from None
    return lock
