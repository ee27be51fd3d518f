"""Estimate the odds of each label being wrong from predictions of heads that did not learn it.

A held-out prediction says how likely each class is, given the input alone. So the odds follow from it and from a model
of the label noise:

    P(given y) = Σ_k T_ky p_k,    p = softmax(a l),    odds of y being wrong = Σ_{k≠y} T_ky p_k / (T_yy p_y)

T_ky is the share of the samples of class k that are labelled y, and the temperature a makes up for predictions that are
too sure or not sure enough (those of a head that learned noisy labels are not sure enough). a and T have the highest
likelihood of the given labels, under a prior (a Dirichlet distribution for each row of T, whose mean is uniform label
noise, so that classes that are mistaken for each other have wrong labels too where the data say so). Of each prediction
only the given label and the best alternative are recorded; the rest of the probability is divided evenly among the
other classes.

Predictions cannot distinguish label noise that lies where a class is difficult from a difficult class. A second reading
of the same scores differs in that: by mode, `gwaudit.analysis.error_probability` takes modes of the margin above zero
for wrong labels, as where people mislabel the samples that are difficult for a head.

The probability of being wrong is the mean of both (a linear opinion pool): either can be right, and one that sees
nothing does not overrule the other, as it does in the mean of log odds. Their weights follow from the cut that each of
them would make, by the score

    expected F1 of the cut · min(1, labels that it flags / labels that the head contradicts)

A reading is believed as far as it is sure, and as far as it explains why the head contradicts labels. Of errors among
difficult samples the reading by class sees none, and that by mode nearly all; of errors in a few classes that by mode
may see some alone, and be sure of them. Weights are `PRIOR_WEIGHTS` / (1 - score + `DOUBT`). A training, which weights
its labels by these odds, uses `TRAINING_WEIGHTS`. Both were chosen on sets of `gwaudit benchmark trust` with the role
`chosen`.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_expit

from gwaudit.analysis.error_probability import cut_with_best_f1, log_odds_wrong, sigmoid

CLASS_WEIGHT = 20.0
"""Weight of the prior on each row of T, in samples."""

PRIOR_WEIGHTS, DOUBT = (4.0, 1.0), 0.02
"""Weights of the readings by class and by mode with equal scores, and the least doubt about a score."""

TRAINING_WEIGHTS = (1 - 1 / 3, 1 / 3)
"""Weights of both readings in a training."""

_TEMPERATURES = np.exp(np.linspace(np.log(0.5), np.log(12.0), 22))
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


class Readings(NamedTuple):
    """Hold the log odds of each reading.

    Attributes:
        by_class: [n] log odds by class; NaN where nothing was recorded.
        by_mode: [n] log odds by mode.
        n_contradicted: number of given labels that the head contradicts.
    """

    by_class: Floats
    by_mode: Floats
    n_contradicted: int

    def pool(self, weights: tuple[float, float] | None = None) -> Floats:
        """Return the log odds of the weighted mean of both probabilities, [n].

        Args:
            weights: Weights of the readings by class and by mode, above 0; by default `weights()`.
        """
        weights = weights or self.weights()
        return np.asarray(self._log_mean(1, weights) - self._log_mean(-1, weights))

    def weights(self) -> tuple[float, float]:
        """Return the weights of the readings by class and by mode, by the score of each; their sum is 1."""
        by_class, by_mode = (
            prior / (1 - self._score(log_odds) + DOUBT)
            for prior, log_odds in zip(PRIOR_WEIGHTS, (self.by_class, self.by_mode), strict=True)
        )
        return by_class / (by_class + by_mode), by_mode / (by_class + by_mode)

    def _score(self, log_odds: Floats) -> float:
        """Return the expected F1 of a reading's own cut, less as it leaves contradicted labels unexplained."""
        probability = np.sort(sigmoid(log_odds[np.isfinite(log_odds)]))[::-1]
        count, expected_f1 = cut_with_best_f1(probability)
        return expected_f1 * min(1.0, count / max(self.n_contradicted, 1))

    def _log_mean(self, sign: int, weights: tuple[float, float]) -> Floats:
        """Return the log of the weighted sum of the probabilities of being wrong (1) or right (-1)."""
        readings = zip(weights, (self.by_class, self.by_mode), strict=True)
        parts = [np.log(weight) + log_expit(sign * log_odds) for weight, log_odds in readings]
        with np.errstate(invalid="ignore"):  # NaN where nothing was recorded
            return np.asarray(np.logaddexp(*parts))


