"""Wrong labels planted on purpose, where the truth must be known: demonstrations, tests, benchmarks."""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gwaudit.core.errors import SettingsError

NoiseKind = Literal["symmetric", "pair", "confusable"]


def add_label_noise(
    labels: ArrayLike,
    n_classes: int,
    *,
    rate: float,
    kind: NoiseKind = "symmetric",
    seed: int = 0,
    similarity: NDArray[np.floating] | None = None,
) -> NDArray[np.int64]:
    """Labels of which a share is wrong.

    Args:
        labels: [n] true labels, integers in [0, n_classes).
        n_classes: C, at least 2.
        rate: share to make wrong, in [0, 1]; exactly round(rate * n) are.
        kind: "symmetric", any other class by equal chance; "pair", the next class; "confusable", two thirds
            by `similarity` and one third symmetric, as people err: mostly between what looks alike.
        seed: of the choice of samples and of classes.
        similarity: [n, C], how much each sample looks like each class; weights, not probabilities.

    Returns:
        [n] int64, a copy.
    """
    truth = np.asarray(labels, np.int64)
    if not 0 <= rate <= 1:
        raise SettingsError(f"the share of wrong labels must be in [0, 1], not {rate}")
    random = np.random.default_rng(seed)
    chosen = random.permutation(len(truth))[: round(rate * len(truth))]
    weights = np.ones((len(chosen), n_classes))
    if kind == "pair":
        weights = np.eye(n_classes)[(truth[chosen] + 1) % n_classes]
    elif kind == "confusable":
        if similarity is None:
            raise SettingsError("confusable errors need the similarity of samples and classes")
        alike = random.random(len(chosen)) < 2 / 3
        weights[alike] = similarity[chosen[alike]]
    elif kind != "symmetric":
        raise SettingsError(f"unknown kind of errors {kind!r}: symmetric, pair or confusable")
    weights[np.arange(len(chosen)), truth[chosen]] = 0
    cumulative = np.cumsum(weights, axis=1)
    drawn = random.random(len(chosen)) * cumulative[:, -1]
    wrong = truth.copy()
    wrong[chosen] = (cumulative <= drawn[:, None]).sum(1)
    return wrong


def centroid_similarity(inputs: ArrayLike, labels: ArrayLike, n_classes: int) -> NDArray[np.float64]:
    """How much each sample looks like each class, by its distance to the mean of the class's samples.

    Args:
        inputs: [n, ...] any real dtype.
        labels: [n] in [0, n_classes), every class present.
        n_classes: C.

    Returns:
        [n, C] in (0, 1]: exp(-(d / d_min)²) of the distances d, d_min being the sample's to the nearest other class.
    """
    flat = np.asarray(inputs, np.float64).reshape(len(np.asarray(inputs)), -1)
    truth = np.asarray(labels)
    centroids = np.stack([flat[truth == label].mean(0) for label in range(n_classes)])
    distance = np.sqrt(((flat[:, None, :] - centroids[None]) ** 2).sum(2))
    others = distance.copy()
    others[np.arange(len(flat)), truth] = np.inf
    nearest = others.min(1, keepdims=True)
    return np.asarray(np.exp(-3 * ((distance / nearest) ** 2 - 1)).clip(max=1.0))


def add_multilabel_noise(labels: ArrayLike, *, missing: float, superfluous: float, seed: int = 0) -> NDArray[np.int64]:
    """Label sets of which some lack classes that are there, and some have classes that are not.

    Args:
        labels: [n, C] of 0 and 1, the truth.
        missing: share of the given labels to take away, in [0, 1].
        superfluous: so many, as a share of the given labels, to give where they are not true; as many as there is room
            for. Of each class in proportion to how often it is given, as people err.
        seed: of the choice.

    Returns:
        [n, C] int64, a copy.
    """
    truth = np.asarray(labels, np.int64)
    for what, share in (("missing", missing), ("superfluous", superfluous)):
        if not 0 <= share <= 1:
            raise SettingsError(f"the share of {what} labels must be in [0, 1], not {share}")
    random = np.random.default_rng(seed)
    wrong = truth.copy()
    sizes = truth.sum(0)
    rows, classes = np.nonzero(truth)
    taken = random.permutation(len(rows))[: round(missing * len(rows))]
    wrong[rows[taken], classes[taken]] = 0
    for label, count in enumerate(random.multinomial(round(superfluous * len(rows)), sizes / max(len(rows), 1))):
        wrong[random.permutation(np.flatnonzero(truth[:, label] == 0))[:count], label] = 1
    return wrong
