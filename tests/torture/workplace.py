"""Prepare the runs of one process, and keep what undisturbed commands leave there."""

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .commands import CASES, Case, prepare
from .contents import contents
from .file_steps import deny
from .forked import fresh, last_lines, run

CASE_BY_NAME = {case.name: case for case in CASES}


@dataclass(frozen=True)
class Unbroken:
    """Hold what an undisturbed command leaves, its number of steps, and its duration in seconds."""

    contents: dict[str, str]
    steps: int
    seconds: float


class Workplace:
    """Prepare the folders that the commands begin with.

    Args:
        folder: An empty folder of this process: all trials work in one folder, whose path the runs hold.
        seed: Seed of the damages, times and sizes that are drawn.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.starts = prepare(folder)
        self.seed = seed
        self._kept: dict[Hashable, Any] = {}

    def once(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Return what a function returned when it was called for this key first."""
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    def unbroken(self, case: Case, *denied: str) -> Unbroken:
        """Return what a command leaves on a file system that denies some kinds of steps, undisturbed."""

        def make() -> Unbroken:
            folder = fresh(self.starts[case.start])
            begin = time.monotonic()
            done = run(case.action, folder, deny(*denied) if denied else None)
            assert done.code == 0, f"{case.name}: {last_lines(done, 20)}"
            return Unbroken(contents(folder), done.steps, time.monotonic() - begin)

        return self.once((case.name, denied), make)
