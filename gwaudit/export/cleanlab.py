"""Write label issues for cleanlab, as `Datalab.get_issues("label")` returns and `CleanLearning.fit` takes them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from gwaudit.analysis.audit import Audit
from gwaudit.core.errors import SettingsError, VerdictError
from gwaudit.core.files import write_atomically
from gwaudit.core.parquet import write_parquet
from gwaudit.core.spreadsheets import write_csv
from gwaudit.export.findings import Findings


def label_issues(audit: Audit) -> pd.DataFrame:
    """Return an audit as a table of cleanlab's label issues.

    Returns:
        One row per sample, in the order of the data set, with the index `sample_id` and these columns:

        - `is_label_issue`: whether the sample is a suspect;
        - `label_score`: the probability that the given label is right, in [0, 1]; NaN where nothing was recorded;
        - `given_label`, `predicted_label`: indices of classes. The second is the label that most epochs of the window
          predict. For suspects it is the suggested label instead, as the network may have memorised their wrong label;
          where nothing was recorded it is the given one;
        - `given_name`, `predicted_name`: names of these classes;
        - `key`: the key of the sample.
    """
    if not audit.has_cut:
        raise VerdictError(
            f"the verdict on {audit.run} is {audit.verdict.level!r}, so it has no label issues and no scores "
            f"({audit.verdict.short_reason}): export the first samples of its ranking as csv, or rank it again with a "
            "number of suspects that you choose (`top`)"
        )
    frame = audit.frame.sort_values("sample_id", ignore_index=True)
    suspect = frame["suspect"].to_numpy(bool)
    given = frame["given_label"].to_numpy(np.int64)
    predicted = np.where(suspect, frame["suggested_label"], frame["predicted_label"]).astype(np.int64)
    predicted = np.where(predicted < 0, given, predicted)
    names = np.array(audit.class_names, object)
    return pd.DataFrame(
        {
            "is_label_issue": suspect,
            "label_score": 1 - frame["probability_wrong"].to_numpy(np.float64) if audit.has_probabilities else np.nan,
            "given_label": given,
            "predicted_label": predicted,
            "given_name": names[given],
            "predicted_name": names[predicted],
            "key": frame["key"],
        },
        index=pd.RangeIndex(len(frame), name="sample_id"),
    )


def write(findings: Findings, path: Path) -> Path:
    """Write the table of all samples as Parquet or CSV, by the suffix of the path, and return the path.

    Raises:
        SettingsError: the path has another suffix.
        StoreError: the file cannot be written.
    """
    if path.suffix not in (".parquet", ".csv"):
        raise SettingsError(f"`output` for cleanlab must be a .parquet or .csv file, not {path.name}")
    frame = label_issues(findings.audit)
    if path.suffix == ".csv":
        return write_csv(frame, path, index=True)
    table = pa.Table.from_pandas(frame)
    write_atomically(path, lambda temporary: write_parquet(table, temporary))
    return path
