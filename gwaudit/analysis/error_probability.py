"""Estimate the odds of each label being wrong, and how many samples to flag, from the scores of all samples alone.

A score x is how much better the best other label fits than the given one, so zero has a meaning: both fit equally well.
`gwaudit.analysis.mixtures` fits two mixtures to the scores, each right for one kind of label noise and far off for the
other:

- The **mixture for confusable classes** takes every mode or shoulder above zero for wrong labels. That is right for
  errors between classes that look alike, as people make them: the samples that are hard for the network are the
  mislabelled ones. For uniform noise it also flags samples that are merely hard.
- The **mixture for uniform noise** takes a mode as far above zero as the right labels are below for the wrong labels,
  and all other samples for hard ones with right labels. That is right for errors that are independent of the sample;
  it finds no others.

The scores show which kind it is: the mode of uniform errors is so far from the shape of the first mixture that the
second fits them much better. The second is selected

- if its log-likelihood is higher by `UNIFORM_GAIN` nats or more for each label that the first estimates to be right
  (the two differ in these labels), and
- if it finds such a mode (`LEAST_UNIFORM_SHARE`) with certainty: somewhere in it a label must be `LEAST_MODE_ODDS`
  times as likely wrong as right. Otherwise its hard samples are a broad component that covers the errors between
  similar classes, and it fits better only because it has more parameters.

Scores that are differences of probabilities are fitted **group by group**, a group for each pair of given and suggested
label: share and m of the confusable mixture are fitted again, with a prior of the weight of `GROUP_WEIGHT` samples at
the values of all samples. Where a cat is easily taken for a dog, right labels lie nearer to zero than where it is taken
for a ship, and annotators err more often. Margins of logits do not gain from it: fitted group by group, they found
fewer of the errors between similar classes.

Bounds, gain and odds were chosen on synthetic errors, not on the labels that the benchmarks measure with;
docs/benchmarks/defaults.md describes how.

Limit: right labels whose scores have a heavy tail above zero look like errors. This happens if a model is too weak for
its data or is trained too briefly to learn the hard samples. The share of wrong labels of a refined run is therefore
estimated from its first, long training.
"""

import numpy as np
from numpy.typing import NDArray

from gwaudit.analysis.mixtures import (
    RETAINED,
    ConfusableNoiseMixture,
    Floats,
    UniformNoiseMixture,
    confusable_log_odds,
    fit_confusable_mixture,
    fit_uniform_mixture,
)

GROUP_WEIGHT = 200.0
"""The weight of the prior from all samples, in samples of a group."""

UNIFORM_GAIN = 0.037
"""Between the largest gain on errors between similar classes (0.031) and the smallest on 10 % or more uniform errors
(0.043), in nats."""

LEAST_UNIFORM_SHARE = 0.01
"""The smallest share of uniform errors for which their mixture is selected."""

LEAST_MODE_ODDS = 3.0
"""Between the highest odds where errors between similar classes were taken for hard samples (2.5) and the lowest of
uniform errors (3.8)."""

_GROUP_ITERATIONS = 50
_LEAST_SHARE = 1e-9  # with a smaller share of wrong labels, or none, samples are still ranked


def log_odds_wrong(
    scores: Floats, groups: NDArray[np.integer] | None = None, *, share_wrong: float | None = None
) -> NDArray[np.float64]:
    """Return the log of the odds of each label being wrong.

    Args:
        scores: [n], higher is more suspicious; NaN (never recorded) is left out and stays NaN.
        groups: [n] integers, equal for samples that are alike, as those of one given and suggested label: the mixture
            for confusable classes is fitted group by group, small groups towards all samples.
        share_wrong: the share of wrong labels, if it is known.

    Returns:
        [n], rising with the score: within each group, if there are groups; up to the mode of the wrong labels, if the
        errors are uniform.
    """
    values = np.asarray(scores, np.float64)
    recorded = np.isfinite(values)
    log_odds = np.full(len(values), np.nan)
    if recorded.any():
        x = values[recorded]
        if groups is not None:
            _, group = np.unique(groups[recorded], return_inverse=True)
            log_odds[recorded] = _grouped_log_odds(x, group, fit_confusable_mixture(x, share_wrong=share_wrong))
            if share_wrong is not None:
                log_odds[recorded] += _shift(log_odds[recorded], share_wrong)
        else:
            mixture = _select_mixture(x) if share_wrong is None else fit_confusable_mixture(x, share_wrong=share_wrong)
            log_odds[recorded] = mixture.log_odds_wrong(x)
    return log_odds


def expected_share_wrong(scores: Floats) -> float:
    """Return the expected share of wrong labels of scores [n]; 0 if all of them are NaN."""
    values = np.asarray(scores, np.float64)
    values = values[np.isfinite(values)]
    return _select_mixture(values).share_wrong if len(values) else 0.0


