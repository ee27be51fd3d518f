"""Find in a source, as it is now, the samples of a run: some may be gone, added, or have another label."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from gwaudit.core.errors import DataError
from gwaudit.data.dataset import LabeledDataset
from gwaudit.data.inputs import Digest, Inputs

_EXAMPLES = 3


@dataclass(frozen=True, eq=False)
class RecordedSamples(LabeledDataset):
    """Hold the samples of a run, with their inputs as far as the source still has them.

    Ids, keys, labels, class names and fingerprint are those of the run.

    Attributes:
        run_fingerprint: Fingerprint of the data that the run recorded.
        missing: Ids of the samples that are gone; their inputs cannot be read.
    """

    run_fingerprint: str = ""
    missing: tuple[int, ...] = ()

    @property
    def fingerprint(self) -> str:
        """Return the fingerprint that the run recorded."""
        return self.run_fingerprint


@dataclass(frozen=True, eq=False)
class _PartOfInputs:
    """Hold the inputs of the samples of a run at their positions in a source, -1 for those that are gone."""

    inputs: Inputs
    positions: Tensor
    keys: Sequence[str]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.inputs.shape

    def __len__(self) -> int:
        return len(self.positions)

    def read(self, sample_ids: Tensor) -> Tensor:
        """Return the inputs of these ids; raise DataError if one is gone."""
        positions = self.positions[sample_ids]
        if (gone := (positions < 0).nonzero()).numel():
            key = self.keys[int(sample_ids[gone[0, 0]])]
            raise DataError(f"sample {key!r} is no longer in the data")
        return self.inputs.read(positions)

    def add_to(self, digest: Digest) -> None:
        """Add all of the inputs that are there to a checksum."""
        self.inputs.add_to(digest)


def match_samples(
    dataset: LabeledDataset,
    keys: Sequence[str],
    labels: NDArray[np.int64],
    class_names: Sequence[str],
    fingerprint: str,
) -> tuple[LabeledDataset, str]:
    """Return the samples of a run with the inputs of a source, and a sentence on what changed; empty if nothing did.

    Args:
        dataset: The source as it is now; texts need not be embedded.
        keys: [n] keys of the samples of the run.
        labels: [n] labels that the run recorded; [n, C] of 0 and 1 for multi-label data.
        class_names: Classes of the run.
        fingerprint: Fingerprint of its data.

    Raises:
        DataError: The samples cannot be recognised: none of the keys is there, or the keys are numbers of rows, which
            other rows may have now.
    """
    if dataset.fingerprint == fingerprint:
        return dataset, ""
    position_of = {key: position for position, key in enumerate(dataset.keys)}
    positions = np.array([position_of.get(key, -1) for key in keys], np.int64)
    there = np.flatnonzero(positions >= 0)
    missing = np.flatnonzero(positions < 0)
    changed = _changed_labels(dataset, positions[there], labels[there], class_names)
    added = len(dataset) - len(there)
    if not len(there):
        raise DataError(f"{dataset.name} holds none of the samples of the run, such as {keys[0]!r}")
    if (len(missing) or added or changed) and are_row_numbers(keys):
        raise DataError(
            f"rows of {dataset.name} were added, removed or changed, and the samples have no keys but their row numbers"
        )
    matched = _with_inputs(dataset, positions, keys, labels, tuple(class_names), fingerprint, missing)
    if not (len(missing) or added or changed):
        # The fingerprint of texts is that of their embedding, which is not computed to look at them.
        what = "inputs of the data" if (np.diff(positions) > 0).all() else "order of the data, and perhaps inputs,"
        return matched, "" if dataset.modality == "texts" else f"The {what} changed since the run."
    examples = ", ".join(repr(keys[i]) for i in missing[:_EXAMPLES]) + ", ..." * (len(missing) > _EXAMPLES)
    gone = f"{len(missing):,} ({examples})" if len(missing) else "0"
    return (
        matched,
        f"The data changed since the run. Samples gone: {gone}, added: {added:,}, with other labels: {changed:,}."
        + " Those that the run recorded count here." * bool(changed),
    )


def _with_inputs(
    dataset: LabeledDataset,
    positions: NDArray[np.int64],
    keys: Sequence[str],
    labels: NDArray[np.int64],
    class_names: tuple[str, ...],
    fingerprint: str,
    missing: NDArray[np.int64],
) -> RecordedSamples:
    values = {field.name: getattr(dataset, field.name) for field in fields(LabeledDataset)}
    values |= {"keys": list(keys), "labels": labels, "class_names": class_names, "rows": None}
    values["skipped"] = () if len(missing) else dataset.skipped  # some of which may be among the missing
    values["inputs"] = _PartOfInputs(dataset.inputs, torch.from_numpy(positions), keys)
    if dataset.cells is not None:
        values["cells"] = dataset.cells.take(pa.array(positions, mask=positions < 0))
    if dataset.texts is not None:
        values["texts"] = ["(no longer in the data)" if i < 0 else dataset.texts[i] for i in positions.tolist()]
    if dataset.rows is not None:
        values["rows"] = np.where(positions < 0, -1, dataset.rows[positions])
    if dataset.originals is not None:
        gone = Path(f"(no longer in {dataset.name})")
        values["originals"] = [gone if i < 0 else dataset.originals[i] for i in positions.tolist()]
    truth = dataset.true_labels
    if truth is not None:
        values["true_labels"] = None if len(missing) or dataset.class_names != class_names else truth[positions]
    return RecordedSamples(**values, run_fingerprint=fingerprint, missing=tuple(missing.tolist()))


def _changed_labels(
    dataset: LabeledDataset, positions: NDArray[np.int64], labels: NDArray[np.int64], class_names: Sequence[str]
) -> int:
    """Return how many samples have another label now, by the names of the classes."""
    now = dataset.labels[positions]
    if now.ndim != labels.ndim:
        return len(labels)
    if now.ndim == 2:
        same = dataset.class_names == tuple(class_names)
        return int((now != labels).any(1).sum()) if same else len(labels)
    names = np.array(dataset.class_names, object)[now]
    return int((names != np.array(class_names, object)[labels]).sum())


def are_row_numbers(keys: Sequence[str]) -> bool:
    """Return whether the keys only number the rows: each ends with its index."""
    return all(key.rpartition("/")[2].lstrip("0") == (str(i) if i else "") for i, key in enumerate(keys))


def with_recorded_noise(dataset: LabeledDataset, keys: Sequence[str], labels: NDArray[np.int64]) -> LabeledDataset:
    """Return a source with the noisy labels that a run recorded, by key; its own labels become the true ones."""
    label_of = dict(zip(keys, labels, strict=True))
    noisy = np.array([label_of.get(key, own) for key, own in zip(dataset.keys, dataset.labels, strict=True)], np.int64)
    return replace(dataset, labels=noisy, true_labels=dataset.labels)
