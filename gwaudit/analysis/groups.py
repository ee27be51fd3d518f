"""What group each sample is of, from a table of the user's: sites, devices, annotators, batches."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gwaudit.core.errors import DataError
from gwaudit.core.spreadsheets import column_name, from_cell, read_cells
from gwaudit.store.store import TrajectoryStore

NO_GROUP = "(no group)"

_NAMING = ("sample_id", "key")


def read_subgroups(store: TrajectoryStore, path: Path, column: str | None = None) -> NDArray[np.object_]:
    """The group of each row of a run: [n]; [n C] where samples have any number of classes.

    Args:
        store: the run.
        path: a CSV file with a column `key` or `sample_id` (or both: the id counts), and one of groups. Samples that it
            does not name, or whose cell is empty, are of the group `NO_GROUP`.
        column: the groups' column, by default the only other one.

    Raises:
        DataError: no such file or column, or a row whose sample is unknown, ambiguous or named before.
    """
    header, *rows = read_cells(path, set(_NAMING))
    names = [column_name(cell) for cell in header]
    naming = next(name for name in _NAMING if name in names)
    others = [name for name in names if name not in _NAMING]
    wanted = None if column is None else column_name(column)
    if wanted is None and len(others) != 1:
        raise DataError(
            f"{path} has {len(others)} columns beside {naming}: say which has the groups (--group-column), of "
            f"{', '.join(others) or 'none'}"
        )
    if wanted is not None and wanted not in others:
        raise DataError(f"{path} has no column {column!r}: there are {', '.join(others)}")
    place, value = names.index(naming), names.index(wanted or others[0])
    keys = store.keys()
    index: dict[str, int | None] = {str(i): i for i in range(len(keys))}
    if naming == "key":
        index = {}
        for i, key in enumerate(keys):
            index[key] = None if key in index else i  # None: of several samples
    groups = np.full(len(keys), NO_GROUP, object)
    seen: dict[int, int] = {}
    for number, row in enumerate(rows, start=2):
        cell = row[place].strip()
        name = cell if cell in index else from_cell(cell)
        if name not in index:
            raise DataError(f"{path}, row {number}: {store.path} has no sample with the {naming} {name!r}")
        sample = index[name]
        if sample is None:
            raise DataError(
                f"{path}, row {number}: several samples have the key {name!r}: give their sample_id instead"
            )
        if sample in seen:
            raise DataError(f"{path}, row {number}: sample {name!r} has a group already, in row {seen[sample]}")
        seen[sample] = number
        groups[sample] = from_cell(row[value]).strip() or NO_GROUP
    return groups[store.layout.sample_of(np.arange(store.n_rows))]
