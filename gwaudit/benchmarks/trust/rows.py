"""Hold the rows of the trust benchmark, one a cell; read and write them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from gwaudit.benchmarks.results import read_results, write_results

ROWS_FILE = "trust.json"
"""Name of the file that keeps the rows."""

METHODS = ("gwaudit", "cleanlab", "aum")
"""The methods of a row."""

REFUSED = "refused"
"""Level of a cell that gwaudit refuses to audit, with the reason in its note."""


@dataclass(frozen=True)
class Cell:
    """Describe a cell: errors of one kind ("clean" for none) at one rate, with one seed."""

    errors: str
    rate: float
    seed: int


@dataclass(frozen=True)
class Found:
    """Hold the quality of one method in one cell, None where it is undefined.

    Attributes:
        average_precision: Average precision of its order.
        best_f1: Highest F1 of all cuts of its order.
        f1: F1 of the samples that it flags.
        n_flagged: Number of the samples that it flags.
    """

    average_precision: float | None = None
    best_f1: float | None = None
    f1: float | None = None
    n_flagged: int | None = None


@dataclass(frozen=True)
class TrustRow:
    """Hold the results of one cell.

    Attributes:
        name, role, kind: Those of the data set.
        n, n_features, n_classes: Size of the data set.
        accuracy: Share of its clean labels that a simple model predicts (`reference_accuracy`).
        errors, rate, seed: The cell.
        n_wrong: Number of wrong labels.
        gwaudit: Quality of gwaudit, at the cut that it fits.
        level: Level of its verdict: "trust it", "use the order", "do not use" or "refused".
        findings: Names of the signals that the verdict names as reasons.
        signals: All signals of the verdict.
        expected_wrong: Number of wrong labels that it expects.
        cleanlab: Quality of cleanlab.
        aum: Quality of AUM, which has no cut.
        seconds, cleanlab_seconds: Wall time of gwaudit and of cleanlab.
        note: Reason for missing results.
    """

    name: str
    role: str
    kind: str
    n: int
    n_features: int
    n_classes: int
    accuracy: float
    errors: str
    rate: float
    seed: int
    n_wrong: int
    gwaudit: Found = Found()
    level: str = ""
    findings: tuple[str, ...] = ()
    signals: dict[str, Any] | None = None
    expected_wrong: float | None = None
    cleanlab: Found = Found()
    aum: Found = Found()
    seconds: float = 0.0
    cleanlab_seconds: float = 0.0
    note: str = ""

    @property
    def key(self) -> tuple[str, Cell]:
        """Return the name of the data set and the cell."""
        return self.name, Cell(self.errors, self.rate, self.seed)


def read_rows(folder: Path) -> list[TrustRow]:
    """Read the rows of `trust.json` in a folder; none if there is no such file.

    Raises:
        StoreDamagedError: The file is broken.
    """
    return read_results(folder / ROWS_FILE, _make_row)


def _make_row(findings: Sequence[str], **facts: Any) -> TrustRow:
    found: dict[str, Any] = {method: Found(**facts.pop(method)) for method in METHODS}
    return TrustRow(findings=tuple(findings), **found, **facts)


def write_rows(folder: Path, rows: Sequence[TrustRow]) -> None:
    """Write the rows into `trust.json` of a folder.

    Raises:
        StoreError: The file cannot be written.
    """
    write_results(folder / ROWS_FILE, rows)


def as_frame(rows: Sequence[TrustRow]) -> pd.DataFrame:
    """Return the rows as a frame, with columns such as `gwaudit_f1` and `cleanlab_average_precision`."""
    frame = pd.json_normalize([{**vars(row), "signals": None} for row in rows])
    for method in METHODS:
        found = pd.DataFrame([vars(getattr(row, method)) for row in rows], dtype=float)
        frame = frame.drop(columns=method, errors="ignore").join(found.add_prefix(f"{method}_"))
    return frame.drop(columns="signals", errors="ignore")
