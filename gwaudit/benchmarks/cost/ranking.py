"""Measure the time and memory of ranking synthetic runs of any size, beside DuckDB's GROUP BY over the same files.

Each measurement is a process of its own. `rank` yields the whole ranking; the GROUP BY yields two of its columns, the
mean alignment and the share of epochs with negative alignment of each sample.
"""

import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from gwaudit.benchmarks.cost.synthetic_run import write_synthetic_run
from gwaudit.core.errors import MissingExtraError, SettingsError
from gwaudit.store.store import TrajectoryStore


@dataclass(frozen=True)
class RankingCost:
    """Hold the cost of ranking one run, in a process of its own.

    Processor seconds are those of all threads; they depend less than seconds on what else the machine does.

    Attributes:
        samples, epochs, classes: Size of the run.
        store_gib: Size of the run on the disk, in GiB.
        bytes_by_signal: Bytes of a sample and epoch, by signal; `sample_id` is that of the ids.
        rank_seconds: Seconds from opening the run to the finished audit, without imports.
        rank_processor_seconds: Processor seconds of it.
        rank_peak_gib: Largest resident memory of the process until then, in GiB.
        results_seconds: Seconds from there until all results are written: page, suspects, audit, tables, cleaned data.
        results_processor_seconds: Processor seconds of it.
        peak_gib: Largest resident memory of the process at the end, in GiB. Writing results loads torch.
        report_mb: Size of the page, in MB.
        group_by_seconds: Seconds of DuckDB's GROUP BY.
        group_by_processor_seconds: Processor seconds of it.
        group_by_peak_gib: Largest resident memory of its process, in GiB.
    """

    samples: int
    epochs: int
    classes: int
    store_gib: float
    bytes_by_signal: dict[str, float]
    rank_seconds: float
    rank_processor_seconds: float
    rank_peak_gib: float
    results_seconds: float
    results_processor_seconds: float
    peak_gib: float
    report_mb: float
    group_by_seconds: float
    group_by_processor_seconds: float
    group_by_peak_gib: float


def ranking(
    samples: Sequence[int] = (1_280_000,),
    *,
    epochs: int = 90,
    classes: int = 1000,
    folder: Path | None = None,
    output: Path | None = None,
    seed: int = 0,
    on_row: Callable[[RankingCost], None] | None = None,
) -> list[RankingCost]:
    """Write a synthetic run of each size, rank it in a fresh process, measure that process, and delete the run.

    Args:
        samples: Number of samples of each run.
        epochs, classes: Size of each run.
        folder: Folder for the runs, 25 bytes a sample and epoch; by default a temporary one.
        output: Folder for `ranking.json` and its table, written after each size; by default nothing is written.
        seed: Seed of the numbers.
        on_row: Receives each row.

    Raises:
        SettingsError: A size is below 1.
        MissingExtraError: DuckDB is not installed.
    """
    if not samples or min(*samples, epochs, classes) < 1:
        raise SettingsError(f"`samples`, `epochs` and `classes` must be at least 1, not {samples}, {epochs}, {classes}")
    try:
        import duckdb  # noqa: F401  # before the run is written: its own process needs it at the end
    except ImportError as error:
        raise MissingExtraError("the ranking benchmark", "peers") from error
    rows = []
    for n in samples:
        rows.append(_measure_size(n, epochs, classes, folder, seed))
        if on_row is not None:
            on_row(rows[-1])
        if output is not None:
            from gwaudit.benchmarks.results import write_results  # needs torch

            write_results(output / "ranking.json", rows, table=markdown(rows))
    return rows


def markdown(rows: Sequence[RankingCost]) -> str:
    """Return the rows as a Markdown table, and the bytes of each signal as another one."""
    lines = [
        "| samples | epochs | run, GiB | rank: s (processor s) | GiB | results: s (processor s) | GiB "
        "| DuckDB's GROUP BY: s (processor s) | GiB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.samples:,} | {row.epochs} | {row.store_gib:.2f} "
        f"| {row.rank_seconds:.1f} ({row.rank_processor_seconds:.1f}) | {row.rank_peak_gib:.2f} "
        f"| {row.results_seconds:.1f} ({row.results_processor_seconds:.1f}) | {row.peak_gib:.2f} "
        f"| {row.group_by_seconds:.1f} ({row.group_by_processor_seconds:.1f}) | {row.group_by_peak_gib:.2f} |"
        for row in rows
    ]
    lines += ["", "| signal | bytes a sample and epoch |", "|---|---|"]
    signals = rows[-1].bytes_by_signal
    lines += [f"| `{name}` | {size:.2f} |" for name, size in signals.items()]
    return "\n".join([*lines, f"| all | {sum(signals.values()):.2f} |"]) + "\n"


