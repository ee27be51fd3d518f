"""Fit two mixtures to the scores of all samples, one for each kind of label noise, without ground truth.

A score x is how much better the best other label fits than the given one: right labels lie below zero by the network's
confidence, wrong labels above. Two mixtures estimate the share of wrong labels from the scores:

- `ConfusableNoiseMixture`: right labels N(-m, s²), wrong labels N(c m, s²), 0.35 <= c <= 1. Errors are between classes
  that look alike (class-dependent noise). Wrong labels lie on the other side of zero, nearer to it by the confidence
  that training on them took away: c is near 1 for uniform noise and small for classes that look alike, whose errors a
  network memorises sooner. The bounds follow from the meaning of the score: with free means or spreads the fit takes
  any skew of the right labels for errors, and finds errors in clean labels.
- `UniformNoiseMixture`: right labels N(-m, s²), wrong labels N(m, s²), and hard samples with right labels N(-h, t²),
  0 <= h <= m. Errors are independent of the sample (uniform or symmetric noise) and form a mode of their own, as far
  above zero as the right labels are below. Without such a mode its share is near zero, and the wrong labels are among
  the hard samples.

`gwaudit.analysis.error_probability` selects one of the two.
"""

from dataclasses import dataclass, replace
from typing import Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

RETAINED = (0.35, 1.0)
"""The bounds of c."""

_BINS = 2048
_STARTS = (0.02, 0.1, 0.3, 0.5)
_ITERATIONS = 2000
_LEAST_GAIN = 1e-10
_LEAST_VARIANCE = 1e-6
_LEAST_SHARE = 1e-9  # with a smaller share of wrong labels, or none, samples are still ranked
_RISE = 0.01

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class ConfusableNoiseMixture:
    """Hold two normal distributions, one on either side of zero.

    Attributes:
        share_wrong: share of wrong labels, in [0, 1].
        confidence: m, how far below zero the right labels lie on average, in units of the score.
        retained: c, the share of the confidence that wrong labels retain: they lie c m above zero on average.
        spread: s, the standard deviation of both, in units of the score.
        log_likelihood: mean over the scores of the fit, in nats.
    """

    share_wrong: float
    confidence: float
    retained: float
    spread: float
    log_likelihood: float

    def log_odds_wrong(self, scores: Floats) -> NDArray[np.float64]:
        """Return the log odds of being wrong of scores [n]; they rise with the score."""
        share = float(np.clip(self.share_wrong, _LEAST_SHARE, 1 - _LEAST_SHARE))
        m, variance = max(self.confidence, 1e-6), max(self.spread**2, 1e-12)
        return confusable_log_odds(np.asarray(scores, np.float64), share, m, self.retained, variance)


