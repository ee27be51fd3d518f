"""Estimate the odds of each label being wrong from predictions of heads that did not learn it.

Two readings are pooled. **By class**, label noise is fitted to the predictions (`gwaudit.analysis.held_out_noise`), and
the odds of label y being wrong are Σ_{k≠y} T_ky p_k / (T_yy p_y).

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
its labels by these odds, uses `TRAINING_WEIGHTS`.

The **order** is that by class, but under the prior on T that has the highest evidence: shares of its own for each class
cost as much as they explain by chance. Under the weak prior of the odds, chance sets classes apart, and the errors of a
class that seems right stand too low. The number of wrong labels is better estimated under the weak prior: under a
strong one, errors among difficult samples count as difficult samples.

Weights and priors were chosen on sets of `gwaudit benchmark trust` with the role `chosen`.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_expit

from gwaudit.analysis.error_probability import cut_with_best_f1, log_odds_wrong, sigmoid
from gwaudit.analysis.held_out_noise import PRIORS, Floats, HeldOutPredictions, Labels, fit_noise_model

PRIOR_WEIGHTS, DOUBT = (4.0, 1.0), 0.02
"""Weights of the readings by class and by mode with equal scores, and the least doubt about a score."""

TRAINING_WEIGHTS = (1 - 1 / 3, 1 / 3)
"""Weights of both readings in a training."""


class Readings(NamedTuple):
    """Hold the log odds of each reading.

    Attributes:
        by_class: [n] log odds by class; NaN where nothing was recorded.
        by_mode: [n] log odds by mode.
        order: [n] log odds by class under the prior with the highest evidence: the most suspicious are the highest.
        n_contradicted: number of given labels that the head contradicts.
    """

    by_class: Floats
    by_mode: Floats
    order: Floats
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
    given: Labels,
    alternative: Labels,
    margin: NDArray[np.floating],
    loss: NDArray[np.floating],
    n_classes: int,
    is_judged: NDArray[np.bool_] | None = None,
) -> Readings:
    """Return the log odds of each label being wrong by each reading, and their order; NaN where nothing was recorded.

    Args:
        given: [n] given labels.
        alternative: [n] best other label; below 0 where nothing was recorded.
        margin: [n] mean margin of the logits; NaN where nothing was recorded.
        loss: [n] mean cross entropy of the given label, in nats.
        n_classes: Number of classes C.
        is_judged: [C] whether the labels of each class can be judged; where the best other label is one that cannot be,
            both readings are that by class. By default all can.
    """
    by_mode = log_odds_wrong(-margin)
    recorded = np.flatnonzero(np.isfinite(margin) & np.isfinite(loss) & (alternative >= 0))
    log_given = -loss[recorded].astype(np.float64)
    predictions = HeldOutPredictions(
        given[recorded], alternative[recorded], log_given, log_given - margin[recorded].astype(np.float64)
    )
    by_class, order = np.full((2, len(given)), np.nan)
    if len(recorded):
        models = [fit_noise_model(predictions, n_classes, weight) for weight in PRIORS]
        by_class[recorded] = models[0].log_odds_wrong(predictions, is_judged)
        order[recorded] = max(models, key=lambda model: model.evidence).log_odds_wrong(predictions, is_judged)
    if is_judged is not None:
        by_mode = np.where((alternative >= 0) & ~is_judged[alternative], by_class, by_mode)
    return Readings(by_class, by_mode, order, int((margin[recorded] < 0).sum()))
