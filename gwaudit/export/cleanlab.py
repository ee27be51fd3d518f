"""For cleanlab: label issues as its `Datalab.get_issues("label")` gives and `CleanLearning.fit` takes them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gwaudit.analysis.audit import Audit
from gwaudit.core.errors import SettingsError
from gwaudit.core.files import write_atomically
from gwaudit.core.spreadsheets import write_csv
from gwaudit.export.findings import Handover


def label_issues(audit: Audit) -> pd.DataFrame:
    """An audit as cleanlab says it: a row a sample, in the order of the data set, index `sample_id`.

    Columns: `is_label_issue` (the suspects); `label_score`, the probability of the given label being right: 0 is bad,
    1 is good, NaN where nothing was recorded; `given_label` and `predicted_label`, indices into the class names. The
    latter is what most epochs of the window predict, but for suspects what the audit suggests, as the network may have
    learned their wrong label by heart; where nothing was recorded it is the given one. Then `given_name`,
    `predicted_name` and `key`.
    """
    frame = audit.frame.sort_values("sample_id", ignore_index=True)
    suspect = frame["suspect"].to_numpy(bool)
    given = frame["given_label"].to_numpy(np.int64)
    predicted = np.where(suspect, frame["suggested_label"], frame["predicted_label"]).astype(np.int64)
    predicted = np.where(predicted < 0, given, predicted)
    names = np.array(audit.class_names, object)
    return pd.DataFrame(
        {
            "is_label_issue": suspect,
            "label_score": 1 - frame["probability_wrong"].to_numpy(np.float64),
            "given_label": given,
            "predicted_label": predicted,
            "given_name": names[given],
            "predicted_name": names[predicted],
            "key": frame["key"],
        },
        index=pd.RangeIndex(len(frame), name="sample_id"),
    )


def write(handover: Handover, path: Path) -> Path:
    """Write the frame of all samples: Parquet, or CSV where the path ends so.

    Raises:
        SettingsError: the path ends otherwise.
        StoreError: it cannot be written.
    """
    if path.suffix not in (".parquet", ".csv"):
        raise SettingsError(f"the frame for cleanlab is .parquet or .csv, not {path.name}: choose another --output")
    frame = label_issues(handover.audit)
    if path.suffix == ".csv":
        return write_csv(frame, path, index=True)
    table = pa.Table.from_pandas(frame)
    write_atomically(path, lambda temporary: pq.write_table(table, temporary, compression="zstd"))
    return path
