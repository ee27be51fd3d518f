"""Take trials in many processes, each with a folder of its own."""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


def forked(processes: int, begin: Callable[..., None], *arguments: Any) -> ProcessPoolExecutor:
    """Return processes that fork from this one, with everything imported, and begin with a function."""
    context = multiprocessing.get_context("fork")
    return ProcessPoolExecutor(processes, context, initializer=begin, initargs=arguments)


def results(pool: ProcessPoolExecutor, work: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
    """Yield the result of each task as it ends; the tasks begin in their order."""
    waiting = [pool.submit(work, task) for task in tasks]
    try:
        for future in as_completed(waiting):
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)
