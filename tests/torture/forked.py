"""Run an action in a forked process, which has everything imported already."""

import fcntl
import os
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .file_steps import Fault, StepCounter

TIME_LIMIT = 600.0  # seconds; a busy machine makes a command of one second last a minute
PIPE_BYTES = 2**20


@dataclass(frozen=True)
class Ended:
    """Hold how a process ended.

    Attributes:
        code: Its exit code; the negative number of the signal that ended it.
        output: Standard output and error.
        steps: The file-system steps that it took.
    """

    code: int
    output: str
    steps: int

    @property
    def was_killed(self) -> bool:
        return self.code == -signal.SIGKILL

    @property
    def crashed(self) -> bool:
        """Whether it ended otherwise than by success, by a named error or by the kill of the torture."""
        return "Traceback" in self.output or self.code not in (0, 2, -signal.SIGKILL)


class Forked:
    """Start an action in a fork of this process, in a folder.

    Args:
        action: What to do; its SystemExit gives the exit code.
        folder: The working folder.
        fault: What is to go wrong with its steps on the file system.
        largest_file: The largest size of a file that it can write, in bytes.
    """

    def __init__(
        self,
        action: Callable[[], object],
        folder: Path,
        fault: Fault | None = None,
        *,
        largest_file: int | None = None,
        prepare: Callable[[], object] | None = None,
    ) -> None:
        self._counter = StepCounter()
        self._output, output = os.pipe()  # not a file, whose size may be limited
        fcntl.fcntl(output, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        sys.stdout.flush()
        sys.stderr.flush()
        self._pid = os.fork()
        if self._pid:
            os.close(output)
            return
        code = 1
        try:
            os.chdir(folder)
            os.dup2(output, 1)
            os.dup2(output, 2)
            if largest_file is not None:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
            if prepare is not None:
                prepare()
            self._counter.install(folder, fault)
            action()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:
            traceback.print_exc()
        finally:
            for stream in (sys.stdout, sys.stderr):
                try:
                    stream.flush()
                except OSError:
                    code = code or 1
            os._exit(code)

    def kill(self) -> None:
        os.kill(self._pid, signal.SIGKILL)

    def wait(self, seconds: float = TIME_LIMIT) -> Ended:
        """Wait for the end; a process that does not end in time is killed and reported as crashed."""
        deadline, late = time.monotonic() + seconds, ""
        while True:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() > deadline and not late:
                late = f"Traceback: no end within {seconds} s"
                self.kill()
            time.sleep(0.003)
        with os.fdopen(self._output, "rb") as file:
            output = file.read().decode("utf-8", "replace") + late
        return Ended(os.waitstatus_to_exitcode(status), output, self._counter.steps)


def run(action: Callable[[], object], folder: Path, fault: Fault | None = None, **options: object) -> Ended:
    """Run an action in a forked process to its end."""
    return Forked(action, folder, fault, **options).wait()


def copy_of(template: Path, name: str) -> Path:
    """Return a fresh copy of a folder, beside it."""
    copy = template.parent / name
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(template, copy, symlinks=True)
    return copy


def fresh(template: Path) -> Path:
    """Return the folder in which every command works, whose path is kept in runs, with the content of another one."""
    return copy_of(template, "work")


def last_lines(ended: Ended, n: int = 4) -> str:
    """Return how a process ended: its exit code and its last lines."""
    lines = [line for line in ended.output.splitlines() if line.strip()]
    return f"exit {ended.code}: " + " / ".join(lines[-n:])
