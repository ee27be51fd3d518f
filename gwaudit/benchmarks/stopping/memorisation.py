"""What a network memorises: whom it only gets right when it has been trained on them (Feldman and Zhang, 2020).

The estimate by sub-sampling: several networks, each on a random share of the samples. A sample's memorisation is the
share of networks trained on it that predict its given label, less that of the networks trained without it. The authors
train thousands; with a few the score has few values, and group means are what can be read off it.
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
    """Train on random shares and compare.

    Args:
        dataset: with given labels.
        folder: keeps a run a network; what is there is gone on with.
        training: how to train; its seed draws the shares.
        models: how many networks, at least 2.
        progress: told how each training goes.

    Returns:
        [n] in [-1, 1]; NaN for samples that all networks or none were trained on.

    Raises:
        SettingsError: fewer than two networks.
    """
    if models < 2:
        raise SettingsError(f"memorisation needs at least 2 networks, got {models}")
    n = len(dataset)
    trained, right = np.zeros((models, n), bool), np.zeros((models, n), bool)
    for number in range(models):
        random = np.random.default_rng((training.seed, number))
        chosen = np.sort(random.permutation(n)[: round(SHARE * n)])
        trained[number, chosen] = True
        part, run = dataset.subset(chosen), folder / f"memorisation-{number}"
        train(part, run, replace(training, seed=training.seed + number), resume=True, progress=progress)
        right[number] = predict(run, part, dataset).argmax(1).numpy() == dataset.labels
    return memorisation(trained, right)


def memorisation(trained: NDArray[np.bool_], right: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The score from who was trained on and who is predicted right.

    Args:
        trained, right: [networks, n].

    Returns:
        [n] in [-1, 1]; NaN for samples that all networks or none were trained on.
    """
    inside, outside = trained.sum(0), (~trained).sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(
            (trained & right).sum(0) / inside - (~trained & right).sum(0) / outside, np.float64
        ) + np.where((inside > 0) & (outside > 0), 0.0, np.nan)
