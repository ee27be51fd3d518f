"""Call functions in workers that end in the middle of a call, as by SIGKILL."""

import os
import signal
from concurrent.futures import Executor
from functools import partial

BLOCK = 3
BLOCKS = (0, BLOCK, 7)


def end_once(function, folder, block):
    """Return the value of a block; the process ends at the first call for each of three, before its value is known."""
    if block in BLOCKS and not (folder / str(block)).exists():
        (folder / str(block)).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return function(block)


def end_always(function, marker, block):
    """Return the value of a block; the process ends at each call for block 3."""
    if block == BLOCK:
        os.kill(os.getpid(), signal.SIGKILL)
    return function(block)


class Ending(Executor):
    """Pass calls to another executor, whose workers end as `how` does."""

    def __init__(self, executor, how, marker):
        self._executor, self._how, self._marker = executor, how, marker

    def map(self, fn, *iterables, timeout=None, chunksize=1):
        return self._executor.map(partial(self._how, fn, self._marker), *iterables)
