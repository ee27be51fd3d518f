"""Read and write CSV files that spreadsheet programs open, and save again, without loss."""

import codecs
import csv
import io
import re
from collections.abc import Collection, Iterable
from pathlib import Path

import pandas as pd

from gwaudit.core.errors import DataError
from gwaudit.core.files import write_atomically

# The beginning of a formula. A text with apostrophes in front of a formula gets one more, so that both can be restored.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n]")

_SEPARATORS = (",", ";", "\t", "|")
_SAVE_AS_CSV = "open it in a spreadsheet program and save it as CSV in UTF-8, with columns of numbers imported as text"
_OTHER_FORMATS = (
    (b"PK\x03\x04", "a workbook (.xlsx, .ods) or another zip file", _SAVE_AS_CSV),
    (b"\xd0\xcf\x11\xe0", "a workbook of Excel (.xls)", _SAVE_AS_CSV),
    (b"\x1f\x8b", "a gzip file", "unpack it"),
    (b"PAR1", "a Parquet file", "write it as CSV, pandas.read_parquet(...).to_csv(...)"),
)
_LONGEST_CELL = 2**31 - 1  # the default limit of csv, 131,072 characters, is less than a long text


def write_csv(frame: pd.DataFrame | Iterable[pd.DataFrame], path: Path | str, *, index: bool = False) -> Path:
    """Write a data frame as a CSV file, atomically, and return its path.

    The encoding is UTF-8 with a byte order mark, without which Excel assumes another encoding. Numbers are rounded to
    six decimals.

    Args:
        frame: the table, or parts of it with the same columns, of which one at a time is held. Texts in cells, index
            and header that a spreadsheet would run as a formula get an apostrophe in front.
        path: the file.
        index: write the index of the frame too.

    Raises:
        StoreError: the file cannot be written.
    """
    path, parts = Path(path), [frame] if isinstance(frame, pd.DataFrame) else frame

    def write(temporary: Path) -> None:
        with temporary.open("w", encoding="utf-8-sig", newline="") as file:
            for number, part in enumerate(parts):
                file.write(_csv_text(part, index=index, header=number == 0))

    write_atomically(path, write)
    return path


def _csv_text(frame: pd.DataFrame, *, index: bool, header: bool) -> str:
    frame = frame.rename(columns=without_formula)
    if index:
        frame = frame.rename(index=without_formula)
    for column in frame.select_dtypes(exclude=["number", "bool"]).columns:
        cells = frame[column].astype(object)
        frame[column] = cells.where(frame[column].notna(), None).map(without_formula)  # else NaN is written as a text
    return frame.round(6).to_csv(index=index, header=header, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)


def without_formula(text: object) -> str:
    """Return a text as a cell that no spreadsheet runs: an apostrophe is put in front of a formula."""
    value = "" if text is None else str(text)
    return f"'{value}" if _FORMULA.match(value) else value


