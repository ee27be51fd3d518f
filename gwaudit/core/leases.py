"""Lock a folder of an object store for one writer at a time, on any number of machines.

    leases/lock-00003.json      the third writer: its working copy, whether it has ended, a number that it renews

A writer creates the object with the next number on the condition that it is new. While it lives it renews its object
every `RENEWAL` seconds. Another writer may follow when the last one has ended, or was of the same working copy, whose
lock on this machine the caller holds, or has not renewed its object for `LEASE` seconds of the waiting machine's own
clock. A writer that was taken for dead finds the next number before it creates anything, and stops.
"""

import json
import os
import re
import socket
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

from gwaudit.core.errors import StoreBusyError, StoreError
from gwaudit.core.object_store import ObjectFolder

FOLDER = "leases"
LEASE = 30.0
"""Seconds without a renewal after which a writer counts as dead."""
RENEWAL = 8.0
"""Seconds between two renewals."""
_GLANCE = 1.0


@dataclass(eq=False)
class Lease:
    """Hold the right to write what a lock protects; `acquire_lease` makes one.

    Attributes:
        folder: The folder.
        name: The name of the lock.
        number: The number of this writer.
        copy: The id of its working copy.
    """

    folder: ObjectFolder
    name: str
    number: int
    copy: str
    _id: str = field(default_factory=lambda: uuid.uuid4().hex)
    _renewed: int = 0
    _is_lost: bool = False
    _looked: float = field(default_factory=time.monotonic)
    _process: int = field(default_factory=os.getpid)
    _has_ended: bool = False
    _wake: SimpleQueue[None] = field(default_factory=SimpleQueue)  # unlike an Event, for the garbage collector too
    _renewals: threading.Thread | None = None

    def require(self, *, surely: bool) -> None:
        """Raise an error where another writer has followed.

        Args:
            surely: Whether to look at once, rather than when `_GLANCE` seconds have passed since the last look.

        Raises:
            StoreBusyError: One has.
        """
        now = time.monotonic()
        if surely or now - self._looked > _GLANCE:
            self._is_lost = self._is_lost or self.folder.exists(_object(self.name, self.number + 1))
            self._looked = now
        if self._is_lost:
            raise StoreBusyError(
                f"{self.folder} is being written by another process, which took this one for dead, as it did not reach "
                f"the store for {LEASE:.0f} seconds: what was committed before is kept; continue when the other has "
                "ended"
            )

    def keep(self) -> None:
        """Start the thread that renews it, and that alone writes its object."""
        _held.add(self)
        self._renewals = threading.Thread(target=self._keep_alive, daemon=True)
        self._renewals.start()

    def release(self) -> None:
        """Let another writer follow at once, when this returns."""
        self.abandon()
        if self._renewals is not None and os.getpid() == self._process:
            self._renewals.join()

    def abandon(self) -> None:
        """Let another writer follow soon.

        Nothing is waited for: the garbage collector calls this from any thread, also from the one by which the answers
        of the store arrive.
        """
        if not self._has_ended and os.getpid() == self._process:  # a fork of this process has no lease
            self._has_ended = True
            _held.discard(self)
            self._wake.put(None)

    def _content(self) -> bytes:
        content = {
            "id": self._id,
            "copy": self.copy,
            "host": socket.gethostname(),
            "renewed": self._renewed,
            "has_ended": self._has_ended,
        }
        return json.dumps(content).encode()

    def _keep_alive(self) -> None:
        is_last = False
        while not is_last:
            with suppress(Empty):
                self._wake.get(timeout=RENEWAL)
            is_last = self._has_ended
            with suppress(StoreError):  # where the last one fails, the next writer waits for a renewal in vain
                self._is_lost = self._is_lost or self.folder.exists(_object(self.name, self.number + 1))
                if self._is_lost:
                    return
                self._renewed += 1
                self.folder.write(_object(self.name, self.number), self._content())


_held: set[Lease] = set()


def acquire_lease(folder: ObjectFolder, name: str, *, copy: str, busy: str, wait: float = 0) -> Lease:
    """Acquire a lease, after waiting for a writer that may be dead.

    Args:
        folder: The folder.
        name: The name of the lock.
        copy: The id of the working copy, whose lock on this machine the caller holds.
        busy: The error's text if another writer lives.
        wait: Seconds to wait for one that lives.

    Raises:
        StoreBusyError: Another writer lives.
        StoreError: The store cannot be reached, or does not create objects on a condition.
    """
    end = time.monotonic() + wait
    while True:
        number = _last_number(folder, name)
        if number and not _may_follow(folder, name, number, copy, end):
            raise StoreBusyError(busy)
        lease = Lease(folder, name, number + 1, copy)
        try:
            folder.create(_object(name, lease.number), lease._content())
            break
        except FileExistsError:  # another one was faster
            if time.monotonic() >= end:
                raise StoreBusyError(busy) from None
    _require_conditions(folder, lease)
    folder.delete([_object(name, earlier) for earlier in range(max(1, number - 1), number)])
    lease.keep()
    return lease


def require_leases(folder: ObjectFolder, copy: str, *, surely: bool = False) -> None:
    """Raise an error where this process has held a lease of a folder, and another writer has followed.

    Args:
        folder: The folder.
        copy: The id of its working copy.
        surely: Whether to look at once, as before a commit.

    Raises:
        StoreBusyError: One has.
    """
    for lease in list(_held):
        if (lease.folder, lease.copy) == (folder, copy):
            lease.require(surely=surely)


def _object(name: str, number: int) -> str:
    return f"{FOLDER}/{name}-{number:05d}.json"


def _last_number(folder: ObjectFolder, name: str) -> int:
    """Return the number of the last writer, 0 if there was none; a listing may be older than the objects."""
    pattern = re.compile(rf"{FOLDER}/{re.escape(name)}-(\d+)\.json")
    number = max((int(found[1]) for path in folder.find(FOLDER) if (found := pattern.fullmatch(path))), default=0)
    while folder.exists(_object(name, number + 1)):
        number += 1
    return number


def _may_follow(folder: ObjectFolder, name: str, number: int, copy: str, end: float) -> bool:
    """Return whether the last writer has ended or is dead; wait where that is not known yet."""
    seen, since = b"", time.monotonic()
    while True:
        try:
            content = folder.read(_object(name, number))
            last = json.loads(content)
        except (FileNotFoundError, ValueError):
            return True
        if last.get("has_ended") or last.get("copy") == copy:
            return True
        now = time.monotonic()
        if content != seen:
            if seen and now >= end:
                return False
            seen, since = content, now
        elif now - since >= LEASE:
            return True
        time.sleep(min(1.0, LEASE / 10))


def _require_conditions(folder: ObjectFolder, lease: Lease) -> None:
    """Raise StoreError where the store overwrites an object that was to be created."""
    name = _object(lease.name, lease.number)
    try:
        folder.create(name, b"{}")
    except FileExistsError:
        return
    folder.delete([name])
    raise StoreError(
        f"{folder} lies on a store that does not create an object on the condition that it is new (S3's "
        "`If-None-Match`), which runs need: record to a local folder, and copy it there"
    )
