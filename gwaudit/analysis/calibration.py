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

Such decisions alone leave open what the map is elsewhere, though: after a hundred on the most suspicious samples, all
of them wrong, it is the prior's there. So the number of wrong labels among the others has limits, which the model and
the decisions leave possible with 95 % probability: its parameters are drawn from their posterior (importance sampling
around the mode), and the labels from their probabilities. docs/benchmarks/review.md has the measured coverage.

People err. An answer is wrong with probability ε, so a sample with the probability p is said to be wrong with
ε + (1 - 2ε) p. ε is the one of `ANSWER_ERRORS` with the highest posterior probability, under an exponential prior of
mean `ANSWER_ERROR`: answers that contradict what the scores are sure of show it. Where reviewers did not err, this cost
nothing in simulated reviews (sets of the role `chosen`); where they erred in 10 % of 300 answers, the number of wrong
labels was 11 % off in the median, and 62 % where every answer was taken for right.

The deviations of β and u, which change the order, are multiplied by one of `SCALES`. It is chosen by five-fold
cross-validation on the decisions: another scale than 0, which keeps the unsupervised order, has to raise the log
likelihood of the decisions that it has not seen by two and a half standard errors and two nats. A few decisions never
do that. By less, the average precision of the undecided samples fell by up to 0.1 in single reviews (role `chosen`).
The parts and offsets can also make the level of the odds right, and the order worse. So the area under the ROC curve of
these decisions has to rise, too. Where it does not, the odds are made to rise with the unsupervised ones, by isotonic
regression of the probabilities: the sums stay, and so does the order.

Decisions are not weighted by their inclusion probabilities. Samples are chosen for a decision by their evidence, at
random within strata of it or the worst first. Given its evidence, a sample's label does not depend on the choice: the
likelihood is the same for both. So decisions that were not drawn at random do not bias the odds, as far as m can follow
the true ones. In simulated reviews (sets of the role `chosen`) weights gave no smaller error of the number of wrong
labels, and larger extremes: after 100 decisions, half of them random, nine of ten reviews were within 27 % with weights
and within 18 % without.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logit
from scipy.stats import norm, rankdata
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import roc_auc_score
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
_DRAWS, _STEP, _FREEDOM, _TAILS = 400, 1e-4, 5, (0.025, 0.975)
_MOST_SUMMED = 5_000  # samples whose probabilities are summed for each draw, evenly along the ranking
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


MANY_ERRORS = 0.02
"""The share of decisions that seem to be wrong from which on users are warned of them."""


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
        left: limits of the number of wrong labels among the other samples, which the model and the decisions leave
            possible with 95 % probability; None in a calibration of an earlier version.
    """

    decided: int
    wrong: int
    random: int
    scale: float
    answer_error: float
    decisions_sha256: str
    left: tuple[float, float] | None = None

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Self:
        """Return the calibration of values as JSON holds them."""
        left = facts.get("left")
        return cls(**{**facts, "left": None if left is None else tuple(left)})

    @property
    def has_doubtful_answers(self) -> bool:
        """Return whether several of the decisions seem to be wrong themselves."""
        return self.answer_error >= MANY_ERRORS

    @property
    def is_left_open(self) -> bool:
        """Return whether few decisions are random, and they leave the number of other wrong labels open: its limits
        are further from each other than half of their sum, and ten labels.
        """
        if self.left is None or self.has_enough_random:
            return False
        return self.left[1] - self.left[0] > max(sum(self.left) / 2, 10.0)

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
        left: 95 % interval of the number of wrong labels among the samples without a decision that are counted.
    """

    log_odds: Floats
    scale: float
    answer_error: float
    left: tuple[float, float]


