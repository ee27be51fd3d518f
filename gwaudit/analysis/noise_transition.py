"""Estimate how true labels turn into given ones from the labels of neighbours, without any true label.

The method is HOC (high-order consensuses; Zhu, Song and Liu, ICML 2021, arXiv 2102.05291): where a sample and its two
nearest neighbours have one true label, and their given labels are drawn independently, the joint distribution of the
three given labels determines the share p_i of each true class and the probability T_ij of the given label j:

    P(a, b, c) = Σ_i p_i T_ia T_ib T_ic
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MOST_CLASSES = 100
"""Number of classes up to which the joint distribution of three labels, [C, C, C], is fitted."""

_DIAGONAL = 3.0  # logit of T_ii at the start, above the others: most labels are right


def consensus(labels: NDArray[np.int64], neighbours: NDArray[np.int64], n_classes: int) -> Floats:
    """Return the joint distribution of the labels of a sample and its two nearest neighbours, [C, C, C].

    The three have no order in the model, so the mean over their orders is returned.

    Args:
        labels: [n] given labels.
        neighbours: [n, 2 or more] ids of the nearest neighbours, the nearest first.
        n_classes: Number of classes C.
    """
    joint = np.zeros((n_classes,) * 3)
    np.add.at(joint, (labels, labels[neighbours[:, 0]], labels[neighbours[:, 1]]), 1 / len(labels))
    orders = [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]
    return np.asarray(sum(joint.transpose(order) for order in orders) / len(orders))


def fit_transition(joint: Floats) -> tuple[Floats, Floats]:
    """Return the shares p [C] of the true classes and the transition T [C, C] that fit a joint distribution best.

    The sum of squared errors is minimised by L-BFGS over the logits of p and of the rows of T.

    Args:
        joint: [C, C, C], as `consensus` returns it.
    """
    from scipy.optimize import minimize  # `--help` does not wait for it

    n_classes = len(joint)

    def unpack(logits: Floats) -> tuple[Floats, Floats]:
        rows = _softmax(logits.reshape(n_classes + 1, n_classes))
        return rows[0], rows[1:]

    def loss(logits: Floats) -> tuple[float, Floats]:
        share, transition = unpack(logits)
        pairs = (transition[:, :, None] * transition[:, None, :]).reshape(n_classes, -1)
        error = (share[:, None] * transition).T @ pairs - joint.reshape(n_classes, -1)
        # The error has no order either: the gradient by each of the three factors is the same.
        by_factor = pairs @ error.T
        by_row = np.vstack([2 * (by_factor * transition).sum(1), 6 * share[:, None] * by_factor])
        rows = np.vstack([share, transition])
        by_logit = rows * (by_row - (by_row * rows).sum(1, keepdims=True))
        return float((error**2).sum()) * _SCALE, by_logit.ravel() * _SCALE

    start = np.vstack([np.zeros(n_classes), _DIAGONAL * np.eye(n_classes)])
    fitted = minimize(loss, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 500})
    return unpack(fitted.x)


_SCALE = 1e4  # of the loss, whose gradients are small against the tolerances of the optimiser


def _softmax(logits: Floats) -> Floats:
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(1, keepdims=True))
