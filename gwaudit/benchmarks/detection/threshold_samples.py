"""Find label errors by AUM with its own cut: samples of a class that does not exist have the margin of wrong labels."""

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
    """Flag samples whose AUM is below the 99th percentile of threshold samples (Pleiss et al., NeurIPS 2020, sec. 3.2).

    There are two trainings, each with n / (C + 1) other samples under an additional class. A sample's AUM is the mean
    over the trainings in which it was not a threshold sample; it is flagged if each of these trainings flags it.

    Args:
        dataset: Data set with given labels.
        folder: Folder that keeps both runs; runs that are there are resumed.
        training: Settings of each training.
        progress: Receives the progress of each training.
    """
    n, n_classes = len(dataset), len(dataset.class_names)
    order = np.random.default_rng(training.seed).permutation(n)
    size = n // (n_classes + 1)
    scores, flags = np.full((2, n), np.nan), np.zeros((2, n), bool)
    for part in range(2):
        threshold_ids = order[part * size : (part + 1) * size]
        labels = dataset.labels.copy()
        labels[threshold_ids] = n_classes
        extended = replace(dataset, labels=labels, class_names=(*dataset.class_names, "threshold sample"))
        run = folder / f"threshold-{part}"
        train(extended, run, training, resume=True, progress=progress)
        with TrajectoryStore.open(run) as store:
            score = aum(RecordedRun(store)).score
        flags[part] = score > -np.percentile(-score[threshold_ids], PERCENTILE)
        scores[part] = score
        scores[part, threshold_ids], flags[part, threshold_ids] = np.nan, True
    return Detection(np.nanmean(scores, axis=0), flags[0] & flags[1])