def refit_log_odds(
    evidence: Evidence,
    decided: NDArray[np.integer],
    wrong: NDArray[np.bool_],
    is_counted: NDArray[np.bool_] | None = None,
) -> Refit:
    """Return the log odds of all samples, refitted on the decided ones.

    Args:
        evidence: The evidence about all n samples.
        decided: [m] indices of the decided samples; those without log odds are passed over.
        wrong: [m] whether their labels are wrong.
        is_counted: [n] whether a sample counts in the number of wrong labels that are left; by default all do.
    """
    recorded = np.isfinite(evidence.log_odds[decided])
    rows, target = np.asarray(decided)[recorded], np.asarray(wrong, np.float64)[recorded]
    design = _Design(evidence)
    with threadpool_limits(1):  # the arrays are small: threads would wait for each other
        error = min(ANSWER_ERRORS, key=lambda error: design.fit(rows, target, error).loss + error / ANSWER_ERROR)
        scale, is_better_order = _cross_validated_scale(design, rows, target, error)
        fitted = design.fit(rows, target, error, scale)
        is_left = design.recorded if is_counted is None else design.recorded & is_counted
        is_left = is_left & ~np.isin(np.arange(len(is_left)), decided)
        low, high = _limits_of_left(_Posterior(design, rows, target, error, scale), np.flatnonzero(is_left))
        log_odds = fitted.log_odds() if is_better_order or not scale else _in_unsupervised_order(fitted)
        expected = float(sigmoid(log_odds[is_left]).sum())
        return Refit(log_odds, scale if is_better_order else 0.0, error, (min(low, expected), max(high, expected)))


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


def _cross_validated_scale(design: "_Design", rows: Integers, target: Floats, error: float) -> tuple[float, bool]:
    """Return the scale whose gain in log likelihood over 0 is sure, and the largest; 0 if there is none.

    Also return whether its order of the held-out decisions is better than the unsupervised one.
    """
    if len(rows) < FEWEST_TO_REORDER or len(np.unique(target)) < 2:
        return 0.0, False
    fold = np.empty(len(rows), np.int64)
    fold[np.lexsort((rows, -design.unsupervised[rows]))] = np.arange(len(rows)) % _FOLDS
    likelihood, odds = np.empty((2, len(SCALES), len(rows)))
    for number in range(_FOLDS):
        held_out = fold == number
        for position, scale in enumerate(SCALES):
            fitted = design.fit(rows[~held_out], target[~held_out], error, scale).log_odds(rows[held_out])
            odds[position, held_out] = fitted
            said_wrong = error + (1 - 2 * error) * sigmoid(fitted)
            likelihood[position, held_out] = np.log(np.where(target[held_out] == 1, said_wrong, 1 - said_wrong))
    gain = likelihood - likelihood[0]
    total, error = gain.sum(1), np.sqrt(len(rows) * gain.var(1))
    sure = total > _ERRORS * error + _NATS
    best = int(np.argmax(np.where(sure, total, 0.0)))
    is_better = roc_auc_score(target, odds[best]) > roc_auc_score(target, design.unsupervised[rows])
    return SCALES[best], bool(is_better)


def _in_unsupervised_order(fit: "_Fit") -> Floats:
    """Return the log odds of all samples by a model, with their probabilities averaged where their order differs."""
    recorded, log_odds = fit.design.recorded, fit.log_odds()
    rising = IsotonicRegression().fit_transform(fit.design.unsupervised[recorded], sigmoid(log_odds[recorded]))
    log_odds[recorded] = _bounded(logit(rising))
    return log_odds