@dataclass(frozen=True)
class UniformNoiseMixture:
    """Hold normal distributions of right and wrong labels at equal distances from zero, and of hard samples between.

    Attributes:
        share_wrong: share of wrong labels, in [0, 1].
        share_hard: share of hard samples with right labels.
        confidence: m, in units of the score.
        hard_confidence: h, how far below zero the hard samples lie on average.
        spread: s, the standard deviation of right and of wrong labels.
        hard_spread: t, the standard deviation of the hard samples.
        log_likelihood: mean over the scores of the fit, in nats.
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
        """Return the log odds where wrong labels are most frequent relative to hard samples, beyond their mean."""
        precision, hard = 1 / max(self.spread**2, 1e-12), 1 / max(self.hard_spread**2, 1e-12)
        score = self.confidence
        if precision > hard:
            score = (precision * self.confidence + hard * self.hard_confidence) / (precision - hard)
        return float(self.log_odds_wrong(np.array([score]))[0])

    def log_odds_wrong(self, scores: Floats) -> NDArray[np.float64]:
        """Return the log odds of being wrong of scores [n].

        They fall again beyond the mode of the wrong labels, where hard samples are likelier, but not below even: the
        normal distributions say little of scores that rare, and all of these speak against the label.
        """
        x, m, variance = np.asarray(scores, np.float64), self.confidence, max(self.spread**2, 1e-12)
        easy_share = 1 - self.share_wrong - self.share_hard
        wrong = _log_normal(x - m, variance) + _log_share(self.share_wrong)
        hard = _log_normal(x + self.hard_confidence, max(self.hard_spread**2, 1e-12)) + _log_share(self.share_hard)
        easy = _log_normal(x + m, variance) + _log_share(easy_share)
        log_odds = wrong - np.logaddexp(hard, easy)
        # They still rise slowly there, so that no two scores have equal odds.
        even = _RISE * (x - m) / np.sqrt(variance)
        return np.asarray(np.where(x > m, np.maximum(log_odds, np.minimum(even, log_odds.max())), log_odds))


def fit_confusable_mixture(scores: Floats, *, share_wrong: float | None = None) -> ConfusableNoiseMixture:
    """Fit the mixture by expectation maximisation on a histogram of the scores.

    Args:
        scores: [n] finite, higher is more suspicious, zero where the given label and its best alternative fit equally
            well.
        share_wrong: the share of wrong labels, if it is known.

    Returns:
        The fit with the highest likelihood of several starts.
    """
    x, weights, scale = _histogram(scores)
    if scale == 0.0:
        return ConfusableNoiseMixture(0.0, 0.0, RETAINED[0], 0.0, 0.0)
    median = float(x[np.searchsorted(np.cumsum(weights), 0.5)])
    first = _ConfusableFit(0.0, max(-median, 0.1), RETAINED[0], float(weights @ x**2) / 2, share_wrong is None)
    shares = _STARTS if share_wrong is None else (share_wrong,)
    fit, log_likelihood = _best_fit([replace(first, share=share) for share in shares], x, weights)
    return ConfusableNoiseMixture(
        fit.share, fit.m * scale, fit.c, float(np.sqrt(fit.variance)) * scale, log_likelihood - float(np.log(scale))
    )


def fit_uniform_mixture(scores: Floats) -> UniformNoiseMixture:
    """Fit the mixture by expectation maximisation on a histogram of the scores.

    Args:
        scores: [n] finite, higher is more suspicious, zero where the given label and its best alternative fit equally
            well.

    Returns:
        The fit with the highest likelihood of several starts.
    """
    x, weights, scale = _histogram(scores)
    if scale == 0.0:
        return UniformNoiseMixture(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    starts = [
        _UniformFit(np.array([0.6 * (1 - share), 0.4 * (1 - share), share]), 1.0, 0.5, 0.1, 0.4) for share in _STARTS
    ]
    fit, log_likelihood = _best_fit(starts, x, weights)
    return UniformNoiseMixture(
        float(fit.shares[2]),
        float(fit.shares[1]),
        fit.m * scale,
        fit.h * scale,
        float(np.sqrt(fit.variance)) * scale,
        float(np.sqrt(fit.hard_variance)) * scale,
        log_likelihood - float(np.log(scale)),
    )


def confusable_log_odds(
    x: NDArray[np.float64],
    share: NDArray[np.float64] | float,
    m: NDArray[np.float64] | float,
    c: float,
    variance: float,
) -> NDArray[np.float64]:
    """Return the log odds of being wrong of scores [n], N(c m, variance) against N(-m, variance)."""
    return np.asarray(((x + m) ** 2 - (x - c * m) ** 2) / (2 * variance) + np.log(share / (1 - share)))


class _Fit(Protocol):
    """Describe the parameters of a mixture while it is fitted, in units of the scores' root mean square."""

    def joint_density(self, x: Floats) -> NDArray[np.float64]:
        """Return the density of each component times its share, [components, bins]; wrong labels are the last."""

    def maximise(self, x: Floats, weights: Floats, posterior: NDArray[np.float64]) -> Self:
        """Return the parameters with the highest likelihood, given the weight of each component in each bin."""


F = TypeVar("F", bound=_Fit)


def _best_fit(starts: list[F], x: Floats, weights: Floats) -> tuple[F, float]:
    """Return the fit with the highest mean log likelihood, and that."""
    return max((_fit(start, x, weights) for start in starts), key=lambda fit: fit[1])


