"""Show the epochs of a run: alignment, stopping rules, groups."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from rich.markup import escape
from rich.table import Table

from gwaudit.cli.show.console import out

if TYPE_CHECKING:  # for their types alone
    import pandas as pd

    from gwaudit.analysis.monitor import RuleChoice

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
    """Print the alignment of a run, a row per epoch."""
    names = [name for name in _SHOWN if name in signals]
    table = Table(title=escape(run), title_justify="left")
    table.add_column("epoch", justify="right")
    for name in names:
        table.add_column(_SHOWN[name][0], justify="right")
    for epoch, row in signals.iterrows():
        table.add_row(str(int(str(epoch)) + 1), *(_format(row[name], _SHOWN[name][1]) for name in names))
    out.print(table)


def print_rule_choices(choices: "Sequence[RuleChoice]") -> None:
    """Print a row per stopping rule: the epoch it selects in hindsight, and online, while the run is trained."""
    table = Table(title="Which epoch to keep", title_justify="left")
    table.add_column("rule", no_wrap=True)
    table.add_column("reason")
    table.add_column("epoch", justify="right")
    table.add_column("online: epoch", justify="right")
    table.add_column("trained", justify="right")
    for choice in choices:
        table.add_row(
            choice.rule,
            escape(choice.hindsight.reason),
            str(choice.hindsight.epoch + 1),
            str(choice.online.epoch + 1),
            str(choice.trained),
        )
    out.print(table)


def print_groups(table: "pd.DataFrame", epoch: int) -> None:
    """Print a row per group, least aligned first: its alignment at an epoch, and E over all epochs.

    Args:
        table: the readings by epoch and group.
        epoch: the epoch, counted from 0.
    """
    at = table.loc[[epoch]].droplevel("epoch").sort_values("directional_alignment")
    shown = Table(title=f"Groups after epoch {epoch + 1}, least aligned first", title_justify="left")
    shown.add_column("group", overflow="fold")
    for name in ("samples", "E", "K", "GWA"):
        shown.add_column(name, justify="right", no_wrap=True)
    shown.add_column("E by epoch", no_wrap=True)
    by_group = table["directional_alignment"].unstack("group")
    low, high = float(np.nanmin(by_group)), float(np.nanmax(by_group))
    width = max(8, min(40, out.width - 60))  # the numbers take the rest
    for group, row in at.iterrows():
        shown.add_row(
            escape(str(group)),
            f"{row['count']:,.0f}",
            _format(row["directional_alignment"], "+.4f"),
            _format(row["dispersion"], "+.2f"),
            _format(row["gwa"], "+.4f"),
            sparkline(by_group[group].tolist(), low, high, width=width),
        )
    out.print(shown)


def sparkline(values: Sequence[float], low: float, high: float, *, width: int = 40) -> str:
    """Return numbers as bars between `low` and `high`; NaN is a blank.

    Args:
        values: the numbers.
        low, high: the numbers of the lowest and the highest bar.
        width: largest number of bars: of more values, evenly spaced ones are drawn.

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
