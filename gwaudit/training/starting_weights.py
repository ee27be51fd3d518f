"""Choose the weights that a training starts from, where the settings leave this to the data, and check they are there.

Photos start from pretrained weights: with few photos a network cannot learn from random weights what ImageNet taught
one. Small images keep a network for small images: its features of 32 pixels are better than those of a network for 224.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from torch import nn

from gwaudit.core.errors import ModelError, SettingsError
from gwaudit.core.settings import TrainingSettings
from gwaudit.data.dataset import LabeledDataset
from gwaudit.training.models import build_model, has_pretrained_weights

SMALL_NETWORK = "resnet9_16"
"""The network that small images are trained with, from random weights."""

BACKBONE = "tf_efficientnet_lite0"
"""The pretrained network of photos. Of those of its accuracy on ImageNet (75 %) it is one of the fastest on a CPU: 0.4
billion multiplications an image, by layers that are fast there. The licence of its weights is Apache-2.0."""

STARTING_WEIGHTS = ("model", "pretrained", "backbone")
"""Names of the settings that choose the weights a training starts from."""


def with_starting_weights(settings: TrainingSettings, modality: str, *, photos: bool) -> TrainingSettings:
    """Return settings with a value for each of `model`, `pretrained` and `backbone` that is "auto".

    Photos get the features of `BACKBONE` with pretrained weights, other images `SMALL_NETWORK` with random weights.
    What the user sets stays: photos start from random weights if `pretrained` is False or the model has no other ones.

    Args:
        settings: The settings as the user gives them.
        modality: Modality of the data: images, features or texts.
        photos: Whether the images are photos (`LabeledDataset.holds_photos`).

    Raises:
        SettingsError: Weights of a network on images are asked for, and the data are not images.

    Example:
        >>> chosen = with_starting_weights(TrainingSettings(), "images", photos=True)
        >>> chosen.model, chosen.pretrained, chosen.backbone
        ('tf_efficientnet_lite0', True, 'frozen')
    """
    has_file = settings.checkpoint is not None
    if modality != "images":
        _require_no_backbone(settings, modality)
        photos = False
    starts_trained = settings.pretrained is True or (photos and settings.pretrained == "auto")
    model = settings.model
    if model == "auto":
        model = BACKBONE if starts_trained or (photos and has_file) else SMALL_NETWORK
    if settings.pretrained == "auto":
        starts_trained = starts_trained and not has_file and has_pretrained_weights(model)
    backbone: Literal["auto", "trained", "frozen"] = settings.backbone
    if backbone == "auto":
        backbone = "frozen" if photos and (starts_trained or has_file) else "trained"
    return replace(settings, model=model, pretrained=starts_trained, backbone=backbone)


def _require_no_backbone(settings: TrainingSettings, modality: str) -> None:
    asked = {
        "backbone='frozen'": settings.backbone == "frozen",
        "pretrained": settings.pretrained is True,
        "checkpoint": settings.checkpoint is not None,
    }
    if setting := next((name for name, is_asked in asked.items() if is_asked), None):
        raise SettingsError(
            f"`{setting}` is for images, and these samples are {modality}, which a head is trained on without a "
            "network before it: leave it out, and `preset` if it sets it"
        )


def build_start(settings: TrainingSettings, n_classes: int, input_shape: Sequence[int]) -> nn.Module:
    """Build the network of settings that are resolved, with the weights that it starts from.

    Args:
        settings: `model`, `pretrained` and `checkpoint`.
        n_classes: Number of classes.
        input_shape: Shape of an image, (C, H, W).

    Raises:
        ModelError: As for `gwaudit.training.models.build_model`.
    """
    return build_model(
        settings.model,
        n_classes=n_classes,
        in_chans=input_shape[0],
        image_size=input_shape[1],
        pretrained=settings.pretrained is True,
        checkpoint=None if settings.checkpoint is None else Path(settings.checkpoint),
    )


def describe_start(given: TrainingSettings, resolved: TrainingSettings, dataset: LabeledDataset) -> str:
    """Return which network is trained on images, from which weights and why, in one sentence.

    Args:
        given: The settings as the user gives them.
        resolved: Those that `gwaudit.training.automatic_settings.resolve` returned for them.
        dataset: The images.
    """
    width, height = dataset.largest_image
    kind = "photos" if dataset.holds_photos else "small images"
    weights = "random weights"
    if resolved.checkpoint is not None:
        weights = f"the weights in {Path(resolved.checkpoint).name}"
    elif resolved.pretrained:
        weights = "pretrained weights"
    if resolved.backbone == "frozen":
        training, preset = f"a head is trained on the features of {resolved.model} with {weights}", "pretrained"
    else:
        training, preset = f"{resolved.model} is trained from {weights}", "scratch"
    reason = f"these are {kind} (up to {width}x{height} pixels): "
    if all(getattr(given, name) != "auto" for name in STARTING_WEIGHTS):
        reason = ""
    elif all(getattr(given, name) == "auto" for name in STARTING_WEIGHTS) and resolved.checkpoint is None:
        training += f" (`preset={preset!r}`)"
    return reason + training


def require_weights(given: TrainingSettings, resolved: TrainingSettings) -> None:
    """Raise ModelError if the weights that a training starts from cannot be had, before any work.

    Args:
        given: The settings as the user gives them.
        resolved: Those with a value for `model` and `pretrained`.

    Raises:
        ModelError: The weights cannot be downloaded, or the file does not hold those of the model; the message says
            what to do.
    """
    if not resolved.pretrained and resolved.checkpoint is None:
        return
    checkpoint = None if resolved.checkpoint is None else Path(resolved.checkpoint)
    try:
        build_model(resolved.model, n_classes=2, pretrained=resolved.pretrained is True, checkpoint=checkpoint)
    except ModelError as error:
        if checkpoint is None:
            raise ModelError(
                f"{error}, or train from random weights (`preset='scratch'`, or `pretrained=False`)"
            ) from error
        if given.model != "auto":
            raise
        raise ModelError(
            f"{error}. The file was taken for weights of {resolved.model}, as no `model` is given: name the network "
            "whose weights it holds with `model`"
        ) from error
