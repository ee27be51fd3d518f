"""Write cleaned data as ids and labels: `split.csv`, `ids.npy` and `labels.npy`."""

from pathlib import Path

import numpy as np
import pandas as pd

from gwaudit.core.spreadsheets import write_csv
from gwaudit.data.class_names import joined_names
from gwaudit.export.cleaned_data import CleanedData
from gwaudit.export.original_data import OriginalData

_PART = 2**17  # rows that are written at once


def write(cleaned: CleanedData, folder: Path, original: OriginalData) -> None:
    """Write ids, keys and labels into an empty folder; no data set is needed."""
    np.save(folder / "ids.npy", cleaned.ids)
    np.save(folder / "labels.npy", cleaned.labels)
    starts = range(0, max(len(cleaned.ids), 1), _PART)
    write_csv((_table(cleaned, slice(start, start + _PART)) for start in starts), folder / "split.csv")


def _table(cleaned: CleanedData, rows: slice) -> pd.DataFrame:
    """Return some rows of `split.csv`."""
    labels = cleaned.labels[rows]
    columns = {"sample_id": cleaned.ids[rows], "key": cleaned.keys[rows].to_numpy(zero_copy_only=False)}
    if cleaned.is_multi_label:
        return pd.DataFrame({**columns, "labels": joined_names(labels, cleaned.class_names)})
    return pd.DataFrame({**columns, "label": labels, "name": np.array(cleaned.class_names, object)[labels]})
