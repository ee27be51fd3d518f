"""Clean audited data: drop the suspects, or give them the suggested labels."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gwaudit.analysis.audit import Audit

Action = Literal["drop", "relabel"]
"""What happens to the suspects."""


@dataclass(frozen=True, eq=False)
class CleanedData:
    """Hold the samples of a data set that stay, and their labels.

    Attributes:
        ids: [m] int64, ids of the samples, ascending.
        labels: [m] int64, labels of the samples; [m, C] of 0 and 1 in a multi-label data set.
        keys: [m] keys of the samples, texts of Arrow, which need no object each.
        class_names: C names.
        fingerprint: Fingerprint of the whole data set, under its given labels.
    """

    ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    keys: pa.Array | pa.ChunkedArray
    class_names: tuple[str, ...]
    fingerprint: str

    @property
    def is_multi_label(self) -> bool:
        """Return whether a sample may have several of the classes, or none."""
        return self.labels.ndim == 2

    def without(self, ids: Sequence[int]) -> Self:
        """Return the data without some samples."""
        kept = ~np.isin(self.ids, np.asarray(ids, np.int64))
        return replace(self, ids=self.ids[kept], labels=self.labels[kept], keys=self.keys.filter(kept))


def clean_data(audit: Audit, action: Action) -> CleanedData:
    """Return the audited data without the suspects ("drop"), or with the suggested labels ("relabel").

    In a multi-label audit "drop" leaves out each sample with a suspect label, and "relabel" changes each suspect label.

    Raises:
        VerdictError: the verdict on the run does not allow it.
    """
    audit.require_cleanable()
    if audit.is_multi_label:
        return _clean_multi_label_data(audit, action)
    suspect = audit.by_id("suspect").astype(bool)
    kept = ~suspect if action == "drop" else np.ones(len(suspect), bool)
    if action == "relabel" and audit.calibration is not None:  # people decided that no class fits these
        kept = audit.by_id("decision") != "drop"
    keys = _keys(audit).filter(pa.array(kept))
    labels = audit.by_id("given_label")
    if action == "relabel":
        labels[suspect] = audit.by_id("suggested_label")[suspect]
    labels = labels[kept].astype(np.int64)
    return CleanedData(np.flatnonzero(kept), labels, keys, audit.class_names, audit.fingerprint)


def _clean_multi_label_data(audit: Audit, action: Action) -> CleanedData:
    n_classes = len(audit.class_names)
    labels = audit.by_id("given_label").astype(np.int64).reshape(-1, n_classes)
    suspect = audit.by_id("suspect").astype(bool).reshape(labels.shape)
    ids = np.arange(len(labels))
    if action == "drop":
        ids = np.flatnonzero(~suspect.any(1))
    else:
        labels = np.where(suspect, 1 - labels, labels)
        if audit.calibration is not None:  # people decided that no labels fit these
            ids = np.flatnonzero(~(audit.by_id("decision") == "drop").reshape(labels.shape).any(1))
    return CleanedData(ids, labels[ids], _keys(audit).take(ids * n_classes), audit.class_names, audit.fingerprint)


def _keys(audit: Audit) -> pa.ChunkedArray:
    """Return the keys of all rows of the store."""
    return audit.table.texts("key", audit.rows + 1)
