"""Find label errors by confident learning: cleanlab, on out-of-sample probabilities of one training a fold."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold

from gwaudit.analysis.detectors import Detection
from gwaudit.core.errors import MissingExtraError
from gwaudit.core.settings import TrainingSettings
from gwaudit.data.dataset import LabeledDataset
from gwaudit.training.progress import Progress
from gwaudit.training.trainer import predict, train

FOLDS = 5


def out_of_sample_probabilities(
    dataset: LabeledDataset,
    folder: Path,
    training: TrainingSettings,
    *,
    folds: int = FOLDS,
    progress: Progress | None = None,
) -> NDArray[np.float64]:
    """Return each sample's class probabilities by a model that was trained without it.

    Args:
        dataset: Data set with given labels.
        folder: Folder that keeps one run a fold; runs that are there are resumed.
        training: Settings of each training.
        folds: Number of folds, stratified by given label, shuffled by the training's seed.
        progress: Receives the progress of each training.

    Returns:
        [n, C] float64.
    """
    n = len(dataset)
    probabilities = np.empty((n, len(dataset.class_names)))
    folds_of_ids = StratifiedKFold(folds, shuffle=True, random_state=training.seed).split(np.zeros(n), dataset.labels)
    for fold, (inside, outside) in enumerate(folds_of_ids):
        run, rest = folder / f"fold-{fold}", dataset.subset(inside)
        train(rest, run, replace(training, folds=1), resume=True, progress=progress)
        probabilities[outside] = predict(run, rest, dataset.subset(outside)).double().numpy()
    return probabilities


def confident_learning(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> dict[str, Detection]:
    """Return cleanlab's two rankings with its default cut (Northcutt et al., JAIR 2021), by name.

    Args:
        labels: [n] given labels.
        probabilities: [n, C] out-of-sample probabilities.

    Raises:
        MissingExtraError: cleanlab is not installed.
    """
    try:
        from cleanlab.filter import find_label_issues
        from cleanlab.rank import get_label_quality_scores
    except ImportError as error:
        raise MissingExtraError("confident learning by cleanlab", "peers") from error
    flagged = np.asarray(find_label_issues(labels, probabilities, n_jobs=1), bool)
    return {
        f"cleanlab_{method}": Detection(
            -np.asarray(get_label_quality_scores(labels, probabilities, method=method)), flagged
        )
        for method in ("self_confidence", "normalized_margin")
    }
