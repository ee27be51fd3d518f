"""Write cleaned data as ids and labels: `split.csv`, `ids.npy` and `labels.npy`."""

from pathlib import Path

import numpy as np
import pandas as pd

from gwaudit.core.spreadsheets import write_csv
from gwaudit.export.cleaned_data import CleanedData
from gwaudit.export.original_data import OriginalData

_SEPARATORS = "|;,/"


def write(cleaned: CleanedData, folder: Path, original: OriginalData) -> None:
    """Write ids, keys and labels into an empty folder; no data set is needed."""
    np.save(folder / "ids.npy", cleaned.ids)
    np.save(folder / "labels.npy", cleaned.labels)
    columns = {"sample_id": cleaned.ids, "key": cleaned.keys}
    if cleaned.is_multi_label:
        table = pd.DataFrame({**columns, "labels": _joined_names(cleaned)})
    else:
        names = np.array(cleaned.class_names, object)[cleaned.labels]
        table = pd.DataFrame({**columns, "label": cleaned.labels, "name": names})
    write_csv(table, folder / "split.csv")


def _joined_names(cleaned: CleanedData) -> list[str]:
    """Return the classes of each sample, joined by a separator that is in no name."""
    names = cleaned.class_names
    separator = next((s for s in _SEPARATORS if not any(s in name for name in names)), "||")
    return [separator.join(names[label] for label in np.flatnonzero(row)) for row in cleaned.labels]
