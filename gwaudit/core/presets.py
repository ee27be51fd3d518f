"""Declare the presets, and the rounds of refinement that some of them add to a training."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from gwaudit.core.errors import SettingsError
from gwaudit.core.settings import UNMIRRORED, TrainingSettings, require_choices

Recipe = Literal["whitened", "resnet18"]
_WHITENED = TrainingSettings(
    model="whitened_32",
    epochs=10,
    optimizer="nmuon",
    momentum=0.6,
    learning_rate=0.02,
    weight_decay=0.5,
    augment="shift-flip",
    label_smoothing=0.2,
    final_passes=2,
)

RECIPES: Mapping[Recipe, tuple[TrainingSettings, ...]] = {
    "whitened": (_WHITENED, replace(_WHITENED, epochs=30, augment="strong", label_smoothing=0.1)),
    "resnet18": (
        TrainingSettings(model="resnet18_small", epochs=60, batch_size=256, label_smoothing=0.2, final_passes=2),
    ),
}
"""Settings of the rounds of a refinement in their order; further rounds are like the last. `whitened` trains a small
network, from the second round on for longer and with strong augmentation; `resnet18` is for a GPU."""


@dataclass(frozen=True)
class RefinementSettings:
    """Describe the rounds of refinement after a training: each learns from the errors found so far.

    `gwaudit.training.refinement` explains the method.

    Attributes:
        refine: Number of rounds after the first training; each trains a network of its own.
        refine_as: Training of these rounds: `whitened`, a small network, a few epochs in the first round and more in
            later ones; or `resnet18`, for a GPU. By default, and always on features, the same as the first training.
        refine_model: Network of these rounds. By default that of their training.
        refine_epochs: Number of passes over the data in each of these rounds. By default that of their training.
    """

    refine: int = 0
    refine_as: Recipe | None = None
    refine_model: str | None = None
    refine_epochs: int | None = None

    def __post_init__(self) -> None:
        require_choices(self)
        if self.refine < 0:
            raise SettingsError(f"`refine` must be at least 0, not {self.refine}")
        if self.refine_epochs is not None and self.refine_epochs < 1:
            raise SettingsError(f"`refine_epochs` must be at least 1, not {self.refine_epochs}")

    def training(self, first: TrainingSettings, number: int) -> TrainingSettings:
        """Return the settings of round `number`, counted from 1, after the `first` training."""
        recipe = first
        if self.refine_as is not None:
            kept = {name: getattr(first, name) for name in ("dtype", "device", "batch_size", "alignment")}
            rounds = RECIPES[self.refine_as]
            recipe = replace(rounds[min(number, len(rounds)) - 1], **kept)
            if first.augment in UNMIRRORED:  # without mirrored images here means without them in each round
                recipe = replace(recipe, augment=first.augment, final_passes=1)
        return replace(
            recipe,
            model=self.refine_model or recipe.model,
            epochs=self.refine_epochs or recipe.epochs,
            latents="none",  # those of the first training serve
            seed=first.seed + number,
        )


Preset = Literal["pretrained", "fine-tune", "scratch", "scratch-5min", "fast", "quality"]

PRESETS: Mapping[Preset, tuple[TrainingSettings, RefinementSettings]] = {
    "pretrained": (TrainingSettings(pretrained=True, backbone="frozen"), RefinementSettings()),
    "fine-tune": (
        TrainingSettings(
            "auto", 15, 64, "adamw", schedule="cosine", learning_rate=3e-4, pretrained=True, backbone="trained"
        ),
        RefinementSettings(),
    ),
    "scratch": (TrainingSettings(pretrained=False, backbone="trained"), RefinementSettings()),
    "scratch-5min": (
        replace(_WHITENED, epochs=6, final_passes=0, pretrained=False, backbone="trained"),
        RefinementSettings(),
    ),
    "fast": (TrainingSettings(), RefinementSettings(refine=2, refine_as="whitened")),
    "quality": (
        TrainingSettings(model="resnet18_small", batch_size=256),
        RefinementSettings(refine=2, refine_as="resnet18"),
    ),
}
"""Settings of training and refinement that belong together. `pretrained`, the default for photos, trains a head on the
features of a pretrained network; `fine-tune` trains that network; `scratch`, the default for small images, trains from
random weights. For small images, `scratch-5min` trains 50,000 in about five minutes of two cores; `fast` refines on a
CPU, within an hour for 50,000; `quality` with a ResNet-18, for a GPU."""
