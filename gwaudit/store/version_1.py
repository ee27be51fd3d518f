"""Read runs of format version 1, which named what they held differently.

In version 1 `run.json` counted the rows as `n_samples`; in a multi-label run its `class_names` were the two answers and
its `label_names` the classes. The Parquet column of row ids was called `sample_id` in every run, and the best other
label and its alignment were called counterfactual. Evaluation passes were called sweeps.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from gwaudit.store.layout import RunLayout

VERSION = 1

FINAL_PASS = "final_sweep"
"""The metric that marked an epoch as an evaluation pass after the training."""

_STORED_NAMES = {
    "row_id": "sample_id",
    "alternative_label": "counterfactual_label",
    "alternative_alignment": "counterfactual_alignment",
}


def upgrade_manifest(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return the content of a version 1 `run.json` under the names of today; its `format_version` stays 1."""
    classes = manifest.get("label_names")
    manifest = {**manifest, "settings": _upgrade_settings(manifest.get("settings"))}
    if not isinstance(classes, list) or not isinstance(manifest.get("n_samples"), int):
        return {**manifest, "is_multi_label": False}
    return {
        **{name: value for name, value in manifest.items() if name != "label_names"},
        "n_samples": manifest["n_samples"] // max(1, len(classes)),
        "class_names": classes,
        "is_multi_label": True,
    }


def _upgrade_settings(settings: Any) -> Any:
    training = settings.get("training") if isinstance(settings, dict) else None
    if not isinstance(training, dict):
        return settings
    training = {"final_passes" if name == "final_sweeps" else name: value for name, value in training.items()}
    if training.get("record") == "sweep":
        training["record"] = "pass"
    return {**settings, "training": training}


def stored_columns(columns: Sequence[str]) -> list[str]:
    """Return the columns of a version 1 file that hold these columns of today."""
    names = (_STORED_NAMES.get(name, "sample_id" if name == "class_id" else name) for name in columns)
    return list(dict.fromkeys(names))


def upgrade_table(layout: RunLayout, table: pa.Table, columns: Sequence[str]) -> pa.Table:
    """Return columns of today from the columns that `stored_columns` names."""
    return pa.table({name: _column(layout, table, name) for name in columns})


def _column(layout: RunLayout, table: pa.Table, name: str) -> pa.Array | pa.ChunkedArray:
    if layout.is_multi_label and name in ("sample_id", "class_id"):
        rows = table["sample_id"].to_numpy()
        return pa.array(layout.sample_of(rows) if name == "sample_id" else layout.class_of(rows).astype(np.int32))
    return table[_STORED_NAMES.get(name, name)]
