"""The odds of each label being wrong, and how many to flag, from the evidence of all samples alone.

The evidence, a score x, is how well the best rival label fits less how well the given one does, so zero has a meaning:
both fit equally well. A right label scores below zero by the model's confidence; a wrong one scores above zero by that
confidence, less what training on the wrong label has taken from it. The scores are therefore read as a **mirrored
mixture** of two normal distributions on either side of zero, of one spread,

    right: N(-m, s²)        wrong: N(c m, s²),        0.35 <= c <= 1,

of which the share of wrong labels, m, c and s are fitted. The bounds are what the score means: wrong labels are
mirrored (c near 1 where errors are blind, small where they are between look-alikes, which a model learns by heart
sooner). Free means or spreads settle on whatever skew the right labels have: they find errors in clean labels, and
twice too many where errors are blind. Bounds and spread were chosen on synthetic errors, not on the labels that the
benchmarks score with; docs/benchmarks.md says how, and how the cut fares.

Evidence from probabilities is then read **pair by pair** of given and suggested label: share and m are fitted again,
drawn to those of all samples with the weight of `GROUP_WEIGHT` samples. Where a cat is easily taken for a dog, right
labels lie nearer to zero than where it is taken for a ship, and annotators err more often. Margins of logits do not
lend themselves to that: read pair by pair, they found less where errors are between look-alikes.

Its limit: right labels whose scores have a heavy tail above zero look like errors. That is so where a model is too weak
for its data, or is trained too briefly to learn the hard samples as well: the share of wrong labels of a refined run is
therefore read from its first, long training.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MIRROR = (0.35, 1.0)
"""The bounds of c."""

GROUP_WEIGHT = 200.0
"""How many samples of a pair of labels weigh as much as what is known of all pairs."""

_BINS = 2048
_GROUP_ITERATIONS = 50
_FEWEST = 1e-9  # with a smaller share of wrong labels, or none, samples are ranked all the same
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


def log_odds_wrong(
    scores: Floats, groups: NDArray[np.integer] | None = None, *, share_wrong: float | None = None
) -> NDArray[np.float64]:
    """The log of the odds of each label being wrong, by the mirrored mixture.

    Args:
        scores: [n], higher is more suspicious; NaN (never recorded) is left out and stays NaN.
        groups: [n] integers, equal for samples that are alike, as of one given and suggested label: fit it group by
            group, small groups towards the whole.
        share_wrong: the share of wrong labels where it is known already.

    Returns:
        [n], rising with the score (within each group).
    """
    values = np.asarray(scores, np.float64)
    scored = np.isfinite(values)
    log_odds = np.full(len(values), np.nan)
    if scored.any():
        whole = fit_mirrored_mixture(values[scored], share_wrong=share_wrong)
        if groups is None:
            share = np.clip(whole.share_wrong, _FEWEST, 1 - _FEWEST)
            m, variance = max(whole.confidence, 1e-6), max(whole.spread**2, 1e-12)
            log_odds[scored] = _log_odds(values[scored], share, m, whole.mirror, variance)
        else:
            _, group = np.unique(groups[scored], return_inverse=True)
            log_odds[scored] = _fit_groups(values[scored], group, whole)
            if share_wrong is not None:
                log_odds[scored] += _shift(log_odds[scored], share_wrong)
    return log_odds


def _fit_groups(x: NDArray[np.float64], group: NDArray[np.integer], whole: MirroredMixture) -> NDArray[np.float64]:
    """Expectation maximisation of each group's share and m under priors, and of c and s for all groups together."""
    size = np.bincount(group)
    share = np.full(len(size), np.clip(whole.share_wrong, _FEWEST, 1 - _FEWEST))
    m, c, variance = np.full(len(size), max(whole.confidence, 1e-6)), whole.mirror, max(whole.spread**2, 1e-12)
    for _ in range(_GROUP_ITERATIONS):
        posterior = sigmoid(_log_odds(x, share[group], m[group], c, variance))
        share = (np.bincount(group, posterior) + GROUP_WEIGHT * posterior.mean()) / (size + GROUP_WEIGHT)
        share = np.clip(share, _FEWEST, 1 - _FEWEST)
        sums = np.bincount(group, (posterior * c - (1 - posterior)) * x)
        weights = np.bincount(group, 1 - posterior + posterior * c**2)
        m = np.maximum((sums + GROUP_WEIGHT * sums.sum() / weights.sum()) / (weights + GROUP_WEIGHT), 1e-6)
        mean = m[group]
        c = float(np.clip((posterior * x * mean).sum() / max((posterior * mean**2).sum(), 1e-12), *MIRROR))
        variance = max(float(((1 - posterior) * (x + mean) ** 2 + posterior * (x - c * mean) ** 2).mean()), 1e-12)
    return _log_odds(x, share[group], m[group], c, variance)


def _log_odds(
    x: NDArray[np.float64],
    share: NDArray[np.float64] | float,
    m: NDArray[np.float64] | float,
    c: float,
    variance: float,
) -> NDArray[np.float64]:
    return np.asarray(((x + m) ** 2 - (x - c * m) ** 2) / (2 * variance) + np.log(share / (1 - share)))


def sigmoid(log_odds: Floats) -> NDArray[np.float64]:
    """Log odds as probabilities; NaN stays."""
    return np.asarray(1 / (1 + np.exp(-np.clip(log_odds, -700, 700))))


def _shift(log_odds: NDArray[np.float64], share: float) -> float:
    """What to add to the log odds for the probabilities to have this mean, to half a sample."""
    missing = share - float(sigmoid(log_odds).mean())
    if abs(missing) * len(log_odds) < 0.5:
        return 0.0
    low, high = (0.0, 700.0) if missing > 0 else (-700.0, 0.0)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if float(sigmoid(log_odds + middle).mean()) < share else (low, middle)
    return (low + high) / 2


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
