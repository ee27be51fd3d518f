"""Add synthetic label noise to right labels, for demonstrations, tests and benchmarks: the truth is then known."""

from collections.abc import Iterator
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from scipy.spatial.distance import cdist

from gwaudit.core.errors import DataError, SettingsError
from gwaudit.data.dataset import LabeledDataset
from gwaudit.data.inputs import Inputs

NoiseKind = Literal["symmetric", "asymmetric", "confusable"]

_BLOCK_VALUES = 2**22  # values that are held at a time, 32 MiB in float64


class Similarity(Protocol):
    """Describe the similarity of n samples to C classes: an array [n, C], or what computes its rows."""

    def __getitem__(self, ids: NDArray[np.int64], /) -> NDArray[np.floating]:
        """Return the rows of these samples, [m, C]."""


def with_label_noise(dataset: LabeledDataset, rate: float, seed: int) -> LabeledDataset:
    """Return a data set with synthetic label noise; its labels before the change become its true labels.

    Args:
        dataset: The data set, embedded if it holds texts.
        rate: Share of the labels to change, in [0, 1]: "confusable" noise between the classes that have samples. In
            multi-label data the share of the given labels to take away; as many wrong ones are added.
        seed: Seed of the changes.

    Raises:
        SettingsError: The share is less than half a label, or more than can be added in multi-label data.
        DataError: The changed labels are all of one class, or an image can no longer be read.
    """
    truth = dataset.labels
    n_given = int(truth.sum()) if dataset.is_multi_label else len(truth)
    if rate and not round(rate * n_given):
        raise SettingsError(
            f"`add_noise` {rate:g} changes none of the {n_given:,} labels of {dataset.name}: give a share of at least "
            f"{1 / n_given:.2g}"
        )
    if dataset.is_multi_label:
        wrong = add_multilabel_noise(truth, missing=rate, extra=rate, seed=seed)
    else:
        present, labels = np.unique(truth, return_inverse=True)
        similarity = CentroidSimilarity(dataset.inputs, labels, len(present))
        changed = add_label_noise(labels, len(present), rate=rate, kind="confusable", seed=seed, similarity=similarity)
        wrong = present[changed]
    if len(np.unique(wrong)) < 2:
        raise DataError(
            f"{dataset.name}: after `add_noise` {rate:g} its {n_given:,} labels are all the same: give a lower share, "
            "another `add_noise_seed`, or more samples"
        )
    return dataset.with_labels(wrong, true_labels=truth)


def add_label_noise(
    labels: ArrayLike,
    n_classes: int,
    *,
    rate: float,
    kind: NoiseKind = "symmetric",
    seed: int = 0,
    similarity: Similarity | None = None,
) -> NDArray[np.int64]:
    """Return a copy of the labels in which a share is wrong.

    Args:
        labels: [n] true labels, integers in [0, n_classes).
        n_classes: C, at least 2.
        rate: Share of the labels to change, in [0, 1]; exactly round(rate * n) change.
        kind: "symmetric", to any other class with equal probability; "asymmetric", to the next class; "confusable", two
            thirds by `similarity` and one third symmetric, as people make errors: mostly between classes that look
            alike.
        seed: Seed of the choice of samples and of classes.
        similarity: [n, C] similarity of each sample to each class, for "confusable"; weights, not probabilities. A
            sample that is similar to no other class gets any of them.

    Returns:
        [n] int64, a copy.

    Raises:
        SettingsError: The rate is outside [0, 1], there is one class, a label is none of the classes, the kind is
            unknown, or the similarity is missing.

    Example:
        >>> add_label_noise([0, 1, 2, 0], 3, rate=0.5, kind="asymmetric")
        array([1, 1, 0, 0])
    """
    truth = np.asarray(labels, np.int64)
    if not 0 <= rate <= 1:
        raise SettingsError(f"`rate`, the share of labels to change, must be in [0, 1], not {rate}")
    if n_classes < 2:
        raise SettingsError(f"label noise needs at least two classes, not {n_classes}")
    if len(truth) and not 0 <= truth.min() <= truth.max() < n_classes:
        raise SettingsError(f"the labels are {truth.min()} to {truth.max()}, not in [0, {n_classes})")
    if kind not in ("symmetric", "asymmetric", "confusable"):
        raise SettingsError(f"unknown kind of label noise {kind!r}: choose symmetric, asymmetric or confusable")
    random = np.random.default_rng(seed)
    chosen = random.permutation(len(truth))[: round(rate * len(truth))]
    alike = np.zeros(len(chosen), bool)
    if kind == "confusable":
        if similarity is None:
            raise SettingsError("confusable label noise needs `similarity`, of samples to classes")
        alike = random.random(len(chosen)) < 2 / 3
    drawn = random.random(len(chosen))
    wrong = truth.copy()
    for block in _blocks(len(chosen), n_classes):
        ids, by_similarity = chosen[block], alike[block]
        weights = np.ones((len(ids), n_classes))
        if kind == "asymmetric":
            weights = np.eye(n_classes)[(truth[ids] + 1) % n_classes]
        elif similarity is not None and by_similarity.any():
            weights[by_similarity] = similarity[ids[by_similarity]]
        wrong[ids] = _other_classes(weights, truth[ids], drawn[block])
    return wrong


