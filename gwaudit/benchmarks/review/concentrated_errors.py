"""Make label errors that lie in few classes or in one region, as of a guideline that somebody misread.

The kinds of the trust benchmark spread errors over all classes. Decisions on the most suspicious samples then find the
same kind of error as there is in the rest; of concentrated errors they need not.
"""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from gwaudit.benchmarks.trust.label_errors import standardised

ConcentratedKind = Literal["pairs", "one-way", "region"]
CONCENTRATED: tuple[ConcentratedKind, ...] = get_args(ConcentratedKind)

_PAIRS = 3


def concentrated_errors(
    features: NDArray[np.floating], labels: NDArray[np.int64], n_classes: int, *, kind: ConcentratedKind, rate: float,
    seed: int,
) -> NDArray[np.int64]:  # fmt: skip
    """Return a copy of the labels in which at most round(rate * n) are wrong, and as many where classes suffice.

    Args:
        features: [n, D] features; only "region" reads them.
        labels: [n] true labels in [0, n_classes).
        n_classes: C, at least 2.
        kind: Kind of the errors. "pairs": samples of three pairs of classes, or of fewer where C is below 6, get the
            other class of their pair. "one-way": samples of any class get one class, the same for all. "region": half
            of the samples around one of them get one class, which is rare there.
        rate: Share of wrong labels.
        seed: Seed of the choices.

    Example:
        >>> labels = np.arange(100) % 4
        >>> given = concentrated_errors(np.eye(100), labels, 4, kind="one-way", rate=0.2, seed=0)
        >>> int((given != labels).sum()), len(set(given[given != labels]))
        (20, 1)
    """
    random = np.random.default_rng((seed, 7))
    truth, count = np.asarray(labels, np.int64), round(rate * len(labels))
    given = truth.copy()
    classes = random.permutation(n_classes)
    if kind == "pairs":
        pairs = classes[: 2 * min(_PAIRS, n_classes // 2)].reshape(-1, 2)
        other = np.full(n_classes, -1)
        other[pairs[:, 0]], other[pairs[:, 1]] = pairs[:, 1], pairs[:, 0]
        possible = random.permutation(np.flatnonzero(other[truth] >= 0))[:count]
        given[possible] = other[truth[possible]]
    elif kind == "one-way":
        possible = random.permutation(np.flatnonzero(truth != classes[0]))[:count]
        given[possible] = classes[0]
    else:
        values = standardised(features)
        near = np.argsort(((values - values[random.integers(len(truth))]) ** 2).sum(1), kind="stable")[: 2 * count]
        rare = np.bincount(truth[near], minlength=n_classes).argmin()
        possible = random.permutation(near[truth[near] != rare])[:count]
        given[possible] = rare
    return given
