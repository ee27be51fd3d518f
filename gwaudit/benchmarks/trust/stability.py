"""Measure which suspects change with the order of the rows, the order of the class names, and the seed."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gwaudit.benchmarks.results import read_results, write_results
from gwaudit.benchmarks.trust.cells import PreparedSet, audited, with_errors
from gwaudit.benchmarks.trust.data_sets import TRUST_SETS, TrustSet
from gwaudit.benchmarks.trust.processes import TrustProgress, in_processes, prepared_set
from gwaudit.benchmarks.trust.rows import Cell
from gwaudit.benchmarks.trust.sources import Sources
from gwaudit.core.errors import GwauditError
from gwaudit.data.dataset import LabeledDataset

STABILITY_FILE = "stability.json"
"""Name of the file that keeps the rows."""

CHANGES = ("rows", "classes", "seed")
"""What is changed: the order of the rows, the order of the class names, the seed of the training."""

FEWEST_ROWS = 300
"""Data sets of fewer rows are not measured."""

_CELL = Cell("uniform", 0.1, 0)


@dataclass(frozen=True)
class StabilityRow:
    """Hold the suspects of a data set with 10 % uniform errors, before and after a change that should not matter.

    Attributes:
        name, role: Those of the data set.
        change: One of `CHANGES`.
        level, level_after: Levels of the verdicts.
        n_suspects, n_after: Numbers of suspects.
        n_common: Number of suspects that are the same.
    """

    name: str
    role: str
    change: str
    level: str
    level_after: str
    n_suspects: int
    n_after: int
    n_common: int

    @property
    def share_changed(self) -> float:
        """Return 1 minus the Jaccard index of the two sets of suspects; 0 where both are empty."""
        union = self.n_suspects + self.n_after - self.n_common
        return 1 - self.n_common / union if union else 0.0


def stability(
    folder: Path,
    sets: Sequence[TrustSet] = TRUST_SETS,
    *,
    sources: Sources | None = None,
    processes: int = 1,
    progress: TrustProgress | None = None,
) -> list[StabilityRow]:
    """Measure the data sets of `FEWEST_ROWS` rows and more that the folder lacks.

    Args:
        folder: Folder that keeps `stability.json`.
        sets: Data sets; those that are costly are left out.
        sources: Files that some of the data sets are read from.
        processes: Number of processes, each with one thread.
        progress: Receives the number of data sets done.

    Returns:
        All rows of the folder, those of earlier calls included.

    Raises:
        StoreDamagedError: `stability.json` is broken.
    """
    rows = read_stability(folder)
    kept = {row.name for row in rows}
    tasks = [(each.name, sources or Sources()) for each in sets if each.name not in kept and not each.few_cells]
    for done, (name, new) in enumerate(in_processes(_changes_of, tasks, processes), start=1):
        rows += new
        write_results(folder / STABILITY_FILE, rows)
        if progress is not None:
            progress.on_cells(f"{name}, stability", done, len(tasks))
    return rows


def read_stability(folder: Path) -> list[StabilityRow]:
    """Read the rows of `stability.json` in a folder; none if there is no such file.

    Raises:
        StoreDamagedError: The file is broken.
    """
    return read_results(folder / STABILITY_FILE, StabilityRow)


def _changes_of(task: tuple[str, Sources]) -> list[tuple[str, list[StabilityRow]]]:
    name, sources = task
    try:
        prepared = prepared_set(name, sources)
        if len(prepared.dataset) < FEWEST_ROWS:
            return [(name, [])]
        return [(name, measure_stability(prepared))]
    except GwauditError:  # left out of the cells too, with the reason
        return [(name, [])]


def measure_stability(prepared: PreparedSet) -> list[StabilityRow]:
    """Return a row for each of `CHANGES`.

    Raises:
        GwauditError: gwaudit refuses the data.
    """
    dataset = with_errors(prepared, _CELL)
    n, n_classes = len(dataset), len(dataset.class_names)
    order = np.random.default_rng(1).permutation(n)
    reversed_classes = LabeledDataset(
        dataset.name, dataset.inputs, n_classes - 1 - dataset.labels, dataset.class_names[::-1], dataset.keys
    )
    level, suspects = _suspects(prepared, dataset)
    level_rows, shuffled = _suspects(prepared, dataset.subset(order))
    suspects_rows = np.zeros(n, bool)
    suspects_rows[order] = shuffled
    after = {
        "rows": (level_rows, suspects_rows),
        "classes": _suspects(prepared, reversed_classes),
        "seed": _suspects(prepared, dataset, seed=1),
    }
    return [
        StabilityRow(
            name=prepared.source.name,
            role=prepared.source.role,
            change=change,
            level=level,
            level_after=after[change][0],
            n_suspects=int(suspects.sum()),
            n_after=int(after[change][1].sum()),
            n_common=int((suspects & after[change][1]).sum()),
        )
        for change in CHANGES
    ]


def _suspects(prepared: PreparedSet, dataset: LabeledDataset, seed: int = 0) -> tuple[str, NDArray[np.bool_]]:
    with tempfile.TemporaryDirectory() as folder:
        audit = audited(dataset, Path(folder) / "run", prepared.source, seed=seed)
        return audit.verdict.level, np.asarray(audit.by_id("suspect"), bool)
