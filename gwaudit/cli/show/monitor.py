"""What a terminal shows of a run's epochs: alignment, stopping rules, groups."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from rich.markup import escape
from rich.table import Table

from gwaudit.cli.show.terminal import out

if TYPE_CHECKING:  # for their types alone
    import pandas as pd

    from gwaudit.analysis.monitor import Verdict

_SHOWN = {
    "mean_loss": ("loss", ".3f"),
    "accuracy_on_given": ("accuracy", ".1%"),
    "directional_alignment": ("E", "+.4f"),
    "dispersion": ("K", "+.2f"),
    "gwa": ("GWA", "+.4f"),
    "moving_gwa": ("GWA, moving", "+.4f"),
    "prediction_changes": ("changed", ",.0f"),
    "validation_accuracy": ("validation", ".1%"),
}
_BARS = "▁▂▃▄▅▆▇█"


def print_readings(run: str, signals: "pd.DataFrame") -> None:
    """A row an epoch."""
    names = [name for name in _SHOWN if name in signals]
    table = Table(title=escape(run), title_justify="left")
    table.add_column("epoch", justify="right")
    for name in names:
        table.add_column(_SHOWN[name][0], justify="right")
    for epoch, row in signals.iterrows():
        table.add_row(str(int(str(epoch)) + 1), *(_format(row[name], _SHOWN[name][1]) for name in names))
    out.print(table)


def print_verdicts(verdicts: "Sequence[Verdict]") -> None:
    """A row a rule: what it chooses in hindsight, and what it would have done while the run was made."""
    table = Table(title="Which epoch to keep", title_justify="left")
    table.add_column("rule", no_wrap=True)
    table.add_column("because")
    table.add_column("epoch", justify="right")
    table.add_column("online: epoch", justify="right")
    table.add_column("trained", justify="right")
    for said in verdicts:
        table.add_row(
            said.rule,
            escape(said.hindsight.reason),
            str(said.hindsight.epoch + 1),
            str(said.online.epoch + 1),
            str(said.trained),
        )
    out.print(table)


def print_groups(table: "pd.DataFrame", epoch: int) -> None:
    """A row a group at an epoch (from 0), least aligned first, with the course of its E to the end of the run."""
    at = table.loc[[epoch]].droplevel("epoch").sort_values("directional_alignment")
    shown = Table(title=f"Groups after epoch {epoch + 1}, least aligned first", title_justify="left")
    shown.add_column("group", overflow="fold")
    for name in ("samples", "E", "K", "GWA"):
        shown.add_column(name, justify="right", no_wrap=True)
    shown.add_column("E by epoch", no_wrap=True)
    courses = table["directional_alignment"].unstack("group")
    low, high = float(np.nanmin(courses)), float(np.nanmax(courses))
    width = max(8, min(40, out.width - 60))  # what the numbers leave
    for group, row in at.iterrows():
        shown.add_row(
            escape(str(group)),
            f"{row['count']:,.0f}",
            _format(row["directional_alignment"], "+.4f"),
            _format(row["dispersion"], "+.2f"),
            _format(row["gwa"], "+.4f"),
            sparkline(courses[group].tolist(), low, high, width=width),
        )
    out.print(shown)


def sparkline(values: Sequence[float], low: float, high: float, *, width: int = 40) -> str:
    """Numbers as bars between `low` and `high`; of more than `width` an even choice; a blank for NaN.

    Example:
        >>> sparkline([0.0, 0.5, 1.0, float("nan")], 0.0, 1.0)
        '▁▅█ '
    """
    if len(values) > width:
        values = [values[round(i * (len(values) - 1) / (width - 1))] for i in range(width)]
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(" " if math.isnan(value) else _BARS[math.floor((value - low) * scale + 0.5)] for value in values)


def _format(value: float, spec: str) -> str:
    return "-" if math.isnan(value) else format(value, spec)
