"""Give memory back to the system between the steps of a long command."""

import ctypes
import sys
from contextlib import suppress

import pyarrow as pa


def release_memory() -> None:
    """Give back what was freed, and what the allocators of Arrow and of C keep for later requests.

    Each step of a command on millions of rows makes other arrays. What the step before has freed in pieces hardly
    serves the next one: without this call, the largest memory of the process is nearly the sum over the steps.
    """
    pa.default_memory_pool().release_unused()
    if sys.platform == "linux":  # Arrow's own call for the allocator of C gave nothing back
        with suppress(AttributeError):  # of another C library than GNU's
            ctypes.CDLL(None).malloc_trim(0)
