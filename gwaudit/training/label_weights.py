"""Give each label that cross-fitted heads learn the probability that it is right as its weight.

Heads that learn wrong labels are less sure of the right ones. In a cross-fitted training the epochs so far say how
probable it is that a label is wrong, by predictions of heads that did not learn it. So after half and after three
quarters of the epochs the samples get new weights, from the quarter before (importance reweighting, Liu and Tao, IEEE
TPAMI 2016). The first half learns the given labels as they are, and is not part of the default window of a ranking.
Sooner, the heads have learned little: they contradict many right labels, and would not learn these any more.

The weights follow from the recorded epochs alone, so a training that is resumed has the same.

Where the inputs say little about the labels, heads with weights learn their own opinion: what they contradict counts
less, so they are surer of it still, and contradict more. Such heads predict given labels worse, with any label noise,
and `try_weights` measures this before the training, for the verdict: of a survey of voters (carData's Chile) a third
is flagged.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gwaudit.analysis.error_probability import sigmoid
from gwaudit.analysis.held_out_noise import HeldOutPredictions, highest_evidence
from gwaudit.analysis.held_out_odds import TRAINING_WEIGHTS, held_out_readings
from gwaudit.analysis.ranking import held_out_probability_wrong
from gwaudit.recording.distributed import run_on_rank0
from gwaudit.store.store import TrajectoryStore

LEAST_WEIGHT = 0.1
"""A label that is wrong for certain still counts a little: the estimate can be at fault for a whole class."""


@dataclass(frozen=True)
class WeightsTrial:
    """Hold how heads that were trained with weights of the labels compare with those that learned all labels alike.

    Attributes:
        gain: By how much weights make the given labels more probable, in nats; below 0 if they make them less so.
        contradicted: Number of labels that are more probably wrong than right by heads without weights.
        contradicted_with_weights: The same by heads with weights.
    """

    gain: float
    contradicted: int
    contradicted_with_weights: int


class LabelWeights:
    """Give the weights of the labels in each epoch of a cross-fitted training.

    Args:
        n_epochs: Number of epochs of the training.
    """

    def __init__(self, n_epochs: int) -> None:
        self._quarters = [n_epochs * quarter // 4 for quarter in range(1, 4)]
        self._window, self._weights = range(0), torch.empty(0)

    def of_epoch(self, epoch: int, store: TrajectoryStore) -> Tensor:
        """Return the weights of the labels in an epoch, [n] in [0.1, 1]; 1 in the first half. All ranks must call.

        Args:
            epoch: Number of the epoch, from 0.
            store: The run, with all epochs before it.
        """
        first, half, last = self._quarters
        window = range(half, last) if epoch >= last else range(first, half)
        if epoch < half or not window:
            return torch.ones(store.n_samples)
        if window != self._window:
            self._window, self._weights = window, run_on_rank0(lambda: weights_by(store, window))
        return self._weights


def weights_by(store: TrajectoryStore, window: range) -> Tensor:
    """Return the probability by some epochs that each label is right, [n] float32, at least 0.1; 1 where unrecorded."""
    wrong = torch.from_numpy(held_out_probability_wrong(store, window)).float().nan_to_num(nan=0.0)
    return (1 - wrong).clamp_min(LEAST_WEIGHT)


def try_weights(predicted: Tensor, labels: Tensor, train: Callable[[Tensor], Tensor]) -> WeightsTrial:
    """Return how heads with weights of the labels compare with heads without.

    The gain is a difference of the evidence of label noise that is fitted to held-out predictions
    (`gwaudit.analysis.held_out_noise`), so a head may be sure of its own class: what counts is that noise explains the
    labels that it contradicts.

    Args:
        predicted: [n, C] held-out log probabilities of heads that learned all labels alike.
        labels: [n] given labels.
        train: Trains the heads with weights [n] of the labels, and returns their held-out log probabilities.
    """
    n_classes = predicted.shape[1]
    before = _predictions(predicted, labels)
    odds = _log_odds_wrong(before, n_classes)
    wrong = torch.from_numpy(sigmoid(odds)).float()
    after = _predictions(train((1 - wrong).clamp_min(LEAST_WEIGHT).to(labels.device)), labels)
    return WeightsTrial(
        highest_evidence(after, n_classes) - highest_evidence(before, n_classes),
        int((odds > 0).sum()),
        int((_log_odds_wrong(after, n_classes) > 0).sum()),
    )


def _log_odds_wrong(p: HeldOutPredictions, n_classes: int) -> NDArray[np.float64]:
    readings = held_out_readings(p.given, p.alternative, p.log_given - p.log_alternative, -p.log_given, n_classes)
    return readings.pool(TRAINING_WEIGHTS)


def _predictions(predicted: Tensor, labels: Tensor) -> HeldOutPredictions:
    log_probability, given = predicted.double().log_softmax(1).cpu().numpy(), labels.cpu().numpy()
    rows, others = np.arange(len(given)), log_probability.copy()
    others[rows, given] = -np.inf
    return HeldOutPredictions(given, others.argmax(1), log_probability[rows, given], others.max(1))
