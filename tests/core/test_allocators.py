"""Check that memory is kept for the next request where that is asked for, and given back afterwards."""

import ctypes
import subprocess
import sys

import pytest

_MIB = 2**20
_PROGRAM = """
import resource
from contextlib import nullcontext
from pathlib import Path

import torch

from gwaudit.core.allocators import reusing_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(64 * 2**20, dtype=torch.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

outside, before = faults(), resident()
with reusing_freed_memory():
    with reusing_freed_memory():
        pass
    faults()  # the first blocks are cut in pieces of different sizes
    inside, kept = faults(), resident() - before
print(outside, inside, kept, resident() - before)
"""


def _is_gnu() -> bool:
    return sys.platform == "linux" and hasattr(ctypes.CDLL(None), "gnu_get_libc_version")


@pytest.mark.skipif(not _is_gnu(), reason="only the allocator of GNU's C library is set")
def test_a_training_gets_the_same_memory_again_and_gives_it_back() -> None:
    output = subprocess.run([sys.executable, "-c", _PROGRAM], check=True, capture_output=True, text=True).stdout

    outside, inside, kept, left = map(int, output.split())
    assert outside > 10 * 64 * _MIB / 2**21  # each array is given new pages, at least as large as huge ones
    assert inside < outside / 10
    assert kept > 60 * _MIB
    assert left < 10 * _MIB