def bytes_by_signal(run: Path) -> dict[str, float]:
    """Return the compressed bytes of a sample and epoch by column of the epochs' files, without their footers."""
    totals: Counter[str] = Counter()
    rows = 0
    for path in sorted((run / "epochs").rglob("*.parquet")):
        with path.open("rb") as file:
            metadata = pq.ParquetFile(file).metadata
        rows += metadata.num_rows
        for group in range(metadata.num_row_groups):
            for column in range(metadata.num_columns):
                chunk = metadata.row_group(group).column(column)
                totals[chunk.path_in_schema] += chunk.total_compressed_size
    return {name: total / rows for name, total in totals.items()}


def _measure_size(samples: int, epochs: int, classes: int, folder: Path | None, seed: int) -> RankingCost:
    parent = Path(tempfile.mkdtemp(prefix="gwaudit-ranking-", dir=folder))
    try:
        run = parent / "run"
        write_synthetic_run(run, samples=samples, epochs=epochs, classes=classes, seed=seed)
        return RankingCost(
            samples,
            epochs,
            classes,
            store_gib=sum(path.stat().st_size for path in run.rglob("*.parquet")) / 2**30,
            bytes_by_signal=bytes_by_signal(run),
            **_in_new_process("group-by", run),
            **_in_new_process("rank", run),
        )
    finally:
        shutil.rmtree(parent, ignore_errors=True)


def _in_new_process(work: str, run: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "gwaudit.benchmarks.cost.ranking", work, str(run)]
    measured: dict[str, float] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return measured


def _rank(run: Path) -> dict[str, float]:
    from gwaudit.analysis.ranking import rank

    with TrajectoryStore.open(run) as store:
        timer = _Timer()
        audit = rank(store)
        ranked = timer.measured("rank") | {"rank_peak_gib": _peak_gib()}
        from gwaudit.pipeline.results import REPORT_FILE, write_results

        timer = _Timer()
        write_results(audit, None, store)
        measured = timer.measured("results") | {"peak_gib": _peak_gib()}
    return ranked | measured | {"report_mb": (run / REPORT_FILE).stat().st_size / 1e6}


def _group_by(run: Path) -> dict[str, float]:
    import duckdb

    files = str(run / "epochs" / "*" / "*" / "*.parquet").replace("'", "''")
    timer = _Timer()
    duckdb.connect().execute(
        "create temp table statistics as select sample_id, avg(alignment) as mean_alignment, "
        f"avg((alignment < 0)::int) as share_negative from read_parquet('{files}') group by sample_id"
    )
    return timer.measured("group_by") | {"group_by_peak_gib": _peak_gib()}


class _Timer:
    """Measure seconds, and processor seconds of this process, from now on."""

    def __init__(self) -> None:
        self._began, self._used = time.perf_counter(), time.process_time()

    def measured(self, name: str) -> dict[str, float]:
        return {
            f"{name}_seconds": time.perf_counter() - self._began,
            f"{name}_processor_seconds": time.process_time() - self._used,
        }


def _peak_gib() -> float:
    # Linux starts a child's ru_maxrss at the size of the process that started it; VmHWM is of this process alone.
    if sys.platform == "linux":
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        return int(status["VmHWM"].split()[0]) / 2**20
    unit = 2**30 if sys.platform == "darwin" else 2**20  # bytes on macOS, kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def _main(work: str, run: str) -> None:
    measures: dict[str, Callable[[Path], dict[str, Any]]] = {"rank": _rank, "group-by": _group_by}
    print(json.dumps(measures[work](Path(run))))


if __name__ == "__main__":
    _main(*sys.argv[1:])
