"""Add synthetic label noise to right labels, for demonstrations, tests and benchmarks: the truth is then known."""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gwaudit.core.errors import DataError, SettingsError
from gwaudit.data.dataset import LabeledDataset
from gwaudit.data.inputs import InMemory

NoiseKind = Literal["symmetric", "asymmetric", "confusable"]


def with_label_noise(dataset: LabeledDataset, rate: float, seed: int) -> LabeledDataset:
    """Return a data set with synthetic label noise; its labels before the change become its true labels.

    Args:
        dataset: The data set. Samples with one class each must be held in memory.
        rate: Share of the labels to change, in [0, 1]: "confusable" noise. In multi-label data the share of the given
            labels to take away; as many wrong ones are added.
        seed: Seed of the changes.

    Raises:
        DataError: The images are not held in memory.
    """
    if dataset.is_multi_label:
        wrong = add_multilabel_noise(dataset.labels, missing=rate, extra=rate, seed=seed)
        return dataset.with_labels(wrong, true_labels=dataset.labels)
    if not isinstance(dataset.inputs, InMemory):
        raise DataError(f"{dataset.name} is too large for `add_noise`: its images are not held in memory")
    n_classes = len(dataset.class_names)
    similarity = centroid_similarity(dataset.inputs.values.numpy(), dataset.labels, n_classes)
    wrong = add_label_noise(dataset.labels, n_classes, rate=rate, kind="confusable", seed=seed, similarity=similarity)
    return dataset.with_labels(wrong, true_labels=dataset.labels)


def add_label_noise(
    labels: ArrayLike,
    n_classes: int,
    *,
    rate: float,
    kind: NoiseKind = "symmetric",
    seed: int = 0,
    similarity: NDArray[np.floating] | None = None,
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
        similarity: [n, C] similarity of each sample to each class, for "confusable"; weights, not probabilities.

    Returns:
        [n] int64, a copy.

    Raises:
        SettingsError: The rate is outside [0, 1], the kind is unknown, or the similarity is missing.

    Example:
        >>> add_label_noise([0, 1, 2, 0], 3, rate=0.5, kind="asymmetric")
        array([1, 1, 0, 0])
    """
    truth = np.asarray(labels, np.int64)
    if not 0 <= rate <= 1:
        raise SettingsError(f"`rate`, the share of labels to change, must be in [0, 1], not {rate}")
    random = np.random.default_rng(seed)
    chosen = random.permutation(len(truth))[: round(rate * len(truth))]
    weights = np.ones((len(chosen), n_classes))
    if kind == "asymmetric":
        weights = np.eye(n_classes)[(truth[chosen] + 1) % n_classes]
    elif kind == "confusable":
        if similarity is None:
            raise SettingsError("confusable label noise needs `similarity`, of samples to classes")
        alike = random.random(len(chosen)) < 2 / 3
        weights[alike] = similarity[chosen[alike]]
    elif kind != "symmetric":
        raise SettingsError(f"unknown kind of label noise {kind!r}: choose symmetric, asymmetric or confusable")
    weights[np.arange(len(chosen)), truth[chosen]] = 0
    cumulative = np.cumsum(weights, axis=1)
    drawn = random.random(len(chosen)) * cumulative[:, -1]
    wrong = truth.copy()
    wrong[chosen] = (cumulative <= drawn[:, None]).sum(1)
    return wrong


def centroid_similarity(inputs: ArrayLike, labels: ArrayLike, n_classes: int) -> NDArray[np.float64]:
    """Return the similarity of each sample to each class, from its distance to the mean of the samples of the class.

    Args:
        inputs: [n, ...] any real dtype.
        labels: [n] in [0, n_classes), every class present.
        n_classes: C.

    Returns:
        [n, C] in (0, 1]: exp(-3 ((d / d_min)² - 1)), at most 1, where d is the distance of the sample to the mean of
        the class, and d_min its distance to the mean of the nearest other class.
    """
    flat = np.asarray(inputs, np.float64).reshape(len(np.asarray(inputs)), -1)
    truth = np.asarray(labels)
    centroids = np.stack([flat[truth == label].mean(0) for label in range(n_classes)])
    distance = np.sqrt(((flat[:, None, :] - centroids[None]) ** 2).sum(2))
    others = distance.copy()
    others[np.arange(len(flat)), truth] = np.inf
    nearest = others.min(1, keepdims=True)
    return np.asarray(np.exp(-3 * ((distance / nearest) ** 2 - 1)).clip(max=1.0))


def add_multilabel_noise(labels: ArrayLike, *, missing: float, extra: float, seed: int = 0) -> NDArray[np.int64]:
    """Return a copy of multi-label labels in which some given labels are missing and some wrong ones are added.

    Args:
        labels: [n, C] of 0 and 1, the truth.
        missing: Share of the given labels to take away, in [0, 1].
        extra: Number of wrong labels to add, as a share of the given labels, in [0, 1]; fewer where a class is
            given to all samples. Each class gets them in proportion to how often it is given, as people make errors.
        seed: Seed of the choice.

    Returns:
        [n, C] int64, a copy.

    Raises:
        SettingsError: A share is outside [0, 1].
    """
    truth = np.asarray(labels, np.int64)
    for name, share in (("missing", missing), ("extra", extra)):
        if not 0 <= share <= 1:
            raise SettingsError(f"`{name}`, a share of the given labels, must be in [0, 1], not {share}")
    random = np.random.default_rng(seed)
    wrong = truth.copy()
    sizes = truth.sum(0)
    rows, classes = np.nonzero(truth)
    taken = random.permutation(len(rows))[: round(missing * len(rows))]
    wrong[rows[taken], classes[taken]] = 0
    for label, count in enumerate(random.multinomial(round(extra * len(rows)), sizes / max(len(rows), 1))):
        wrong[random.permutation(np.flatnonzero(truth[:, label] == 0))[:count], label] = 1
    return wrong