def _limits_of_left(posterior: "_Posterior", left: Integers) -> tuple[float, float]:
    """Return the limits of the number of wrong labels among samples, by the posterior of the model.

    Args:
        posterior: Posterior of the parameters.
        left: Samples without a decision.
    """
    if not len(left):
        return 0.0, 0.0
    every = -(-len(left) // _MOST_SUMMED)
    counted = left[np.argsort(posterior.unsupervised[left], kind="stable")][every // 2 :: every]
    stands_for = len(left) / len(counted)
    fits, weight = posterior.draws(_DRAWS)
    number = np.empty(len(fits))
    noise = np.random.default_rng(1).standard_normal(len(fits))
    for position, fit in enumerate(fits):
        probability = sigmoid(fit.log_odds(counted))
        spread = np.sqrt(stands_for * (probability * (1 - probability)).sum())
        number[position] = stands_for * probability.sum() + spread * noise[position]
    order = np.argsort(number)
    share = np.cumsum(weight[order]) / weight.sum()
    low, high = (number[order[min(int(np.searchsorted(share, tail)), len(order) - 1)]] for tail in _TAILS)
    return float(np.clip(low, 0, len(left))), float(np.clip(high, 0, len(left)))


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
        return _Posterior(self, rows, target, error, scale).mode()


class _Posterior:
    """Hold the posterior of the parameters, in units of their deviations, given answers on some rows."""

    def __init__(self, design: _Design, rows: Integers, target: Floats, error: float, scale: float) -> None:
        self._design, self._target, self._error = design, target, error
        self.unsupervised = design.unsupervised
        self._lengths, self._parts = design.lengths[rows], design.parts[rows]
        self._groups = [np.unique(group[rows], return_inverse=True) for group in design.groups]
        if scale == 0:  # without the terms that change the order
            self._parts, self._groups = self._parts[:, :0], []
        n_groups = [len(names) for names, _ in self._groups]
        sizes = [1, 1, self._lengths.shape[1], self._parts.shape[1], *n_groups]
        deviations = [LEVEL, SLOPE, SEGMENT, *(scale * each for each in (PART, GIVEN, PAIR))][: len(sizes)]
        self._deviation, self._ends = np.repeat(deviations, sizes), np.cumsum(sizes)[:-1]

    def loss(self, standardised: Floats) -> tuple[float, Floats]:
        """Return the negative log posterior of parameters, and its gradient."""
        level, slope, segment, weights, *offsets = np.split(standardised * self._deviation, self._ends)
        slopes = np.exp(slope + segment)
        fitted = level + self._lengths @ slopes + self._parts @ weights
        for offset, (_, member) in zip(offsets, self._groups, strict=True):
            fitted = fitted + offset[member]
        value, residual = _answer_loss(fitted, self._target, self._error)
        by_segment = (residual @ self._lengths) * slopes
        gradient = [
            [residual.sum()],
            [by_segment.sum()],
            by_segment,
            residual @ self._parts,
            *(np.bincount(member, residual, len(names)) for names, member in self._groups),
        ]
        gradient = np.concatenate(gradient) * self._deviation + standardised
        return value + float(standardised @ standardised) / 2, gradient

    def mode(self) -> "_Fit":
        """Return the model of the highest posterior probability."""
        start = np.zeros(len(self._deviation))
        found = minimize(self.loss, start, jac=True, method="L-BFGS-B", options={"maxiter": _ITERATIONS})
        return self._fit(found.x, float(found.fun))

    def draws(self, count: int) -> tuple[list["_Fit"], Floats]:
        """Return models drawn around the mode by a t distribution, and the weights that make them posterior ones."""
        mode = self.mode()
        centre, n = mode.standardised, len(mode.standardised)
        steps = np.eye(n) * _STEP
        hessian = np.stack([(self.loss(centre + s)[1] - self.loss(centre - s)[1]) / (2 * _STEP) for s in steps])
        values, vectors = np.linalg.eigh((hessian + hessian.T) / 2)
        values = np.maximum(values, 1.0)  # the prior's alone, which no answer lowers
        random = np.random.default_rng(0)
        normal = random.standard_normal((count, n))
        distance = normal * np.sqrt(_FREEDOM / random.chisquare(_FREEDOM, (count, 1)))
        drawn = [self._fit(x, self.loss(x)[0]) for x in centre + (distance / np.sqrt(values)) @ vectors.T]
        proposed = -(_FREEDOM + n) / 2 * np.log1p((distance**2).sum(1) / _FREEDOM)
        log_weight = mode.loss - np.array([each.loss for each in drawn]) - proposed
        return drawn, np.exp(log_weight - log_weight.max())

    def _fit(self, standardised: Floats, loss: float) -> "_Fit":
        level, slope, segment, weights, *offsets = np.split(standardised * self._deviation, self._ends)
        groups = zip(offsets, self._groups, strict=True)
        named = [pd.Series(offset, index=names) for offset, (names, _) in groups]
        return _Fit(self._design, loss, standardised, float(level[0]), np.exp(slope + segment), weights, named)


class _Fit(NamedTuple):
    """Hold a model: its negative log posterior, its parameters in units of their deviations, level, slope of each
    segment, weights of parts, and offsets.
    """

    design: _Design
    loss: float
    standardised: Floats
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
