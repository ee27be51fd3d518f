"""What right and wrong labels' scores look like: two readings of one histogram, fitted without ground truth.

The score x is how well the best rival label fits less how well the given one does: right labels lie below zero by the
network's confidence, wrong ones above it. Two mixtures read the shares off the scores of all samples:

- **mirrored**: right N(-m, s²), wrong N(c m, s²), 0.35 <= c <= 1. Wrong labels are mirrored, less what training on them
  has taken from their confidence: c is near 1 where errors are blind, small where they are between look-alikes, which a
  network learns by heart sooner. The bounds are what the score means: free means or spreads settle on whatever skew the
  right labels have, and find errors in clean labels.
- **blind**: right N(-m, s²), wrong N(m, s²), and between them N(-h, t²), 0 <= h <= m, hard samples whose labels are
  right. That is what errors look like that have nothing to do with the sample: a hump of their own, as far above zero
  as right labels are below. Where there is none, its share comes out near zero, and what is wrong is among the hard.

Which of the two to believe, `gwaudit.analysis.error_probability` says.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MIRROR = (0.35, 1.0)
"""The bounds of c."""

_BINS = 2048
_STARTS = (0.02, 0.1, 0.3, 0.5)
_ITERATIONS = 2000
_LEAST_VARIANCE = 1e-6
_FEWEST = 1e-9  # with a smaller share of wrong labels, or none, samples are ranked all the same
_RISE = 0.01

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

    def log_odds_wrong(self, scores: Floats) -> NDArray[np.float64]:
        """Of each score [n], rising with it."""
        share = float(np.clip(self.share_wrong, _FEWEST, 1 - _FEWEST))
        m, variance = max(self.confidence, 1e-6), max(self.spread**2, 1e-12)
        return mirrored_log_odds(np.asarray(scores, np.float64), share, m, self.mirror, variance)


def fit_mirrored_mixture(scores: Floats, *, share_wrong: float | None = None) -> MirroredMixture:
    """Fit the mixture by expectation maximisation on a histogram of the scores.

    Args:
        scores: [n] finite, higher is more suspicious, zero where the given label and its best rival are equal.
        share_wrong: the share of wrong labels where it is known already.

    Returns:
        The best of several starts, by likelihood.
    """
    centres, weights, scale = _histogram(scores)
    if scale == 0.0:
        return MirroredMixture(0.0, 0.0, MIRROR[0], 0.0, 0.0)
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


def _histogram(scores: Floats) -> tuple[Floats, Floats, float]:
    """Centres of the bins that hold any, in units of the root mean square; their weights; that unit, or 0."""
    x = np.asarray(scores, np.float64)
    scale = float(np.sqrt(np.mean(x**2))) if len(x) else 0.0
    if scale == 0.0:
        return np.empty(0), np.empty(0), 0.0
    counts, edges = np.histogram(x / scale, bins=_BINS)
    kept = counts > 0
    return ((edges[1:] + edges[:-1]) / 2)[kept], counts[kept] / len(x), scale


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
        variance = max(float(rest @ (x + m) ** 2 + posterior @ (x - c * m) ** 2), _LEAST_VARIANCE)
    return MirroredMixture(share, m, c, float(np.sqrt(variance)), likelihood)


def _means(right_sum: float, wrong_sum: float, share: float) -> tuple[float, float]:
    """m and c, from each part's weighted sum of scores; where c is on a bound, both means are fitted as one."""
    m = max(-right_sum / max(1 - share, 1e-12), 1e-6)  # right labels lie below zero, by what the score means
    c = wrong_sum / max(share, 1e-12) / m
    if MIRROR[0] <= c <= MIRROR[1]:
        return m, c
    c = float(np.clip(c, *MIRROR))
    return max((c * wrong_sum - right_sum) / (1 - share + c**2 * share), 1e-6), c


def mirrored_log_odds(
    x: NDArray[np.float64],
    share: NDArray[np.float64] | float,
    m: NDArray[np.float64] | float,
    c: float,
    variance: float,
) -> NDArray[np.float64]:
    """The log odds of being wrong of scores [n] under N(c m, variance) against N(-m, variance)."""
    return np.asarray(((x + m) ** 2 - (x - c * m) ** 2) / (2 * variance) + np.log(share / (1 - share)))


