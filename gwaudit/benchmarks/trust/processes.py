"""Run the tasks of the trust benchmark in a few processes, each with one thread."""

import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Lock
from typing import Protocol, TypeVar

import torch
from threadpoolctl import threadpool_limits

from gwaudit.benchmarks.trust.cells import PreparedSet, prepare
from gwaudit.benchmarks.trust.data_sets import select_sets
from gwaudit.benchmarks.trust.sources import Sources

Task = TypeVar("Task")
Result = TypeVar("Result")
_PATIENCE = 0.2
"""Time in seconds to wait for a result before the end of the tasks is looked at."""


class TrustProgress(Protocol):
    """Receive the progress of the trust benchmark."""

    def on_cells(self, name: str, done: int, total: int) -> None:
        """Receive the number of trainings that are done, after some of a data set."""

    def on_left_out(self, name: str, reason: str) -> None:
        """Receive a data set that is left out, and the reason."""


def in_processes(work: Callable[[Task], Iterable[Result]], tasks: Sequence[Task], processes: int) -> Iterator[Result]:
    """Yield the results of each task, in any order, each as soon as there is one.

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
                for task in tasks:
                    yield from work(task)
        finally:
            torch.set_num_threads(threads)
        return
    # Not forked: a fork of a process with threads of torch can wait for ever.
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    with context.Pool(processes, _use_one_thread, (sender, context.Lock())) as pool:
        ended = pool.map_async(partial(_send_each, work), tasks, chunksize=1)
        while not ended.ready() or receiver.poll():
            if receiver.poll(_PATIENCE):
                yield receiver.recv()
        ended.get()  # raises what a task has raised


_to_parent: list[tuple[Connection, Lock]] = []
"""Of a process of `in_processes`: the pipe that takes its results, and the lock of the pipe."""


def _use_one_thread(sender: Connection, lock: Lock) -> None:
    _to_parent[:] = [(sender, lock)]
    torch.set_num_threads(1)
    threadpool_limits(1)


def _send_each(work: Callable[[Task], Iterable[Result]], task: Task) -> None:
    sender, lock = _to_parent[0]
    for result in work(task):
        with lock:
            sender.send(result)


@cache  # all are small
def prepared_set(name: str, sources: Sources) -> PreparedSet:
    """Build a data set by its name, once in a process.

    Raises:
        GwauditError: Its file or package is missing, or gwaudit cannot read it.
    """
    (source,) = select_sets([name])
    return prepare(source, sources)
