"""Make the label errors of the trust benchmark: uniform, class-dependent and feature-dependent, with exact counts."""

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gwaudit.core.errors import SettingsError
from gwaudit.data.label_noise import add_label_noise

ErrorKind = Literal["uniform", "class", "feature"]

RATES = (0.02, 0.05, 0.1, 0.2, 0.4)
"""Shares of wrong labels."""

_NEIGHBOURS = 3
_ROWS_AT_ONCE = 4096  # of their distances to all others; the sets of the benchmark have fewer rows
_LARGEST_CLASS_RATE = 0.45
_LARGEST_SPREAD = 0.5


def wrong_labels(
    features: ArrayLike, labels: ArrayLike, n_classes: int, *, kind: ErrorKind, rate: float, seed: int
) -> NDArray[np.int64]:
    """Return a copy of the labels in which exactly round(rate * n) are wrong.

    Args:
        features: [n, D] any real dtype; only "feature" reads them.
        labels: [n] true labels in [0, n_classes).
        n_classes: C, at least 2.
        kind: Kind of the errors. "uniform": any sample, any other class, with equal probability. "class": the share of
            wrong labels differs between classes, by up to half of the rate, and each class becomes the next one.
            "feature": the probability of a wrong label rises linearly from 0 to twice the rate with the rank of the
            sample's ambiguity, and the wrong class is one that lies near (`class_distances`).
        rate: Share of wrong labels, in [0, 0.5].
        seed: Seed of the choices.

    Returns:
        [n] int64, a copy.

    Raises:
        SettingsError: The kind is unknown, or the rate outside [0, 0.5].

    Example:
        >>> labels = [0] * 10 + [1] * 10
        >>> int((wrong_labels(None, labels, 2, kind="class", rate=0.2, seed=0) != labels).sum())
        4
    """
    if kind not in get_args(ErrorKind):
        raise SettingsError(f"unknown kind of label errors {kind!r}: choose from {', '.join(get_args(ErrorKind))}")
    if not 0 <= rate <= 0.5:
        raise SettingsError(f"`rate`, the share of wrong labels, must be in [0, 0.5], not {rate}")
    truth = np.asarray(labels, np.int64)
    if kind == "uniform":
        return add_label_noise(truth, n_classes, rate=rate, seed=seed)
    random = np.random.default_rng(seed)
    if kind == "class":
        chosen = _draw(_class_rates(truth, n_classes, rate), rate, random)
        given = truth.copy()
        given[chosen] = (truth[chosen] + 1) % n_classes
        return given
    distance = class_distances(features, truth, n_classes)
    own = distance[np.arange(len(truth)), truth]
    others = distance.copy()
    others[np.arange(len(truth)), truth] = np.inf
    nearest = others.min(1)
    ambiguity = np.log(own + 1e-12) - np.log(nearest + 1e-12)
    rank = np.argsort(np.lexsort((random.random(len(truth)), ambiguity)))
    chosen = _draw(2 * rate * (rank + 0.5) / len(truth), rate, random)
    ratio = np.minimum((others[chosen] + 1e-12) / (nearest[chosen, None] + 1e-12), 1e3)
    cumulative = np.cumsum(np.exp(-3 * (ratio**2 - 1)), axis=1)
    drawn = random.random(len(chosen)) * cumulative[:, -1]
    given = truth.copy()
    given[chosen] = (cumulative <= drawn[:, None]).sum(1)
    return given


def class_distances(features: ArrayLike, labels: ArrayLike, n_classes: int) -> NDArray[np.float64]:
    """Return the distance of each sample to each class: the mean over its three nearest other samples of the class.

    Args:
        features: [n, D] any real dtype; columns are standardised first, and values that are not finite count as the
            mean.
        labels: [n] in [0, n_classes).
        n_classes: C.

    Returns:
        [n, C] at least 0; infinite for a class without another sample.
    """
    values = standardised(features)
    truth = np.asarray(labels)
    squares = (values**2).sum(1)
    result = np.full((len(truth), n_classes), np.inf)
    for first in range(0, len(truth), _ROWS_AT_ONCE):
        rows = np.arange(first, min(first + _ROWS_AT_ONCE, len(truth)))
        distance = np.sqrt(np.maximum(squares[rows, None] + squares[None] - 2 * values[rows] @ values.T, 0))
        distance[np.arange(len(rows)), rows] = np.inf
        for label in range(n_classes):
            members = distance[:, truth == label]
            if not members.shape[1]:
                continue
            nearest = np.sort(members, axis=1)[:, :_NEIGHBOURS]
            finite = np.isfinite(nearest)
            count = finite.sum(1)
            total = np.where(finite, nearest, 0).sum(1)
            result[rows, label] = np.where(count > 0, total / np.maximum(count, 1), np.inf)
    return result


def standardised(features: ArrayLike) -> NDArray[np.float64]:
    """Return features with mean 0 and standard deviation 1 in each column, [n, D]; constant columns are 0.

    Values that are not finite become 0, the mean.
    """
    values = np.asarray(features, np.float64)
    values = np.where(np.isfinite(values), values, np.nan)
    with np.errstate(all="ignore"):
        centred = values - np.nanmean(values, axis=0)
        scale = np.nanstd(values, axis=0)
        result = np.where(scale > 1e-12 * np.nanmax(np.abs(values), axis=0), centred / scale, 0.0)
    return np.nan_to_num(result)


def _class_rates(truth: NDArray[np.int64], n_classes: int, rate: float) -> NDArray[np.float64]:
    """Return the probability of a wrong label of each sample: highest in class 0, lowest in the last class."""
    spread = min(_LARGEST_SPREAD, _LARGEST_CLASS_RATE / rate - 1) if rate else 0.0
    weights = 1 + max(spread, 0.0) * (1 - 2 * np.arange(n_classes) / (n_classes - 1))
    probability = weights[truth]
    return np.asarray(np.minimum(rate * probability / probability.mean(), 1.0))


def _draw(probability: NDArray[np.float64], rate: float, random: np.random.Generator) -> NDArray[np.int64]:
    """Return round(rate * n) samples, each with its probability: systematic sampling in random order."""
    n, count = len(probability), round(rate * len(probability))
    if not count:
        return np.empty(0, np.int64)
    order = random.permutation(n)
    cumulative = np.cumsum(probability[order] * (count / probability.sum()))
    cumulative[-1] = count
    chosen = np.searchsorted(cumulative, random.random() + np.arange(count), side="right")
    return np.sort(order[np.minimum(chosen, n - 1)])
