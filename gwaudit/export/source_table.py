"""Write a source's table again under corrected labels: the label column changes, dropped rows are left out.

All other rows and cells stay byte for byte the same in CSV and JSON Lines.
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
from numpy.typing import NDArray

from gwaudit.core.files import writing
from gwaudit.core.parquet import write_parquet
from gwaudit.core.spreadsheets import decode_text
from gwaudit.data.class_names import whole_number
from gwaudit.data.labels import class_indices
from gwaudit.data.readers.declared_columns import class_names_in
from gwaudit.data.readers.table_formats import read_csv_text
from gwaudit.data.readers.tables import read_tables

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")

# A cell of CSV and the separator or line end behind it. Text behind a closing quote belongs to the cell, as in pandas.
_CELL = r'("(?:[^"]|"")*"[^{separator}\r\n]*|[^{separator}\r\n]*)({separator}|\r\n|\n|\r|\Z)'


def corrected_table(
    source: Path, target: Path, label_column: str, changes: Mapping[int, int], dropped: Sequence[int],
    spellings: Mapping[int, Any],
) -> bool:  # fmt: skip
    """Write a table again under corrected labels.

    Args:
        source: A file with one of the suffixes `SUFFIXES`.
        target: The new file, with the same suffix.
        label_column: Name of the column with the labels.
        changes: The new class, or number of a set of classes, of each row that changes, by row number from 0.
        dropped: Numbers of the rows to leave out.
        spellings: The value that the table has for each, from `spellings_of` or `spellings_of_sets`.

    Returns:
        Whether the target was written: False where the file is of a form that cannot be kept.

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
    position = before.column_names.index(label_column)
    try:
        column = pa.chunked_array([pa.array(values, before.schema.field(position).type)])
    except (pa.ArrowException, TypeError):
        return False
    expected = before.set_column(position, before.schema.field(position), column).take(pa.array(kept))
    with writing(target):
        if source.suffix.lower() == ".parquet":
            write_parquet(expected, target)
            return True
        changed = {row: values[row] for row in changes}
        if source.suffix.lower() in (".csv", ".tsv"):
            content = read_csv_text(source)
            encoding = content.encoding
            text = _correct_csv(content.text, content.separator, position, changed, set(dropped))
            text = content.preamble + text
        else:
            text, encoding = decode_text(source.read_bytes())
            text = _correct_json_lines(text, label_column, changed, set(dropped))
        try:
            target.write_bytes(text.encode(encoding))
        except UnicodeEncodeError:  # a class that the encoding of the table cannot write
            return False
    # The reader may split rows and cells in another way than these functions, so it checks the result.
    after, _ = read_tables([target], target)
    if after.column_names == expected.column_names and after.to_pylist() == expected.to_pylist():
        return True
    target.unlink()
    return False


def spellings_of(
    table: pa.Table, label_column: str, labels: Mapping[int, int], class_names: Sequence[str]
) -> dict[int, Any]:
    """Return the value that a table has for each class.

    It is the value of the first row of the class; without such a row the name of the class, or its index in a column of
    integers.

    Args:
        table: The rows.
        label_column: Name of the column with the labels.
        labels: The class of each usable row, by row number from 0.
        class_names: C names.

    Returns:
        One value per class, without the classes whose value would be read as another class.
    """
    column = table[label_column]
    are_indices = label_column in class_names_in(table)
    spellings: dict[int, Any] = dict(enumerate(class_names))
    if pa.types.is_integer(column.type):
        numbers = [None if are_indices else whole_number(name) for name in class_names]
        spellings = {index: index if number is None else number for index, number in enumerate(numbers)}
    values = column.to_pylist()
    for row in sorted(labels, reverse=True):
        spellings[labels[row]] = values[row]
    labels_read = class_indices(list(spellings.values()), class_names, numbers_are_indices=are_indices).labels
    pairs = zip(spellings.items(), labels_read, strict=True)
    return {label: value for (label, value), label_read in pairs if label_read == label}


def spellings_of_sets(
    table: pa.Table,
    label_column: str,
    sets: Mapping[int, NDArray[np.int64]],
    class_names: Sequence[str],
    separator: str | None,
) -> dict[int, Any]:
    """Return the value that a table has for each of some sets of classes, as `spellings_of` does for classes.

    Args:
        table: The rows.
        label_column: Name of the column with the labels: texts with a separator, or lists of texts.
        sets: Sets of classes, [C] of 0 and 1, by any number.
        class_names: C names.
        separator: Text between the classes of a label; None for lists.

    Returns:
        One value per set; none where the column holds values of another kind.
    """
    kind = table[label_column].type
    names = {number: [class_names[label] for label in np.flatnonzero(row).tolist()] for number, row in sets.items()}
    if separator is not None and pa.types.is_string(kind):
        return {number: separator.join(classes) for number, classes in names.items()}
    if separator is None and pa.types.is_list(kind) and pa.types.is_string(kind.value_type):
        return names
    return {}


def _correct_csv(text: str, separator: str, column: int, values: Mapping[int, str], dropped: set[int]) -> str:
    blank_line = re.compile(r" *(\r\n|\n|\r|\Z)" if separator == "\t" else r"[ \t]*(\r\n|\n|\r|\Z)")
    written: list[str] = []
    position, row = 0, -1  # the header
    while position < len(text):
        if blank := blank_line.match(text, position):
            written.append(blank[0])
            position = blank.end()
            continue
        cells = _cells_of_record(text, position, separator)
        end = cells[-1].end()
        if row not in dropped:
            record = text[position:end]
            if row in values and column < len(cells):
                old = cells[column]
                new = _csv_cell(values[row], separator, quoted=old[1].startswith('"'))
                record = text[position : old.start(1)] + new + text[old.end(1) : end]
            written.append(record)
        position = end
        row += 1
    return "".join(written)


def _cells_of_record(text: str, position: int, separator: str) -> list[re.Match[str]]:
    pattern = re.compile(_CELL.format(separator=re.escape(separator)))
    cells: list[re.Match[str]] = []
    while not cells or cells[-1][2] == separator:
        cell = pattern.match(text, position)
        assert cell is not None  # the pattern also matches the empty text
        cells.append(cell)
        position = cell.end()
    return cells


def _csv_cell(value: str, separator: str, *, quoted: bool) -> str:
    line = io.StringIO()
    writer = csv.writer(
        line, delimiter=separator, quoting=csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL, lineterminator=""
    )
    writer.writerow([value])
    return line.getvalue()


def _correct_json_lines(text: str, label_column: str, values: Mapping[int, Any], dropped: set[int]) -> str:
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
    """Return a line with another value under a name of its JSON object, and nothing else changed."""
    decoder = json.JSONDecoder()
    position = line.index("{") + 1
    start = end = 0
    while before_key := re.compile(r"[\s,]*(?=\")").match(line, position):
        key, position = decoder.raw_decode(line, before_key.end())
        colon = re.compile(r"\s*:\s*").match(line, position)
        assert colon is not None  # the line was read as JSON before
        _, position = decoder.raw_decode(line, colon.end())
        if key == name:  # the last of several counts
            start, end = colon.end(), position
    return line[:start] + json.dumps(value, ensure_ascii=line.isascii()) + line[end:]
