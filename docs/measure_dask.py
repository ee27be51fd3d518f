"""Compare a ranking by two Dask workers with that of one process, and kill a worker in the middle of some of its work.

    python docs/measure_dask.py --samples 2097152 --epochs 30 --kills 10

The run is made up, without a training, and deleted afterwards. The workers compute the statistics of the samples, so
these are timed alone too. Whole rankings and statistics must be equal bit for bit, also where a worker is ended by
SIGKILL at a random moment. Otherwise the command fails. The start of the cluster is not counted.
"""

import argparse
import os
import random
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # of the workers, and of the process that ranks, where it does not say otherwise

import pandas as pd
import psutil
import pyarrow as pa

from gwaudit import TrajectoryStore, rank
from gwaudit.analysis.sample_statistics import default_window, sample_statistics
from gwaudit.benchmarks.cost.synthetic_run import write_synthetic_run
from gwaudit.pipeline.engine import open_engine

Work = Callable[[Path, Executor | None], pd.DataFrame]


class Killing(Executor):
    """Pass calls to another executor, and end one of its workers once, some time after the first calls.

    Args:
        executor: The executor.
        after: Seconds until then.
    """

    def __init__(self, executor: Executor, after: float) -> None:
        self._executor, self._after = executor, after
        self.hit = False  # whether the calls were not done yet

    def map(self, fn: Callable[..., Any], *iterables: Any, **options: Any) -> Iterator[Any]:
        """Yield the values of calls; before the first ones, choose the worker and the moment."""
        worker = self._executor.submit(os.getpid).result()
        timer = threading.Timer(self._after, os.kill, (worker, signal.SIGKILL))
        timer.start()
        yield from self._executor.map(fn, *iterables, **options)
        self.hit = not timer.is_alive()
        timer.cancel()


def processor_seconds() -> float:
    """Return the processor seconds of this process and of its workers until now."""
    this = psutil.Process()
    return sum(sum(process.cpu_times()[:2]) for process in (this, *this.children(recursive=True)))


def ranked(run: Path, executor: Executor | None = None) -> pd.DataFrame:
    """Rank a run; return the audit's rows."""
    with TrajectoryStore.open(run) as store:
        return rank(store, executor=executor).frame


def statistics(run: Path, executor: Executor | None = None) -> pd.DataFrame:
    """Return the statistics of a run."""
    with TrajectoryStore.open(run) as store:
        return sample_statistics(store, default_window(store), executor=executor)


def timed(work: Work, run: Path, executor: Executor | None = None) -> tuple[pd.DataFrame, float, float]:
    """Return what was computed, the seconds that it took, and the processor seconds."""
    began, used = time.perf_counter(), processor_seconds()
    frame = work(run, executor)
    return frame, time.perf_counter() - began, processor_seconds() - used


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=2**21)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="gwaudit-dask-"))
    try:
        write_synthetic_run(folder / "run", samples=options.samples, epochs=options.epochs, classes=1000)
        measure(folder / "run", options)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def measure(run: Path, options: argparse.Namespace) -> None:
    """Compute in turn by one thread, by two threads and by two workers; then with kills."""
    kinds = ("one thread", "two threads", "two workers")
    with open_engine("dask") as executor:
        for title, work, repeats in (("statistics", statistics, options.repeats), ("ranking", ranked, 1)):
            expected = work(run, executor)  # the first time the workers import everything
            least: dict[str, float] = {}
            for kind in kinds * repeats:
                pa.set_cpu_count(2 if kind == "two threads" else 1)
                found, taken, processor = timed(work, run, executor if kind == "two workers" else None)
                pd.testing.assert_frame_equal(found, expected, check_exact=True)
                least[kind] = min(taken, least.get(kind, taken))
                print(f"{title}, {kind}: {taken:.1f} s, {processor:.1f} processor s", flush=True)
            for kind in kinds[:2]:
                print(f"{title}: two workers are {least[kind] / least['two workers']:.2f} times as fast as {kind}")
        expected, longest, _ = timed(statistics, run, executor)
        draw, killed = random.Random(options.seed), 0
        for _ in range(options.kills):
            killing = Killing(executor, draw.uniform(0, 0.9 * longest))
            pd.testing.assert_frame_equal(statistics(run, killing), expected, check_exact=True)
            killed += killing.hit
        print(f"{killed} of {options.kills} times a worker was killed in the middle: all equal")


if __name__ == "__main__":
    main()
