"""Hold the two consoles: results go to standard output, progress and errors to standard error."""

import math
from collections.abc import Iterable

from rich.console import Console
from rich.markup import escape
from rich.table import Table

out = Console()
err = Console(stderr=True)


def print_facts(title: str, facts: Iterable[tuple[str, str]]) -> None:
    """Print a table of names and values."""
    table = Table("", title, show_header=True)
    for name, value in facts:
        table.add_row(escape(name), escape(value))
    out.print(table)


def one_line(text: str, longest: int | None = None) -> str:
    """Return a text on one line, cut to a length if one is given."""
    line = " ".join(text.split())
    return line if longest is None or len(line) <= longest else f"{line[: longest - 3]}..."


def number(value: float | None) -> str:
    """Return a number with four decimals; a dash for None and NaN."""
    return "-" if value is None or math.isnan(value) else f"{value:.4f}"


def share(value: float) -> str:
    """Return a share in [0, 1] with three decimals; a dash for NaN."""
    return "-" if math.isnan(value) else f"{value:.3f}"


def percent(value: float) -> str:
    """Return a share in [0, 1] as a percentage; a dash for NaN."""
    return "-" if math.isnan(value) else f"{value:.1%}"
