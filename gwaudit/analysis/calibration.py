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

People err. An answer is wrong with probability ε, so a sample with the probability p is said to be wrong with
ε + (1 - 2ε) p. ε is the one of `ANSWER_ERRORS` with the highest posterior probability, under an exponential prior of
mean `ANSWER_ERROR`: answers that contradict what the scores are sure of show it. Where reviewers did not err, this cost
nothing in simulated reviews (sets of the role `chosen`); where they erred in 10 % of 300 answers, the number of wrong
labels was 11 % off in the median, and 62 % where every answer was taken for right.

The deviations of β and u, which change the order, are multiplied by one of `SCALES`. It is chosen by five-fold
cross-validation on the decisions: another scale than 0, which keeps the unsupervised order, has to raise the log
likelihood of the decisions that it has not seen by two and a half standard errors and two nats. A few decisions never
do that. By less, the average precision of the undecided samples fell by up to 0.1 in single reviews (role `chosen`).

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

ANSWER_ERROR = 0.1
"""Mean of the prior of ε, the share of wrong answers."""

ANSWER_ERRORS = (0.0, 0.005, 0.01, 0.02, 0.04, 0.07, 0.1, 0.15)
"""The shares of wrong answers to choose from."""

FEWEST_TO_REORDER = 20
"""Number of decisions below which the order is the unsupervised one in any case."""

LARGEST_LOG_ODDS = 14.0
"""Log odds, of a millionth, beyond which unsupervised and fitted log odds rise with their logarithm alone."""

ENOUGH_RANDOM = 100
"""Number of random decisions from which on calibrated probabilities are given where only the order is trusted."""

_FOLDS = 5
_ERRORS, _NATS = 2.5, 2.0
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
        answer_error: estimated share of decisions that are wrong themselves.
        decisions_sha256: SHA-256 of the decisions.
    """

    decided: int
    wrong: int
    random: int
    scale: float
    answer_error: float
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
        answer_error: Estimated share of wrong decisions.
    """

    log_odds: Floats
    scale: float
    answer_error: float


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
        error = min(ANSWER_ERRORS, key=lambda error: design.fit(rows, target, error).loss + error / ANSWER_ERROR)
        scale = _cross_validated_scale(design, rows, target, error)
        return Refit(design.fit(rows, target, error, scale).log_odds(), scale, error)


def probability_after_answers(log_odds: Floats, wrong: NDArray[np.bool_], answer_error: float) -> Floats:
    """Return the probability of each label being wrong, [m], given the answer about it.

    By Bayes' rule an answer adds ± log((1 - ε) / ε) to the log odds.

    Args:
        log_odds: [m] refitted log odds; NaN where nothing was recorded: the answer then counts alone.
        wrong: [m] whether the answer was that the label is wrong.
        answer_error: ε, the share of wrong answers; where it is 0, the answers are certain.
    """
    if answer_error == 0:
        return wrong.astype(np.float64)
    with_answer = log_odds + np.where(wrong, 1.0, -1.0) * np.log(1 / answer_error - 1)
    return np.where(np.isfinite(log_odds), sigmoid(with_answer), wrong)


def normal_scores(values: Floats) -> Floats:
    """Return the quantiles of the normal distribution at the ranks of values [n]; 0 for NaN."""
    known = np.isfinite(values)
    scores = np.zeros(len(values))
    if known.any():
        scores[known] = norm.ppf((rankdata(values[known]) - 0.5) / known.sum())
    return scores


def _cross_validated_scale(design: "_Design", rows: Integers, target: Floats, error: float) -> float:
    """Return the scale whose gain in log likelihood over 0 is sure, and the largest; 0 if there is none."""
    if len(rows) < FEWEST_TO_REORDER or len(np.unique(target)) < 2:
        return 0.0
    fold = np.empty(len(rows), np.int64)
    fold[np.lexsort((rows, -design.unsupervised[rows]))] = np.arange(len(rows)) % _FOLDS
    likelihood = np.empty((len(SCALES), len(rows)))
    for number in range(_FOLDS):
        held_out = fold == number
        for position, scale in enumerate(SCALES):
            fitted = design.fit(rows[~held_out], target[~held_out], error, scale).log_odds(rows[held_out])
            said_wrong = error + (1 - 2 * error) * sigmoid(fitted)
            likelihood[position, held_out] = np.log(np.where(target[held_out] == 1, said_wrong, 1 - said_wrong))
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

    def fit(self, rows: Integers, target: Floats, error: float, scale: float = 0.0) -> "_Fit":
        """Fit the model to the answers on some rows, of which the share `error` is wrong."""
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
            value, residual = _answer_loss(fitted, target, error)
            by_segment = (residual @ lengths) * slopes
            gradient = [
                [residual.sum()],
                [by_segment.sum()],
                by_segment,
                residual @ parts,
                *(np.bincount(member, residual, len(names)) for names, member in groups),
            ]
            return value + float(standardised @ standardised) / 2, np.concatenate(gradient) * deviation + standardised

        start = np.zeros(sum(sizes))
        found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": _ITERATIONS})
        level, slope, segment, weights, *offsets = np.split(found.x * deviation, ends)
        named = [pd.Series(offset, index=names) for offset, (names, _) in zip(offsets, groups, strict=True)]
        return _Fit(self, float(found.fun), float(level[0]), np.exp(slope + segment), weights, named)


class _Fit(NamedTuple):
    """Hold a fitted model: its negative log posterior, level, slope of each segment, weights of parts, and offsets."""

    design: _Design
    loss: float
    level: float
    slopes: Floats
    weights: Floats
    offsets: list["pd.Series[float]"]

    def log_odds(self, of: Integers | None = None) -> Floats:
        """Return the log odds of samples, by default of all."""
        shown = slice(None) if of is None else of
        fitted = self.level + self.design.lengths[shown] @ self.slopes
        if len(self.weights):
            fitted = fitted + self.design.parts[shown] @ self.weights
        for offset, group in zip(self.offsets, self.design.groups, strict=False):  # none where the order is kept
            fitted = fitted + offset.reindex(group[shown], fill_value=0.0).to_numpy()
        return np.asarray(np.where(self.design.recorded[shown], _bounded(fitted), np.nan))


def _answer_loss(log_odds: Floats, target: Floats, error: float) -> tuple[float, Floats]:
    """Return the negative log likelihood of answers, of which a share is wrong, and its gradient by the log odds."""
    if error == 0:  # exact where the probability is 0 or 1 in floating point
        return float(np.logaddexp(0, log_odds).sum() - target @ log_odds), sigmoid(log_odds) - target
    probability = sigmoid(log_odds)
    said_wrong = error + (1 - 2 * error) * probability
    by_said = np.where(target == 1, -1 / said_wrong, 1 / (1 - said_wrong))
    value = -np.log(np.where(target == 1, said_wrong, 1 - said_wrong)).sum()
    return float(value), by_said * (1 - 2 * error) * probability * (1 - probability)


def _bounded(log_odds: Floats) -> Floats:
    """Return log odds that hardly rise beyond `LARGEST_LOG_ODDS`: no two become equal, and none is infinite."""
    beyond = np.maximum(np.abs(log_odds) - LARGEST_LOG_ODDS, 0.0)
    return np.asarray(np.clip(log_odds, -LARGEST_LOG_ODDS, LARGEST_LOG_ODDS) + np.sign(log_odds) * np.log1p(beyond))
