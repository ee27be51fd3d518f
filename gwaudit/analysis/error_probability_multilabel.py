"""Estimate the odds of each (sample, class) being wrong, for multi-label networks that learned what they judge.

The mixtures of `gwaudit.analysis.error_probability`, for one label a sample, do not hold here. Absent labels outnumber
present ones by far, and the model has learned it: the logits of a rare class are low everywhere. So zero is not where
both answers fit equally well, and a sample that lacks its label lies as high as the present ones of *its class*, not as
high as absent labels lie low.

So the score is turned into the presence y of the class in the sample: the score of absent labels, the negative score of
present ones. Each class has two means, b of the samples that truly have it and a of those that do not:

    given and true            N(b, s²)            not given, but true     N(h + c (b - h), s²)
    not given, nor true       N(a, s²)            given, but not true     N(h - c (h - a), s²)

with h halfway between a and b, and c the share of the distance to h that training on the wrong answer left. a, b, s and
the shares of wrong answers are fitted for each class, with a prior of the weight of `CLASS_WEIGHT` samples at the
values of all classes; c is one for all classes. The prior of missing labels is proportional to the number of samples
that a class is given to: a class that few samples have is missing in few.

Bounds, weight and the equal spreads were chosen on synthetic errors (docs/benchmarks/multilabel.md). Equal spreads keep
the odds rising with the score within each class and answer; spreads of their own found no more errors.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gwaudit.analysis.error_probability import sigmoid
from gwaudit.analysis.mixtures import Floats

RETAINED = (0.85, 1.0)
"""The bounds of c. Below, skew of right labels is taken for errors; a model that has memorised much has less."""

CLASS_WEIGHT = 50.0
"""The weight of the prior from all classes, in samples of a class."""

_BINS = 2048
_ITERATIONS = 200
_START_SHARE = 0.05
_SHARE_BOUNDS = (1e-9, 0.5)
_CONVERGED = 1e-4


@dataclass(frozen=True)
class MultilabelMixture:
    """Hold the normal distributions of right and wrong answers of each class.

    Attributes:
        means: [C, 2] a and b of each class, in units of the score.
        share_wrong: [C, 2] share of wrong answers among the samples without the label, and among those with it.
        retained: c.
        variance: [C] s².
    """

    means: NDArray[np.float64]
    share_wrong: NDArray[np.float64]
    retained: float
    variance: NDArray[np.float64]

    def wrong_means(self) -> NDArray[np.float64]:
        """Return the means of wrong answers, [C, 2]: of samples without the label, and with it."""
        half = self.means.mean(1, keepdims=True)
        return np.asarray(half + self.retained * (self.means[:, ::-1] - half))

    def log_odds(
        self, presence: Floats, label: NDArray[np.integer] | slice, given: NDArray[np.integer] | slice
    ) -> NDArray[np.float64]:
        """Return the log odds of being wrong, by the presence of the class, the class, and the given answer."""
        right, wrong = self.means[label, given], self.wrong_means()[label, given]
        share, variance = self.share_wrong[label, given], self.variance[label]
        if isinstance(label, slice):
            right, wrong, share, variance = (
                right[..., None],
                wrong[..., None],
                share[..., None],
                variance[:, None, None],
            )
        distance = (presence - right) ** 2 - (presence - wrong) ** 2
        return np.asarray(distance / (2 * variance) + np.log(share / (1 - share)))


def multilabel_log_odds_wrong(scores: Floats, given: NDArray[np.integer], n_classes: int) -> NDArray[np.float64]:
    """Return the log of the odds of each (sample, class) being wrong.

    Args:
        scores: [n C] sample by sample, higher is more suspicious; NaN (never recorded) stays NaN.
        given: [n C] 0 (absent) or 1 (present).
        n_classes: C.

    Returns:
        [n C], rising with the score within each class and given answer.
    """
    presence = np.where(given == 1, -1.0, 1.0) * np.asarray(scores, np.float64)
    label = np.arange(len(presence)) % n_classes
    recorded = np.isfinite(presence)
    log_odds = np.full(len(presence), np.nan)
    if recorded.any():
        mixture = fit_multilabel_mixture(presence[recorded], label[recorded], given[recorded], n_classes)
        log_odds[recorded] = mixture.log_odds(presence[recorded], label[recorded], given[recorded])
    return log_odds


def fit_multilabel_mixture(
    presence: Floats, label: NDArray[np.integer], given: NDArray[np.integer], n_classes: int
) -> MultilabelMixture:
    """Fit the mixture by expectation maximisation, on histograms of each class and answer.

    The steps end when no share of wrong answers changes by more than 0.01 %. With the priors, they do not maximise the
    likelihood alone, so it cannot end them.

    Args:
        presence: [m] finite, the presence of the class in the sample.
        label: [m] the class, in [0, C).
        given: [m] the given answer, 0 or 1.
        n_classes: C.
    """
    y, counts = _histograms(np.asarray(presence, np.float64), label, given, n_classes)
    size = counts.sum(2)
    total = np.maximum(size.sum(0), 1e-12)
    sums = counts @ y
    means = (sums + CLASS_WEIGHT * sums.sum(0) / total) / (size + CLASS_WEIGHT)
    variance = (counts * (y - means[..., None]) ** 2).sum() / counts.sum()
    expected = np.full((n_classes, 2), _START_SHARE) * size[:, 1:]
    share = _shares(expected, size)
    start = np.full(n_classes, max(variance, 1e-12))
    mixture = MultilabelMixture(_keep_order(means, variance), share, RETAINED[1], start)
    for _ in range(_ITERATIONS):
        before = mixture.share_wrong
        mixture = _em_step(mixture, y, counts, size)
        if np.abs(np.log(mixture.share_wrong / before)).max() < _CONVERGED:
            break
    return mixture


def _em_step(mixture: MultilabelMixture, y: Floats, counts: Floats, size: Floats) -> MultilabelMixture:
    """Return the mixture after one step of expectation maximisation."""
    wrong = counts * sigmoid(mixture.log_odds(y, slice(None), slice(None)))
    right = counts - wrong
    n_wrong, wrong_sums = wrong.sum(2), wrong @ y
    c, half = mixture.retained, mixture.means.mean(1)[:, None]
    # A wrong answer also informs on the mean of the other answer, with the weight c².
    weights = right.sum(2) + c**2 * n_wrong[:, ::-1]
    sums = right @ y + (c**2 * half * n_wrong + c * (wrong_sums - half * n_wrong))[:, ::-1]
    mean_of_all = sums.sum(0) / np.maximum(weights.sum(0), 1e-12)
    means = (sums + CLASS_WEIGHT * mean_of_all) / (weights + CLASS_WEIGHT)
    means = _keep_order(means, float(mixture.variance.mean()))
    half = means.mean(1)[:, None]
    distance = means[:, ::-1] - half
    squares = (n_wrong * distance**2).sum()
    retained = ((wrong_sums - half * n_wrong) * distance).sum() / squares if squares > 0 else RETAINED[1]
    updated = MultilabelMixture(means, _shares(n_wrong, size), float(np.clip(retained, *RETAINED)), mixture.variance)
    deviations = right * (y - means[..., None]) ** 2 + wrong * (y - updated.wrong_means()[..., None]) ** 2
    variance = (deviations.sum((1, 2)) + CLASS_WEIGHT * deviations.sum() / size.sum()) / (size.sum(1) + CLASS_WEIGHT)
    return replace(updated, variance=np.maximum(variance, 1e-12))


def _shares(wrong: Floats, size: Floats) -> NDArray[np.float64]:
    """Return the shares of wrong answers, [C, 2], with a prior proportional to the samples that have the label."""
    per_given_label = wrong.sum(0) / max(float(size[:, 1].sum()), 1e-12)
    prior = per_given_label * size[:, 1:] / np.maximum(size, 1.0)
    return np.asarray(np.clip((wrong + CLASS_WEIGHT * prior) / (size + CLASS_WEIGHT), *_SHARE_BOUNDS))


def _keep_order(means: Floats, variance: float) -> NDArray[np.float64]:
    """Return the means with b not below a: of a class that the model has not learned, both are equal."""
    least = 1e-3 * np.sqrt(max(variance, 1e-12))
    return np.stack([means[:, 0], np.maximum(means[:, 1], means[:, 0] + least)], axis=1)


def _histograms(
    presence: NDArray[np.float64], label: NDArray[np.integer], given: NDArray[np.integer], n_classes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the centres of the bins, [B], and the counts, [C, 2, B]."""
    low, high = float(presence.min()), float(presence.max())
    width = (high - low) / _BINS
    bins = np.minimum(((presence - low) / (width or 1.0)).astype(np.int64), _BINS - 1)
    counts = np.bincount((label * 2 + given) * _BINS + bins, minlength=n_classes * 2 * _BINS)
    centres: NDArray[np.float64] = low + width * (np.arange(_BINS, dtype=np.float64) + 0.5)
    return centres, counts.reshape(n_classes, 2, _BINS).astype(np.float64)
