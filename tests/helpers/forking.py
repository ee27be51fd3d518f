"""Run functions in processes that fork from one with everything imported: a new interpreter imports for seconds."""

import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    [
        "pytest",
        "sklearn.datasets",
        "torchvision",
        "gwaudit.cli.app",
        "gwaudit.pipeline.audit",
        "gwaudit.pipeline.report",
        "gwaudit.review.server",
        "gwaudit.benchmarks.loading",
        "gwaudit.training.trainer",
        "gwaudit.training.rounds",
        "helpers.ranks",
    ]
)
_PATIENCE = 300.0  # seconds


@dataclass(frozen=True)
class Done:
    """Hold how a process ended, and what it has printed."""

    returncode: int
    stdout: str
    stderr: str


class Forked:
    """Call a function in a process of its own; SystemExit gives the exit code, another exception is code 1.

    Args:
        function: A function of a module.
        arguments: Its arguments.
        environment: All variables of the process; by default those of this one.
        folder: The working folder; by default that of this process.
        before: A function of a module, which is called first.
    """

    def __init__(
        self,
        function: Callable[..., object],
        *arguments: object,
        environment: dict[str, str] | None = None,
        folder: Path | None = None,
        before: Callable[[], object] | None = None,
    ) -> None:
        self._texts = Path(tempfile.mkdtemp(prefix="forked-"))
        environment = dict(os.environ if environment is None else environment)
        self._process = PROCESSES.Process(
            target=_call, args=(self._texts, environment, folder or Path.cwd(), before, function, arguments)
        )
        self._process.start()

    @property
    def is_alive(self) -> bool:
        return self._process.is_alive()

    @property
    def exitcode(self) -> int | None:
        return self._process.exitcode

    @property
    def stdout(self) -> str:
        """What it has printed up to now."""
        return self._read(1)

    def read_line(self) -> str:
        """Wait for the first line that it prints, and return it."""
        deadline = time.monotonic() + _PATIENCE
        while "\n" not in self.stdout and self.is_alive and time.monotonic() < deadline:
            time.sleep(0.01)
        return self.stdout.partition("\n")[0]

    def send_signal(self, number: int) -> None:
        with suppress(ProcessLookupError):  # it has ended
            os.kill(self._process.pid, number)

    def wait(self, seconds: float = _PATIENCE) -> Done:
        """Wait for its end; one that does not end is killed."""
        self._process.join(seconds)
        if self.is_alive:
            self._process.kill()
            self._process.join()
        texts = [self._read(descriptor) for descriptor in (1, 2)]
        shutil.rmtree(self._texts)
        return Done(self._process.exitcode, *texts)

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> Done:
        self._process.kill()
        return self.wait()

    def _read(self, descriptor: int) -> str:
        path = self._texts / str(descriptor)
        return path.read_text() if path.exists() else ""


def _call(texts, environment, folder, before, function, arguments):
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for descriptor, stream in ((1, sys.stdout), (2, sys.stderr)):
        target = os.open(texts / str(descriptor), os.O_WRONLY | os.O_CREAT)
        os.dup2(target, descriptor)
        os.close(target)
        stream.reconfigure(line_buffering=True)
    if before is not None:
        before()
    function(*arguments)