def _fit(fit: F, x: Floats, weights: Floats) -> tuple[F, float]:
    """Maximise the likelihood by expectation maximisation; return the fit and its mean log likelihood."""
    likelihood = -np.inf
    for _ in range(_ITERATIONS):
        joint = fit.joint_density(x)
        density = np.maximum(joint.sum(0), 1e-300)
        previous, likelihood = likelihood, float(weights @ np.log(density))
        if likelihood - previous < _LEAST_GAIN:
            break
        fit = fit.maximise(x, weights, weights * joint / density)
    return fit, likelihood


@dataclass(frozen=True)
class _ConfusableFit:
    share: float
    m: float
    c: float
    variance: float
    is_share_free: bool

    def joint_density(self, x: Floats) -> NDArray[np.float64]:
        right = (1 - self.share) * _normal(x + self.m, self.variance)
        wrong = self.share * _normal(x - self.c * self.m, self.variance)
        return np.stack([right, wrong])

    def maximise(self, x: Floats, weights: Floats, posterior: NDArray[np.float64]) -> "_ConfusableFit":
        wrong = posterior[1]
        right = weights - wrong
        m, c = _confusable_means(float(right @ x), float(wrong @ x), float(wrong.sum()))
        share = float(wrong.sum()) if self.is_share_free else self.share
        variance = max(float(right @ (x + m) ** 2 + wrong @ (x - c * m) ** 2), _LEAST_VARIANCE)
        return _ConfusableFit(share, m, c, variance, self.is_share_free)


@dataclass(frozen=True)
class _UniformFit:
    shares: NDArray[np.float64]  # of easy, hard and wrong labels
    m: float
    h: float
    variance: float
    hard_variance: float

    def joint_density(self, x: Floats) -> NDArray[np.float64]:
        easy, hard = _normal(x + self.m, self.variance), _normal(x + self.h, self.hard_variance)
        return np.asarray(self.shares[:, None] * np.stack([easy, hard, _normal(x - self.m, self.variance)]))

    def maximise(self, x: Floats, weights: Floats, posterior: NDArray[np.float64]) -> "_UniformFit":
        easy, hard, wrong = posterior
        shares = np.array([easy.sum(), hard.sum(), wrong.sum()])
        m = max(float(wrong @ x - easy @ x) / max(1 - shares[1], 1e-12), 1e-6)
        h = float(np.clip(-(hard @ x) / max(shares[1], 1e-12), 0, m))
        variance = max(float(easy @ (x + m) ** 2 + wrong @ (x - m) ** 2) / max(1 - shares[1], 1e-12), _LEAST_VARIANCE)
        hard_variance = max(float(hard @ (x + h) ** 2) / max(shares[1], 1e-12), _LEAST_VARIANCE)
        return _UniformFit(shares, m, h, variance, hard_variance)


def _confusable_means(right_sum: float, wrong_sum: float, share: float) -> tuple[float, float]:
    """Return m and c from the weighted sum of scores of each component; with c on a bound, m is fitted to both."""
    m = max(-right_sum / max(1 - share, 1e-12), 1e-6)  # by the meaning of the score, right labels lie below zero
    c = wrong_sum / max(share, 1e-12) / m
    if RETAINED[0] <= c <= RETAINED[1]:
        return m, c
    c = float(np.clip(c, *RETAINED))
    return max((c * wrong_sum - right_sum) / (1 - share + c**2 * share), 1e-6), c


def _histogram(scores: Floats) -> tuple[Floats, Floats, float]:
    """Return centres and weights of the bins that are not empty, and the root mean square, their unit (or 0)."""
    x = np.asarray(scores, np.float64)
    scale = float(np.sqrt(np.mean(x**2))) if len(x) else 0.0
    if scale == 0.0:
        return np.empty(0), np.empty(0), 0.0
    counts, edges = np.histogram(x / scale, bins=_BINS)
    kept = counts > 0
    return ((edges[1:] + edges[:-1]) / 2)[kept], counts[kept] / len(x), scale


def _normal(deviation: Floats, variance: float) -> NDArray[np.float64]:
    return np.asarray(np.exp(_log_normal(deviation, variance)))


def _log_normal(deviation: Floats, variance: float) -> NDArray[np.float64]:
    return np.asarray(-(deviation**2) / (2 * variance) - np.log(2 * np.pi * variance) / 2)


def _log_share(share: float) -> float:
    return float(np.log(max(share, _LEAST_SHARE)))
