"""The odds of each (sample, class) pair being wrong, where samples have any number of classes.

What `gwaudit.analysis.error_probability` reads for one label a sample does not hold for pairs. Absent labels outnumber
present ones by
far, and the model knows it: a rare class's logits are low everywhere, so zero is not where both answers fit equally
well, and a pair that lacks its label lies as high as the present ones of *its class*, not as high as absent ones lie
low.

So the evidence is read as how much the model sees the class in the sample, y (the evidence of absent pairs, minus that
of present ones), and each class has two places, that of samples which truly have it and that of samples which do not:

    given and true            N(b, s²)            not given, but true     N(h + c (b - h), s²)
    not given, nor true       N(a, s²)            given, but not true     N(h - c (h - a), s²)

with h halfway between a and b, and c what training on the wrong answer left of the distance to it. a, b, s and the
shares of wrong answers are fitted for each class, drawn to those of all with the weight of `CLASS_WEIGHT` pairs; c is
one for all. What all say of missing labels is in proportion to how many a class is given to: a class that few samples
have is missing in few.

Bounds, weight and the equal spreads were chosen on synthetic errors (docs/benchmarks/multilabel.md). Equal spreads keep
the odds rising with the evidence within each class and answer; spreads of their own found no more.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gwaudit.analysis.error_probability import sigmoid
from gwaudit.analysis.mixtures import Floats

REMAINS = (0.85, 1.0)
"""The bounds of c. Below, skew of right labels passes for errors; a model that has learned much by heart has less."""

CLASS_WEIGHT = 50.0
"""How many pairs of a class weigh as much as what is known of all classes."""

_BINS = 2048
_ITERATIONS = 200
_START = 0.05
_SHARES = (1e-9, 0.5)


@dataclass(frozen=True)
class PairMixture:
    """What right and wrong pairs of each class look like.

    Attributes:
        places: [C, 2] a and b of each class, in units of the evidence.
        share_wrong: [C, 2] of the pairs whose class is not given, and is given.
        remains: c.
        variance: [C] s².
    """

    places: NDArray[np.float64]
    share_wrong: NDArray[np.float64]
    remains: float
    variance: NDArray[np.float64]

    def wrong_places(self) -> NDArray[np.float64]:
        """[C, 2] where wrong pairs lie whose class is not given, and is given."""
        half = self.places.mean(1, keepdims=True)
        return np.asarray(half + self.remains * (self.places[:, ::-1] - half))

    def log_odds(
        self, presence: Floats, label: NDArray[np.integer] | slice, given: NDArray[np.integer] | slice
    ) -> NDArray[np.float64]:
        """The log of the odds of pairs being wrong, by how present their class looks, the class, and what is given."""
        right, wrong = self.places[label, given], self.wrong_places()[label, given]
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


def pair_log_odds_wrong(evidence: Floats, given: NDArray[np.integer], n_classes: int) -> NDArray[np.float64]:
    """The log of the odds of each pair being wrong.

    Args:
        evidence: [n C] row by row, higher is more suspicious; NaN (never recorded) stays NaN.
        given: [n C] 0 or 1.
        n_classes: C.

    Returns:
        [n C], rising with the evidence within each class and given answer.
    """
    presence = np.where(given == 1, -1.0, 1.0) * np.asarray(evidence, np.float64)
    label = np.arange(len(presence)) % n_classes
    scored = np.isfinite(presence)
    log_odds = np.full(len(presence), np.nan)
    if scored.any():
        mixture = fit_pair_mixture(presence[scored], label[scored], given[scored], n_classes)
        log_odds[scored] = mixture.log_odds(presence[scored], label[scored], given[scored])
    return log_odds


def fit_pair_mixture(
    presence: Floats, label: NDArray[np.integer], given: NDArray[np.integer], n_classes: int
) -> PairMixture:
    """Fit the mixture by expectation maximisation, on histograms of each class and answer.

    Args:
        presence: [m] finite, how present the class looks.
        label, given: [m] the pair's class in [0, C), and 0 or 1.
        n_classes: C.
    """
    y, counts = _histograms(np.asarray(presence, np.float64), label, given, n_classes)
    size = counts.sum(2)
    total = np.maximum(size.sum(0), 1e-12)
    sums = counts @ y
    places = (sums + CLASS_WEIGHT * sums.sum(0) / total) / (size + CLASS_WEIGHT)
    spread = (counts * (y - places[..., None]) ** 2).sum() / counts.sum()
    expected = np.full((n_classes, 2), _START) * size[:, 1:]
    share = _shares(expected, size)
    mixture = PairMixture(_apart(places, spread), share, REMAINS[1], np.full(n_classes, max(spread, 1e-12)))
    for _ in range(_ITERATIONS):
        before = mixture.share_wrong
        mixture = _improved(mixture, y, counts, size)
        if np.abs(np.log(mixture.share_wrong / before)).max() < 1e-4:
            break
    return mixture


def _improved(mixture: PairMixture, y: Floats, counts: Floats, size: Floats) -> PairMixture:
    """One step of expectation maximisation."""
    wrong = counts * sigmoid(mixture.log_odds(y, slice(None), slice(None)))
    right = counts - wrong
    c, half = mixture.remains, mixture.places.mean(1)[:, None]
    # A wrong pair tells of the place of the other answer, c times as loud.
    weights = right.sum(2) + c**2 * wrong.sum(2)[:, ::-1]
    told = wrong @ y
    sums = right @ y + (c**2 * half * wrong.sum(2) + c * (told - half * wrong.sum(2)))[:, ::-1]
    mean_of_all = sums.sum(0) / np.maximum(weights.sum(0), 1e-12)
    places = (sums + CLASS_WEIGHT * mean_of_all) / (weights + CLASS_WEIGHT)
    places = _apart(places, float(mixture.variance.mean()))
    half = places.mean(1)[:, None]
    away = places[:, ::-1] - half
    reach = (wrong.sum(2) * away**2).sum()
    remains = ((told - half * wrong.sum(2)) * away).sum() / reach if reach > 0 else REMAINS[1]
    updated = PairMixture(places, _shares(wrong.sum(2), size), float(np.clip(remains, *REMAINS)), mixture.variance)
    deviations = right * (y - places[..., None]) ** 2 + wrong * (y - updated.wrong_places()[..., None]) ** 2
    variance = (deviations.sum((1, 2)) + CLASS_WEIGHT * deviations.sum() / size.sum()) / (size.sum(1) + CLASS_WEIGHT)
    return PairMixture(updated.places, updated.share_wrong, updated.remains, np.maximum(variance, 1e-12))


def _shares(wrong: Floats, size: Floats) -> NDArray[np.float64]:
    """[C, 2] shares of wrong pairs: of each class, drawn to what all classes say for one given to so many."""
    a_given_label = wrong.sum(0) / max(float(size[:, 1].sum()), 1e-12)
    usual = a_given_label * size[:, 1:] / np.maximum(size, 1.0)
    return np.asarray(np.clip((wrong + CLASS_WEIGHT * usual) / (size + CLASS_WEIGHT), *_SHARES))


def _apart(places: Floats, variance: float) -> NDArray[np.float64]:
    """Present never below absent: of a class that the model tells nothing about, both places are one."""
    least = 1e-3 * np.sqrt(max(variance, 1e-12))
    return np.stack([places[:, 0], np.maximum(places[:, 1], places[:, 0] + least)], axis=1)


def _histograms(
    presence: NDArray[np.float64], label: NDArray[np.integer], given: NDArray[np.integer], n_classes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The bins' centres [B], and counts [C, 2, B]."""
    low, high = float(presence.min()), float(presence.max())
    width = (high - low) / _BINS
    place = np.minimum(((presence - low) / (width or 1.0)).astype(np.int64), _BINS - 1)
    counts = np.bincount((label * 2 + given) * _BINS + place, minlength=n_classes * 2 * _BINS)
    centres: NDArray[np.float64] = low + width * (np.arange(_BINS, dtype=np.float64) + 0.5)
    return centres, counts.reshape(n_classes, 2, _BINS).astype(np.float64)
