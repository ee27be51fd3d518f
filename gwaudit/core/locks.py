"""Lock a file against other processes, also on file systems that cannot lock, and on object stores."""

import errno
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from gwaudit.core.errors import StoreBusyError
from gwaudit.core.files import writing
from gwaudit.core.leases import Lease, acquire_lease
from gwaudit.core.origins import origin_of

if sys.platform != "win32":
    import fcntl

_NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK}


class Lock:
    """Hold a lock until `release`, the end of the block, or the end of the process.

    Args:
        lock: The lock against processes of this machine.
        lease: The lease of the origin, where the lock's file lies in a working copy.
    """

    def __init__(self, lock: BaseFileLock, lease: Lease | None = None) -> None:
        self._lock = lock
        self._lease = lease

    @property
    def is_locked(self) -> bool:
        """Return whether the lock is held."""
        return self._lock.is_locked

    def release(self) -> None:
        """Release the lock."""
        if self._lease is not None:
            self._lease.release()
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def __del__(self) -> None:
        if self._lease is not None:
            self._lease.abandon()


def acquire_lock(path: Path, busy: str, *, wait: float = 0) -> Lock:
    """Acquire a lock, which is a context manager, and which the system releases when the process ends.

    Where the file system cannot lock, as some of networks, the existence of the file `path` + ".exists" is the lock; a
    process that is killed leaves it behind. In a working copy a lease of its origin is acquired too.

    Args:
        path: The file of the lock, in an existing folder.
        busy: The error's text if another process has the lock.
        wait: Seconds to wait for it.

    Raises:
        StoreBusyError: Another process has the lock.
        StoreError: The file cannot be made.
    """
    lock = _acquire_here(path, busy, wait)
    if (origin := origin_of(path)) is None:
        return Lock(lock)
    try:
        name = origin.name.replace("/", "-")
        return Lock(lock, acquire_lease(origin.folder, name, copy=origin.copy, busy=busy, wait=wait))
    except BaseException:
        lock.release()
        raise


def _acquire_here(path: Path, busy: str, wait: float) -> BaseFileLock:
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
