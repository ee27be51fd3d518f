"""Audit the data sets of the trust benchmark under every kind and rate of errors, with all defaults; keep the rows.

A cell is a data set with one kind and rate of errors and one seed. gwaudit trains and ranks it as `audit` does.
cleanlab and AUM get the same features and labels (`gwaudit.benchmarks.trust.peers`). Cells that are kept in
`trust.json` are not computed again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from gwaudit.benchmarks.trust.cells import measure
from gwaudit.benchmarks.trust.data_sets import TRUST_SETS, TrustSet
from gwaudit.benchmarks.trust.label_errors import RATES, ErrorKind
from gwaudit.benchmarks.trust.processes import TrustProgress, in_processes, prepared_set
from gwaudit.benchmarks.trust.rows import Cell, TrustRow, read_rows, write_rows
from gwaudit.benchmarks.trust.sources import Sources
from gwaudit.core.errors import GwauditError, SettingsError

ERRORS = ("clean", *get_args(ErrorKind))
"""The kinds of errors."""

_OF_COSTLY_SETS = (("clean", 0.0), ("uniform", 0.05), ("uniform", 0.2))


@dataclass(frozen=True)
class _Task:
    """Hold the cells of one data set and one seed."""

    name: str
    cells: tuple[Cell, ...]
    sources: Sources


def trust(
    folder: Path,
    sets: Sequence[TrustSet] = TRUST_SETS,
    *,
    sources: Sources | None = None,
    errors: Sequence[str] = ERRORS,
    rates: Sequence[float] = RATES,
    seeds: Sequence[int] = (0, 1, 2),
    processes: int = 1,
    progress: TrustProgress | None = None,
) -> list[TrustRow]:
    """Compute the cells that the folder lacks.

    Args:
        folder: Folder that keeps `trust.json`.
        sets: Data sets.
        sources: Files that some of the data sets are read from; these are left out where their file is not given.
        errors: Kinds of errors, of `ERRORS`.
        rates: Shares of wrong labels, in (0, 0.5].
        seeds: Seeds of the errors and of the trainings.
        processes: Number of processes, each with one thread.
        progress: Receives the data sets that are left out, and the number of cells done.

    Returns:
        All rows of the folder, those of earlier calls included.

    Raises:
        SettingsError: A kind of errors is unknown, or a rate is impossible.
        StoreDamagedError: `trust.json` is broken.
        MissingExtraError: cleanlab is not installed.
    """
    _require_errors(errors, rates)
    rows = {row.key: row for row in read_rows(folder)}
    tasks = []
    for seed in seeds:  # of an interrupted benchmark, all data sets have some cells
        for source in sets:
            missing = [cell for cell in cells_of(source, errors, rates, seeds) if (source.name, cell) not in rows]
            if cells := tuple(cell for cell in missing if cell.seed == seed):
                tasks.append(_Task(source.name, cells, sources or Sources()))
    done, total = 0, sum(len(task.cells) for task in tasks)
    left_out: set[str] = set()
    for task, result in in_processes(_run, tasks, processes):
        if isinstance(result, str):
            done += len(task.cells)
            if progress is not None and task.name not in left_out:
                progress.on_left_out(task.name, result)
            left_out.add(task.name)
            continue
        done += 1
        rows[result.key] = result
        write_rows(folder, list(rows.values()))
        if progress is not None:
            progress.on_cells(task.name, done, total)
    return list(rows.values())


def cells_of(source: TrustSet, errors: Sequence[str], rates: Sequence[float], seeds: Sequence[int]) -> list[Cell]:
    """Return the cells of a data set; of a costly one only some, with the first seed.

    Args:
        source: The data set.
        errors: Kinds of errors.
        rates: Shares of wrong labels.
        seeds: Seeds.
    """
    pairs = [(kind, rate) for kind in errors for rate in ((0.0,) if kind == "clean" else rates)]
    if source.few_cells:
        pairs, seeds = [pair for pair in pairs if pair in _OF_COSTLY_SETS], seeds[:1]
    return [Cell(kind, rate, seed) for seed in seeds for kind, rate in pairs]


def _require_errors(errors: Sequence[str], rates: Sequence[float]) -> None:
    if unknown := [kind for kind in errors if kind not in ERRORS]:
        raise SettingsError(f"unknown kind of label errors {unknown[0]!r}: choose from {', '.join(ERRORS)}")
    if wrong := [rate for rate in rates if not 0 < rate <= 0.5]:
        raise SettingsError(f"`rates` are shares of wrong labels in (0, 0.5], not {wrong[0]}")


def _run(task: _Task) -> Iterator[tuple[_Task, TrustRow | str]]:
    """Yield the task with each of its rows, or with the reason for leaving out its data set."""
    try:
        prepared = prepared_set(task.name, task.sources)
    except GwauditError as error:
        yield task, str(error)
        return
    for cell in task.cells:
        yield task, measure(prepared, cell)