def _other_classes(
    weights: NDArray[np.float64], truth: NDArray[np.int64], drawn: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return a class apart from the true one for each row, [m], by weights [m, C] and uniform numbers [m] in [0, 1)."""
    rows = np.arange(len(truth))
    weights[rows, truth] = 0
    weights[weights.sum(1) == 0] = 1
    weights[rows, truth] = 0
    cumulative = np.cumsum(weights, axis=1)
    total = cumulative[:, -1]
    # Below the total also where the product is rounded up to it: no class lies above.
    position = np.minimum(drawn * total, np.nextafter(total, 0))
    return np.asarray((cumulative <= position[:, None]).sum(1))


class CentroidSimilarity:
    """Compute the similarity of samples to classes from their distances to the means of the classes.

    That of a sample to a class is exp(-3 ((d / d_min)² - 1)), at most 1, where d is the distance of the sample to the
    mean of the class, and d_min its distance to the mean of the nearest other class. Where d_min is 0, it is 1 for the
    classes at distance 0 and 0 for the others. Inputs are read in blocks: no array of n samples is held.
    """

    def __init__(self, inputs: Inputs, labels: NDArray[np.int64], n_classes: int) -> None:
        """Compute the means of the classes.

        Args:
            inputs: n inputs of any shape and real dtype.
            labels: [n] in [0, n_classes), every class present.
            n_classes: C.
        """
        self._inputs, self._labels, self._width = inputs, labels, int(np.prod(inputs.shape))
        sums = np.zeros((n_classes, self._width))
        for block in _blocks(len(labels), self._width):
            classes = labels[block]
            members = csr_array(
                (np.ones(len(classes)), (classes, np.arange(len(classes)))), shape=(n_classes, len(classes))
            )
            sums += np.asarray(members @ self._read(np.arange(len(labels))[block]))
        self._centroids = sums / np.bincount(labels, minlength=n_classes)[:, None]

    def __getitem__(self, ids: NDArray[np.int64], /) -> NDArray[np.float64]:
        """Return the similarity of these samples to each class, [m, C] in [0, 1]."""
        similarity = np.empty((len(ids), len(self._centroids)))
        for block in _blocks(len(ids), self._width):
            distance = cdist(self._read(ids[block]), self._centroids)
            others = distance.copy()
            others[np.arange(len(others)), self._labels[ids[block]]] = np.inf
            nearest = others.min(1, keepdims=True)
            ratio = np.where(distance == 0, 1.0, np.inf)
            np.divide(distance, nearest, out=ratio, where=nearest > 0)
            similarity[block] = np.exp(-3 * (ratio**2 - 1)).clip(max=1.0)
        return similarity

    def _read(self, ids: NDArray[np.int64]) -> NDArray[np.float64]:
        return self._inputs.read(torch.from_numpy(ids)).numpy().reshape(len(ids), -1).astype(np.float64)


def _blocks(n_rows: int, width: int) -> Iterator[slice]:
    """Yield the slices of rows that hold about `_BLOCK_VALUES` values together."""
    step = max(1, _BLOCK_VALUES // max(width, 1))
    return (slice(start, start + step) for start in range(0, n_rows, step))


def add_multilabel_noise(labels: ArrayLike, *, missing: float, extra: float, seed: int = 0) -> NDArray[np.int64]:
    """Return a copy of multi-label labels in which some given labels are missing and some wrong ones are added.

    Args:
        labels: [n, C] of 0 and 1, the truth.
        missing: Share of the given labels to take away, in [0, 1].
        extra: Number of wrong labels to add, as a share of the given labels, in [0, 1]. Each class gets them in
            proportion to how often it is given, as people make errors, as far as it has samples without it.
        seed: Seed of the choice.

    Returns:
        [n, C] int64, a copy.

    Raises:
        SettingsError: A share is outside [0, 1], or too few labels are not given.
    """
    truth = np.asarray(labels, np.int64)
    for name, share in (("missing", missing), ("extra", extra)):
        if not 0 <= share <= 1:
            raise SettingsError(f"`{name}`, a share of the given labels, must be in [0, 1], not {share}")
    sizes, n_given = truth.sum(0), int(truth.sum())
    n_extra = round(extra * n_given)
    if n_extra > truth.size - n_given:
        raise SettingsError(
            f"`extra` {extra:g} of {n_given:,} given labels is {n_extra:,} labels to add, but only "
            f"{truth.size - n_given:,} are not given: give a lower share"
        )
    random = np.random.default_rng(seed)
    wrong = truth.copy()
    rows, classes = np.nonzero(truth)
    taken = random.permutation(n_given)[: round(missing * n_given)]
    wrong[rows[taken], classes[taken]] = 0
    for label, count in enumerate(_shared_out(n_extra, sizes, len(truth) - sizes, random)):
        wrong[random.permutation(np.flatnonzero(truth[:, label] == 0))[:count], label] = 1
    return wrong


def _shared_out(
    total: int, weights: NDArray[np.int64], room: NDArray[np.int64], random: np.random.Generator
) -> NDArray[np.int64]:
    """Return random counts [C] by weights [C], none above its room [C], that sum to a total within all rooms."""
    counts = np.zeros_like(room)
    while (rest := total - int(counts.sum())) > 0:
        open_weights = np.where(counts < room, weights, 0)
        if not open_weights.any():  # classes that are given to no sample
            open_weights = room - counts
        counts = np.minimum(counts + random.multinomial(rest, open_weights / open_weights.sum()), room)
    return counts
