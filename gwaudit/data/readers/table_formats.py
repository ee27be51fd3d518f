"""Read the rows of table files: CSV, JSON, JSON Lines, Parquet and Arrow."""

import csv
import gzip
import io
import os
import re
import zlib
from collections.abc import Iterable
from json import JSONDecodeError
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa

from gwaudit.core.errors import DataError
from gwaudit.core.json import parse_json
from gwaudit.core.parquet import read_parquet, validated
from gwaudit.core.spreadsheets import decode_text
from gwaudit.data.class_names import label_text
from gwaudit.data.readers.raw_samples import BrokenRows
from gwaudit.data.reading_notes import ReadingNotes

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet", ".pq", ".arrow", ".feather")
"""Suffixes of tables, in lower case; those of texts may be followed by `.gz`."""

_COMPRESSED = ".gz"
_TEXTS = (".csv", ".tsv", ".jsonl", ".ndjson", ".json")
_FORMATS = {".parquet": "Parquet", ".pq": "Parquet", ".arrow": "Arrow", ".feather": "Arrow", ".json": "JSON",
            ".jsonl": "JSON Lines", ".ndjson": "JSON Lines"}  # fmt: skip
_REMEDIES = {
    (".xlsx", ".xls", ".xlsm", ".ods", ".numbers"): "a spreadsheet: save the sheet as CSV (UTF-8)",
    (".zip", ".7z", ".rar", ".bz2", ".xz", ".zst", ".tgz"): "an archive: unpack it",
    (".txt", ".dat"): "a text file: name it .csv or .tsv if it is a table with a header",
    (".pkl", ".pickle", ".joblib", ".h5", ".hdf5", ".mat", ".rds", ".sav", ".dta", ".sqlite", ".db", ".xml"):
        "of a format that is not read: write it as Parquet or CSV",
}  # fmt: skip
_OTHER_CONTENT = (
    (b"PK\x03\x04", "it is an Excel workbook or a zip archive: save the sheet as CSV (UTF-8), or unpack it"),
    (b"\x1f\x8b", "it is compressed by gzip: let its name end in .gz"),
    (b"PAR1", "it is a Parquet file: let its name end in .parquet"),
    (b"version https://git-lfs", "it is a pointer of Git LFS: get the file itself with git lfs pull"),
)
_OF_VIEWS = {"string_view": pa.large_string(), "binary_view": pa.large_binary()}
_SEPARATORS = (",", ";", "\t", "|")


class CsvText(NamedTuple):
    """Hold the text of a CSV file.

    Attributes:
        text: Its content, from the header on.
        separator: Text between two cells.
        encoding: Name of its encoding.
        preamble: Line of Excel before the header that names the separator, or "".
    """

    text: str
    separator: str
    encoding: str
    preamble: str


def is_table(path: Path) -> bool:
    """Return whether a file is a table by its name."""
    suffix, compressed = _suffix(path)
    return suffix in (_TEXTS if compressed else TABLE_SUFFIXES)


def remedy(path: Path) -> str:
    """Return what to do with a file of a format that is not read, or "" where nothing better is known."""
    for suffixes, text in _REMEDIES.items():
        if path.suffix.lower() in suffixes:
            return text
    return ""


def read_table(file: Path, notes: ReadingNotes) -> tuple[pa.Table, BrokenRows]:
    """Read the rows of a file, and the reason for each row that cannot be read, by its number from 0.

    The cells of CSV stay texts: an id 007 stays as it is, and a class named NA or None is not a missing value.

    Args:
        file: A file that `is_table`.
        notes: Notes of the reading, which receive how the file was understood.

    Raises:
        DataError: The file cannot be read.
    """
    suffix, _ = _suffix(file)
    try:
        if suffix in (".parquet", ".pq"):
            return read_parquet(file), {}
        if suffix in (".arrow", ".feather"):
            return _without_views(_read_arrow(file)), {}
        if suffix in (".csv", ".tsv"):
            return _read_csv(file, notes), {}
        return _read_json(file, notes)
    except (pa.ArrowException, OSError, ValueError, EOFError, zlib.error) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"{file} cannot be read as {_FORMATS.get(suffix, 'CSV')} ({_actual_format(file) or reason}): "
            "fix it, or copy it again"
        ) from error


