"""Load the data set of a run: as its settings describe it, or as its store recorded them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gwaudit.core.errors import DataError, SettingsError
from gwaudit.core.settings import DataSettings
from gwaudit.core.urls import is_url, restored_url
from gwaudit.data.dataset import LabeledDataset
from gwaudit.data.label_files import read_label_file
from gwaudit.data.label_noise import with_label_noise
from gwaudit.data.labels import UNLABELLED
from gwaudit.data.loading import read_source
from gwaudit.data.recorded_samples import match_samples, with_recorded_noise
from gwaudit.data.url_copies import local_copy, local_file
from gwaudit.pipeline.stages import ImageStage, StageProgress, Warnings
from gwaudit.store.store import TrajectoryStore

if TYPE_CHECKING:
    from gwaudit.training.progress import FeatureProgress


def load_data(
    data: DataSettings,
    progress: "FeatureProgress | None" = None,
    before_decoding: Callable[[bool], None] | None = None,
) -> LabeledDataset:
    """Load a data set, embed its texts, and add label noise where `add_noise` asks for it.

    Args:
        data: the data set.
        progress: receives the number of images that are decoded, and of texts that are embedded.
        before_decoding: receives whether images are photos, before one is decoded; an error of it ends the reading.

    Raises:
        DataError: the source or its labels cannot be used.
    """
    dataset = read_source(data, progress=progress, before_decoding=before_decoding)
    if dataset.modality == "texts":
        from gwaudit.training.frozen_features import embed_texts  # imports all networks, which a ranking need not

        dataset = embed_texts(dataset, data.encoder, progress)
    if not data.add_noise:
        return dataset
    noisy = with_label_noise(dataset, data.add_noise, data.add_noise_seed)
    noisy.notes.remark(_noise_remark(noisy.labels, dataset.labels))
    return noisy


def _noise_remark(given: NDArray[np.int64], truth: NDArray[np.int64]) -> str:
    """Return how many given labels, [n] or [n, C], are not the true ones."""
    if given.ndim == 2:
        missing, extra = int((given < truth).sum()), int((given > truth).sum())
        return f"label noise was added on purpose: {missing:,} labels were taken away and {extra:,} added"
    return f"label noise was added on purpose: {(given != truth).sum():,} of {len(given):,} labels are wrong"


def data_of_run(store: TrajectoryStore, root: Path | str | None = None) -> DataSettings:
    """Return the settings of the data that a run was trained on.

    Args:
        store: the run.
        root: the place of the data now, if they were moved: the folder that was the source, or that holds it, or that
            the paths in it are relative to; or the file that was the source.

    Raises:
        SettingsError: the run does not hold them: it was recorded in a training loop of one's own; or nothing exists at
            the new place.
    """
    values = store.settings.get("data")
    if not values:
        raise SettingsError(
            f"{store.path} does not record where its data are, as it comes from your own training loop or a benchmark: "
            "use a run of gwaudit audit or gwaudit train"
        )
    data = DataSettings.from_dict(values)
    return data if root is None else _moved(data, local_copy(url) if is_url(url := restored_url(root)) else Path(root))


def _moved(data: DataSettings, root: Path) -> DataSettings:
    if not root.exists():
        raise SettingsError(f"there is nothing at {root}: `root` is the place of the data now")
    source = Path(data.source)
    kept = data.root if data.root is not None and Path(data.root).is_dir() else None
    if root.is_dir() and (root / source.name).is_file():  # the folder of a table or an archive
        return replace(data, source=str(root / source.name), root=kept)
    if root.is_dir() and source.is_file():  # only the images of a table
        return replace(data, root=str(root))
    return replace(data, source=str(root), root=kept)


def current_data(store: TrajectoryStore, data: DataSettings, progress: StageProgress | None = None) -> LabeledDataset:
    """Load the data of a run as they are now: texts are not embedded, and broken rows are left out.

    Label noise that was added for the run is taken from its record.

    Args:
        store: the run.
        data: its data.
        progress: receives the number of images that are decoded.

    Raises:
        DataError: the source or its labels cannot be used.
    """
    stage = None if progress is None else ImageStage(progress)
    dataset = read_source(replace(data, on_error="skip"), progress=stage)
    if data.add_noise and dataset.is_multi_label == store.is_multi_label:
        noisy = with_recorded_noise(dataset, store.keys(), _given_labels(store))
        noisy.notes.remark(_noise_remark(noisy.labels, dataset.labels))
        return noisy
    return dataset


def samples_of_run(
    store: TrajectoryStore, progress: StageProgress, root: Path | str | None = None
) -> LabeledDataset | None:
    """Load the samples of a run, with their inputs as far as the source still has them.

    Args:
        store: the run.
        progress: receives the stage, and a note on what is missing.
        root: the place of the data now, as in `data_of_run`.

    Returns:
        The samples; None where the run was recorded in one's own loop, without its source, or where the source cannot
        be read, which is noted.

    Raises:
        SettingsError: `root` does not exist, or the run does not record a source.
    """
    if not store.settings.get("data") and root is None:
        return None
    data = data_of_run(store, root)
    progress.on_stage("reading the data")
    try:
        dataset, note = match_samples(
            current_data(store, data, progress),
            store.keys(),
            _given_labels(store),
            store.class_names,
            store.fingerprint,
        )
    except DataError as error:
        progress.on_note(
            f"The samples are shown without their data, which cannot be used: {error}. If they were moved, give the "
            "new place with `root`."
        )
        return None
    if note:
        progress.on_note(note)
    return dataset


def _given_labels(store: TrajectoryStore) -> NDArray[np.int64]:
    """Return the given labels of a run, [n], or [n, C] of 0 and 1."""
    labels = store.given_labels().astype(np.int64)
    return labels.reshape(-1, len(store.class_names)) if store.is_multi_label else labels


def true_labels(
    run: Path,
    truth: Path | None = None,
    truth_key: str | None = None,
    *,
    root: Path | None = None,
    progress: StageProgress | None = None,
) -> NDArray[np.int64]:
    """Read the true labels of the samples of a run.

    Args:
        run: the folder of the run.
        truth: a file of true labels, or its URL; by default those of the data set of the run.
        truth_key: the name of the labels in that file.
        root: the place of the data now, as in `data_of_run`.
        progress: receives the progress of loading the data set.

    Returns:
        [n] labels; [n, C] of 0 and 1 for multi-label data.

    Raises:
        DataError: there are none.
    """
    with TrajectoryStore.open(run) as store:
        if truth is not None:
            return _read_truth(store, local_file(truth), truth_key, progress or Warnings())
        dataset = samples_of_run(store, progress or Warnings(), root)
    if dataset is None or dataset.true_labels is None:
        raise DataError(f"the data of {run} have no true labels: give them with `truth`, a file")
    return dataset.true_labels


def _read_truth(store: TrajectoryStore, file: Path, key: str | None, progress: StageProgress) -> NDArray[np.int64]:
    """Return the true labels in a file, for every sample of a run."""
    keys = store.keys()
    truth, _, _, remarks = read_label_file(file, key, store.class_names, keys, multi_label=store.is_multi_label)
    for remark in remarks:
        progress.on_note(remark[0].upper() + remark[1:] + ".")
    unknown = np.flatnonzero((truth == UNLABELLED).reshape(len(keys), -1).any(1))
    if len(unknown):
        raise DataError(
            f"{file} has no true label of {len(unknown)} samples of the run, such as {keys[unknown[0]]!r}: add them"
        )
    return truth
