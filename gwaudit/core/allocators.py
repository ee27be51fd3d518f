"""Give memory back to the system between the steps of a long command, or keep it where it is needed again at once."""

import ctypes
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

import pyarrow as pa

# Numbers of GNU's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_MIB = 2**20
_KEEPING = {_MMAP_MAX: 0, _TRIM_THRESHOLD: -1}
_USUAL = {_MMAP_MAX: 65536, _MMAP_THRESHOLD: 32 * _MIB, _TRIM_THRESHOLD: 64 * _MIB}
"""What the allocator itself reaches in a process that frees large arrays."""

_lock = threading.Lock()
_users = 0


def release_memory() -> None:
    """Give back what was freed, and what the allocators of Arrow and of C keep for later requests.

    Each step of a command on millions of rows makes other arrays. What the step before has freed in pieces hardly
    serves the next one: without this call, the largest memory of the process is nearly the sum over the steps.
    """
    pa.default_memory_pool().release_unused()
    if sys.platform == "linux":  # Arrow's own call for the allocator of C gave nothing back
        with suppress(AttributeError):  # of another C library than GNU's
            ctypes.CDLL(None).malloc_trim(0)


@contextmanager
def reusing_freed_memory() -> Iterator[None]:
    """Keep large blocks of memory that are freed for the next request, in place of giving them back at once.

    GNU's allocator asks the system for each block of more than 32 MiB, and gives it back when it is freed. So every
    step of a training on a CPU would get its activations as new pages, which the system first fills with zeros
    (docs/benchmarks/cost.md has the seconds). The memory is given back at the end. Other C libraries are left alone.
    """
    _count(1)
    try:
        yield
    finally:
        _count(-1)


def _count(change: int) -> None:
    global _users
    with _lock:
        _users += change
        if (change, _users) == (1, 1):
            _set(_KEEPING)
        elif _users == 0:
            _set(_USUAL)
            release_memory()


def _set(parameters: Mapping[int, int]) -> None:
    if sys.platform == "linux":
        with suppress(AttributeError):  # of another C library than GNU's
            for parameter, value in parameters.items():
                ctypes.CDLL(None).mallopt(parameter, value)