def held_out_readings(
    given: Labels, alternative: Labels, margin: NDArray[np.floating], loss: NDArray[np.floating], n_classes: int
) -> Readings:
    """Return the log odds of each label being wrong by each of the two readings, NaN where nothing was recorded.

    Args:
        given: [n] given labels.
        alternative: [n] best other label; below 0 where nothing was recorded.
        margin: [n] mean margin of the logits; NaN where nothing was recorded.
        loss: [n] mean cross entropy of the given label, in nats.
        n_classes: Number of classes C.
    """
    by_mode = log_odds_wrong(-margin)
    recorded = np.flatnonzero(np.isfinite(margin) & np.isfinite(loss) & (alternative >= 0))
    log_given = -loss[recorded].astype(np.float64)
    predictions = HeldOutPredictions(
        given[recorded], alternative[recorded], log_given, log_given - margin[recorded].astype(np.float64)
    )
    by_class = np.full(len(given), np.nan)
    if len(recorded):
        by_class[recorded] = _fitted_log_odds(predictions, n_classes)
    return Readings(by_class, by_mode, int((margin[recorded] < 0).sum()))


def _fitted_log_odds(predictions: HeldOutPredictions, n_classes: int) -> Floats:
    """Return the log odds under the temperature and T with the highest posterior probability, [n]."""
    n = len(predictions.given)
    fitted = predictions
    if n > _MOST_FITTED:
        fitted = predictions.take(np.random.default_rng(0).choice(n, _MOST_FITTED, replace=False))
    fits = [(*_fit_noise(_tempered(fitted, a, n_classes), fitted, n_classes), a) for a in _TEMPERATURES]
    _, noise, temperature = max(fits, key=lambda fit: fit[0] - np.log(fit[2] / _USUAL_TEMPERATURE) ** 2 / 2)
    right, to_alternative, to_others = _joint(_tempered(predictions, temperature, n_classes), predictions, noise)
    return np.asarray(np.log(to_alternative + to_others + 1e-300) - np.log(right + 1e-300))


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


def _fit_noise(probability: Floats, predictions: HeldOutPredictions, n_classes: int) -> tuple[float, Floats]:
    """Fit T by expectation maximisation; return the log posterior, up to a constant, and T [C, C]."""
    given, alternative = predictions.given, predictions.alternative
    off_diagonal = ~np.eye(n_classes, dtype=bool)
    share, score = _USUAL_SHARE, -np.inf
    noise = prior = _uniform_noise(share, n_classes)
    for _ in range(_ITERATIONS):
        joint = _joint(probability, predictions, noise)
        density = joint.sum(0) + 1e-300
        before, score = score, float(np.log(density).sum())
        if score - before < 1e-4:
            break
        right, to_alternative, to_others = joint / density
        mistaken = np.bincount(alternative * n_classes + given, to_alternative, n_classes**2).reshape(noise.shape)
        counts = mistaken + np.bincount(given, to_others, n_classes) / max(n_classes - 1, 1) * off_diagonal
        counts[np.diag_indices(n_classes)] += np.bincount(given, right, n_classes)
        share = float((counts[off_diagonal].sum() + _USUAL_SHARE) / (counts.sum() + 1))
        prior = _uniform_noise(share, n_classes)
        noise = (counts + CLASS_WEIGHT * prior) / (counts.sum(1, keepdims=True) + CLASS_WEIGHT)
    return score + CLASS_WEIGHT * float((prior * np.log(np.maximum(noise, 1e-12) / prior)).sum()), noise


def _uniform_noise(share: float, n_classes: int) -> Floats:
    """Return T of uniform label noise, [C, C]."""
    share = float(np.clip(share, 1e-9, 1 - 1e-9))
    noise = np.full((n_classes, n_classes), share / max(n_classes - 1, 1))
    np.fill_diagonal(noise, 1 - share)
    return noise
