"""AUM with its own cut: a class that does not exist shows what the margin of a wrong label looks like."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from gwaudit.analysis.detectors import Detection, RecordedRun, aum
from gwaudit.core.settings import TrainingSettings
from gwaudit.data.dataset import LabeledDataset
from gwaudit.store.store import TrajectoryStore
from gwaudit.training.progress import Progress
from gwaudit.training.trainer import train

PERCENTILE = 99


def aum_with_threshold_samples(
    dataset: LabeledDataset, folder: Path, training: TrainingSettings, *, progress: Progress | None = None
) -> Detection:
    """AUM, flagging what lies below the 99th percentile of threshold samples (Pleiss et al., NeurIPS 2020, sec. 3.2).

    Two trainings, each with n / (C + 1) other samples under a class of their own. A sample's AUM is the mean of the
    trainings where it was not one of them; it is flagged where each of these flags it.

    Args:
        dataset: with given labels.
        folder: keeps both runs; what is there is gone on with.
        training: how to train.
        progress: told how each training goes.
    """
    n, n_classes = len(dataset), len(dataset.class_names)
    order = np.random.default_rng(training.seed).permutation(n)
    size = n // (n_classes + 1)
    scores, flags = np.full((2, n), np.nan), np.zeros((2, n), bool)
    for part in range(2):
        chosen = order[part * size : (part + 1) * size]
        labels = dataset.labels.copy()
        labels[chosen] = n_classes
        extended = replace(dataset, labels=labels, class_names=(*dataset.class_names, "threshold sample"))
        run = folder / f"threshold-{part}"
        train(extended, run, training, resume=True, progress=progress)
        with TrajectoryStore.open(run) as store:
            score = aum(RecordedRun(store)).score
        flags[part] = score > -np.percentile(-score[chosen], PERCENTILE)
        scores[part] = score
        scores[part, chosen], flags[part, chosen] = np.nan, True
    return Detection(np.nanmean(scores, axis=0), flags[0] & flags[1])
