"""Fit the odds of labels being wrong to the samples that people decided, and reorder the rest by what they decided.

The unsupervised log odds z of a sample become

    m(z) + Σ_j β_j x_j + u_given + u_pair

- m is a rising, piecewise linear map of z: m(z) = a + ∫_0^z exp(b + b_s(t)) dt, s(t) being the segment between two of
  `KNOTS` that t lies in. It alone keeps the order of the samples.
- x_j are the parts of the evidence (alignment gap, margin, loss, ...), each as normal scores of its ranks, less those
  of z: with β = 0 they change nothing.
- u are offsets of the given class, and of the pair of given and suggested class.

Every parameter has a normal prior around 0, where the odds are the unsupervised ones. So decisions move the odds away
from the unsupervised reading only as far as they contradict it: the deviations of the priors (`LEVEL`, `SLOPE`,
`SEGMENT`, `PART`, `GIVEN`, `PAIR`) are the stated weight of that reading. The parameters have the highest posterior
probability of the decisions.

The deviations of β and u, which change the order, are multiplied by one of `SCALES`. It is chosen by five-fold
cross-validation on the decisions: another scale than 0, which keeps the unsupervised order, has to raise the log
likelihood of the decisions that it has not seen by two standard errors and one nat. A few decisions never do that.

Decisions are not weighted by their inclusion probabilities. Samples are chosen for a decision by their evidence, at
random within strata of it or the worst first. Given its evidence, a sample's label does not depend on the choice: the
likelihood is the same for both. So decisions that were not drawn at random do not bias the odds, as far as m can follow
the true ones. In simulated reviews (sets of the role `chosen`) weights gave no smaller error of the number of wrong
labels, and larger extremes: after 100 decisions, half of them random, nine of ten reviews were within 27 % with weights
and within 18 % without.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import norm, rankdata
from threadpoolctl import threadpool_limits

from gwaudit.analysis.error_probability import sigmoid

LEVEL = 1.5
"""Standard deviation of the prior of a, in natural log odds."""

SLOPE = 0.5
"""Standard deviation of the prior of b, the logarithm of the slope of the map."""

SEGMENT = 0.5
"""Standard deviation of the prior of b_s, the further logarithm of the slope of one segment."""

KNOTS = (-6.0, -4.0, -2.0, 0.0, 2.0, 4.0)
"""Unsupervised log odds between which the slope is constant."""

PART, GIVEN, PAIR = 0.3, 0.7, 1.0
"""Standard deviations of the priors of β_j, u_given and u_pair, for a scale of 1."""

SCALES = (0.0, 0.25, 0.5, 1.0)
"""The scales to choose from."""

FEWEST_TO_REORDER = 20
"""Number of decisions below which the order is the unsupervised one in any case."""

LARGEST_LOG_ODDS = 14.0
"""Log odds, of a millionth, beyond which unsupervised and fitted log odds rise with their logarithm alone."""

ENOUGH_RANDOM = 100
"""Number of random decisions from which on calibrated probabilities are given where only the order is trusted."""

_FOLDS = 5
_ERRORS, _NATS = 2.0, 1.0
_ITERATIONS = 300

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Evidence:
    """Hold what the odds of n samples are refitted on.

    Attributes:
        log_odds: [n] unsupervised log odds of being wrong; NaN where nothing was recorded.
        parts: [n, J] parts of the evidence, higher for more suspicious samples; NaN where one was not recorded.
        given: [n] groups of the samples by their given class.
        pair: [n] groups by their given and suggested class.
    """

    log_odds: Floats
    parts: Floats
    given: Integers
    pair: Integers


@dataclass(frozen=True)
class Calibration:
    """Describe the decisions that an audit is calibrated on.

    Attributes:
        decided: number of decided samples.
        wrong: number of decided samples whose label is wrong.
        random: number of decided samples that were drawn at random.
        scale: scale of the parameters that change the order, 0 where it is the unsupervised one.
        decisions_sha256: SHA-256 of the decisions.
    """

    decided: int
    wrong: int
    random: int
    scale: float
    decisions_sha256: str

    @property
    def has_enough_random(self) -> bool:
        """Return whether enough random samples are decided to show how often labels are wrong (`ENOUGH_RANDOM`)."""
        return self.random >= ENOUGH_RANDOM


class Refit(NamedTuple):
    """Hold refitted odds.

    Attributes:
        log_odds: [n] log odds of being wrong; NaN where nothing was recorded.
        scale: Scale of the parameters that change the order; 0 where it is the unsupervised one.
    """

    log_odds: Floats
    scale: float


def refit_log_odds(evidence: Evidence, decided: NDArray[np.integer], wrong: NDArray[np.bool_]) -> Refit:
    """Return the log odds of all samples, refitted on the decided ones.

    Args:
        evidence: The evidence about all n samples.
        decided: [m] indices of the decided samples; those without log odds are passed over.
        wrong: [m] whether their labels are wrong.
    """
    recorded = np.isfinite(evidence.log_odds[decided])
    rows, target = np.asarray(decided)[recorded], np.asarray(wrong, np.float64)[recorded]
    design = _Design(evidence)
    with threadpool_limits(1):  # the arrays are small: threads would wait for each other
        scale = _cross_validated_scale(design, rows, target)
        return Refit(design.log_odds(rows, target, scale), scale)


def normal_scores(values: Floats) -> Floats:
    """Return the quantiles of the normal distribution at the ranks of values [n]; 0 for NaN."""
    known = np.isfinite(values)
    scores = np.zeros(len(values))
    if known.any():
        scores[known] = norm.ppf((rankdata(values[known]) - 0.5) / known.sum())
    return scores


def _cross_validated_scale(design: "_Design", rows: Integers, target: Floats) -> float:
    """Return the scale whose gain in log likelihood over 0 is sure, and the largest; 0 if there is none."""
    if len(rows) < FEWEST_TO_REORDER or len(np.unique(target)) < 2:
        return 0.0
    fold = np.empty(len(rows), np.int64)
    fold[np.lexsort((rows, -design.unsupervised[rows]))] = np.arange(len(rows)) % _FOLDS
    likelihood = np.empty((len(SCALES), len(rows)))
    for number in range(_FOLDS):
        held_out = fold == number
        for position, scale in enumerate(SCALES):
            fitted = design.log_odds(rows[~held_out], target[~held_out], scale, rows[held_out])
            likelihood[position, held_out] = target[held_out] * fitted - np.logaddexp(0, fitted)
    gain = likelihood - likelihood[0]
    total, error = gain.sum(1), np.sqrt(len(rows) * gain.var(1))
    sure = total > _ERRORS * error + _NATS
    return SCALES[int(np.argmax(np.where(sure, total, 0.0)))]


class _Design:
    """Hold the terms of the model for all samples, and fit it to some."""

    def __init__(self, evidence: Evidence) -> None:
        self.recorded = np.isfinite(evidence.log_odds)
        self.unsupervised = _bounded(np.where(self.recorded, evidence.log_odds, 0.0))
        edges = np.array([-np.inf, *KNOTS, np.inf])
        at = np.clip(self.unsupervised[:, None], edges[:-1], edges[1:])
        self.lengths = at - np.clip(0.0, edges[:-1], edges[1:])  # of each segment between 0 and z, [n, S]
        reference = normal_scores(evidence.log_odds)
        scores = [normal_scores(part) - reference for part in evidence.parts.T]
        self.parts = np.where(np.isfinite(evidence.parts), np.array(scores).reshape(evidence.parts.T.shape).T, 0.0)
        self.groups = (evidence.given, evidence.pair)

    def log_odds(self, rows: Integers, target: Floats, scale: float, of: Integers | None = None) -> Floats:
        """Return the log odds of samples, by default of all, of the model that is fitted to some rows."""
        lengths, parts = self.lengths[rows], self.parts[rows]
        groups = [np.unique(group[rows], return_inverse=True) for group in self.groups]
        if scale == 0:  # without the terms that change the order
            parts, groups = parts[:, :0], []
        sizes = [1, 1, lengths.shape[1], parts.shape[1], *(len(names) for names, _ in groups)]
        deviations = [LEVEL, SLOPE, SEGMENT, *(scale * each for each in (PART, GIVEN, PAIR))][: len(sizes)]
        deviation, ends = np.repeat(deviations, sizes), np.cumsum(sizes)[:-1]

        def loss(standardised: Floats) -> tuple[float, Floats]:
            """Return the negative log posterior of parameters, in units of their deviations, and its gradient."""
            level, slope, segment, weights, *offsets = np.split(standardised * deviation, ends)
            slopes = np.exp(slope + segment)
            fitted = level + lengths @ slopes + parts @ weights
            for offset, (_, member) in zip(offsets, groups, strict=True):
                fitted = fitted + offset[member]
            residual = sigmoid(fitted) - target
            by_segment = (residual @ lengths) * slopes
            gradient = [
                [residual.sum()],
                [by_segment.sum()],
                by_segment,
                residual @ parts,
                *(np.bincount(member, residual, len(names)) for names, member in groups),
            ]
            value = np.logaddexp(0, fitted).sum() - target @ fitted + standardised @ standardised / 2
            return float(value), np.concatenate(gradient) * deviation + standardised

        start = np.zeros(sum(sizes))
        found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": _ITERATIONS}).x
        level, slope, segment, weights, *offsets = np.split(found * deviation, ends)
        shown = slice(None) if of is None else of
        fitted = level + self.lengths[shown] @ np.exp(slope + segment)
        if scale:
            fitted = fitted + self.parts[shown] @ weights
        for group, offset, (names, _) in zip(self.groups[: len(groups)], offsets, groups, strict=True):
            fitted = fitted + pd.Series(offset, index=names).reindex(group[shown], fill_value=0.0).to_numpy()
        return np.asarray(np.where(self.recorded[shown], _bounded(fitted), np.nan))


def _bounded(log_odds: Floats) -> Floats:
    """Return log odds that hardly rise beyond `LARGEST_LOG_ODDS`: no two become equal, and none is infinite."""
    beyond = np.maximum(np.abs(log_odds) - LARGEST_LOG_ODDS, 0.0)
    return np.asarray(np.clip(log_odds, -LARGEST_LOG_ODDS, LARGEST_LOG_ODDS) + np.sign(log_odds) * np.log1p(beyond))
