"""The odds of each label being wrong, and how many to flag, from the evidence of all samples alone.

The evidence, a score x, is how well the best rival label fits less how well the given one does, so zero has a meaning:
both fit equally well. `gwaudit.analysis.mixtures` reads it in two ways, of which each is right about one kind of noise
and far
off about the other:

- **mirrored** takes every hump or shoulder above zero for wrong labels. That is right where errors are between
  look-alikes, as people make them: what the network finds hard is what is mislabelled. Where errors are blind, it also
  flags the samples that are merely hard.
- **blind** takes a hump as far above zero as right labels are below for the wrong labels, and the rest for hard right
  ones. That is right where errors have nothing to do with the sample, and blind to all others.

The scores say which kind it is: the hump of blind errors is so far from what the first can take its shape for that the
second fits them much better. It is believed where its log-likelihood is higher by `BLIND_GAIN` nats or more for each
label that the first finds right (it is these that the two read differently), and where it finds such a hump
(`FEWEST_BLIND`) and is sure of it: somewhere in it a label must be `HUMP_ODDS` times as likely wrong as right. If none
is, what passes for hard is a broad component in the midst of all, which the errors between look-alikes are in, and the
fit is better for its freedom alone.

Evidence from probabilities is read **pair by pair** of given and suggested label: share and m of the mirrored mixture
are fitted again, drawn to those of all samples with the weight of `GROUP_WEIGHT` samples. Where a cat is easily taken
for a dog, right labels lie nearer to zero than where it is taken for a ship, and annotators err more often. Margins of
logits do not lend themselves to that: read pair by pair, they found less where errors are between look-alikes.

Bounds, gain and odds were chosen on synthetic errors, not on the labels that the benchmarks score with;
docs/benchmarks/defaults.md says how, and how the cut fares.

Its limit: right labels whose scores have a heavy tail above zero look like errors. That is so where a model is too weak
for its data, or is trained too briefly to learn the hard samples as well: the share of wrong labels of a refined run is
therefore read from its first, long training.
"""

import numpy as np
from numpy.typing import NDArray

from gwaudit.analysis.mixtures import (
    MIRROR,
    BlindMixture,
    Floats,
    MirroredMixture,
    fit_blind_mixture,
    fit_mirrored_mixture,
    mirrored_log_odds,
)

GROUP_WEIGHT = 200.0
"""How many samples of a pair of labels weigh as much as what is known of all pairs."""

BLIND_GAIN = 0.037
"""Between the largest gain on errors between look-alikes (0.031) and the smallest on a tenth or more blind (0.043)."""

FEWEST_BLIND = 0.01
"""The share of blind errors from which there is something blind to read."""

HUMP_ODDS = 3.0
"""Between the highest where errors between look-alikes were taken for hard (2.5) and the lowest of blind ones (3.8)."""

_GROUP_ITERATIONS = 50
_FEWEST = 1e-9  # with a smaller share of wrong labels, or none, samples are ranked all the same


def log_odds_wrong(
    scores: Floats, groups: NDArray[np.integer] | None = None, *, share_wrong: float | None = None
) -> NDArray[np.float64]:
    """The log of the odds of each label being wrong.

    Args:
        scores: [n], higher is more suspicious; NaN (never recorded) is left out and stays NaN.
        groups: [n] integers, equal for samples that are alike, as of one given and suggested label: fit the mirrored
            mixture group by group, small groups towards the whole.
        share_wrong: the share of wrong labels where it is known already.

    Returns:
        [n], rising with the score; within each group, where there are groups, and up to the hump of wrong labels, where
        errors are blind.
    """
    values = np.asarray(scores, np.float64)
    scored = np.isfinite(values)
    log_odds = np.full(len(values), np.nan)
    if scored.any():
        x = values[scored]
        if groups is not None:
            _, group = np.unique(groups[scored], return_inverse=True)
            log_odds[scored] = _fit_groups(x, group, fit_mirrored_mixture(x, share_wrong=share_wrong))
            if share_wrong is not None:
                log_odds[scored] += _shift(log_odds[scored], share_wrong)
        else:
            mixture = _of_its_kind(x) if share_wrong is None else fit_mirrored_mixture(x, share_wrong=share_wrong)
            log_odds[scored] = mixture.log_odds_wrong(x)
    return log_odds


def expected_share_wrong(scores: Floats) -> float:
    """The share of wrong labels to expect of scores [n]; 0 where all of them are NaN."""
    values = np.asarray(scores, np.float64)
    values = values[np.isfinite(values)]
    return _of_its_kind(values).share_wrong if len(values) else 0.0


def _of_its_kind(x: NDArray[np.float64]) -> MirroredMixture | BlindMixture:
    """The mixture that suits the kind of noise."""
    mirrored, blind = fit_mirrored_mixture(x), fit_blind_mixture(x)
    gain = blind.log_likelihood - mirrored.log_likelihood
    fits_better = gain > BLIND_GAIN * (1 - mirrored.share_wrong)
    has_hump = blind.share_wrong > FEWEST_BLIND and blind.highest_log_odds > np.log(HUMP_ODDS)
    return blind if fits_better and has_hump else mirrored


def _fit_groups(x: NDArray[np.float64], group: NDArray[np.integer], whole: MirroredMixture) -> NDArray[np.float64]:
    """Expectation maximisation of each group's share and m under priors, and of c and s for all groups together."""
    size = np.bincount(group)
    share = np.full(len(size), np.clip(whole.share_wrong, _FEWEST, 1 - _FEWEST))
    m, c, variance = np.full(len(size), max(whole.confidence, 1e-6)), whole.mirror, max(whole.spread**2, 1e-12)
    for _ in range(_GROUP_ITERATIONS):
        posterior = sigmoid(mirrored_log_odds(x, share[group], m[group], c, variance))
        share = (np.bincount(group, posterior) + GROUP_WEIGHT * posterior.mean()) / (size + GROUP_WEIGHT)
        share = np.clip(share, _FEWEST, 1 - _FEWEST)
        sums = np.bincount(group, (posterior * c - (1 - posterior)) * x)
        weights = np.bincount(group, 1 - posterior + posterior * c**2)
        m = np.maximum((sums + GROUP_WEIGHT * sums.sum() / weights.sum()) / (weights + GROUP_WEIGHT), 1e-6)
        mean = m[group]
        c = float(np.clip((posterior * x * mean).sum() / max((posterior * mean**2).sum(), 1e-12), *MIRROR))
        variance = max(float(((1 - posterior) * (x + mean) ** 2 + posterior * (x - c * mean) ** 2).mean()), 1e-12)
    return mirrored_log_odds(x, share[group], m[group], c, variance)


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
