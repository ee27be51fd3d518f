"""Read the groups of the samples (sites, devices, annotators, batches) from a CSV file."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gwaudit.core.errors import DataError
from gwaudit.core.spreadsheet_changes import TextIndex, whole_numbers
from gwaudit.core.spreadsheets import column_name, from_cell, read_cells, read_header
from gwaudit.data.recorded_samples import are_row_numbers
from gwaudit.store.store import TrajectoryStore

NO_GROUP = "(no group)"

MOST_GROUPS = 1000
"""The largest number of groups in one column: more are no groups, but names of samples or times."""

_NAMING = ("key", "sample_id")
_SHOWN = 3


def group_of_rows(
    store: TrajectoryStore, columns: Mapping[str, Sequence[str]], column: str | None = None
) -> NDArray[np.object_]:
    """Return the group of each row of a run, [n]; [n C] in a multi-label run.

    Args:
        store: the run.
        columns: the group of each sample, by sample id, by the name of the column, as `read_group_columns` returns it.
            Samples without a group get the group `NO_GROUP`.
        column: name of the column with the group; by default the only one.

    Raises:
        DataError: There is no such column, or there are several.
    """
    names = {column_name(name): name for name in columns}
    if column is None and len(columns) != 1:
        raise DataError(
            f"there are {len(columns)} columns of groups: name the one to use by `group_column`, of "
            f"{', '.join(columns)}"
        )
    wanted = next(iter(names)) if column is None else column_name(column)
    if wanted not in names:
        raise DataError(f"there is no column of groups {column!r}: there are {', '.join(columns)}")
    groups = np.array([group or NO_GROUP for group in columns[names[wanted]]], object)
    return groups[store.layout.sample_of(np.arange(store.n_rows))]


def read_group_columns(
    path: Path | str, keys: Sequence[str], run: Path, *, key_columns: Collection[str] = ()
) -> dict[str, list[str]]:
    """Read the groups of samples from a CSV file with a column that names the samples, and one or more others.

    The column that names the samples is `key` or `sample_id`, or both, which must agree. Where there is neither, it is
    the one that has the name of the source's own column of keys (`key_columns`), or `id`, if all of its cells are keys
    and not numbers of rows. A column that may name them under another name is refused: the message asks to call it key.

    Args:
        path: The file. Samples without a row, or with an empty cell, have the group "".
        keys: Key of each sample of the run, by sample id.
        run: Folder of the run, for messages.
        key_columns: Names of the columns of the source that the keys were read from.

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
    naming = _naming_columns(path, index, run, key_columns)
    header, *rows = read_cells(path, set(naming))
    names = [column_name(cell) for cell in header]
    columns = {i: cell.strip() for i, cell in enumerate(header) if names[i] not in naming and cell.strip()}
    if not columns:
        raise DataError(
            f"{path}, row 1: there is no column of groups beside {next(iter(naming))}: add one, such as annotator"
        )
    written = [*naming, *columns.values()] if len(set(names)) == len(names) else [cell.strip() for cell in header]
    if repeated := [name for name in written if written.count(name) > 1]:
        raise DataError(f"{path}, row 1: there are several columns {repeated[0]!r}: keep one")
    cells = {name: [row[names.index(name)] for row in rows] for name in naming}
    groups = {name: [""] * len(keys) for name in columns.values()}
    row_of_sample: dict[int, int] = {}
    for number, (sample, row) in enumerate(zip(_samples(path, cells, naming, index, run), rows, strict=True), start=2):
        if sample in row_of_sample:
            raise DataError(
                f"{path}, row {number}: sample {sample} ({keys[sample]!r}) has a group already, in row "
                f"{row_of_sample[sample]}: keep one row per sample"
            )
        row_of_sample[sample] = number
        for column, name in columns.items():
            groups[name][sample] = from_cell(row[column]).strip()
    require_few_groups(groups, path)
    return groups


def require_few_groups(columns: Mapping[str, Sequence[str]], source: Path | str) -> None:
    """Raise DataError if a column of a source has more than `MOST_GROUPS` groups."""
    for name, values in columns.items():
        if (count := len(set(values))) > MOST_GROUPS:
            raise DataError(f"{source}: column {name!r} has {count:,} groups, more than {MOST_GROUPS:,}: leave it out")


def _samples(path: Path, cells: dict[str, list[str]], kinds: dict[str, str], index: TextIndex, run: Path) -> list[int]:
    """Return the sample of each row; refuse a file that names samples that the run does not have."""
    of_rows = [
        [set(_candidates(cell, kinds[name], index)) for name, cell in zip(cells, row, strict=True) if cell.strip()]
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
            f"{' and '.join(cells)}, such as {shown}{_example(cells[name][unknown[0]], kinds[name], index)}"
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


def _naming_columns(path: Path, index: TextIndex, run: Path, key_columns: Collection[str]) -> dict[str, str]:
    """Return whether columns that name the samples hold a `key` or a `sample_id`, by their `column_name`.

    Raises:
        DataError: There is no such column; the message names one that fits under another name.
    """
    header = read_header(path)
    names = [column_name(cell) for cell in header]
    if not any(header) or set(names) & set(_NAMING):
        return {name: name for name in _NAMING if name in names or not any(header)}
    if own := [name for name in map(column_name, key_columns) if name in names]:
        return {own[0]: "key"}
    _, *rows = read_cells(path, set(names))
    cells = {name: [row[i] for row in rows if row[i].strip()] for i, name in enumerate(names) if name}
    if "id" in cells and not are_row_numbers(index.texts) and all(len(index.find(cell)) == 1 for cell in cells["id"]):
        return {"id": "key"}  # some of them twice: whoever reads the rows says which
    fits = {
        kind: [name for name, values in cells.items() if values and _are_names(values, kind, index)] for kind in _NAMING
    }
    for kind, found in fits.items():
        if found:
            raise DataError(
                f"{path}, row 1: no column is called key or sample_id, and the cells of "
                f"{header[names.index(found[0])]!r} are {'keys' if kind == 'key' else 'possible sample ids'} of {run}: "
                f"call this column {kind}"
            )
    raise DataError(
        f"{path}: its first row names none of the columns key, sample_id; there are {', '.join(filter(None, header))}. "
        f"Call the column that names the samples key; the run's keys are such as {index.texts[0]!r}"
    )
