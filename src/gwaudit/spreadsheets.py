"""CSV files for people: what Excel and its like open well, and give back."""

import csv
from pathlib import Path

import pandas as pd

from gwaudit.durable import write_atomically
from gwaudit.errors import storing

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def write_csv(frame: pd.DataFrame, path: Path | str, *, index: bool = False) -> Path:
    """Write a frame as UTF-8 with a byte order mark, without which Excel takes it for another encoding.

    Args:
        frame: text that a spreadsheet would run as a formula gets an apostrophe in front, in cells, index and header.
        path: of the file; it is there whole or not at all.
        index: write the frame's index too.

    Raises:
        StoreError: it cannot be written.
    """
    path = Path(path)
    frame = frame.rename(columns=without_formula)
    if index:
        frame = frame.rename(index=without_formula)
    for column in frame.select_dtypes(exclude=["number", "bool"]).columns:
        frame[column] = frame[column].astype(object).map(without_formula)
    text = frame.round(6).to_csv(index=index, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8-sig"))
    return path


def without_formula(text: object) -> str:
    """A text as a cell that no spreadsheet runs: with an apostrophe in front where it begins like a formula."""
    value = "" if text is None else str(text)
    return f"'{value}" if value.startswith(_FORMULA) else value


def from_cell(cell: str) -> str:
    """The text that `without_formula` made this cell of."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_FORMULA) else cell
