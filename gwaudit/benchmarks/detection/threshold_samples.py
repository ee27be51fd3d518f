"""Find label errors with threshold samples: samples of a class that does not exist are scored as wrong labels are."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gwaudit.analysis.detectors import Detection, RecordedRun, aum, signed_entropy
from gwaudit.core.settings import TrainingSettings
from gwaudit.data.dataset import LabeledDataset
from gwaudit.store.store import TrajectoryStore
from gwaudit.training.progress import Progress
from gwaudit.training.trainer import train

PERCENTILE = 99

Floats = NDArray[np.floating]
_CUTS: Mapping[str, tuple[Callable[[RecordedRun], Detection], Callable[[Floats], float]]] = {
    "aum_threshold_samples": (aum, lambda score: float(np.percentile(score, 100 - PERCENTILE))),
    "signed_entropy_threshold_samples": (signed_entropy, lambda score: float(score.mean())),
}
"""The detectors by the name of the method, and their cut from the scores of the threshold samples."""


def detect_with_threshold_samples(
    dataset: LabeledDataset, folder: Path, training: TrainingSettings, *, progress: Progress | None = None
) -> dict[str, Detection]:
    """Flag samples that are more suspicious than threshold samples, by AUM and by the signed entropy.

    The cut of AUM is the 99th percentile of the AUM of threshold samples (Pleiss et al., NeurIPS 2020, sec. 3.2). The
    cut of the signed entropy is their mean (Li et al., ICML 2026, arXiv 2605.31090).

    There are two trainings, each with n / (C + 1) other samples under an additional class. A sample's score is the mean
    over the trainings in which it was not a threshold sample; it is flagged if each of these trainings flags it.

    Args:
        dataset: Data set with given labels.
        folder: Folder that keeps both runs; runs that are there are resumed.
        training: Settings of each training.
        progress: Receives the progress of each training.

    Returns:
        The detection by each of the two, by the name of the method.
    """
    n, n_classes = len(dataset), len(dataset.class_names)
    order = np.random.default_rng(training.seed).permutation(n)
    size = n // (n_classes + 1)
    scores = {name: np.full((2, n), np.nan) for name in _CUTS}
    flags = {name: np.zeros((2, n), bool) for name in _CUTS}
    for part in range(2):
        threshold_ids = order[part * size : (part + 1) * size]
        labels = dataset.labels.copy()
        labels[threshold_ids] = n_classes
        extended = replace(dataset, labels=labels, class_names=(*dataset.class_names, "threshold sample"))
        run = folder / f"threshold-{part}"
        train(extended, run, training, resume=True, progress=progress)
        with TrajectoryStore.open(run) as store:
            recorded = RecordedRun(store)
            for name, (detect, cut) in _CUTS.items():
                score = detect(recorded).score
                flags[name][part] = score > cut(score[threshold_ids])
                scores[name][part] = score
                scores[name][part, threshold_ids], flags[name][part, threshold_ids] = np.nan, True
    return {name: Detection(np.nanmean(scores[name], axis=0), flags[name][0] & flags[name][1]) for name in _CUTS}
