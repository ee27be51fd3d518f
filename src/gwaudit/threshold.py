"""Where to cut the ranking, from the scores alone.

A score is how well the best rival label fits less how well the given one does, so zero has a meaning: both fit equally
well. A right label scores below zero by the model's confidence; a wrong one scores above zero by that confidence, less
what training on the wrong label has taken from it. The scores are therefore read as a **mirrored mixture** of two
normal distributions on either side of zero, of one spread,

    right: N(-m, s²)        wrong: N(c m, s²),        0.35 <= c <= 1,

of which the share of wrong labels, m, c and s are fitted. The bounds are what the score means: wrong labels are
mirrored (c near 1 where errors are blind, small where they are between look-alikes, which a model learns by heart
sooner). Free means or spreads settle on whatever skew the right labels have: they find errors in clean labels, and
twice too many where errors are blind. Bounds and spread were chosen on synthetic errors, not on the labels that the
benchmarks score with; docs/benchmarks.md says how, and how the cut fares.

Its limit: right labels whose scores have a heavy tail above zero (a model too weak for its data) look like errors.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MIRROR = (0.35, 1.0)
"""The bounds of c."""

_BINS = 2048
_STARTS = (0.02, 0.1, 0.3, 0.5)
_ITERATIONS = 2000

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class MirroredMixture:
    """Two normal distributions on either side of zero.

    Attributes:
        share_wrong: the share of wrong labels, in [0, 1].
        confidence: `m`, how far below zero right labels lie on average, in units of the score.
        mirror: `c`; wrong labels lie `c m` above zero on average.
        spread: `s`, the standard deviation of both, in units of the score.
        log_likelihood: mean over the scores that it was fitted to.
    """

    share_wrong: float
    confidence: float
    mirror: float
    spread: float
    log_likelihood: float

    def probability_wrong(self, scores: Floats) -> NDArray[np.float64]:
        """The posterior of a label being wrong: [n] in [0, 1], rising with the score."""
        if self.share_wrong <= 0:
            return np.zeros(np.shape(scores))
        if self.share_wrong >= 1:
            return np.ones(np.shape(scores))
        x, m, c = np.asarray(scores, np.float64), self.confidence, self.mirror
        log_odds = ((x + m) ** 2 - (x - c * m) ** 2) / (2 * self.spread**2)
        log_odds += np.log(self.share_wrong / (1 - self.share_wrong))
        return np.asarray(1 / (1 + np.exp(-np.clip(log_odds, -700, 700))))


def fit_mirrored_mixture(scores: Floats, *, share_wrong: float | None = None) -> MirroredMixture:
    """Fit the mixture by expectation maximisation on a histogram of the scores.

    Args:
        scores: [n] finite, higher is more suspicious, zero where the given label and its best rival are equal.
        share_wrong: the share of wrong labels where it is known already.

    Returns:
        The best of several starts, by likelihood.
    """
    x = np.asarray(scores, np.float64)
    scale = float(np.sqrt(np.mean(x**2))) if len(x) else 0.0
    if scale == 0.0:
        return MirroredMixture(0.0, 0.0, MIRROR[0], 0.0, 0.0)
    counts, edges = np.histogram(x / scale, bins=_BINS)
    kept = counts > 0
    centres = ((edges[1:] + edges[:-1]) / 2)[kept]
    weights = counts[kept] / len(x)
    starts = _STARTS if share_wrong is None else (share_wrong,)
    fits = [_expectation_maximisation(centres, weights, start, share_wrong is None) for start in starts]
    best = max(fits, key=lambda fit: fit.log_likelihood)
    return MirroredMixture(
        best.share_wrong,
        best.confidence * scale,
        best.mirror,
        best.spread * scale,
        best.log_likelihood - float(np.log(scale)),
    )


def _expectation_maximisation(x: Floats, weights: Floats, share_wrong: float, is_free: bool) -> MirroredMixture:
    share, m, c = share_wrong, max(-float(x[np.searchsorted(np.cumsum(weights), 0.5)]), 0.1), MIRROR[0]
    variance, likelihood = float(weights @ x**2) / 2, -np.inf
    for _ in range(_ITERATIONS):
        right = (1 - share) * _normal(x + m, variance)
        wrong = share * _normal(x - c * m, variance)
        density = np.maximum(right + wrong, 1e-300)
        previous, likelihood = likelihood, float(weights @ np.log(density))
        if likelihood - previous < 1e-10:
            break
        posterior = weights * wrong / density
        rest = weights - posterior
        m, c = _means(float(rest @ x), float(posterior @ x), float(posterior.sum()))
        share = float(posterior.sum()) if is_free else share
        variance = max(float(rest @ (x + m) ** 2 + posterior @ (x - c * m) ** 2), 1e-6)
    return MirroredMixture(share, m, c, float(np.sqrt(variance)), likelihood)


def _means(right_sum: float, wrong_sum: float, share: float) -> tuple[float, float]:
    """m and c, from each part's weighted sum of scores; where c is on a bound, both means are fitted as one."""
    m = max(-right_sum / max(1 - share, 1e-12), 1e-6)  # right labels lie below zero, by what the score means
    c = wrong_sum / max(share, 1e-12) / m
    if MIRROR[0] <= c <= MIRROR[1]:
        return m, c
    c = float(np.clip(c, *MIRROR))
    return max((c * wrong_sum - right_sum) / (1 - share + c**2 * share), 1e-6), c


def _normal(deviation: Floats, variance: float) -> NDArray[np.float64]:
    return np.asarray(np.exp(-(deviation**2) / (2 * variance)) / np.sqrt(2 * np.pi * variance))


def probability_wrong(scores: Floats, *, share_wrong: float | None = None) -> NDArray[np.float64]:
    """The probability of each label being wrong, by the mirrored mixture fitted to all of them.

    Args:
        scores: [n], higher is more suspicious; NaN (never recorded) is left out and stays NaN.
        share_wrong: the share of wrong labels where it is known already.

    Returns:
        [n] in [0, 1], rising with the score.
    """
    values = np.asarray(scores, np.float64)
    scored = np.isfinite(values)
    probability = np.full(len(values), np.nan)
    probability[scored] = fit_mirrored_mixture(values[scored], share_wrong=share_wrong).probability_wrong(
        values[scored]
    )
    return probability


def count_with_best_f1(probability: Floats) -> int:
    """How many of the first to flag for the highest expected F1; 0 where less than one wrong label is expected.

    Args:
        probability: [n] of being wrong, falling.
    """
    expected_wrong = float(np.sum(probability))
    if expected_wrong < 1:
        return 0
    expected_f1 = 2 * np.cumsum(probability) / (np.arange(1, len(probability) + 1) + expected_wrong)
    return int(np.argmax(expected_f1)) + 1


def count_with_precision(probability: Floats, precision: float) -> int:
    """How many of the first can be flagged with `precision` of them, in (0, 1], expected to be wrong.

    Args:
        probability: [n] of being wrong, falling.
        precision: share of the flagged.
    """
    reached = np.cumsum(probability) >= precision * np.arange(1, len(probability) + 1)
    return int(np.flatnonzero(reached)[-1]) + 1 if reached.any() else 0
