"""Compute the blocks of a run's rows one after the other, or by any `concurrent.futures.Executor`.

Without an executor the threads of this process share a block: they compare its files with their checksums, and then
compute parts of it, the row groups of its files. Memory is that of one part for each thread.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gwaudit.store.block_files import ROW_GROUP
from gwaudit.store.store import TrajectoryStore

Value = TypeVar("Value")
Columns = dict[str, NDArray[Any]]

_MOST_THREADS = 4  # each holds a part in memory


def map_blocks(
    function: Callable[[TrajectoryStore, int], Value], store: TrajectoryStore, executor: Executor | None
) -> Iterator[Value]:
    """Yield the value of a function for each block, in the order of the blocks.

    Args:
        function: Receives the store and the number of a block; for executors with processes it can be pickled.
        store: The run. Processes open it again, and compare what they read with its checksums too.
        executor: Computes the blocks; None computes them here, where `map_parts` may use threads.
    """
    if executor is None:
        yield from (function(store, block) for block in range(store.n_blocks))
        return
    for value, files_used in executor.map(partial(_with_files, function, store), range(store.n_blocks)):
        store.files.used |= files_used
        yield value


def _with_files(
    function: Callable[[TrajectoryStore, int], Value], store: TrajectoryStore, block: int
) -> tuple[Value, frozenset[str]]:
    """Return the value of a block, and the files that the store has read."""
    return function(store, block), frozenset(store.files.used)


def threads_of(executor: Executor | None) -> int:
    """Return the number of threads that share a block: one where an executor computes many blocks at once.

    It is at most the number of threads of Arrow, which the environment variable OMP_NUM_THREADS sets.
    """
    return min(pa.cpu_count(), _MOST_THREADS) if executor is None else 1


def map_parts(
    function: Callable[[range], Columns], store: TrajectoryStore, block: int, epochs: Iterable[int], threads: int
) -> Columns:
    """Return the columns of a block, [rows of the block] each, from those of its parts.

    Args:
        function: Receives the positions in the block of a part, and returns its columns.
        store: The run.
        block: The number of the block.
        epochs: The epochs that the function reads.
        threads: Number of threads that compute the parts.
    """
    rows = len(store.block_range(block))
    parts = [range(start, min(start + ROW_GROUP, rows)) for start in range(0, rows, ROW_GROUP)]
    files = [store.commit(epoch).files[block] for epoch in epochs]
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(store.files.intact, files):  # first: two threads would compare the same file
            pass
        columns = list(pool.map(function, parts))
    return {name: np.concatenate([part[name] for part in columns]) for name in columns[0]}
