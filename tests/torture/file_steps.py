"""Count the steps that a process takes in a folder on the file system, and let a chosen one fail.

A step is an event that changes the file system: opening a file for writing, mkdir, rename, link, symlink, remove,
rmdir, truncate, fsync. Python announces each but fsync to its audit hooks before it is taken, also where C code takes
it; an error that the hook raises takes the place of the step.
"""

import errno
import mmap
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

NAMES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate"}
FREEING = {"os.remove", "os.rmdir"}

Fault = Callable[[int, str, str], None]
"""Receives the number of a step, from 0, its name and its path; kills the process or raises an OSError."""


class StepCounter:
    """Count steps in a forked process, in memory that its parent shares."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, 8)

    @property
    def steps(self) -> int:
        return int.from_bytes(self._shared[:8], "little")

    def install(self, folder: Path, fault: Fault | None) -> None:
        """Count the steps in a folder from now on, for the rest of this process."""
        inside = f"{folder.resolve()}{os.sep}"

        def take(name: str, path: object) -> None:
            text = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else ""
            if isinstance(path, int) or (text.startswith(os.sep) and not text.startswith(inside)):
                return
            number = self.steps
            self._shared[:8] = (number + 1).to_bytes(8, "little")
            if fault is not None:
                fault(number, name, text)

        def hook(event: str, arguments: tuple) -> None:
            if event == "open":
                path, mode, flags = arguments
                writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
                if writes or (isinstance(mode, str) and set(mode) & set("wax+")):
                    take("open", path)
            elif event in NAMES:
                take(event, arguments[1] if event in ("os.rename", "os.link", "os.symlink") else arguments[0])
            elif event == "fcntl.flock" and fault is not None:
                fault(-1, event, "")

        def fsync(file: object) -> None:
            take("os.fsync", "")
            flush(file)

        flush = os.fsync
        os.fsync = fsync
        sys.addaudithook(hook)


def kill_before(step: int) -> Fault:
    """Kill the process before it takes a step."""

    def fault(number: int, name: str, path: str) -> None:
        if number == step:
            os.kill(os.getpid(), signal.SIGKILL)

    return fault


def kill_at_path(part: str) -> Fault:
    """Kill the process before its first step on a path that holds a text."""

    def fault(number: int, name: str, path: str) -> None:
        if part in path:
            os.kill(os.getpid(), signal.SIGKILL)

    return fault


def fill_disk(step: int, *, stays_full: bool) -> Fault:
    """Let a step fail for want of space, and the later ones that need space too unless `stays_full` is False."""

    def fault(number: int, name: str, path: str) -> None:
        if name not in FREEING and number >= 0 and (number == step or (stays_full and number > step)):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    return fault


def deny(*names: str, then: Fault | None = None) -> Fault:
    """Let every step of these names fail, as on a file system that has no such thing."""

    def fault(number: int, name: str, path: str) -> None:
        if name in names:
            raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP), path)
        if then is not None:
            then(number, name, path)

    return fault
