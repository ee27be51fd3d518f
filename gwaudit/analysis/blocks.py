"""Compute the blocks of a run's rows one after the other, or by any `concurrent.futures.Executor`."""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from functools import partial
from typing import TypeVar

from gwaudit.store.store import TrajectoryStore

Value = TypeVar("Value")


def map_blocks(
    function: Callable[[TrajectoryStore, int], Value], store: TrajectoryStore, executor: Executor | None
) -> Iterator[Value]:
    """Yield the value of a function for each block, in the order of the blocks.

    Args:
        function: Receives the store and the number of a block; for executors with processes it can be pickled.
        store: The run. Processes open it again, and compare what they read with its checksums too.
        executor: Computes the blocks; None computes them here.
    """
    if executor is None:
        yield from (function(store, block) for block in range(store.n_blocks))
        return
    for value, files_read in executor.map(partial(_with_files, function, store), range(store.n_blocks)):
        store.files_read |= files_read
        yield value


def _with_files(
    function: Callable[[TrajectoryStore, int], Value], store: TrajectoryStore, block: int
) -> tuple[Value, frozenset[str]]:
    """Return the value of a block, and the files that the store has read."""
    return function(store, block), frozenset(store.files_read)
