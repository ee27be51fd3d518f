"""Read the groups of the samples of a run: from a file, or from a column of its source."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gwaudit.analysis.groups import group_of_rows, read_group_columns, require_few_groups
from gwaudit.core.errors import DataError, SettingsError, did_you_mean
from gwaudit.core.spreadsheets import column_name
from gwaudit.data.class_names import label_text
from gwaudit.data.url_copies import local_file
from gwaudit.pipeline.run_data import data_of_run, samples_of_run
from gwaudit.pipeline.source_columns import read_source_columns
from gwaudit.pipeline.stages import StageProgress, Warnings
from gwaudit.store.store import TrajectoryStore


def groups_of_run(run: Path | str, groups: Path | str, progress: StageProgress | None = None) -> dict[str, list[str]]:
    """Read the groups of the samples of a run.

    Args:
        run: Folder of the run.
        groups: A CSV file, as `read_group_columns` takes it, its URL, or the name of a column of the source of the run.
        progress: Receives the stage, and notes on the data, where the source is read; by default these are warnings.

    Returns:
        The group of each sample, by sample id, by the name of the column; "" for samples without one.

    Raises:
        DataError: The file does not fit the run, or there is neither such a file nor such a column.
        StoreNotFoundError: There is no run.
    """
    with TrajectoryStore.open(run) as store:
        return _columns_of_groups(store, groups, progress or Warnings())


def read_groups(
    store: TrajectoryStore, groups: Path | str, column: str | None = None, progress: StageProgress | None = None
) -> NDArray[np.object_]:
    """Return the group of each row of a run, [n]; [n C] in a multi-label run.

    Args:
        store: The run.
        groups: A CSV file or the name of a column of the source, as `groups_of_run` takes it.
        column: Name of the column with the group in the file; by default the only one.
        progress: As in `groups_of_run`.

    Raises:
        DataError: As `groups_of_run`, or there is no such column, or there are several.
    """
    return group_of_rows(store, _columns_of_groups(store, groups, progress or Warnings()), column)


def _columns_of_groups(store: TrajectoryStore, groups: Path | str, progress: StageProgress) -> dict[str, list[str]]:
    if (file := local_file(groups)).exists():
        reading = store.settings.get("reading") or {}
        key_columns = reading.get("notes", {}).get("columns_used", {}).get("keys", [])
        return read_group_columns(file, store.keys(), store.path, key_columns=key_columns)
    return _column_of_source(store, str(groups), progress)


def _column_of_source(store: TrajectoryStore, name: str, progress: StageProgress) -> dict[str, list[str]]:
    neither = f"there is no file of groups at {name}, and no column of this name in the source of {store.path}"
    try:
        data = data_of_run(store)
    except SettingsError as error:
        raise DataError(
            f"{neither}, which the run does not record: write a CSV file with a column key and a column {name}"
        ) from error
    dataset = samples_of_run(store, progress)
    columns = None if dataset is None else read_source_columns(data, dataset)
    if columns is None:
        raise DataError(f"{neither}: it has no columns, or cannot be read")
    names = columns.table.column_names
    own = next((each for each in names if column_name(each) == column_name(name)), "")
    if not own:
        raise DataError(f"{neither}: it has the columns {', '.join(names)}{did_you_mean(name, names)}")
    groups = {own: [label_text(value).strip() for value in columns.table[own].to_pylist()]}
    require_few_groups(groups, data.source)
    return groups
