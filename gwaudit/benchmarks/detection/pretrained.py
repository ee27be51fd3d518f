"""Start the trainings of the detection benchmark from pretrained weights: of a head on features, and of the network."""

import time
from dataclasses import dataclass, fields, replace
from pathlib import Path

from gwaudit.core.errors import SettingsError
from gwaudit.core.json import read_json, write_json
from gwaudit.core.presets import PRESETS
from gwaudit.core.settings import TrainingSettings
from gwaudit.data.dataset import LabeledDataset
from gwaudit.training.automatic_settings import resolve_for
from gwaudit.training.device import choose_dtype
from gwaudit.training.frozen_features import FrozenBackbone
from gwaudit.training.progress import Progress

PRETRAINED = ("frozen", "fine-tune")
"""Trainings that start from pretrained weights: a head on the features of the network, and the network itself."""


def fine_tune_settings(typed: TrainingSettings) -> TrainingSettings:
    """Return the preset `fine-tune`, with the settings that the user changed from their defaults."""
    defaults = TrainingSettings()
    changed = {
        f.name: getattr(typed, f.name) for f in fields(typed) if getattr(typed, f.name) != getattr(defaults, f.name)
    }
    return replace(PRESETS["fine-tune"][0], **{"latents": "keep", **changed})


def head_settings(typed: TrainingSettings) -> TrainingSettings:
    """Return the settings of a head on features: the defaults, with the user's device and seed."""
    return TrainingSettings(device=typed.device, seed=typed.seed, latents="keep")


def backbone_settings(typed: TrainingSettings) -> TrainingSettings:
    """Return the preset `pretrained`, with the user's network, file of weights, device and number format."""
    kept = {name: getattr(typed, name) for name in ("model", "checkpoint", "device", "dtype")}
    return replace(PRESETS["pretrained"][0], **kept)


@dataclass(frozen=True, eq=False)
class Features:
    """Hold a data set of features, and the seconds that they took when they were computed first."""

    dataset: LabeledDataset
    seconds: float


class FeatureSource:
    """Compute the features of a frozen backbone once for all label variants of the same images.

    Args:
        typed: Settings as the user types them.
        file: File that keeps the seconds, as features that are in the cache are not computed again.
        progress: Receives the number of images done.
    """

    def __init__(self, typed: TrainingSettings, file: Path, progress: Progress | None) -> None:
        self.settings, self._file, self._progress = backbone_settings(typed), file, progress
        self._last: tuple[object, Features] | None = None

    def of(self, dataset: LabeledDataset) -> Features:
        """Return the features of a data set, with its labels.

        Raises:
            SettingsError: The samples are not images.
        """
        if dataset.modality != "images":
            raise SettingsError(f"the training 'frozen' needs images, and {dataset.name} holds {dataset.modality}")
        if self._last is None or self._last[0] is not dataset.inputs:
            self._last = (dataset.inputs, self._compute(dataset))
        features = self._last[1]
        return replace(features, dataset=replace(dataset, inputs=features.dataset.inputs))

    def _compute(self, dataset: LabeledDataset) -> Features:
        start = time.monotonic()
        backbone = FrozenBackbone(dataset, self.settings)
        dtype = self.settings.dtype
        if dtype == "auto":
            dtype = choose_dtype(backbone.device, lambda: backbone.measure_dtype(dataset), in_folds=False).dtype
        extracted = backbone.extract(dataset, self._progress, dtype)
        return Features(extracted, self._seconds(str(len(dataset)), time.monotonic() - start))

    def _seconds(self, key: str, measured: float) -> float:
        kept: dict[str, float] = dict(read_json(self._file)) if self._file.exists() else {}
        if key not in kept:
            write_json(self._file, {**kept, key: measured})
        return kept.get(key, measured)

    def model_of(self, dataset: LabeledDataset) -> str:
        """Return the name of the backbone."""
        return resolve_for(dataset, self.settings).model
