"""Find settings that do nothing for the data at hand: those of the data are refused, those of the training noted."""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any, Literal

from gwaudit.core.errors import SettingsError
from gwaudit.core.presets import RefinementSettings
from gwaudit.core.settings import DataSettings, TrainingSettings
from gwaudit.data.dataset import LabeledDataset

Kind = Literal["network", "frozen", "features", "texts"]
"""Kind of a training: a network on images, a head on images by a frozen backbone, or a head on features or texts."""

_NETWORK: tuple[Kind, ...] = ("network",)
_FROZEN: tuple[Kind, ...] = ("frozen",)
_TEXTS: tuple[Kind, ...] = ("texts",)
_IMAGES: tuple[Kind, ...] = ("network", "frozen")
_HEADS: tuple[Kind, ...] = ("frozen", "features", "texts")
USED_BY: Mapping[str, tuple[tuple[Kind, ...], str]] = {
    "encoder": (_TEXTS, "texts"),
    "fit": (_IMAGES, "images that are read from files"),
    "cache": (_IMAGES, "images that are read from files"),
    "model": (_IMAGES, "images"),
    "augment": (_NETWORK, "networks that are trained on images"),
    "views": (_FROZEN, "the features of a frozen backbone"),
    "head": (_HEADS, "heads on features, texts or a frozen backbone"),
}
"""Kinds of training that use a setting, and their description, for the settings that not all kinds use."""


def require_used(data: DataSettings, dataset: LabeledDataset) -> None:
    """Raise SettingsError if a setting of the data is set that does nothing for them.

    Args:
        data: The settings of the data.
        dataset: The data that were loaded with them; its texts may be embedded.
    """
    kind: Kind = "texts" if dataset.texts is not None else "network" if dataset.modality == "images" else "features"
    for name, kinds in _unused(data, kind):
        raise _does_nothing(data, name, kinds)
    if kind == "network" and dataset.originals is None:
        for name in ("fit", "cache"):
            if name in _typed(data):
                raise _does_nothing(data, name, USED_BY[name][1])


def describe_unused(
    data: DataSettings, training: TrainingSettings, refinement: RefinementSettings, kind: Kind
) -> list[str]:
    """Return a sentence for each setting of a training that is set and does nothing.

    Args:
        data: The settings of the data.
        training: The settings as the user gives them.
        refinement: The settings of the rounds.
        kind: Kind of the training.
    """
    found = [
        f"`{name}` ({getattr(training, name)!r}) does nothing here: it is for {kinds}"
        for name, kinds in _unused(training, kind)
    ]
    if training.final_passes == 2 and kind != "network":
        found.append("`final_passes` is 1 here, not 2: only images of a network that is trained are also mirrored")
    if not refinement.refine:
        found += [f"`{name}` does nothing without `refine`" for name in _typed(refinement)]
    if data.add_noise_seed and not data.add_noise:
        found.append("`add_noise_seed` does nothing without `add_noise`")
    return found


def _unused(settings: Any, kind: Kind) -> Iterator[tuple[str, str]]:
    """Yield the settings that are set and that a kind of training does not use, with the kinds that do."""
    for name in _typed(settings):
        if name in USED_BY and kind not in USED_BY[name][0]:
            yield name, USED_BY[name][1]


def _typed(settings: Any) -> list[str]:
    """Return the names of the settings that are not at their default."""
    return [field.name for field in fields(settings) if getattr(settings, field.name) != field.default]


def _does_nothing(data: DataSettings, name: str, kinds: str) -> SettingsError:
    value = getattr(data, name)
    return SettingsError(f"`{name}` ({value!r}) does nothing for {data.source}: it is for {kinds}. Leave it out")
