"""Where to cut the ranking, from the scores alone.

A score is how well the best rival label fits less how well the given one does, so zero has a meaning: both fit equally
well. A right label scores below zero by the model's confidence; a wrong one scores above
zero by that confidence, less what training on the wrong label has taken from it. The scores are therefore read as a
**mirrored mixture** of two normal distributions with one spread,

    right: N(-m, s²)        wrong: N(c m, s²),  c = 0.45

of which the share of wrong labels, the confidence `m` and the spread `s` are fitted, and nothing else. Without the
mirror the two free means of an ordinary two-Gaussian mixture settle on whatever skew the right labels have, and find
errors in clean labels. `c` was chosen on synthetic errors, not on the labels that the benchmarks score with;
docs/benchmarks.md says how, and how the cut fares.

Its limit: right labels whose scores have a heavy tail above zero (a model too weak for its data) look like errors.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MIRROR = 0.45
_BINS = 2048
_STARTS = (0.02, 0.1, 0.3, 0.5)
_ITERATIONS = 2000

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class MirroredMixture:
    """Two normal distributions with one spread, mirrored at zero.

    Attributes:
        share_wrong: the share of wrong labels, in [0, 1].
        confidence: `m`, how far below zero right labels lie on average, in units of the score.
        spread: `s`, the standard deviation of both, in units of the score.
        log_likelihood: mean over the scores that it was fitted to.
    """

    share_wrong: float
    confidence: float
    spread: float
    log_likelihood: float

    def probability_wrong(self, scores: Floats) -> NDArray[np.float64]:
        """The posterior of a label being wrong: [n] in [0, 1], rising with the score."""
        if self.share_wrong <= 0:
            return np.zeros(np.shape(scores))
        if self.share_wrong >= 1:
            return np.ones(np.shape(scores))
        x, m = np.asarray(scores, np.float64), self.confidence
        log_odds = ((x + m) ** 2 - (x - MIRROR * m) ** 2) / (2 * self.spread**2)
        log_odds += np.log(self.share_wrong / (1 - self.share_wrong))
        return np.asarray(1 / (1 + np.exp(-np.clip(log_odds, -700, 700))))


def fit_mirrored_mixture(scores: Floats) -> MirroredMixture:
    """Fit the mixture by expectation maximisation on a histogram of the scores.

    Args:
        scores: [n] finite, higher is more suspicious, zero where the given label and its best rival are equal.

    Returns:
        The best of several starts, by likelihood.
    """
    x = np.asarray(scores, np.float64)
    scale = float(np.sqrt(np.mean(x**2))) if len(x) else 0.0
    if scale == 0.0:
        return MirroredMixture(0.0, 0.0, 0.0, 0.0)
    counts, edges = np.histogram(x / scale, bins=_BINS)
    kept = counts > 0
    centres = ((edges[1:] + edges[:-1]) / 2)[kept]
    weights = counts[kept] / len(x)
    fits = [_expectation_maximisation(centres, weights, start) for start in _STARTS]
    best = max(fits, key=lambda fit: fit.log_likelihood)
    return MirroredMixture(
        best.share_wrong,
        best.confidence * scale,
        best.spread * scale,
        best.log_likelihood - float(np.log(scale)),
    )


def _expectation_maximisation(x: Floats, weights: Floats, share_wrong: float) -> MirroredMixture:
    share, m = share_wrong, max(-float(np.median(x)), 0.1)
    variance = float(weights @ x**2) / 2
    likelihood = -np.inf
    for _ in range(_ITERATIONS):
        right = (1 - share) * np.exp(-((x + m) ** 2) / (2 * variance))
        wrong = share * np.exp(-((x - MIRROR * m) ** 2) / (2 * variance))
        density = np.maximum(right + wrong, 1e-300)
        previous, likelihood = (
            likelihood,
            float(weights @ np.log(density)) - 0.5 * np.log(2 * np.pi * variance),
        )
        if likelihood - previous < 1e-10:
            break
        posterior = weights * wrong / density
        share = float(posterior.sum())
        rest = weights - posterior
        m = float(MIRROR * (posterior @ x) - rest @ x) / float(rest.sum() + MIRROR**2 * share)
        m = max(m, 1e-6)  # right labels lie below zero, by what the score means
        variance = max(float(rest @ (x + m) ** 2 + posterior @ (x - MIRROR * m) ** 2), 1e-6)
    return MirroredMixture(share, m, float(np.sqrt(variance)), likelihood)


def suggest_threshold(scores: Floats) -> float:
    """The cut with the highest expected F1 under the mirrored mixture: suspects score above it.

    Args:
        scores: [n], higher is more suspicious; NaN (never recorded) is left out.

    Returns:
        A threshold in units of the score; infinity where less than one wrong label is expected.
    """
    finite = np.asarray(scores, np.float64)
    finite = np.sort(finite[np.isfinite(finite)])[::-1]
    probability = fit_mirrored_mixture(finite).probability_wrong(finite)
    expected_wrong = float(probability.sum())
    if expected_wrong < 1:
        return float("inf")
    found = np.cumsum(probability)
    expected_f1 = 2 * found / (np.arange(1, len(finite) + 1) + expected_wrong)
    last = int(np.argmax(expected_f1))
    if last + 1 == len(finite):
        return float(np.nextafter(finite[last], -np.inf))
    return float((finite[last] + finite[last + 1]) / 2)
