"""Find the preprocessing of images: as pretrained weights expect it (timm's data configuration), or from the data.

A network without pretrained weights, or with weights that timm does not list, gets images that are normalised by the
mean and the standard deviation of the data set. Features are scaled one by one.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Self

import torch
from timm.data import resolve_data_config
from torch import Tensor

from gwaudit.core.settings import DataSettings, Resizing, TrainingSettings
from gwaudit.data.dataset import LabeledDataset
from gwaudit.data.feature_scaling import scale_matrix
from gwaudit.data.inputs import InMemory, are_in_memory, features
from gwaudit.store.store import TrajectoryStore
from gwaudit.training.models import pretrained_configuration
from gwaudit.training.starting_weights import with_starting_weights

_SAMPLES_OF_RANGE = 1000


@dataclass(frozen=True)
class Preprocessing:
    """Describe the preprocessing of the images of a run.

    Attributes:
        source: Origin of the mean and the standard deviation: the pretrained "weights", or the "data".
        mean, std: One number for each channel, in the units of the inputs (0 to 255 for uint8).
        size: Width and height of the images in pixels.
        fit: How images that are not square were fitted; None where images were not resized.
        interpolation, crop_share: The resizing (`gwaudit.core.settings.Resizing`).
    """

    source: Literal["weights", "data"]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: tuple[int, int]
    fit: str | None
    interpolation: str | None
    crop_share: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return the preprocessing as JSON can hold it."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the preprocessing that `to_dict` gave."""
        known: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        return cls(**known)

    def difference(self, before: Mapping[str, Any] | None, backbone: str) -> str | None:
        """Return the first difference from the preprocessing of a recorded run, as "NAME=BEFORE, not NOW".

        Args:
            before: What `to_dict` gave for the run; None for runs from before it was recorded. Their images were
                normalised by the data if the backbone was trained.
            backbone: The setting of the training.
        """
        if before is None:
            is_other = self.source == "weights" and backbone == "trained"
            return "the mean and standard deviation of the data, not of the weights" if is_other else None
        now = self.to_dict()
        # Those of the data depend on the fingerprint, which is compared too, and in the last bits on the processor.
        names = [name for name in now if self.source == "weights" or name not in ("mean", "std")]
        changed = (name for name in names if now[name] != before.get(name))
        return next((f"`{name}={before.get(name)!r}`, not {now[name]!r}" for name in changed), None)


def preprocessing_of(dataset: LabeledDataset, settings: TrainingSettings) -> Preprocessing:
    """Return how a training prepares the images of a data set.

    Args:
        dataset: A data set of images.
        settings: `model`, `pretrained` and `checkpoint`.

    Raises:
        ModelError: The name of the model is unknown.
    """
    channels, height, width = dataset.input_shape
    expected = _expected_statistics(dataset, settings, channels)
    mean, std = dataset.channel_statistics() if expected is None else expected
    fit = dataset.image_fit
    return Preprocessing(
        source="data" if expected is None else "weights",
        mean=tuple(float(value) for value in mean),
        std=tuple(float(value) for value in std),
        size=(width, height),
        fit=None if fit is None else fit.fit,
        interpolation=None if fit is None else fit.resizing.interpolation,
        crop_share=None if fit is None else fit.resizing.crop_share,
    )


def with_scaled_features(dataset: LabeledDataset) -> LabeledDataset:
    """Return a data set of features with each feature scaled by itself (`gwaudit.data.feature_scaling`), in float32.

    Features that were scaled when they were read, and features that do not fit into memory, are returned as they are;
    `LabeledDataset.channel_statistics` has the mean and the standard deviation of either.

    Args:
        dataset: A data set of features [D].
    """
    inputs = dataset.inputs
    if dataset.are_scaled or not are_in_memory(inputs):
        return dataset
    values = inputs.values if isinstance(inputs, InMemory) else inputs.read(torch.arange(len(inputs)))
    scaled = scale_matrix(values.numpy())
    return replace(dataset, inputs=features(torch.from_numpy(scaled)), are_scaled=True)


def recorded_preprocessing(store: TrajectoryStore, dataset: LabeledDataset) -> Preprocessing | None:
    """Return how a recorded training prepared its images; None for inputs of another kind.

    Args:
        store: The run.
        dataset: The data that it was trained on.
    """
    if dataset.modality != "images":
        return None
    if recorded := store.settings.get("preprocessing"):
        return Preprocessing.from_dict(recorded)
    settings = TrainingSettings.from_dict(store.settings["training"])
    if settings.backbone == "trained":  # before it was recorded, the data gave mean and standard deviation
        settings = replace(settings, pretrained=False, checkpoint=None)
    return preprocessing_of(dataset, settings)


def with_resizing_of_weights(data: DataSettings, settings: TrainingSettings) -> DataSettings:
    """Return the settings of the data with the resizing that the pretrained weights of a training expect.

    Without pretrained weights, or with weights that timm does not list, they are returned as they are. Where the data
    decide on the weights, the resizing is that of photos.

    Raises:
        ModelError: The name of the model is unknown.
    """
    of_photos, of_small_images = (
        _expected_images(with_starting_weights(settings, "images", photos=photos)) for photos in (True, False)
    )
    expected = of_small_images or of_photos
    if expected is None:
        return data
    side = max(expected["input_size"][1:])
    resizing = Resizing(expected["interpolation"], expected["crop_pct"], side, only_photos=of_small_images is None)
    return replace(data, resizing=resizing)


def _expected_images(settings: TrainingSettings) -> dict[str, Any] | None:
    """Return timm's data configuration of the weights that a training starts from, None where it has none."""
    if settings.pretrained is not True and settings.checkpoint is None:
        return None
    configuration = pretrained_configuration(settings.model)
    if configuration is None:
        return None
    resolved: dict[str, Any] = resolve_data_config(pretrained_cfg=configuration)  # type: ignore[no-untyped-call]  # of timm
    return resolved


def _expected_statistics(
    dataset: LabeledDataset, settings: TrainingSettings, channels: int
) -> tuple[list[float], list[float]] | None:
    expected = _expected_images(settings)
    if expected is None or channels not in (1, len(expected["mean"])):
        return None
    mean, std = torch.tensor(expected["mean"]), torch.tensor(expected["std"])
    if channels == 1:  # timm adds up the weights of the first layer over the channels
        mean, std = mean.mean()[None], std.mean()[None]
    low, high = _range(dataset)
    if low < 0:  # a data set of torch that normalises its images itself
        return [0.0] * channels, [1.0] * channels
    unit = 255.0 if high > 1 else 1.0
    return (unit * mean).tolist(), (unit * std).tolist()


def _range(dataset: LabeledDataset) -> tuple[float, float]:
    """Return the smallest and the largest value of images: 0 and 255 for uint8, else measured on some of them."""
    ids = torch.arange(len(dataset))[:: max(1, len(dataset) // _SAMPLES_OF_RANGE)]
    first: Tensor = dataset.read(ids[:1])
    if first.dtype == torch.uint8:
        return 0.0, 255.0
    chunks = [dataset.read(chunk) for chunk in torch.split(ids, 256)]
    return min(float(chunk.min()) for chunk in chunks), max(float(chunk.max()) for chunk in chunks)
