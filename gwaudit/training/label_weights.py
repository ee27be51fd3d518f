"""Give each label that cross-fitted heads learn the probability that it is right as its weight.

Heads that learn wrong labels are less sure of the right ones. In a cross-fitted training the epochs so far say how
probable it is that a label is wrong, by predictions of heads that did not learn it. So after each third of the epochs
the samples get new weights, from the epochs of that third (importance reweighting, Liu and Tao, IEEE TPAMI 2016). The
first third learns the given labels as they are, and is not part of the default window of a ranking.

The weights follow from the recorded epochs alone, so a training that is resumed has the same.
"""

import torch
from torch import Tensor

from gwaudit.analysis.ranking import held_out_probability_wrong
from gwaudit.analysis.sample_statistics import reweighted_from
from gwaudit.recording.distributed import run_on_rank0
from gwaudit.store.store import TrajectoryStore

LEAST_WEIGHT = 0.1
"""A label that is wrong for certain still counts a little: the estimate can be at fault for a whole class."""


class LabelWeights:
    """Give the weights of the labels in each epoch of a cross-fitted training.

    Args:
        n_epochs: Number of epochs of the training.
    """

    def __init__(self, n_epochs: int) -> None:
        self._third, self._window, self._weights = reweighted_from(n_epochs), range(0), torch.empty(0)

    def of_epoch(self, epoch: int, store: TrajectoryStore) -> Tensor:
        """Return the weights of the labels in an epoch, [n] in [0.1, 1]; 1 in the first third. All ranks must call.

        Args:
            epoch: Number of the epoch, from 0.
            store: The run, with all epochs before it.
        """
        thirds = min(epoch // self._third, 2) if self._third else 0
        if thirds == 0:
            return torch.ones(store.n_samples)
        window = range((thirds - 1) * self._third, thirds * self._third)
        if window != self._window:
            self._window, self._weights = window, run_on_rank0(lambda: weights_by(store, window))
        return self._weights


def weights_by(store: TrajectoryStore, window: range) -> Tensor:
    """Return the probability by some epochs that each label is right, [n] float32, at least 0.1; 1 where unrecorded."""
    wrong = torch.from_numpy(held_out_probability_wrong(store, window)).float().nan_to_num(nan=0.0)
    return (1 - wrong).clamp_min(LEAST_WEIGHT)
