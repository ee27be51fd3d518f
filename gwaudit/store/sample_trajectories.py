"""Read the signals of single samples over the epochs of a run."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from gwaudit.core.errors import StoreError
from gwaudit.store.block_files import SIGNAL_SCHEMA, read_signals_of_rows
from gwaudit.store.commits import EpochCommit
from gwaudit.store.layout import RunLayout


def read_trajectory(layout: RunLayout, commits: Sequence[EpochCommit], row: int) -> pd.DataFrame:
    """Read the signals of one row: a row an epoch, index `epoch`, missing ones NaN."""
    frame = _read_rows(layout, commits, range(row, row + 1))
    frame.index.name = "epoch"
    return frame


def read_class_trajectories(
    layout: RunLayout, commits: Sequence[EpochCommit], sample_id: int, given_labels: NDArray[np.int32]
) -> pd.DataFrame:
    """Read the signals of all classes of one sample of a multi-label run.

    Args:
        layout: The run's.
        commits: The commits of its epochs.
        sample_id: The id of the sample.
        given_labels: The given label of each class of the sample, [C], 0 or 1.

    Returns:
        A row a class and epoch, index `class` and `epoch`, the given label and the signals.
    """
    frame = _read_rows(layout, commits, layout.rows_of(sample_id))
    frame.insert(0, "given_label", np.tile(given_labels, len(commits)))
    frame.index = pd.MultiIndex.from_product([range(len(commits)), layout.class_names], names=["epoch", "class"])
    return frame.swaplevel().sort_index(level="epoch", sort_remaining=False)


def find_sample(layout: RunLayout, keys: Sequence[str], sample: str) -> int:
    """Return the id of a sample, from its key or from the id as text; a key comes first.

    Raises:
        StoreError: There is no such sample, or several have the key.
    """
    ids = np.flatnonzero(np.asarray(keys, object) == sample)
    if len(ids) == 1:
        return int(ids[0])
    if len(ids) > 1:
        raise StoreError(f"{len(ids)} samples of {layout.path} have the key {sample!r}: give the id")
    if sample.isdecimal() and int(sample) < layout.n_samples:
        return int(sample)
    raise StoreError(f"{layout.path} has no sample {sample!r}: give a key, or an id from 0 to {layout.n_samples - 1}")


def _read_rows(layout: RunLayout, commits: Sequence[EpochCommit], rows: range) -> pd.DataFrame:
    """Read all signals of consecutive rows, epoch after epoch."""
    tables = (read_signals_of_rows(layout, commit.files, rows) for commit in commits)
    frame: pd.DataFrame = pa.concat_tables([SIGNAL_SCHEMA.empty_table(), *tables]).to_pandas()
    return frame
