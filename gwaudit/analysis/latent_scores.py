"""Score labels by the latents of the samples: neighbours, class densities, and the influence of a sample on itself.

Pure functions of arrays. The latents are those that a run keeps, in float16 and of length 1 (`gwaudit.store.latents`).
n samples, D latent features, C classes.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gwaudit.analysis.noise_transition import MOST_CLASSES, consensus, fit_transition

Latents = NDArray[np.float32]
Floats = NDArray[np.float64]
Ids = NDArray[np.int64]

NEIGHBOURS = 10
"""Number of neighbours that vote, as in the experiments of SimiFeat."""

COMPONENTS = 64
"""Largest number of principal components that the class densities are fitted in."""

SAMPLES_PER_COMPONENT = 10
"""Fewest samples of a class of mean size for each component: in more, a density would fit each of its samples."""

_PENALTIES = 10.0 ** np.arange(-4, 3)  # of the ridge regression, in units of the mean eigenvalue
_REFITS = 2  # of the class densities, each without the samples flagged before
_FEWEST = 2  # samples of a class that has a density


def nearest_neighbours(latents: Latents, k: int = NEIGHBOURS) -> Ids:
    """Return the k nearest neighbours of every sample by cosine distance, the nearest first, [n, k].

    Args:
        latents: [n, D] of length 1.
        k: Number of neighbours; n - 1 where there are fewer samples.
    """
    from sklearn.neighbors import NearestNeighbors

    # Of vectors of one length, the Euclidean distance has the order of the cosine distance.
    search = NearestNeighbors(n_neighbors=min(k, len(latents) - 1), algorithm="brute").fit(latents)
    return np.asarray(search.kneighbors(return_distance=False), np.int64)


def soft_labels(labels: Ids, neighbours: Ids, n_classes: int) -> Floats:
    """Return the share of each label among the neighbours of every sample, [n, C].

    Args:
        labels: [n] given labels.
        neighbours: [n, k] ids.
        n_classes: Number of classes C.
    """
    counts = np.zeros((len(labels), n_classes))
    np.add.at(counts, (np.arange(len(labels))[:, None], labels[neighbours]), 1.0)
    return np.asarray(counts / neighbours.shape[1])


def vote(labels: Ids, neighbours: Ids, n_classes: int) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the margin of the vote against each label, [n] in [-1, 1], and whether another label has more votes.

    The margin is the largest share of votes for another label less that for the given one.
    """
    shares = soft_labels(labels, neighbours, n_classes)
    samples = np.arange(len(labels))
    own = shares[samples, labels]
    shares[samples, labels] = -1
    score = shares.max(1) - own
    return score, score > 0


def neighbour_ranking(labels: Ids, neighbours: Ids, n_classes: int) -> tuple[Floats, NDArray[np.bool_] | None]:
    """Return the negative cosine of soft and given label, [n] in [-1, 0], and which samples to flag.

    Of the N_j samples with the given label j, the round(N_j P(Y ≠ j | Ỹ = j)) with the highest score are flagged. The
    probability comes from `gwaudit.analysis.noise_transition`; None is flagged for more than `MOST_CLASSES` classes.
    """
    shares = soft_labels(labels, neighbours, n_classes)
    samples = np.arange(len(labels))
    score = -shares[samples, labels] / np.linalg.norm(shares, axis=1)
    if n_classes > MOST_CLASSES or neighbours.shape[1] < 2:
        return score, None
    share, transition = fit_transition(consensus(labels, neighbours, n_classes))
    given = np.maximum(share @ transition, 1e-12)
    wrong = 1 - share * np.diag(transition) / given
    flagged = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        count = round(len(members) * float(np.clip(wrong[label], 0, 1)))
        flagged[members[np.argsort(-score[members], kind="stable")[:count]]] = True
    return score, flagged


