"""Find copies of the audited samples in another split, which is read for this alone."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from gwaudit.analysis.neighbours import centred, groups_of
from gwaudit.core.errors import DataError
from gwaudit.core.settings import ResolvedTrainingSettings
from gwaudit.data.dataset import LabeledDataset
from gwaudit.data.repeats import equal_values, label_text
from gwaudit.store.split_copies import SplitCopies
from gwaudit.training.copies import checksums, not_by_chance, words
from gwaudit.training.frozen_features import extract_features
from gwaudit.training.latents import MOST_DISTANCE, look_alike
from gwaudit.training.preprocessing import Preprocessing
from gwaudit.training.progress import FeatureProgress

_BLOCK = 256


def find_split_copies(
    dataset: LabeledDataset,
    other: LabeledDataset,
    settings: ResolvedTrainingSettings,
    preprocessing: Preprocessing | None,
    progress: FeatureProgress | None = None,
) -> list[SplitCopies]:
    """Return the groups of samples of two splits that are copies of one another.

    Copies are those of `gwaudit.training.copies`; images are nearly equal by the features of a frozen backbone, and
    otherwise copies only if their pixels are equal. Rows of a table are compared by the columns that both splits have.

    Args:
        dataset: The audited split.
        other: The other one, under the name of its split.
        settings: Settings of the training.
        preprocessing: Preprocessing of images.
        progress: Receives the number of features that are computed.

    Raises:
        DataError: The splits hold inputs of different kinds.
        GwauditError: The features cannot be computed.
    """
    n = len(dataset)
    equal = _equal(dataset, other)
    pairs = [(group[0], sample) for group in equal for sample in group[1:]]
    if dataset.modality == "images" and settings.backbone == "frozen":
        pairs += [(i, n + j) for i, j in _nearly_equal(dataset, other, settings, preprocessing, progress)]
    known = {frozenset(group) for group in equal}
    return [
        SplitCopies(
            keys=[str(dataset.keys[i] if i < n else other.keys[i - n]) for i in group],
            labels=[label_text(dataset, i) if i < n else label_text(other, i - n) for i in group],
            splits=[dataset.split if i < n else other.split for i in group],
            nearly=frozenset(group) not in known,
        )
        for group in groups_of(np.array(pairs, np.int64).reshape(-1, 2), n + len(other))
        if group[0] < n <= group[-1]
    ]


def _equal(dataset: LabeledDataset, other: LabeledDataset) -> list[tuple[int, ...]]:
    """Return the groups of equal inputs, those of the other split with ids from n on."""
    n = len(dataset) + len(other)
    if dataset.texts is not None and other.texts is not None:
        return equal_values([words(text) for text in (*dataset.texts, *other.texts)])
    if dataset.cells is not None and other.cells is not None:
        columns = list(_common_cells(dataset, other))
        return not_by_chance(equal_values([row.tobytes() for row in np.stack(columns, 1)]), columns, n)
    if dataset.input_shape != other.input_shape:
        raise DataError(
            f"the splits {dataset.split} and {other.split} hold inputs of the shapes {dataset.input_shape} and "
            f"{other.input_shape}, which cannot be compared: leave out `also_split`"
        )
    groups = equal_values([*checksums(dataset), *checksums(other)])
    return groups if dataset.modality == "images" else not_by_chance(groups, _features(dataset, other), n)


def _common_cells(dataset: LabeledDataset, other: LabeledDataset) -> Iterator[NDArray[np.int64]]:
    """Yield each column that both tables have, of both of them, with a number for each different value."""
    assert dataset.cells is not None
    assert other.cells is not None
    names = [name for name in dataset.cells.column_names if name in other.cells.column_names]
    if not names:
        raise DataError(
            f"the splits {dataset.split} and {other.split} have no column in common: leave out `also_split`"
        )
    for name in names:
        values = [*dataset.cells[name].to_pylist(), *other.cells[name].to_pylist()]
        # A column of whole numbers is one of floats in a split with an empty cell.
        texts = [repr(float(v)) if isinstance(v, int | float) else str(v) for v in values]
        yield np.unique(np.array(texts), return_inverse=True)[1]


def _features(*splits: LabeledDataset) -> Iterator[NDArray[np.int64]]:
    values = np.concatenate([split.read(torch.arange(len(split))).numpy() for split in splits])
    for column in values.T:
        yield np.unique(column, return_inverse=True)[1]


def _nearly_equal(
    dataset: LabeledDataset,
    other: LabeledDataset,
    settings: ResolvedTrainingSettings,
    preprocessing: Preprocessing | None,
    progress: FeatureProgress | None,
) -> Sequence[tuple[int, int]]:
    """Return the pairs of nearly equal images, one of each split."""
    splits = (dataset, other)
    features = [extract_features(split, settings, progress, preprocessing) for split in splits]
    values = [split.read(torch.arange(len(split))).numpy() for split in features]
    latents = centred(np.concatenate(values))
    own, others = latents[: len(dataset)], latents[len(dataset) :]
    found = [np.empty((0, 2), np.int64)]
    for start in range(0, len(own), _BLOCK):
        near = np.argwhere(1 - own[start : start + _BLOCK] @ others.T <= MOST_DISTANCE)
        found.append(near + np.array([start, 0]))
    pairs = np.concatenate(found)
    return [(int(i), int(j)) for i, j in pairs[look_alike(dataset, pairs[:, 0], other, pairs[:, 1])]]
