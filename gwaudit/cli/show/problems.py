"""Show errors, rows that cannot be used, and decisions that cannot be applied."""

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gwaudit.cli.errors import with_flags
from gwaudit.cli.show.console import one_line, printable
from gwaudit.core.urls import redacted

if TYPE_CHECKING:  # for their types alone
    from gwaudit.data.dataset import SkippedSample
    from gwaudit.review.decision_files import Problem


def print_error(message: str) -> None:
    """Print an error on one line of standard error."""
    print(f"error: {printable(one_line(redacted(with_flags(message))))}", file=sys.stderr)


def print_rows(rows: "Sequence[SkippedSample]", console: Console, *, most: int = 20) -> None:
    """Print rows of a source that cannot be used, each with its reason."""
    cells = ((str(sample.row), sample.key, sample.reason) for sample in rows[:most])
    _print_table(("row", "key", "reason"), cells, len(rows) - most, console)


def print_problems(problems: "Sequence[Problem]", console: Console, *, most: int = 50) -> None:
    """Print decisions that cannot be applied, each with its file, row and reason."""
    rows = ("" if problem.row is None else str(problem.row) for problem in problems[:most])
    cells = ((problem.file, row, problem.reason) for problem, row in zip(problems, rows, strict=False))
    _print_table(("file", "row", "reason"), cells, len(problems) - most, console)


def _print_table(names: Sequence[str], rows: Iterable[Sequence[str]], omitted: int, console: Console) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in names:
        table.add_column(name, overflow="fold")
    for *cells, reason in rows:
        table.add_row(*map(escape, cells), escape(one_line(with_flags(reason))))
    console.print(table)
    if omitted > 0:
        console.print(f"... and {omitted:,} more", highlight=False)
