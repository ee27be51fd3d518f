"""Show the rows of a query: the first of them as a table, or all as JSON."""

from collections.abc import Iterable, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from gwaudit.cli.show.console import one_line, out
from gwaudit.core.json import to_json, with_texts
from gwaudit.core.shown_paths import with_urls
from gwaudit.core.url_outputs import shown_output

if TYPE_CHECKING:  # for its type alone
    import pyarrow as pa

SHOWN = 40
"""The number of rows that are shown."""

_WIDEST = 40  # characters of a cell
_PADDING = 3  # characters beside a cell


def print_table(names: Sequence[str], batches: "Iterable[pa.RecordBatch]") -> None:
    """Print the first rows as a table, with as many columns as fit, and the numbers of those that are left out."""
    rows: list[list[Any]] = []
    total = 0
    for batch in batches:
        total += batch.num_rows
        if len(rows) < SHOWN:
            columns = [column.to_pylist() for column in batch.slice(0, SHOWN - len(rows)).columns]
            rows += [list(row) for row in zip(*columns, strict=True)]
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip_longest(map(_cell, names), *cells, fillvalue="")]
    shown = _fitting(widths, out.width)
    table = Table()
    for index, name in enumerate(names[:shown]):
        numeric = any(isinstance(row[index], int | float) and not isinstance(row[index], bool) for row in rows)
        table.add_column(escape(_cell(name)), justify="right" if numeric else "left", overflow="fold")
    for row in cells:
        table.add_row(*map(escape, row[:shown]))
    out.print(table)
    if shown < len(names):
        out.print(
            f"... and {len(names) - shown} more columns, as {escape(names[shown])}: name the columns in the query",
            highlight=False,
        )
    if total > len(rows):
        out.print(f"... and {total - len(rows):,} more rows; --output FILE.csv writes all", highlight=False)


def print_rows_as_json(names: Sequence[str], batches: "Iterable[pa.RecordBatch]") -> None:
    """Print all rows as a JSON list of objects, one a line."""
    before = "["
    for batch in batches:
        columns = [column.to_pylist() for column in batch.columns]
        for row in zip(*columns, strict=True):
            values = with_texts(dict(zip(names, row, strict=True)))
            print(f"{before}{with_urls(to_json(values, indent=None))}", end="")
            before = ",\n "
    print("[]" if before == "[" else "]")


def print_written(path: Path, rows: int) -> None:
    """Print the file that was written, and its number of rows."""
    out.print(f"{escape(str(shown_output(path)))}: {rows:,} rows", highlight=False, soft_wrap=True)


def _fitting(widths: Sequence[int], width: int) -> int:
    """Return how many of the first columns fit a width, 1 at least."""
    used, fitting = 1, 0
    for needed in widths:
        used += needed + _PADDING
        if used > width:
            break
        fitting += 1
    return max(1, fitting)


def _cell(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, float):
        return f"{value:.6g}"
    return one_line(str(value), _WIDEST)
