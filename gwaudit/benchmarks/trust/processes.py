"""Run the tasks of the trust benchmark in a few processes, each with one thread."""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Protocol, TypeVar

import torch
from threadpoolctl import threadpool_limits

from gwaudit.benchmarks.trust.cells import PreparedSet, prepare
from gwaudit.benchmarks.trust.data_sets import select_sets
from gwaudit.benchmarks.trust.sources import Sources

Task = TypeVar("Task")
Result = TypeVar("Result")


class TrustProgress(Protocol):
    """Receive the progress of the trust benchmark."""

    def on_cells(self, name: str, done: int, total: int) -> None:
        """Receive the number of trainings that are done, after some of a data set."""

    def on_left_out(self, name: str, reason: str) -> None:
        """Receive a data set that is left out, and the reason."""


def in_processes(work: Callable[[Task], Result], tasks: Sequence[Task], processes: int) -> Iterator[Result]:
    """Yield the result of each task, in any order.

    Args:
        work: A function of a module, which the processes import.
        tasks: Its arguments.
        processes: Number of processes; with one, the tasks run in this process.
    """
    if processes < 2 or len(tasks) < 2:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with threadpool_limits(1):
                yield from map(work, tasks)
        finally:
            torch.set_num_threads(threads)
        return
    # Not forked: a fork of a process with threads of torch can wait for ever.
    with multiprocessing.get_context("spawn").Pool(processes, _use_one_thread) as pool:
        yield from pool.imap_unordered(work, tasks)


def _use_one_thread() -> None:
    torch.set_num_threads(1)
    threadpool_limits(1)


@cache  # all are small
def prepared_set(name: str, sources: Sources) -> PreparedSet:
    """Build a data set by its name, once in a process.

    Raises:
        GwauditError: Its file or package is missing, or gwaudit cannot read it.
    """
    (source,) = select_sets([name])
    return prepare(source, sources)
