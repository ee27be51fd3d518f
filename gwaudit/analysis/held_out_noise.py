"""Fit label noise to predictions of heads that did not learn the labels.

A held-out prediction says how likely each class is, given the input alone. So a given label y has the probability

    P(given y) = Σ_k T_ky p_k,    p = softmax(a l)

T_ky is the share of the samples of class k that are labelled y, and the temperature a makes up for predictions that are
too sure or not sure enough (those of a head that learned noisy labels are not sure enough). a and T have the highest
likelihood of the given labels, under a prior (a Dirichlet distribution for each row of T, whose mean is uniform label
noise, so that classes that are mistaken for each other have wrong labels too where the data say so). Of each prediction
only the given label and the best alternative are recorded; the rest of the probability is divided evenly among the
other classes.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import gammaln, xlogy

_LOG_TEMPERATURES = np.linspace(np.log(0.5), np.log(12.0), 12)
_TOLERANCE = 0.01  # of the log temperature: the number of wrong labels moves by less than 1 %
PRIORS = (20.0, 100.0, 10_000.0)
"""Weights of the prior on each row of T, in samples: that of the odds, and others that the order can have; the last one
makes label noise uniform."""

_USUAL_TEMPERATURE = 2.0  # the middle of a log-normal prior of deviation 1
_USUAL_SHARE = 0.05  # of wrong labels, with the weight of one sample
_ITERATIONS = 60
_MOST_FITTED = 50_000

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


class HeldOutPredictions(NamedTuple):
    """Hold what is recorded of held-out predictions, means over epochs.

    Attributes:
        given: [n] given labels.
        alternative: [n] best other label.
        log_given: [n] log probability of the given label, the negative loss.
        log_alternative: [n] log probability of the best other label.
    """

    given: Labels
    alternative: Labels
    log_given: Floats
    log_alternative: Floats

    def take(self, rows: NDArray[np.intp]) -> "HeldOutPredictions":
        """Return some samples."""
        return HeldOutPredictions(
            self.given[rows], self.alternative[rows], self.log_given[rows], self.log_alternative[rows]
        )


class NoiseModel(NamedTuple):
    """Hold label noise that is fitted to held-out predictions.

    Attributes:
        log_posterior: Log posterior of the temperature and T, up to a constant.
        evidence: Lower bound of the log probability of the given labels with T integrated out, in nats.
        noise: [C, C] T.
        temperature: Temperature a.
    """

    log_posterior: float
    evidence: float
    noise: Floats
    temperature: float

    def log_odds_wrong(self, predictions: HeldOutPredictions, is_judged: NDArray[np.bool_] | None = None) -> Floats:
        """Return the log odds of each label being wrong, [n]: log Σ_{k≠y} T_ky p_k - log T_yy p_y.

        Args:
            predictions: Held-out predictions.
            is_judged: [C] whether the labels of each class can be judged. That a sample truly is of one that cannot be
                is no reason to take its label for wrong, as nothing shows it; by default all can.
        """
        probability = _tempered(predictions, self.temperature, len(self.noise))
        right, to_alternative, to_others = _joint(probability, predictions, self.noise)
        if is_judged is not None:
            to_alternative = np.where(is_judged[predictions.alternative], to_alternative, 0.0)
        return np.asarray(np.log(to_alternative + to_others + 1e-300) - np.log(right + 1e-300))


def highest_evidence(predictions: HeldOutPredictions, n_classes: int) -> float:
    """Return the highest evidence of label noise under the priors that the order can have, in nats."""
    return max(fit_noise_model(predictions, n_classes, weight).evidence for weight in PRIORS)


def fit_noise_model(predictions: HeldOutPredictions, n_classes: int, weight: float) -> NoiseModel:
    """Return the label noise with the highest posterior probability.

    Args:
        predictions: Held-out predictions; of more than 50,000, as many are drawn at random.
        n_classes: Number of classes C.
        weight: Weight of the prior on each row of T, in samples.
    """
    n = len(predictions.given)
    if n > _MOST_FITTED:
        predictions = predictions.take(np.random.default_rng(0).choice(n, _MOST_FITTED, replace=False))
    fits: list[NoiseModel] = []

    def loss(log_temperature: float) -> float:
        fits.append(_fit_at(predictions, n_classes, float(np.exp(log_temperature)), weight))
        return -fits[-1].log_posterior

    best = int(np.argmin([loss(log_temperature) for log_temperature in _LOG_TEMPERATURES]))
    around = _LOG_TEMPERATURES[[max(best - 1, 0), min(best + 1, len(_LOG_TEMPERATURES) - 1)]]
    minimize_scalar(loss, bounds=tuple(around), method="bounded", options={"xatol": _TOLERANCE})
    return max(fits, key=lambda fit: fit.log_posterior)


def _tempered(predictions: HeldOutPredictions, temperature: float, n_classes: int) -> Floats:
    """Return the probabilities of given label, best alternative, and all others together, [3, n]."""
    others = np.full(len(predictions.given), -np.inf)
    if n_classes > 2:
        left = 1 - np.exp(predictions.log_given) - np.exp(predictions.log_alternative)
        each = np.minimum(np.log(np.maximum(left, 1e-9) / (n_classes - 2)), predictions.log_alternative)
        others = temperature * each + np.log(n_classes - 2)
    logs = np.stack([temperature * predictions.log_given, temperature * predictions.log_alternative, others])
    likelihood = np.exp(logs - logs.max(0))
    return np.asarray(likelihood / likelihood.sum(0))


def _joint(probability: Floats, predictions: HeldOutPredictions, noise: Floats) -> Floats:
    """Return the probabilities of the given label with: itself, the alternative, another class as true, [3, n]."""
    given, alternative, n_classes = predictions.given, predictions.alternative, len(noise)
    right, to_alternative = noise[given, given], noise[alternative, given]
    to_others = (noise.sum(0)[given] - right - to_alternative).clip(0) / max(n_classes - 2, 1)
    return np.stack([right, to_alternative, to_others]) * probability


def _fit_at(predictions: HeldOutPredictions, n_classes: int, temperature: float, weight: float) -> NoiseModel:
    """Fit T by expectation maximisation, for a temperature and a weight of the prior."""
    given, alternative = predictions.given, predictions.alternative
    probability = _tempered(predictions, temperature, n_classes)
    off_diagonal = ~np.eye(n_classes, dtype=bool)
    share, score = _USUAL_SHARE, -np.inf
    noise = prior = _uniform_noise(share, n_classes)
    for _ in range(_ITERATIONS):
        joint = _joint(probability, predictions, noise)
        density = joint.sum(0) + 1e-300
        before, score = score, float(np.log(density).sum())
        responsibility = joint / density
        right, to_alternative, to_others = responsibility
        mistaken = np.bincount(alternative * n_classes + given, to_alternative, n_classes**2).reshape(noise.shape)
        counts = mistaken + np.bincount(given, to_others, n_classes) / max(n_classes - 1, 1) * off_diagonal
        counts[np.diag_indices(n_classes)] += np.bincount(given, right, n_classes)
        share = float((counts[off_diagonal].sum() + _USUAL_SHARE) / (counts.sum() + 1))
        prior = _uniform_noise(share, n_classes)
        if score - before < 1e-4:
            break
        noise = (counts + weight * prior) / (counts.sum(1, keepdims=True) + weight)
    return NoiseModel(
        score
        + weight * float((prior * np.log(np.maximum(noise, 1e-12) / prior)).sum())
        - np.log(temperature / _USUAL_TEMPERATURE) ** 2 / 2,
        _evidence(responsibility, probability, counts, weight * prior),
        noise,
        temperature,
    )


def _evidence(responsibility: Floats, probability: Floats, counts: Floats, prior: Floats) -> float:
    """Return the variational lower bound of the log probability of the given labels with T integrated out.

    The rows of the expected counts have Dirichlet-multinomial distributions (Beal, Variational algorithms for
    approximate Bayesian inference, 2003, chapter 2).

    Args:
        responsibility: [3, n] probability that the true class is the given one, the alternative, or another one.
        probability: [3, n] predicted probability of each.
        counts: [C, C] expected numbers of samples by true and given class.
        prior: [C, C] parameters of the Dirichlet distribution of each row of T.
    """
    of_counts = (
        gammaln(prior.sum(1)) - gammaln((prior + counts).sum(1)) + (gammaln(prior + counts) - gammaln(prior)).sum(1)
    )
    of_classes = xlogy(responsibility, probability) - xlogy(responsibility, responsibility)
    return float(of_counts.sum() + of_classes.sum())


def _uniform_noise(share: float, n_classes: int) -> Floats:
    """Return T of uniform label noise, [C, C]."""
    share = float(np.clip(share, 1e-9, 1 - 1e-9))
    noise = np.full((n_classes, n_classes), share / max(n_classes - 1, 1))
    np.fill_diagonal(noise, 1 - share)
    return noise
