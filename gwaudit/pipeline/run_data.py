"""Load the data set of a run: as its settings describe it, or as its store recorded them."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gwaudit.core.errors import DataError, SettingsError
from gwaudit.core.settings import DataSettings
from gwaudit.data.dataset import LabeledDataset
from gwaudit.data.label_files import read_label_file
from gwaudit.data.label_noise import with_label_noise
from gwaudit.data.labels import UNLABELLED
from gwaudit.data.loading import read_source
from gwaudit.store.store import TrajectoryStore
from gwaudit.training.frozen_features import embed_texts
from gwaudit.training.progress import FeatureProgress


def load_data(data: DataSettings, progress: FeatureProgress | None = None) -> LabeledDataset:
    """Load a data set, embed its texts, and add label noise where `add_noise` asks for it.

    Args:
        data: the data set.
        progress: receives the number of texts that are embedded.

    Raises:
        DataError: the source or its labels cannot be used.
    """
    dataset = read_source(data)
    if dataset.modality == "texts":
        dataset = embed_texts(dataset, data.encoder, progress)
    if not data.add_noise:
        return dataset
    dataset.notes.remark(f"label noise was added on purpose: a share of {data.add_noise:g} of the labels")
    return with_label_noise(dataset, data.add_noise, data.add_noise_seed)


def data_of_run(store: TrajectoryStore) -> DataSettings:
    """Return the settings of the data that a run was trained on.

    Raises:
        SettingsError: the run does not hold them: it was recorded in a training loop of one's own.
    """
    values = store.settings.get("data")
    if not values:
        raise SettingsError(
            f"{store.path} does not record where its data are, as it comes from your own training loop or a benchmark: "
            "use a run of gwaudit audit or gwaudit train"
        )
    return DataSettings.from_dict(values)


def data_if_recorded(store: TrajectoryStore) -> LabeledDataset | None:
    """Load the data of a run; return None where the run was recorded in one's own loop, without their source."""
    return load_data(data_of_run(store)) if store.settings.get("data") else None


def true_labels(run: Path, truth: Path | None = None, truth_key: str | None = None) -> NDArray[np.int64]:
    """Read the true labels of the samples of a run.

    Args:
        run: the folder of the run.
        truth: a file of true labels; by default those of the data set of the run.
        truth_key: the name of the labels in that file.

    Returns:
        [n] labels; [n, C] of 0 and 1 for multi-label data.

    Raises:
        DataError: there are none.
    """
    with TrajectoryStore.open(run) as store:
        if truth is not None:
            return _read_truth(store, truth, truth_key)
        dataset = data_if_recorded(store)
    if dataset is None or dataset.true_labels is None:
        raise DataError(f"the data of {run} have no true labels: give them with `truth`, a file")
    return dataset.true_labels


def _read_truth(store: TrajectoryStore, file: Path, key: str | None) -> NDArray[np.int64]:
    """Return the true labels in a file, for every sample of a run."""
    keys = store.keys()
    truth = read_label_file(file, key, store.class_names, keys).given
    unknown = np.flatnonzero((truth == UNLABELLED).reshape(len(keys), -1).any(1))
    if len(unknown):
        raise DataError(
            f"{file} has no true label of {len(unknown)} samples of the run, such as {keys[unknown[0]]!r}: add them"
        )
    return truth