@dataclass(frozen=True)
class BlindMixture:
    """Right and wrong labels at equal distances from zero, and hard right ones between them.

    Attributes:
        share_wrong: the share of wrong labels, in [0, 1].
        share_hard: that of hard samples with right labels.
        confidence: `m`, in units of the score.
        hard_confidence: `h`, how far below zero hard samples lie on average.
        spread: `s`, the standard deviation of right and wrong labels.
        hard_spread: `t`, that of hard samples.
        log_likelihood: mean over the scores that it was fitted to.
    """

    share_wrong: float
    share_hard: float
    confidence: float
    hard_confidence: float
    spread: float
    hard_spread: float
    log_likelihood: float

    @property
    def highest_log_odds(self) -> float:
        """Of a label within the hump of wrong ones: where these are most numerous beside hard ones, past its middle."""
        precision, hard = 1 / max(self.spread**2, 1e-12), 1 / max(self.hard_spread**2, 1e-12)
        place = self.confidence
        if precision > hard:
            place = (precision * self.confidence + hard * self.hard_confidence) / (precision - hard)
        return float(self.log_odds_wrong(np.array([place]))[0])

    def log_odds_wrong(self, scores: Floats) -> NDArray[np.float64]:
        """Of each score [n]. They fall again beyond the hump of wrong labels, where hard samples are likelier, but not
        below even: the normal distributions know little of so rare scores, which all speak against the label."""
        x, m, variance = np.asarray(scores, np.float64), self.confidence, max(self.spread**2, 1e-12)
        easy_share = 1 - self.share_wrong - self.share_hard
        wrong = _log_normal(x - m, variance) + _log_share(self.share_wrong)
        hard = _log_normal(x + self.hard_confidence, max(self.hard_spread**2, 1e-12)) + _log_share(self.share_hard)
        easy = _log_normal(x + m, variance) + _log_share(easy_share)
        log_odds = wrong - np.logaddexp(hard, easy)
        # Rising all the same, so that no two scores there have equal odds.
        even = _RISE * (x - m) / np.sqrt(variance)
        return np.asarray(np.where(x > m, np.maximum(log_odds, np.minimum(even, log_odds.max())), log_odds))


def fit_blind_mixture(scores: Floats) -> BlindMixture:
    """Fit it by expectation maximisation on a histogram of the scores.

    Args:
        scores: [n] finite, higher is more suspicious, zero where the given label and its best rival are equal.

    Returns:
        The best of several starts, by likelihood.
    """
    x, weights, scale = _histogram(scores)
    if scale == 0.0:
        return BlindMixture(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    best = max((_fit_blind(x, weights, start) for start in _STARTS), key=lambda fit: fit.log_likelihood)
    return BlindMixture(
        best.share_wrong,
        best.share_hard,
        best.confidence * scale,
        best.hard_confidence * scale,
        best.spread * scale,
        best.hard_spread * scale,
        best.log_likelihood - float(np.log(scale)),
    )


def _fit_blind(x: Floats, weights: Floats, share_wrong: float) -> BlindMixture:
    shares = np.array([0.6 * (1 - share_wrong), 0.4 * (1 - share_wrong), share_wrong])  # easy, hard, wrong
    m, h, variance, hard_variance, likelihood = 1.0, 0.5, 0.1, 0.4, -np.inf
    for _ in range(_ITERATIONS):
        parts = np.stack([_normal(x + m, variance), _normal(x + h, hard_variance), _normal(x - m, variance)])
        joint = shares[:, None] * parts
        density = np.maximum(joint.sum(0), 1e-300)
        previous, likelihood = likelihood, float(weights @ np.log(density))
        if likelihood - previous < 1e-10:
            break
        easy, hard, wrong = weights * joint / density
        shares = np.array([easy.sum(), hard.sum(), wrong.sum()])
        m = max(float(wrong @ x - easy @ x) / max(1 - shares[1], 1e-12), 1e-6)
        h = float(np.clip(-(hard @ x) / max(shares[1], 1e-12), 0, m))
        variance = max(float(easy @ (x + m) ** 2 + wrong @ (x - m) ** 2) / max(1 - shares[1], 1e-12), _LEAST_VARIANCE)
        hard_variance = max(float(hard @ (x + h) ** 2) / max(shares[1], 1e-12), _LEAST_VARIANCE)
    return BlindMixture(
        float(shares[2]), float(shares[1]), m, h, float(np.sqrt(variance)), float(np.sqrt(hard_variance)), likelihood
    )


def _normal(deviation: Floats, variance: float) -> NDArray[np.float64]:
    return np.asarray(np.exp(_log_normal(deviation, variance)))


def _log_normal(deviation: Floats, variance: float) -> NDArray[np.float64]:
    return np.asarray(-(deviation**2) / (2 * variance) - np.log(2 * np.pi * variance) / 2)


def _log_share(share: float) -> float:
    return float(np.log(max(share, _FEWEST)))
