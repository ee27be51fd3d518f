"""Read another split beside the audited one, and record the copies of its samples there (`also_split`)."""

from dataclasses import replace
from pathlib import Path

from gwaudit.core.errors import GwauditError, SettingsError
from gwaudit.core.settings import DataSettings, ResolvedTrainingSettings
from gwaudit.data.dataset import LabeledDataset
from gwaudit.data.loading import read_source
from gwaudit.data.reading_progress import ReadingProgress
from gwaudit.store.split_copies import write_split_copies
from gwaudit.store.store import TrajectoryStore
from gwaudit.training.copies_across_splits import find_split_copies
from gwaudit.training.preprocessing import recorded_preprocessing
from gwaudit.training.progress import FeatureProgress


def read_other_split(
    data: DataSettings, dataset: LabeledDataset, progress: ReadingProgress | None = None
) -> LabeledDataset | None:
    """Read the other split that the settings name; None where they name none.

    Its labels are the source's own, and its rows that cannot be used are left out.

    Args:
        data: The settings of the data.
        dataset: The audited split.
        progress: Receives the number of images decoded.

    Raises:
        SettingsError: It is the audited split, or cannot be read or compared; the message says why.
    """
    name = data.also_split
    if name is None:
        return None
    is_source = "/" in name or bool(Path(name).suffix)
    asked = replace(data, source=name) if is_source else replace(data, split=name)
    try:
        other = read_source(
            replace(asked, also_split=None, labels=None, label_key=None, on_error="skip"), progress=progress
        )
    except GwauditError as error:
        raise SettingsError(f"`also_split` ({name!r}) cannot be read: {error}") from error
    if not is_source and other.split == dataset.split:
        raise SettingsError(f"`also_split` ({name!r}) is the split that is audited: name another one")
    if other.modality != dataset.modality and not (other.texts is not None and dataset.texts is not None):
        raise SettingsError(f"`also_split` ({name!r}) holds {other.modality}, not {dataset.modality}: leave it out")
    if left_out := len(other.skipped):
        dataset.notes.remark(
            f"{left_out:,} rows of {name} cannot be used or have no label: no copies are searched there"
        )
    return replace(other, split=name if is_source else other.split)


def record_split_copies(
    run: Path, dataset: LabeledDataset, other: LabeledDataset | None, progress: FeatureProgress | None = None
) -> None:
    """Find the copies of a run's samples in another split, and write them into the run; do nothing without one.

    Args:
        run: Folder of the run, which was trained.
        dataset: The audited split.
        other: The other one.
        progress: Receives the number of features computed.

    Raises:
        GwauditError: The splits cannot be compared, or the file cannot be written.
    """
    if other is None:
        return
    with TrajectoryStore.open(run) as store:
        settings = ResolvedTrainingSettings.from_dict(store.settings["training"])
        preprocessing = recorded_preprocessing(store, dataset)
    write_split_copies(run, find_split_copies(dataset, other, settings, preprocessing, progress))
