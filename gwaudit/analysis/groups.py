"""Read the groups of the samples (sites, devices, annotators, batches) from a CSV file."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gwaudit.core.errors import DataError
from gwaudit.core.spreadsheet_changes import TextIndex, whole_numbers
from gwaudit.core.spreadsheets import column_name, from_cell, read_cells, read_header
from gwaudit.store.store import TrajectoryStore

NO_GROUP = "(no group)"

MOST_GROUPS = 1000
"""The largest number of groups in one column: more are no groups, but names of samples or times."""

_NAMING = ("key", "sample_id")
_SHOWN = 3


def read_groups(store: TrajectoryStore, path: Path, column: str | None = None) -> NDArray[np.object_]:
    """Return the group of each row of a run, [n]; [n C] in a multi-label run.

    Args:
        store: the run.
        path: a CSV file as `read_group_columns` takes it. Samples that the file does not list, or whose cell is empty,
            get the group `NO_GROUP`.
        column: name of the column with the group; by default the only other column.

    Raises:
        DataError: There is no such file or column, or the sample of a row is unknown, ambiguous or listed twice.
    """
    columns = read_group_columns(path, store.keys(), store.path)
    names = {column_name(name): name for name in columns}
    if column is None and len(columns) != 1:
        raise DataError(
            f"{path} has {len(columns)} columns of groups: name the one to use by `group_column`, of "
            f"{', '.join(columns)}"
        )
    wanted = next(iter(names)) if column is None else column_name(column)
    if wanted not in names:
        raise DataError(f"{path} has no column {column!r}: there are {', '.join(columns)}")
    groups = np.array([group or NO_GROUP for group in columns[names[wanted]]], object)
    return groups[store.layout.sample_of(np.arange(store.n_rows))]


def read_group_columns(path: Path | str, keys: Sequence[str], run: Path) -> dict[str, list[str]]:
    """Read the groups of samples from a CSV file with a column `key` or `sample_id`, or both, and one or more others.

    Args:
        path: The file. Samples without a row, or with an empty cell, have the group "".
        keys: Key of each sample of the run, by sample id.
        run: Folder of the run, for messages.

    Returns:
        The group of each sample, by sample id, by the name of the column as it is written.

    Raises:
        DataError: The file cannot be read, names samples that the run does not have or one sample twice, or has no
            column of groups, or one with more than `MOST_GROUPS` groups.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"there is no file of groups at {path}")
    index = TextIndex(keys)
    _require_naming_column(path, index, run)
    header, *rows = read_cells(path, _NAMING)
    names = [column_name(cell) for cell in header]
    columns = {i: cell.strip() for i, cell in enumerate(header) if names[i] not in _NAMING and cell.strip()}
    naming = [name for name in _NAMING if name in names]
    if not columns:
        raise DataError(f"{path}, row 1: there is no column of groups beside {naming[0]}: add one, such as annotator")
    written = [*naming, *columns.values()] if len(set(names)) == len(names) else [cell.strip() for cell in header]
    if repeated := [name for name in written if written.count(name) > 1]:
        raise DataError(f"{path}, row 1: there are several columns {repeated[0]!r}: keep one")
    cells = {name: [row[names.index(name)] for row in rows] for name in naming}
    groups = {name: [""] * len(keys) for name in columns.values()}
    row_of_sample: dict[int, int] = {}
    for number, (sample, row) in enumerate(zip(_samples(path, cells, index, run), rows, strict=True), start=2):
        if sample in row_of_sample:
            raise DataError(
                f"{path}, row {number}: sample {sample} ({keys[sample]!r}) has a group already, in row "
                f"{row_of_sample[sample]}: keep one row per sample"
            )
        row_of_sample[sample] = number
        for column, name in columns.items():
            groups[name][sample] = from_cell(row[column]).strip()
    for name, values in groups.items():
        if len(set(values)) > MOST_GROUPS:
            raise DataError(
                f"{path}: column {name!r} has {len(set(values)):,} groups, more than {MOST_GROUPS:,}: leave it out"
            )
    return groups


def _samples(path: Path, cells: dict[str, list[str]], index: TextIndex, run: Path) -> list[int]:
    """Return the sample of each row; refuse a file that names samples that the run does not have."""
    of_rows = [
        [set(_candidates(cell, name, index)) for name, cell in zip(cells, row, strict=True) if cell.strip()]
        for row in zip(*cells.values(), strict=True)
    ]
    samples = [list(set.intersection(*candidates)) if candidates else [] for candidates in of_rows]
    unknown = [row for row, found in enumerate(samples) if len(found) != 1]
    if unknown:
        name = next(iter(cells))
        shown = ", ".join(f"{cells[name][row]!r} (row {row + 2})" for row in unknown[:_SHOWN])
        several = sum(len(samples[row]) > 1 for row in unknown)
        which = "name several samples" if several == len(unknown) else "name no sample, or several,"
        if len(cells) > 1 and any(len(of_rows[row]) > 1 and all(of_rows[row]) for row in unknown):
            which = "name another sample by sample_id than by key,"
        raise DataError(
            f"{path}: {len(unknown):,} of {len(samples):,} rows {which} of {run} in the column "
            f"{' and '.join(cells)}, such as {shown}{_example(cells[name][unknown[0]], name, index)}"
        )
    return [found[0] for found in samples]


def _candidates(cell: str, column: str, index: TextIndex) -> list[int]:
    """Return the samples that a cell of a column may stand for."""
    if column == "key":
        return index.find(cell)
    numbers = {number for number in whole_numbers(cell) if number >= 0}
    return [number for number in numbers if len(numbers) == 1 and number < len(index.texts)]


def _example(cell: str, column: str, index: TextIndex) -> str:
    """Return how a cell has to be written, as the end of a message."""
    if column == "sample_id":
        return f": a sample_id is a whole number from 0 to {len(index.texts) - 1}, in the order of the data"
    if len(index.find(cell)) > 1:
        return ": several samples of the run have this key; give their sample_id instead"
    name = from_cell(cell).strip()
    like = [key for key in index.texts if name and key.endswith(f"/{name}")] or list(index.texts[:1])
    return f": write the keys as the run has them, such as {like[0]!r}" if like else ""


def _are_names(cells: list[str], column: str, index: TextIndex) -> bool:
    """Return whether each cell names one sample, and each another one, if the column is called as given."""
    samples: set[int] = set()
    for cell in cells:
        if len(found := _candidates(cell, column, index)) != 1 or found[0] in samples:
            return False
        samples.add(found[0])
    return True


def _require_naming_column(path: Path, index: TextIndex, run: Path) -> None:
    """Raise DataError, with the column that names the samples under another name, if none is `key` or `sample_id`."""
    header = read_header(path)
    names = [column_name(cell) for cell in header]
    if not any(header) or set(names) & set(_NAMING):
        return
    _, *rows = read_cells(path, set(names))
    for naming in _NAMING:
        for i, column in enumerate(header):
            cells = [row[i] for row in rows if row[i].strip()]
            if column and cells and _are_names(cells, naming, index):
                raise DataError(
                    f"{path}, row 1: no column is called key or sample_id, and the cells of {column!r} are "
                    f"{'keys' if naming == 'key' else 'possible sample ids'} of {run}: call this column {naming}"
                )
    raise DataError(
        f"{path}: its first row names none of the columns key, sample_id; there are {', '.join(filter(None, header))}. "
        f"Call the column that names the samples key; the run's keys are such as {index.texts[0]!r}"
    )
