"""Measure how long a folder of many small image files takes to load, beside a loop of Pillow on one thread.

    python docs/measure_small_files.py

It makes 20,000 JPEGs of 48x48 pixels in ten folders and loads them in turns, each time in a new process, whose imports
are not counted. It prints the median of the seconds and of the processor seconds of all its processes.
"""

import argparse
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image

from gwaudit import load_dataset

_SIDE = 48


def main() -> None:
    """Measure both in turns, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--turns", type=int, default=5)
    args = parser.parse_args()
    ways: dict[str, Callable[[Path], None]] = {"Pillow, one thread": _with_pillow, "gwaudit": _with_gwaudit}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _make(folder, args.files)
        times = {way: [_in_new_process(load, folder)] for way, load in ways.items()}  # it reads the files from disk
        for _ in range(args.turns):
            for way, load in ways.items():
                times[way].append(_in_new_process(load, folder))
    print(f"{args.files:,} JPEGs of {_SIDE}x{_SIDE} pixels, {os.cpu_count()} processors, median of {args.turns}")
    print("| | seconds | processor seconds |\n|---|--:|--:|")
    for way, measured in times.items():
        seconds, processor = (statistics.median(values) for values in zip(*measured[1:], strict=True))
        print(f"| {way} | {seconds:.1f} | {processor:.1f} |")


def _make(folder: Path, n: int) -> None:
    random = np.random.default_rng(0)
    for number in range(n):
        path = folder / f"class {number % 10}" / f"{number:06d}.jpg"
        path.parent.mkdir(exist_ok=True)
        coarse = Image.fromarray(random.integers(0, 256, (6, 6, 3), np.uint8))
        coarse.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC).save(path, quality=90)


def _with_pillow(folder: Path) -> None:
    for path in sorted(folder.rglob("*.jpg")):
        with Image.open(path) as image:
            np.asarray(image.convert("RGB"))


def _with_gwaudit(folder: Path) -> None:
    load_dataset(folder)


def _in_new_process(load: Callable[[Path], None], folder: Path) -> tuple[float, float]:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_timed, load, folder).result()


def _timed(load: Callable[[Path], None], folder: Path) -> tuple[float, float]:
    load_dataset("digits")  # the libraries are imported when they are needed
    before, start = _processor_seconds(), time.monotonic()
    load(folder)
    return time.monotonic() - start, _processor_seconds() - before


def _processor_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


if __name__ == "__main__":
    main()
