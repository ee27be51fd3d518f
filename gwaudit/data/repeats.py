"""Find inputs, and keys, that occur several times: with different labels, or in a large share of the samples."""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from hashlib import blake2b

import numpy as np

from gwaudit.core.errors import DataError
from gwaudit.data.dataset import LabeledDataset
from gwaudit.data.image_checks import ImageDigest
from gwaudit.data.inputs import InMemory, Texts
from gwaudit.data.reading_notes import Contradiction

_EXAMPLES = 3
_LEAST_REPEATS, _LARGE_SHARE = 3, 0.1

_CAUSES = {
    "images": "is it a placeholder?",
    "texts": "is it a standard text?",
    "features": "are columns missing, or is it a default value?",
}


def note_repeats(dataset: LabeledDataset, source_keys: Sequence[str], digests: Sequence[ImageDigest]) -> None:
    """Record inputs, and keys, that occur several times, and list those with different labels.

    Args:
        dataset: The data set, whose notes receive warnings, remarks and contradictions.
        source_keys: [n] keys of the samples as the source has them, before they were made distinct.
        digests: [n] digests of the images; empty where the inputs are not images.

    Raises:
        DataError: All inputs are identical.
    """
    groups = _equal_inputs(dataset, digests)
    _require_different(dataset, groups)
    # An image of one colour holds no picture, which has a warning of its own (`image_checks`).
    groups = [ids for ids in groups if not digests or not digests[ids[0]].is_constant]
    largest = max(groups, key=len, default=())
    if len(largest) < _LEAST_REPEATS or len(largest) <= _LARGE_SHARE * len(dataset):
        largest = ()
    listed: set[tuple[int, ...]] = set()
    for what, candidates in (("Inputs", groups), ("Keys", equal_values(source_keys))):
        contradictory = [ids for ids in candidates if ids not in listed and len(_labels(dataset, ids)) > 1]
        listed.update(contradictory)
        notes = [
            Contradiction([dataset.keys[i] for i in ids], [label_text(dataset, i) for i in ids])
            for ids in contradictory
        ]
        dataset.notes.contradictions += notes
        _warn_of_contradictions(
            dataset, what, [note for note, ids in zip(notes, contradictory, strict=True) if ids != largest]
        )
    _note_identical(dataset, groups, largest)


def equal_values(values: Sequence[Hashable]) -> list[tuple[int, ...]]:
    """Return the positions of each value that occurs several times, the value that occurs first before the others.

    Example:
        >>> equal_values(["a", "b", "a"])
        [(0, 2)]
    """
    hashes = np.fromiter(map(hash, values), np.int64, len(values))  # a dictionary of a million values takes 300 MB
    ordered = np.sort(hashes)
    candidates = np.flatnonzero(np.isin(hashes, ordered[1:][ordered[1:] == ordered[:-1]]))
    ids: defaultdict[Hashable, list[int]] = defaultdict(list)
    for sample_id in candidates.tolist():
        ids[values[sample_id]].append(sample_id)
    return [tuple(group) for group in ids.values() if len(group) > 1]


def label_text(dataset: LabeledDataset, sample_id: int) -> str:
    """Return the name of the given label of a sample, or of its classes in a multi-label data set."""
    label = dataset.labels[sample_id]
    if not dataset.is_multi_label:
        return dataset.class_names[int(label)]
    return ", ".join(dataset.class_names[c] for c in np.flatnonzero(label)) or "(none)"


def _require_different(dataset: LabeledDataset, groups: Sequence[tuple[int, ...]]) -> None:
    if groups and len(groups[0]) == len(dataset) >= _LEAST_REPEATS:
        raise DataError(
            f"{dataset.name}: the inputs of all {len(dataset):,} samples are identical, so nothing can be learned from "
            f"them ({_CAUSES[dataset.modality]} Check the source)"
        )


def _warn_of_contradictions(dataset: LabeledDataset, what: str, notes: Sequence[Contradiction]) -> None:
    if not notes:
        return
    pairs = list(zip(notes[0].keys, notes[0].labels, strict=True))[:_EXAMPLES]
    examples = ", ".join(f"{key} ({label})" for key, label in pairs)
    dataset.notes.warn(
        f"{what} that occur several times with different labels: {len(notes):,}, such as {examples}. "
        "The run lists all of them in contradictions.csv."
    )


def _note_identical(dataset: LabeledDataset, groups: Sequence[tuple[int, ...]], largest: tuple[int, ...]) -> None:
    """Warn of an input that a large share of the samples has; otherwise remark how many inputs repeat another one."""
    n, kind = len(dataset), "rows" if dataset.modality == "features" else dataset.modality
    if largest:
        keys = [dataset.keys[i] for i in largest[:_EXAMPLES]]
        n_labels = len(_labels(dataset, largest))
        labels = f" under {n_labels:,} different labels (contradictions.csv)" if n_labels > 1 else ""
        dataset.notes.warn(
            f"{len(largest):,} of {n:,} {kind} are identical ({', '.join(keys)}{', ...' * (len(largest) > _EXAMPLES)})"
            f"{labels}: {_CAUSES[dataset.modality]}"
        )
    elif groups:
        repeats = sum(len(ids) - 1 for ids in groups)
        first, second = (dataset.keys[i] for i in groups[0][:2])
        dataset.notes.remark(f"{kind} that repeat another one exactly: {repeats:,}, such as {second} and {first}")


def _equal_inputs(dataset: LabeledDataset, digests: Sequence[ImageDigest]) -> list[tuple[int, ...]]:
    """Return the ids of samples whose inputs are equal in every value, by group; of images, as they are trained on."""
    inputs = dataset.inputs
    if digests:
        return equal_values([digest.checksum for digest in digests])
    if isinstance(inputs, Texts):
        return equal_values([text.strip() for text in inputs.texts])
    if isinstance(inputs, InMemory):
        rows = inputs.values.numpy().reshape(len(inputs), -1)
        return equal_values([_digest((row + 0).tobytes()) for row in rows])  # 0 for -0
    return []


def _digest(content: bytes) -> bytes:
    return blake2b(content, digest_size=16).digest()


def _labels(dataset: LabeledDataset, ids: Sequence[int]) -> set[str]:
    return {label_text(dataset, i) for i in ids}
