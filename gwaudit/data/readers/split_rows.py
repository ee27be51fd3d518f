"""Select the rows of a split from a table that holds several."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gwaudit.core.settings import DataSettings
from gwaudit.data.reading_notes import ReadingNotes
from gwaudit.data.splits import choose_split, split_kind, split_kind_within, split_of_part

_NAMES = {"split", "set", "subset", "partition", "phase", "usage", "data set", "dataset", "data split", "dataset split"}
_NAMES_OF_SPLITS_ALONE = {"split", "partition", "data split", "dataset split"}
_FILE_NAME = "file_name"  # of the images that a metadata.csv describes
_MOST_SPLITS = 20


class SplitRows(NamedTuple):
    """Describe the rows of a split.

    Attributes:
        split: Name of the split.
        rows: [m] numbers of its rows in the table, ascending; None where all rows count.
        column: Name of the column that says the split of each row, where there is one.
    """

    split: str
    rows: NDArray[np.int64] | None = None
    column: str | None = None


def rows_of_split(table: pa.Table, settings: DataSettings, source: object, notes: ReadingNotes) -> SplitRows:
    """Return the rows of the split that is asked for: all of them, where no column says the splits.

    A column says the splits if it has a usual name, such as `split`, and its values are usual names of splits, or one
    of them is the name that is asked for. In a table of the images below a folder, the first folder of each `file_name`
    may say its split too.

    Args:
        table: The rows.
        settings: The split that is asked for, and the columns that have another role.
        source: Source, for messages.
        notes: Notes of the reading.

    Raises:
        DataError: The table has no rows of this split.
    """
    column, values = _split_column(table, settings)
    if column is None:
        for name in filter(_may_say_split, table.column_names):
            if name not in _columns_with_a_role(settings):
                notes.warn(
                    f"the column {name} may say the split of each row, but no usual name of a split is in it: all rows "
                    "are read. Write train, validation and test in it, or leave out the rows of other splits"
                )
        return SplitRows(choose_split(settings.split, [], source, notes))
    counts = Counter(value for value in values if value)
    if len(counts) == 1:
        split = split_of_part(settings.split, next(iter(counts)), source, notes)
        counts = Counter({split: counts.total()})
        notes.splits = [split]
    else:
        split = choose_split(settings.split, sorted(counts), source, notes)
    rows = np.array([row for row, value in enumerate(values) if value == split], np.int64)
    others = [f"{name} ({count:,} rows)" for name, count in sorted(counts.items()) if name != split]
    if empty := len(values) - counts.total():
        others.append(f"without a split ({empty:,} rows)")
    if others:
        notes.remark(f"the column {column} says the split; not read: {', '.join(others)}")
    return SplitRows(split, rows if len(rows) < table.num_rows else None, column)


def rows_of_folders(table: pa.Table, settings: DataSettings, folder: Path, notes: ReadingNotes) -> SplitRows | None:
    """Return the rows of the split by the first folder of each `file_name`, or None where these are not of splits."""
    if _FILE_NAME not in table.column_names:
        return None
    parts = [PurePosixPath(str(value or "")).parts for value in table[_FILE_NAME].to_pylist()]
    folders = [found[0] if len(found) > 1 else "" for found in parts]
    names = sorted(set(folders))
    if not names or not all(split_kind(name) for name in names):
        return None
    split = choose_split(settings.split, names, folder, notes)
    rows = np.array([row for row, name in enumerate(folders) if name == split], np.int64)
    return SplitRows(split, rows if len(rows) < len(folders) else None)


def _split_column(table: pa.Table, settings: DataSettings) -> tuple[str | None, Sequence[str]]:
    """Return the column that says the split of each row, and its values as text."""
    taken = _columns_with_a_role(settings)
    for column in table.column_names:
        if column in taken or _plain(column) not in _NAMES:
            continue
        kind = table.schema.field(column).type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind)):
            continue
        values = [str(value or "").strip() for value in table[column].to_pylist()]
        names = set(values) - {""}
        are_splits = settings.split in names or all(split_kind_within(name) for name in names)
        if 0 < len(names) <= _MOST_SPLITS and are_splits:
            return column, values
    return None, ()


def _columns_with_a_role(settings: DataSettings) -> set[str | None]:
    return {settings.label_column, settings.image_column, settings.text_column, settings.id_column}


def _may_say_split(column: str) -> bool:
    """Return whether hardly anything but splits has such a name: `partition`, `is_train`."""
    first, _, rest = _plain(column).partition(" ")
    return _plain(column) in _NAMES_OF_SPLITS_ALONE or (first == "is" and split_kind(rest) is not None)


def _plain(column: str) -> str:
    """Return the words of a name in lower case."""
    return " ".join(re.findall(r"[^\W_]+", column.lower()))
