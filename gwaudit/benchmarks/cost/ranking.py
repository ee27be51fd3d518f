"""Measure the time and memory of ranking and of the report, on a synthetic run of any size."""

import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gwaudit.store.store import TrajectoryStore

TARGET_SECONDS = 60.0
TARGET_GIB = 2.0
TARGET_MB = 15.0


@dataclass(frozen=True)
class RankingCost:
    """Hold the cost of `rank` and of the report on it, in a process of their own.

    Attributes:
        samples, epochs: Size of the run.
        rows: Number of trajectory rows, samples times epochs.
        seconds: Seconds from opening the run to the finished audit, without imports.
        peak_gib: Largest resident memory of the process until then, in GiB.
        report_seconds: Seconds from there to the finished page: summaries, and the thousand most suspicious samples.
        report_peak_gib: Largest resident memory until then, in GiB.
        report_mb: Size of the page, in MB.
        store_gib: Size of the run on the disk, in GiB.
        within_target: Whether ranking takes at most 60 s and 2 GiB, and the report 60 s and 15 MB.
    """

    samples: int
    epochs: int
    rows: int
    seconds: float
    peak_gib: float
    report_seconds: float
    report_peak_gib: float
    report_mb: float
    store_gib: float
    within_target: bool


def ranking(
    *, samples: int = 1_280_000, epochs: int = 90, classes: int = 1000, folder: Path | None = None, seed: int = 0
) -> RankingCost:
    """Write a synthetic run, rank it in a fresh process, and measure that process.

    Args:
        samples, epochs, classes: Size of the run.
        folder: Folder for the run (a few gigabytes), which is deleted afterwards; by default a temporary one.
        seed: Seed of its numbers.
    """
    parent = Path(tempfile.mkdtemp(prefix="gwaudit-ranking-", dir=folder))
    try:
        run = parent / "run"
        _write_run(run, samples, epochs, classes, np.random.default_rng(seed))
        size = sum(path.stat().st_size for path in run.rglob("*.parquet"))
        command = [sys.executable, "-m", "gwaudit.benchmarks.cost.ranking", str(run)]
        measured = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    finally:
        shutil.rmtree(parent, ignore_errors=True)
    within = (
        max(measured["seconds"], measured["report_seconds"]) <= TARGET_SECONDS
        and measured["peak_gib"] <= TARGET_GIB
        and measured["report_mb"] <= TARGET_MB
    )
    return RankingCost(samples, epochs, samples * epochs, store_gib=size / 2**30, within_target=within, **measured)


def _write_run(run: Path, samples: int, epochs: int, classes: int, random: np.random.Generator) -> None:
    """Write a run in which a tenth of the labels is wrong; every number changes between epochs as in a training."""
    given = random.integers(classes, size=samples)
    alternative = random.integers(classes, size=samples)
    level = np.where(random.random(samples) < 0.1, -0.05, 0.1).astype(np.float32)
    names = [f"class {i}" for i in range(classes)]
    ids = np.arange(samples)
    with TrajectoryStore.create(run, given_labels=given, class_names=names) as store:
        for epoch in range(epochs):

            def draw(scale: float) -> NDArray[np.float32]:
                return random.normal(0, scale, samples).astype(np.float32)

            alignment = level + draw(0.05)
            other = -level + draw(0.05)
            stray = random.integers(classes, size=samples)
            alternatives = np.where(random.random(samples) < 0.6, alternative, stray).astype(np.int32)
            signals = {
                "alignment": alignment,
                "alternative_label": alternatives,
                "alternative_alignment": other,
                "margin": 20 * (alignment - other),
                "loss": np.logaddexp(0, 20 * (other - alignment)),
                "given_probability": 1 / (1 + np.exp(20 * (other - alignment))),
                "el2n": np.sqrt(2) / (1 + np.exp(20 * (alignment - other))),
                "predicted_label": np.where(alignment > other, given, alternatives).astype(np.int32),
            }
            store.append_epoch(epoch, ids, signals)


def _measure(run: Path) -> None:
    from gwaudit.analysis.ranking import rank
    from gwaudit.review.report.contents import collect_report_data
    from gwaudit.review.report.page import write_page

    with TrajectoryStore.open(run) as store:
        began = time.perf_counter()
        audit = rank(store)
        ranked, peak = time.perf_counter(), _peak_gib()
        page = write_page(collect_report_data(audit, store, None), run / "report.html")
        measured = {
            "seconds": ranked - began,
            "peak_gib": peak,
            "report_seconds": time.perf_counter() - ranked,
            "report_peak_gib": _peak_gib(),
            "report_mb": page.stat().st_size / 1e6,
        }
    print(json.dumps(measured))


def _peak_gib() -> float:
    # Linux starts a child's ru_maxrss at the size of the process that started it; VmHWM is of this process alone.
    if sys.platform == "linux":
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        return int(status["VmHWM"].split()[0]) / 2**20
    unit = 2**30 if sys.platform == "darwin" else 2**20  # bytes on macOS, kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


if __name__ == "__main__":
    _measure(Path(sys.argv[1]))
