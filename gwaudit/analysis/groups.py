"""Read the groups of the samples (sites, devices, annotators, batches) from a CSV file."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gwaudit.core.errors import DataError
from gwaudit.core.spreadsheets import column_name, from_cell, read_cells
from gwaudit.store.store import TrajectoryStore

NO_GROUP = "(no group)"

_NAMING = ("sample_id", "key")


def read_groups(store: TrajectoryStore, path: Path, column: str | None = None) -> NDArray[np.object_]:
    """Return the group of each row of a run, [n]; [n C] in a multi-label run.

    Args:
        store: the run.
        path: a CSV file with a column `key` or `sample_id` (of both, the id counts) and a column with the group.
            Samples that the file does not list, or whose cell is empty, get the group `NO_GROUP`.
        column: name of the column with the group; by default the only other column.

    Raises:
        DataError: There is no such file or column, or the sample of a row is unknown, ambiguous or listed twice.
    """
    header, *rows = read_cells(path, set(_NAMING))
    names = [column_name(cell) for cell in header]
    naming = next(name for name in _NAMING if name in names)
    name_column, group_column = names.index(naming), _group_column(path, names, naming, column)
    keys = store.keys()
    ids = _ids_by_name(keys, naming)
    groups = np.full(len(keys), NO_GROUP, object)
    row_of_sample: dict[int, int] = {}
    for number, row in enumerate(rows, start=2):
        cell = row[name_column].strip()
        name = cell if cell in ids else from_cell(cell)
        if name not in ids:
            raise DataError(f"{path}, row {number}: {store.path} has no sample with the {naming} {name!r}")
        sample = ids[name]
        if sample is None:
            raise DataError(
                f"{path}, row {number}: several samples have the key {name!r}: give their sample_id instead"
            )
        if sample in row_of_sample:
            earlier = row_of_sample[sample]
            raise DataError(f"{path}, row {number}: sample {name!r} has a group already, in row {earlier}")
        row_of_sample[sample] = number
        groups[sample] = from_cell(row[group_column]).strip() or NO_GROUP
    return groups[store.layout.sample_of(np.arange(store.n_rows))]


def _group_column(path: Path, names: list[str], naming: str, column: str | None) -> int:
    """Return the index of the column with the group."""
    others = [name for name in names if name not in _NAMING]
    if column is None:
        if len(others) != 1:
            raise DataError(
                f"{path} has {len(others)} columns beside {naming}: name the one with the group by `group_column`, of "
                f"{', '.join(others) or 'none'}"
            )
        return names.index(others[0])
    if column_name(column) not in others:
        raise DataError(f"{path} has no column {column!r}: there are {', '.join(others)}")
    return names.index(column_name(column))


def _ids_by_name(keys: list[str], naming: str) -> dict[str, int | None]:
    """Return the sample id of each key, or of each id as text; None for a key of several samples."""
    if naming == "sample_id":
        return {str(i): i for i in range(len(keys))}
    ids: dict[str, int | None] = {}
    for i, key in enumerate(keys):
        ids[key] = None if key in ids else i
    return ids