def class_likelihood_ratio(latents: Latents, labels: Ids, n_classes: int) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the log likelihood ratio of the best other class to the given one, [n], and where it is above 0.

    Each class is a Gaussian in the principal components of the latents, with the Ledoit-Wolf estimate of its
    covariance. The densities are fitted again without the samples that the ratio flags, so that wrong labels
    distort them less.

    Args:
        latents: [n, D].
        labels: [n] given labels.
        n_classes: Number of classes C; classes with fewer than two samples have no density, and their samples are not
            flagged (NaN).
    """
    most = len(labels) // (len(np.unique(labels)) * SAMPLES_PER_COMPONENT)
    components = _principal_components(latents, min(COMPONENTS, max(most, 1)))
    kept = np.ones(len(labels), bool)
    for _ in range(1 + _REFITS):
        density = _class_log_densities(components, labels, n_classes, kept)
        score = _against_given(density, labels)
        flagged = score > 0
        kept = ~flagged
    return score, flagged


def self_influence(latents: Latents, labels: Ids, n_classes: int) -> Floats:
    """Return how much the head's error on each sample grows when the sample is left out, [n], at least 0.

    The head is a ridge regression of one-hot labels on latents [z, 1], whose leave-one-out errors have a closed form:
    with the hat matrix H and the residual r_i, the error of the sample left out is r_i / (1 - H_ii) (Cook and
    Weisberg, 1982). The score is ‖r_i‖² (1 / (1 - H_ii)² - 1). The penalty is the one with the least sum of squared
    leave-one-out errors (PRESS; Allen, 1974), so no truth is needed.

    Args:
        latents: [n, D].
        labels: [n] given labels.
        n_classes: Number of classes C.
    """
    mean, targets = latents.mean(0, dtype=np.float64), np.eye(n_classes)[labels]
    centred = latents - mean.astype(np.float32)  # the constant feature is not penalised
    targets = targets - targets.mean(0)
    eigenvalues, directions = np.linalg.eigh(centred.T.astype(np.float64) @ centred)
    rotated = centred @ directions.astype(np.float32)
    by_direction = rotated.T.astype(np.float64) @ targets
    squares, best = np.square(rotated), (np.inf, np.zeros(len(labels)))
    for penalty in _PENALTIES * max(float(eigenvalues.mean()), 1e-12):
        inverse = 1 / (np.maximum(eigenvalues, 0) + penalty)
        residual = targets - rotated @ (inverse[:, None] * by_direction)
        left = np.maximum(1 - squares @ inverse - 1 / len(labels), 1e-6)
        error = np.square(residual).sum(1)
        press = float((error / left**2).sum())
        if press < best[0]:
            best = (press, error * (1 / left**2 - 1))
    return best[1]


def _principal_components(latents: Latents, d: int) -> Floats:
    """Return the coordinates of the latents in the d directions of the largest variance, [n, d] or fewer."""
    centred = latents - latents.mean(0)
    directions = np.linalg.eigh(centred.T.astype(np.float64) @ centred)[1][:, -d:]
    return np.asarray(centred @ directions, np.float64)


def _class_log_densities(values: Floats, labels: Ids, n_classes: int, kept: NDArray[np.bool_]) -> Floats:
    """Return the log density of each class at every sample, [n, C]; -inf for classes without a density."""
    from sklearn.covariance import LedoitWolf

    density = np.full((len(values), n_classes), -np.inf)
    for label in np.unique(labels):
        members = values[(labels == label) & kept]
        if len(members) < _FEWEST:
            members = values[labels == label]
        if len(members) >= _FEWEST:
            fitted = LedoitWolf().fit(members)
            variance, directions = np.linalg.eigh(fitted.covariance_)
            variance = np.maximum(variance, 1e-12)
            whitened = (values - fitted.location_) @ directions / np.sqrt(variance)
            density[:, label] = -0.5 * (np.square(whitened).sum(1) + np.log(variance).sum())
    return density


def _against_given(density: NDArray[Any], labels: Ids) -> Floats:
    """Return the highest value of another class less that of the given one, [n]; NaN where the given one has none."""
    samples, others = np.arange(len(labels)), density.copy()
    own = density[samples, labels]
    others[samples, labels] = -np.inf
    return np.where(np.isfinite(own), others.max(1) - own, np.nan)
