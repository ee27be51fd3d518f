"""Other detectors of wrong labels, from the trajectories of one run: what gwaudit's own ranking is compared with.

Each gives a score (higher is more suspicious) and, where its authors say where to cut, what it flags. All read whole
epochs, [epochs, n] in memory: they are meant for benchmarks. Confident learning and AUM's threshold samples
need trainings of their own and are in `gwaudit.benchmarks`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from gwaudit.store.store import TrajectoryStore

EL2N_SHARE = 1 / 3
"""EL2N is meant for early training: it is averaged over this share of the epochs, from the first on."""


@dataclass(frozen=True, eq=False)
class Detection:
    """What a detector says of n samples.

    Attributes:
        score: [n] float64, higher is more suspicious.
        flagged: [n] whether its own cut flags the sample; None where its authors name no cut.
    """

    score: NDArray[np.float64]
    flagged: NDArray[np.bool_] | None = None


class Trajectories:
    """A run's signals, [epochs, n] each, read when they are asked for."""

    def __init__(self, store: TrajectoryStore) -> None:
        self._store = store
        self.given: NDArray[np.int64] = store.given_labels().astype(np.int64)

    def __getitem__(self, signal: str) -> NDArray[Any]:
        columns = [self._store.read_epoch(epoch, [signal])[signal].to_numpy() for epoch in self._store.training_epochs]
        return np.stack(columns)


def _mean(values: NDArray[Any]) -> NDArray[np.float64]:
    """Over the epochs, leaving out those that did not record the sample: [n]."""
    return np.asarray(np.nanmean(values, axis=0, dtype=np.float64))


def aum(trajectories: Trajectories) -> Detection:
    """Area under the margin, all epochs (Pleiss et al., NeurIPS 2020); its cut needs threshold samples."""
    return Detection(-_mean(trajectories["margin"]))


def mean_loss(trajectories: Trajectories) -> Detection:
    """Cross entropy of the given label, averaged over all epochs (as O2U-Net ranks; Huang et al., ICCV 2019)."""
    return Detection(_mean(trajectories["loss"]))


def el2n(trajectories: Trajectories) -> Detection:
    """Norm of the error vector early in training (Paul et al., NeurIPS 2021).

    The authors average over ten trainings; here it is the epochs of the run's first third.
    """
    values = trajectories["el2n"]
    return Detection(_mean(values[: max(1, round(len(values) * EL2N_SHARE))]))


def forgetting(trajectories: Trajectories) -> Detection:
    """Forgetting events (Toneva et al., ICLR 2019); what is never learned counts as forgotten most."""
    right = trajectories["predicted_label"] == trajectories.given
    forgotten = (right[:-1] & ~right[1:]).sum(0)
    never = ~right.any(0)
    return Detection(np.where(never, len(right), forgotten).astype(np.float64))


def wrong_predictions(trajectories: Trajectories) -> Detection:
    """Share of the epochs that predict another label than the given one."""
    return Detection(_mean(trajectories["predicted_label"] != trajectories.given))


def cartography_confidence(trajectories: Trajectories) -> Detection:
    """Less the mean probability of the given label (Dataset Cartography; Swayamdipta et al., EMNLP 2020)."""
    return Detection(-_mean(trajectories["given_probability"]))


def cartography_variability(trajectories: Trajectories) -> Detection:
    """The standard deviation of that probability over the epochs, high for ambiguous samples (the same paper)."""
    return Detection(np.asarray(np.nanstd(trajectories["given_probability"], axis=0, dtype=np.float64)))


def ctrl(trajectories: Trajectories) -> Detection:
    """Loss curves clustered class by class (CTRL; Yue and Jha, 2022), here into two by k-means with a fixed seed.

    The cluster of the higher mean loss is flagged; the score is how much nearer a curve lies to it than to the other.
    """
    losses = np.nan_to_num(trajectories["loss"].T.astype(np.float64))
    score, flagged = np.zeros(len(losses)), np.zeros(len(losses), bool)
    for label in np.unique(trajectories.given):
        members = np.flatnonzero(trajectories.given == label)
        if len(members) < 2:
            continue
        clusters = KMeans(2, n_init=4, random_state=0).fit(losses[members])
        noisy = int(np.argmax(clusters.cluster_centers_.mean(1)))
        distance = clusters.transform(losses[members])
        score[members] = distance[:, 1 - noisy] - distance[:, noisy]
        flagged[members] = clusters.labels_ == noisy
    return Detection(score, flagged)


def argmax_disagreement(trajectories: Trajectories) -> Detection:
    """The last epoch's prediction is not the given label; within both groups by that epoch's margin."""
    last = trajectories["predicted_label"][-1]
    margin = trajectories["margin"][-1].astype(np.float64)
    return Detection(-margin, last != trajectories.given)


DETECTORS: dict[str, Callable[[Trajectories], Detection]] = {
    function.__name__: function
    for function in (
        aum, mean_loss, el2n, forgetting, wrong_predictions, cartography_confidence, cartography_variability, ctrl,
        argmax_disagreement,
    )
}  # fmt: skip
"""Every detector of this module, by name."""
