"""CSV files for people: what Excel and its like open well, and give back."""

import codecs
import csv
import io
import re
from collections.abc import Collection
from pathlib import Path

import pandas as pd

from gwaudit.core.errors import DataError
from gwaudit.core.files import write_text

# How a formula begins. A text that has apostrophes in front of one already gets one more, so that both come back.
_RUNS = re.compile(r"'*[=+\-@\t\r\n]")

_SEPARATORS = (",", ";", "\t", "|")
_LONGEST_CELL = 2**31 - 1  # csv's own limit is 131,072 characters, less than a long text


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
    return write_text(path, text, encoding="utf-8-sig")


def without_formula(text: object) -> str:
    """A text as a cell that no spreadsheet runs: with an apostrophe in front where it begins like a formula."""
    value = "" if text is None else str(text)
    return f"'{value}" if _RUNS.match(value) else value


def from_cell(cell: str) -> str:
    """The text that `without_formula` made this cell of."""
    return cell[1:] if cell.startswith("'") and _RUNS.match(cell[1:]) else cell


def read_cells(path: Path, known: Collection[str]) -> list[list[str]]:
    """The rows of a CSV file as a spreadsheet may have saved it, the header first, without the empty rows at its end.

    It may be UTF-8, UTF-16 with its mark (Excel's "Unicode text") or else Windows' western encoding, with commas,
    semicolons, tabs or bars between the cells: the header shows which, by the columns that it holds.

    Args:
        path: of the file.
        known: names of columns, as `column_name` gives them, some of which the header must hold.

    Returns:
        Lists of cells of the header's length or longer, as they stand there.

    Raises:
        DataError: it cannot be read, or its header has none of these columns.
    """
    text = _decoded(path)
    first, _, rest = text.partition("\n")
    if re.fullmatch(r"sep=.\r?", first):  # Excel's own hint
        text = rest
    csv.field_size_limit(_LONGEST_CELL)
    best: list[list[str]] = []
    most = 0
    for separator in _SEPARATORS:
        header = next(csv.reader(io.StringIO(text, newline=""), delimiter=separator), [])
        if (found := sum(column_name(cell) in known for cell in header)) > most:
            most, best = found, _records(text, separator, path)
    if not best:
        raise DataError(
            f"{path}: its first row names none of the columns {', '.join(sorted(known))}: is it a table of these?"
        )
    while not any(cell.strip() for cell in best[-1]):
        best.pop()
    width = len(best[0])
    return [row + [""] * (width - len(row)) for row in best]


def column_name(cell: str) -> str:
    """A column's name whatever its case, and with spaces or hyphens for underscores.

    Example:
        >>> column_name(" Sample-ID ")
        'sample_id'
    """
    return re.sub(r"[\s_-]+", "_", cell.strip().lower())


def _decoded(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    for encoding in ("utf-16",) if is_utf16 else ("utf-8-sig", "cp1252"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise DataError(f"{path} is neither UTF-8 nor UTF-16 nor Windows-1252: save it as CSV in UTF-8")


def _records(text: str, separator: str, path: Path) -> list[list[str]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        return list(reader)
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}, cannot be read as CSV: {error}") from error
