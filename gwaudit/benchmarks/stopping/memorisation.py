"""Estimate which samples a network memorises: it predicts their labels only if it was trained on them.

The score is that of Feldman and Zhang (NeurIPS 2020).
The estimate trains several networks, each on a random share of the samples. A sample's memorisation score is the share
of the networks trained on it that predict its given label, minus that of the networks trained without it. The authors
train thousands of networks; with a few, the score has few values, and only means over groups are meaningful.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gwaudit.core.errors import SettingsError
from gwaudit.core.settings import TrainingSettings
from gwaudit.data.dataset import LabeledDataset
from gwaudit.training.progress import Progress
from gwaudit.training.trainer import predict, train

SHARE = 0.7


def memorisation_scores(
    dataset: LabeledDataset,
    folder: Path,
    training: TrainingSettings,
    *,
    models: int,
    progress: Progress | None = None,
) -> NDArray[np.float64]:
    """Train networks on random shares of the samples, and return each sample's memorisation score.

    Args:
        dataset: Data set with given labels.
        folder: Folder that keeps one run a network; runs that are there are resumed.
        training: Settings of each training; its seed draws the shares.
        models: Number of networks, at least 2.
        progress: Receives the progress of each training.

    Returns:
        [n] in [-1, 1]; NaN for samples that all networks or none were trained on.

    Raises:
        SettingsError: There are fewer than two networks.
    """
    if models < 2:
        raise SettingsError(f"`memorisation` needs at least 2 networks, not {models}")
    n = len(dataset)
    trained, right = np.zeros((models, n), bool), np.zeros((models, n), bool)
    for number in range(models):
        random = np.random.default_rng((training.seed, number))
        ids = np.sort(random.permutation(n)[: round(SHARE * n)])
        trained[number, ids] = True
        subset, run = dataset.subset(ids), folder / f"memorisation-{number}"
        train(subset, run, replace(training, seed=training.seed + number), resume=True, progress=progress)
        right[number] = predict(run, subset, dataset).argmax(1).numpy() == dataset.labels
    return memorisation(trained, right)


def memorisation(trained: NDArray[np.bool_], right: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the memorisation score of each sample.

    Args:
        trained: [networks, n] whether a network was trained on a sample.
        right: [networks, n] whether it predicts the sample's given label.

    Returns:
        [n] in [-1, 1]; NaN for samples that all networks or none were trained on.
    """
    inside, outside = trained.sum(0), (~trained).sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(
            (trained & right).sum(0) / inside - (~trained & right).sum(0) / outside, np.float64
        ) + np.where((inside > 0) & (outside > 0), 0.0, np.nan)
