"""Write the stopping benchmark as Markdown: runs, selections and costs of the rules, correlations, verdicts."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gwaudit.analysis.stopping import PATIENCE
from gwaudit.benchmarks.stopping.analysis import (
    PHASES,
    correlation,
    correlations,
    curve,
    points,
    stopping_rows,
    verdicts,
)
from gwaudit.benchmarks.stopping.benchmark import FULL, StoppingMeasurement
from gwaudit.core.files import write_text


def markdown(measurements: Sequence[StoppingMeasurement], *, patience: int = PATIENCE) -> str:
    """Return all tables: runs, rules, correlations, verdicts."""
    parts = [
        _runs_table(measurements),
        "",
        *_rules_table(measurements, patience),
        "",
        *_correlation_table(measurements),
    ]
    parts += ["", "| labels | model | claim | held | numbers |", "|---|---|---|---|---|"]
    held = {True: "yes", False: "**no**", None: "undecided"}
    claims = [verdict for measured in measurements for verdict in verdicts(measured, patience=patience)]
    parts += [f"| {v.label_variant} | {v.model} | {v.claim} | {held[v.held]} | {v.numbers} |" for v in claims]
    return "\n".join(parts) + "\n"


def write_tables(measurements: Sequence[StoppingMeasurement], folder: Path, *, patience: int = PATIENCE) -> Path:
    """Write all tables as `stopping.md` into a folder, and return its path.

    Raises:
        StoreError: The file cannot be written.
    """
    path, text = folder / "stopping.md", markdown(measurements, patience=patience)
    return write_text(path, text)


def _runs_table(measurements: Sequence[StoppingMeasurement]) -> str:
    lines = [
        "| labels | model | wrong | samples | epochs | best test accuracy | at epoch | last epoch's | train accuracy "
        "at the end | corrupted images |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for measured in measurements:
        test, fitted = curve(measured, FULL, "test_accuracy"), curve(measured, FULL, "accuracy_on_given")
        best = int(np.argmax(test))
        lines.append(
            f"| {measured.label_variant} | {measured.model} | {measured.wrong_share:.1%} | {measured.samples:,} | "
            f"{measured.epochs} | {test[best]:.1%} | {best + 1} | {test[-1]:.1%} | {fitted[-1]:.1%} | "
            f"{measured.corrupted} |"
        )
    return "\n".join(lines)


def _rules_table(measurements: Sequence[StoppingMeasurement], patience: int) -> list[str]:
    lines = [
        "| labels | model | rule | withheld | epoch | test | corrupted | gap, points | online: epoch | trained | test "
        "| gap, points | seconds an epoch | of training | MiB |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    rows = [row for measured in measurements for row in stopping_rows(measured, patience=patience)]
    lines += [
        f"| {row.label_variant} | {row.model} | {row.rule} | {row.withheld:.0%} | {row.epoch} | {row.test:.1%} | "
        f"{_percent(row.corrupted)} | {points(row.gap)} | {row.online_epoch} | {row.stopped} | "
        f"{row.online_test:.1%} | {points(row.online_gap)} | {row.seconds:.3f} | {row.overhead:.1%} | "
        f"{row.memory / 2**20:.1f} |"
        for row in rows
    ]
    return lines


def _correlation_table(measurements: Sequence[StoppingMeasurement]) -> list[str]:
    lines = ["| labels | model | with test accuracy | early | overfitting | whole |", "|---|---|---|---|---|---|"]
    for measured in measurements:
        for name, row in correlations(measured).items():
            values = " | ".join(correlation(row[phase]) for phase in PHASES)
            lines.append(f"| {measured.label_variant} | {measured.model} | {name} | {values} |")
    return lines


def _percent(share: float) -> str:
    return "–" if math.isnan(share) else f"{share:.1%}"