def sigmoid(log_odds: Floats) -> NDArray[np.float64]:
    """Return log odds as probabilities; NaN stays NaN."""
    return np.asarray(1 / (1 + np.exp(-np.clip(log_odds, -700, 700))))


def count_with_best_f1(probability: Floats) -> int:
    """Return how many of the first to flag for the highest expected F1; 0 if less than one wrong label is expected.

    Args:
        probability: [n] of being wrong, in falling order.
    """
    return cut_with_best_f1(probability)[0]


def cut_with_best_f1(probability: Floats) -> tuple[int, float]:
    """Return how many of the first to flag for the highest expected F1, and that F1.

    Args:
        probability: [n] of being wrong, in falling order.

    Returns:
        0 and 0 if less than one wrong label is expected.
    """
    expected_wrong = float(np.sum(probability))
    if expected_wrong < 1:
        return 0, 0.0
    expected_f1 = np.cumsum(probability).astype(np.float64, copy=False)  # then in place, to save memory
    expected_f1 *= 2
    expected_f1 /= np.arange(1, len(probability) + 1) + expected_wrong
    best = int(np.argmax(expected_f1))
    return best + 1, float(expected_f1[best])


def count_with_precision(probability: Floats, precision: float) -> int:
    """Return how many of the first can be flagged with a share of `precision` of them expected to be wrong.

    Args:
        probability: [n] of being wrong, in falling order.
        precision: share of the flagged samples, in (0, 1].
    """
    reached = np.cumsum(probability) >= precision * np.arange(1, len(probability) + 1)
    return int(np.flatnonzero(reached)[-1]) + 1 if reached.any() else 0


def _select_mixture(x: NDArray[np.float64]) -> ConfusableNoiseMixture | UniformNoiseMixture:
    """Return the mixture of the kind of noise that the scores show."""
    confusable, uniform = fit_confusable_mixture(x), fit_uniform_mixture(x)
    gain = uniform.log_likelihood - confusable.log_likelihood
    fits_better = gain > UNIFORM_GAIN * (1 - confusable.share_wrong)
    has_mode = uniform.share_wrong > LEAST_UNIFORM_SHARE and uniform.highest_log_odds > np.log(LEAST_MODE_ODDS)
    return uniform if fits_better and has_mode else confusable


def _grouped_log_odds(
    x: NDArray[np.float64], group: NDArray[np.integer], whole: ConfusableNoiseMixture
) -> NDArray[np.float64]:
    """Return the log odds of scores [n], with share and m of each group under priors, c and s of all groups.

    It takes a fixed number of steps of expectation maximisation. With the priors, the steps do not maximise the
    likelihood alone, so it cannot end them as it ends those of `gwaudit.analysis.mixtures`.
    """
    size = np.bincount(group)
    share = np.full(len(size), np.clip(whole.share_wrong, _LEAST_SHARE, 1 - _LEAST_SHARE))
    m, c, variance = np.full(len(size), max(whole.confidence, 1e-6)), whole.retained, max(whole.spread**2, 1e-12)
    for _ in range(_GROUP_ITERATIONS):
        posterior = sigmoid(confusable_log_odds(x, share[group], m[group], c, variance))
        share = (np.bincount(group, posterior) + GROUP_WEIGHT * posterior.mean()) / (size + GROUP_WEIGHT)
        share = np.clip(share, _LEAST_SHARE, 1 - _LEAST_SHARE)
        sums = np.bincount(group, (posterior * c - (1 - posterior)) * x)
        weights = np.bincount(group, 1 - posterior + posterior * c**2)
        m = np.maximum((sums + GROUP_WEIGHT * sums.sum() / weights.sum()) / (weights + GROUP_WEIGHT), 1e-6)
        mean = m[group]
        c = float(np.clip((posterior * x * mean).sum() / max((posterior * mean**2).sum(), 1e-12), *RETAINED))
        variance = max(float(((1 - posterior) * (x + mean) ** 2 + posterior * (x - c * mean) ** 2).mean()), 1e-12)
    return confusable_log_odds(x, share[group], m[group], c, variance)


def _shift(log_odds: NDArray[np.float64], share: float) -> float:
    """Return the constant to add to the log odds for their probabilities to have this mean, within half a sample."""
    missing = share - float(sigmoid(log_odds).mean())
    if abs(missing) * len(log_odds) < 0.5:
        return 0.0
    low, high = (0.0, 700.0) if missing > 0 else (-700.0, 0.0)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if float(sigmoid(log_odds + middle).mean()) < share else (low, middle)
    return (low + high) / 2