def read_csv_text(file: Path) -> CsvText:
    """Read the text of a CSV file, and find its separator and its encoding.

    The separator is the usual one of the file's suffix, unless another one of `,`, `;`, tab and `|` splits the header
    into more cells, or a first line `sep=;` of Excel names it.

    Raises:
        OSError: The file cannot be read.
        ValueError: The file is not a text.
    """
    suffix, _ = _suffix(file)
    text, encoding = decode_text(_content(file))
    preamble = ""
    separators = list(_SEPARATORS)
    if declared := re.match(r"sep=(.)\r?\n", text):
        preamble, text, separators = declared[0], text[declared.end() :], [declared[1]]
    elif suffix == ".tsv":
        separators.sort(key=lambda separator: separator != "\t")
    widths = [len(_header(text, separator)) for separator in separators]
    return CsvText(text, separators[widths.index(max(widths))], encoding, preamble)


def _suffix(path: Path) -> tuple[str, bool]:
    """Return the suffix that names the format, in lower case, and whether the file is compressed."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes[-1:] == [_COMPRESSED] and len(suffixes) > 1:
        return suffixes[-2], True
    return (suffixes or [""])[-1], False


def _content(file: Path) -> bytes:
    content = file.read_bytes()
    return gzip.decompress(content) if _suffix(file)[1] else content


def _actual_format(file: Path) -> str:
    try:
        begin = file.read_bytes()[:64]
    except OSError:
        return ""
    return next((reason for magic, reason in _OTHER_CONTENT if begin.startswith(magic)), "")


def _header(text: str, separator: str) -> list[str]:
    records = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        return next((record for record in records if any(cell.strip() for cell in record)), [])
    except csv.Error:
        return []


def _read_csv(file: Path, notes: ReadingNotes) -> pa.Table:
    content = read_csv_text(file)
    if content.encoding == "cp1252":
        notes.remark(f"{file.name} is not in UTF-8: it is read as Windows-1252 (Latin-1)")
    usual = "\t" if _suffix(file)[0] == ".tsv" else ","
    if content.separator != usual:
        notes.remark(f"the cells of {file.name} are separated by {content.separator!r}")
    header = [cell.strip() for cell in _header(content.text, content.separator)]
    frame = _parse_csv(content, header)
    if len(frame.columns) == len(header) + 1:  # pandas takes the first of too many cells for an index
        *_, last = (frame[name] for name in frame.columns)
        if any(isinstance(cell, str) and cell.strip() for cell in last):
            header = ["", *header]
            notes.remark(
                f"the rows of {file.name} have one cell more than its header: the first is taken for a row name"
            )
        else:
            frame = frame.iloc[:, :-1]
            notes.remark(f"rows of {file.name} end with a separator, which is left out")
    elif len(frame.columns) != len(header):
        raise DataError(f"{file} has rows of {len(frame.columns)} cells under a header of {len(header)}: fix them")
    return pa.Table.from_arrays([pa.array(frame[name], pa.string()) for name in frame.columns], _distinct(header))


def _parse_csv(content: CsvText, header: list[str]) -> pd.DataFrame:
    """Return all rows below the header, with a column for each cell of the first of them."""
    skips_space = len(header) > 1 and all(cell.startswith(" ") for cell in _header(content.text, content.separator)[1:])
    options: dict[str, Any] = {
        "sep": content.separator, "dtype": str, "keep_default_na": False, "skipinitialspace": skips_space, "header": 0,
    }  # fmt: skip
    width = len(header)
    names = list(range(width))
    frame: pd.DataFrame = pd.read_csv(io.StringIO(content.text), names=names, **options)
    if not isinstance(frame.index, pd.RangeIndex):
        width += frame.index.nlevels
        frame = pd.read_csv(io.StringIO(content.text), names=list(range(width)), **options)
    return frame


def _distinct(names: Iterable[str]) -> list[str]:
    """Return the names of columns, with other names for those without one, as pandas gives them."""
    return [name or f"Unnamed: {position}" for position, name in enumerate(names)]


def _read_arrow(file: Path) -> pa.Table:
    with pa.memory_map(os.fsencode(file)) as source:
        try:
            return validated(pa.ipc.open_stream(source).read_all())
        except pa.ArrowInvalid:
            return validated(pa.ipc.open_file(source).read_all())


def _without_views(table: pa.Table) -> pa.Table:
    """Return a table whose texts and bytes are of the usual types: polars writes views of them."""
    for position, field in enumerate(table.schema):
        if str(field.type) in _OF_VIEWS:
            table = table.set_column(position, field.name, table.column(position).cast(_OF_VIEWS[str(field.type)]))
    return table


def _read_json(file: Path, notes: ReadingNotes) -> tuple[pa.Table, BrokenRows]:
    text, _ = decode_text(_content(file))
    if _suffix(file)[0] == ".json":
        try:
            return _table_of_rows(_rows_of_json(parse_json(text), file), notes)
        except TypeError as error:
            raise ValueError("its lists of rows or columns are of other types") from error
        except JSONDecodeError:
            if len(text.split("\n", 1)[0].strip()) < 2 or not text.lstrip().startswith("{"):
                raise
    rows: list[Any] = []
    for line in io.StringIO(text):
        if line.strip():
            try:
                rows.append(parse_json(line))
            except ValueError as error:
                rows.append(error)
    return _table_of_rows(rows, notes)


def _rows_of_json(content: Any, file: Path) -> list[Any]:
    """Return the rows in a list of objects, or in an object of columns, as pandas writes both."""
    if isinstance(content, dict) and content.keys() == {"columns", "index", "data"}:
        return [dict(zip(content["columns"], row, strict=True)) for row in content["data"]]
    if isinstance(content, dict) and content.keys() == {"schema", "data"}:
        return list(content["data"])
    lists = [value for value in content.values() if isinstance(value, list)] if isinstance(content, dict) else []
    if len(lists) == 1 and all(isinstance(row, dict) for row in lists[0]):  # with facts about the data beside it
        return lists[0]
    if isinstance(content, dict) and content and len({type(column) for column in content.values()}) == 1:
        columns = [column if isinstance(column, list) else list(column.values()) if isinstance(column, dict) else None
                   for column in content.values()]  # fmt: skip
        lengths = {None if column is None else len(column) for column in columns}
        if len(lengths) == 1 and None not in lengths:
            return [dict(zip(content, row, strict=True)) for row in zip(*columns, strict=True)]
    if isinstance(content, list):
        return content
    raise DataError(f"{file} holds no table: expected a list of objects, one a row, or JSON Lines")


def _table_of_rows(values: list[Any], notes: ReadingNotes) -> tuple[pa.Table, BrokenRows]:
    """Return the table of objects; a value that is no object, or the error in place of one, is a broken row."""
    rows: list[dict[str, Any]] = []
    broken: BrokenRows = {}
    for number, value in enumerate(values):
        if not isinstance(value, dict):
            reason = value if isinstance(value, Exception) else f"a {type(value).__name__}, not an object"
            broken[number] = f"is not a JSON object: {reason}"
        rows.append(value if isinstance(value, dict) else {})
    names = list(dict.fromkeys(name for row in rows for name in row))
    if not names:
        raise ValueError("it holds no object")
    return pa.table({name: _column(name, [row.get(name) for row in rows], notes) for name in names}), broken


def _column(name: str, values: list[Any], notes: ReadingNotes) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError):  # values of several types
        notes.remark(f"the column {name} holds values of several types: they are read as texts")
        if not any(isinstance(value, list) for value in values):
            return pa.array([_text(value) for value in values])
        lists = [value if isinstance(value, list | None) else [value] for value in values]
        return pa.array([None if value is None else [_text(item) for item in value] for value in lists])


def _text(value: Any) -> str | None:
    return value if isinstance(value, str | None) else label_text(value)
