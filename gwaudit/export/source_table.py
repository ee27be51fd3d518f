"""A source's own table under corrected labels: only the label column changes, and the dropped rows are left out.

Rows and cells that do not change stay as they are written, byte for byte in CSV and JSON Lines.
"""

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gwaudit.core.files import writing
from gwaudit.data.classes import classes_of
from gwaudit.data.readers.tables import read_tables

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")

# A cell of CSV with what ends it. Text behind a closing quote belongs to the cell, as pandas has it.
_CELL = r'("(?:[^"]|"")*"[^{separator}\r\n]*|[^{separator}\r\n]*)({separator}|\r\n|\n|\r|\Z)'


def corrected_table(
    source: Path, target: Path, label_column: str, changes: Mapping[int, int], dropped: Sequence[int],
    spellings: Mapping[int, Any],
) -> bool:  # fmt: skip
    """Write a table again under corrected labels.

    Args:
        source: a file of `SUFFIXES`.
        target: the new file, of the same suffix.
        label_column: of the labels.
        changes: the new class of rows, by their numbers from 0.
        dropped: rows to leave out.
        spellings: how the table writes each class that is needed.

    Returns:
        Whether it was written: not where the file is written in a way that cannot be kept.

    Raises:
        DataError: the source cannot be read.
        StoreError: the target cannot be written.
    """
    if not spellings.keys() >= set(changes.values()):
        return False
    before, _ = read_tables([source], source)
    values = before[label_column].to_pylist()
    for row, label in changes.items():
        values[row] = spellings[label]
    kept = np.setdiff1d(np.arange(before.num_rows), np.asarray(dropped, np.int64))
    place = before.column_names.index(label_column)
    try:
        column = pa.chunked_array([pa.array(values, before.schema.field(place).type)])
    except (pa.ArrowException, TypeError):
        return False
    expected = before.set_column(place, before.schema.field(place), column).take(pa.array(kept))
    with writing(target):
        if source.suffix == ".parquet":
            pq.write_table(expected, target, compression="zstd")
            return True
        text = source.read_bytes().decode("utf-8")
        mark, text = ("\ufeff", text[1:]) if text.startswith("\ufeff") else ("", text)
        changed, left = {row: values[row] for row in changes}, set(dropped)
        if source.suffix in (".csv", ".tsv"):
            text = _separated(text, "\t" if source.suffix == ".tsv" else ",", place, changed, left)
        else:
            text = _json_lines(text, label_column, changed, left)
        target.write_bytes((mark + text).encode("utf-8"))
    # The reader is the judge of what was written, as it may part rows and cells in ways of its own.
    after, _ = read_tables([target], target)
    if after.column_names == expected.column_names and after.to_pylist() == expected.to_pylist():
        return True
    target.unlink()
    return False


def spellings_of(
    table: pa.Table, label_column: str, labels: Mapping[int, int], class_names: Sequence[str]
) -> dict[int, Any]:
    """How a table writes each class: as its first row of it does, else by name, or index where it holds integers.

    Args:
        table: the rows.
        label_column: of the labels.
        labels: the class of each usable row.
        class_names: of the classes.

    Returns:
        A value a class, without classes that the table cannot name: an integer that is another class's name.
    """
    column = table[label_column]
    by_index = pa.types.is_integer(column.type)
    spellings: dict[int, Any] = {index: index if by_index else name for index, name in enumerate(class_names)}
    values = column.to_pylist()
    for row in sorted(labels, reverse=True):
        spellings[labels[row]] = values[row]
    read, _, _ = classes_of(list(spellings.values()), class_names)
    return {label: value for place, (label, value) in enumerate(spellings.items()) if read[place] == label}


def _separated(text: str, separator: str, place: int, values: Mapping[int, str], dropped: set[int]) -> str:
    cell = re.compile(_CELL.format(separator=separator))
    blank_line = re.compile(r" *(\r\n|\n|\r|\Z)" if separator == "\t" else r"[ \t]*(\r\n|\n|\r|\Z)")
    written: list[str] = []
    position, row = 0, -1  # the header
    while position < len(text):
        if blank := blank_line.match(text, position):
            written.append(blank[0])
            position = blank.end()
            continue
        start, cells = position, []
        while True:
            found = cell.match(text, position)
            assert found is not None  # the pattern matches nothing, too
            cells.append(found)
            position = found.end()
            if found[2] != separator:
                break
        if row not in dropped:
            record = text[start:position]
            if row in values and place < len(cells):
                old = cells[place]
                new = _csv_cell(values[row], separator, quoted=old[1].startswith('"'))
                record = text[start : old.start(1)] + new + text[old.end(1) : position]
            written.append(record)
        row += 1
    return "".join(written)


def _csv_cell(value: str, separator: str, *, quoted: bool) -> str:
    line = io.StringIO()
    writer = csv.writer(
        line, delimiter=separator, quoting=csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL, lineterminator=""
    )
    writer.writerow([value])
    return line.getvalue()


def _json_lines(text: str, label_column: str, values: Mapping[int, Any], dropped: set[int]) -> str:
    written: list[str] = []
    row = 0
    for line in io.StringIO(text):
        if not line.strip():
            written.append(line)
            continue
        if row not in dropped:
            written.append(_with_value(line, label_column, values[row]) if row in values else line)
        row += 1
    return "".join(written)


def _with_value(line: str, name: str, value: Any) -> str:
    """A line's object with another value under a name, and nothing else changed."""
    decoder = json.JSONDecoder()
    position = line.index("{") + 1
    start = end = 0
    while found := re.compile(r"[\s,]*(?=\")").match(line, position):
        key, position = decoder.raw_decode(line, found.end())
        begin = re.compile(r"\s*:\s*").match(line, position)
        assert begin is not None  # the line was read as JSON before
        _, position = decoder.raw_decode(line, begin.end())
        if key == name:  # the last of several counts
            start, end = begin.end(), position
    return line[:start] + json.dumps(value, ensure_ascii=line.isascii()) + line[end:]