def from_cell(cell: str) -> str:
    """Return the text that `without_formula` made this cell from."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell[1:]) else cell


def read_cells(
    path: Path, expected: Collection[str], advice: str = "check that it is the right file, with a header"
) -> list[list[str]]:
    """Read the rows of a CSV file that a spreadsheet may have saved.

    The encoding is UTF-8, UTF-16 with a byte order mark (Excel's "Unicode text") or else Windows-1252. Cells are
    separated by commas, semicolons, tabs or vertical bars: the separator is the one with which the header holds most
    of the expected columns.

    Args:
        path: the file.
        expected: column names, in the form of `column_name`; the header must hold at least one.
        advice: what to do where it holds none.

    Returns:
        Lists of cells, the header first, without the empty rows at the end; each is at least as long as the header.

    Raises:
        DataError: the file cannot be read, or its header holds none of these columns.
    """
    text = _decoded(path)
    first, _, rest = text.partition("\n")
    if re.fullmatch(r"sep=.\r?", first):  # the separator, as Excel declares it
        text = rest
    csv.field_size_limit(_LONGEST_CELL)
    rows: list[list[str]] = []
    most = 0
    for separator in _SEPARATORS:
        header = next(csv.reader(io.StringIO(text, newline=""), delimiter=separator), [])
        n_expected = sum(column_name(cell) in expected for cell in header)
        if n_expected > most:
            most, rows = n_expected, _records(text, separator, path)
    if not rows:
        raise DataError(f"{path}: its first row names none of the columns {', '.join(sorted(expected))}: {advice}")
    while not any(cell.strip() for cell in rows[-1]):
        rows.pop()
    width = len(rows[0])
    return [row + [""] * (width - len(row)) for row in rows]


def read_header(path: Path) -> list[str]:
    """Return the cells of the first row of a CSV file, without white space around them.

    The separator is the one that makes most cells of it.

    Raises:
        DataError: the file cannot be read.
    """
    lines = [line for line in _decoded(path).splitlines()[:2] if not re.fullmatch(r"sep=.", line)]
    rows = (next(csv.reader(lines[:1], delimiter=separator), []) for separator in _SEPARATORS)
    return [cell.strip() for cell in max(rows, key=len)]


def column_name(cell: str) -> str:
    """Return the name of a column in lower case, with underscores for spaces and hyphens.

    Example:
        >>> column_name(" Sample-ID ")
        'sample_id'
    """
    return re.sub(r"[\s_-]+", "_", cell.strip().lower())


def texts_are_quoted(path: Path, columns: Collection[str]) -> bool:
    """Return whether every cell of these columns of a CSV file is in quotes or empty, as `write_csv` writes texts.

    Spreadsheet programs write a cell that they took for a number without quotes, also where they quote texts: cells in
    quotes are as they were written, without their changes.

    Args:
        path: the file.
        columns: names of columns of texts, in the form of `column_name`; the file may lack some of them.

    Raises:
        DataError: the file cannot be read.
    """
    text = _decoded(path)
    for separator in _SEPARATORS:
        source = io.StringIO(text, newline="")
        try:  # cells without quotes are read as numbers
            header, *rows = list(csv.reader(source, delimiter=separator, quoting=csv.QUOTE_NONNUMERIC))
        except (ValueError, csv.Error):
            continue
        positions = [i for i, name in enumerate(header) if isinstance(name, str) and column_name(name) in columns]
        if positions:
            return all(isinstance(row[i], str) for row in rows for i in positions if i < len(row))
    return False


def decode_text(content: bytes, *, with_nul: bool = False) -> tuple[str, str]:
    """Return the text of a file and its encoding: UTF-8, UTF-16, or else Windows-1252.

    Args:
        content: The file.
        with_nul: Whether the text may hold the character NUL, as keys and class names may.

    Raises:
        ValueError: It is in another encoding, in several, or no text.
    """
    encodings: tuple[str, ...] = ("utf-8-sig" if content.startswith(codecs.BOM_UTF8) else "utf-8", "cp1252")
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encodings = ("utf-16",)
    for encoding in encodings:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            if encoding.startswith("utf-8") and (row := _row_of_broken_utf8(content)):
                raise ValueError(
                    f"line {row:,} holds bytes that are not UTF-8, but other lines are in UTF-8: correct this line"
                ) from None
            continue
        if with_nul or "\0" not in text:
            return text, encoding
    raise ValueError("it is neither UTF-8 nor UTF-16 nor Windows-1252: save it in UTF-8")


def _row_of_broken_utf8(content: bytes) -> int:
    """Return the line, from 1, of the first byte that is not UTF-8 in a text that is in UTF-8 elsewhere; 0 for none.

    A text in Windows-1252 has hardly any letters beyond ASCII that are valid UTF-8.
    """
    text = content.decode("utf-8", errors="surrogateescape")
    broken = re.search("[\udc80-\udcff]", text)
    if broken is None:
        return 0
    n_broken = len(re.findall("[\udc80-\udcff]", text))
    n_valid = len(re.findall("[^\x00-\x7f\udc80-\udcff]", text))
    return text.count("\n", 0, broken.start()) + 1 if n_valid > n_broken else 0


def _decoded(path: Path) -> str:
    if path.exists() and not path.is_file():
        raise DataError(f"{path} is a folder, a device or a pipe, and no CSV file: check the path")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    for begin, kind, remedy in _OTHER_FORMATS:
        if content.startswith(begin):
            raise DataError(f"{path} is {kind}, and no CSV file: {remedy}")
    if content[1:2] == b"\0" and len(content) % 2 == 0:  # UTF-16, whose byte order mark a program left out
        content = codecs.BOM_UTF16_LE + content
    try:
        return decode_text(content, with_nul=True)[0]
    except ValueError as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def _records(text: str, separator: str, path: Path) -> list[list[str]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        return list(reader)
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}, cannot be read as CSV: {error}") from error
