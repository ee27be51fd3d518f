"""Find inputs, and keys, that occur several times with different labels."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from hashlib import blake2b

import numpy as np

from gwaudit.data.dataset import LabeledDataset
from gwaudit.data.image_decoding import EncodedImage, FilePart
from gwaudit.data.inputs import InMemory, Texts
from gwaudit.data.reading_notes import Contradiction


def note_contradictions(dataset: LabeledDataset, source_keys: Sequence[str]) -> None:
    """Record inputs, and keys, that occur with different labels.

    Args:
        dataset: The data set, whose notes receive the contradictions.
        source_keys: [n] keys of the samples as the source has them, before they were made distinct.
    """
    found = set()
    for what, groups in (("Inputs", _equal_inputs(dataset)), ("Keys", _equal(enumerate(source_keys)))):
        contradictions = [
            ids for ids in groups if ids not in found and len(np.unique(dataset.labels[ids,], axis=0)) > 1
        ]
        if not contradictions:
            continue
        found.update(contradictions)
        notes = [
            Contradiction([dataset.keys[i] for i in ids], [_label(dataset, i) for i in ids]) for ids in contradictions
        ]
        dataset.notes.contradictions += notes
        examples = ", ".join(
            f"{key} ({label})" for key, label in list(zip(notes[0].keys, notes[0].labels, strict=True))[:3]
        )
        dataset.notes.warn(
            f"{what} that occur several times with different labels: {len(notes):,}, such as {examples}. "
            "The run lists all of them in contradictions.csv."
        )


def _equal_inputs(dataset: LabeledDataset) -> list[tuple[int, ...]]:
    """Return the ids of samples whose inputs are equal in every value, by group; images of one colour are none."""
    inputs = dataset.inputs
    if isinstance(inputs, Texts):
        return _equal(enumerate(text.strip() for text in inputs.texts))
    if isinstance(inputs, InMemory):
        rows = np.ascontiguousarray(inputs.values.numpy()).reshape(len(inputs), -1)
        digests = ((i, _digest(row.tobytes())) for i, row in enumerate(rows) if row.size)
        is_image = inputs.values.ndim == 4
        return [ids for ids in _equal(digests) if not is_image or rows[ids[0]].min() != rows[ids[0]].max()]
    if dataset.originals is None:
        return []
    same_length = _equal((i, _length(item)) for i, item in enumerate(dataset.originals))
    candidates = ((i, _digest(_content(dataset.originals[i]))) for ids in same_length for i in ids)
    return _equal(candidates)


def _equal(values: Iterable[tuple[int, Hashable]]) -> list[tuple[int, ...]]:
    """Return the ids of each value that occurs several times."""
    ids: defaultdict[Hashable, list[int]] = defaultdict(list)
    for sample_id, value in values:
        ids[value].append(sample_id)
    return [tuple(group) for group in ids.values() if len(group) > 1]


def _digest(content: bytes) -> bytes:
    return blake2b(content, digest_size=16).digest()


def _content(item: EncodedImage) -> bytes:
    return item if isinstance(item, bytes) else item.read() if isinstance(item, FilePart) else item.read_bytes()


def _length(item: EncodedImage) -> int:
    if isinstance(item, bytes):
        return len(item)
    return item.size if isinstance(item, FilePart) else item.stat().st_size


def _label(dataset: LabeledDataset, sample_id: int) -> str:
    label = dataset.labels[sample_id]
    if not dataset.is_multi_label:
        return dataset.class_names[int(label)]
    return ", ".join(dataset.class_names[c] for c in np.flatnonzero(label)) or "(none)"
