"""Build models to train: any timm model by name, the networks of `small_networks` among them, or a head on features."""

import difflib
import pickle
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import timm
import torch
from timm.models import PretrainedCfg, load_state_dict
from timm.models._hub import load_model_config_from_hf, load_model_config_from_path
from torch import Tensor, nn

from gwaudit.core.errors import ModelError
from gwaudit.core.hub import only_cached_if_unreachable
from gwaudit.core.settings import Head
from gwaudit.training.small_networks import NETWORKS  # the import registers them with timm

__all__ = ["NETWORKS", "build_feature_head", "build_model", "has_pretrained_weights", "pretrained_configuration"]

_FEATURE_LENGTH = 4.0
_HIDDEN = 256


def build_model(
    name: str,
    *,
    n_classes: int,
    in_chans: int = 3,
    image_size: int | None = None,
    pretrained: bool = False,
    checkpoint: Path | None = None,
) -> nn.Module:
    """Build a classifier by its timm name, with a new head if its weights are for another number of classes.

    Args:
        name: Name of a timm model, with its tag if it has one (`resnet9_16`, `vit_small_patch16_224.augreg_in21k`).
        n_classes: Number of classes C, at least 2.
        in_chans: Number of channels of the images.
        image_size: Side of the square images in pixels. Models of a fixed input size (ViT, Swin) need it. If it is
            given, the model is tried on one image, so that a size that cannot work is refused here.
        pretrained: Whether to download the weights that timm has for this name.
        checkpoint: File with weights for this name (`.safetensors`, `.pt`), used instead of a download. It must hold
            every weight but the head's.

    Returns:
        The model, on the CPU, in training mode, float32.

    Raises:
        ModelError: The name is unknown, timm has no weights for it, or the checkpoint does not fit.

    Example:
        >>> build_model("resnet9_16", n_classes=10, in_chans=1).num_features
        128
    """
    if n_classes < 2:
        raise ModelError(f"a classifier needs at least 2 classes, got n_classes={n_classes}")
    config = _config(name)
    arguments: dict[str, Any] = {"in_chans": in_chans}
    if image_size is not None and config is not None and config.fixed_input_size:
        arguments["img_size"] = image_size
    if checkpoint is not None:
        model = _build_from_checkpoint(name, n_classes, Path(checkpoint), config, arguments)
    elif pretrained and config is not None and not config.has_weights:
        raise ModelError(
            f"timm has no pretrained weights for {name!r}: leave out `pretrained`, or name a file of weights with "
            "`checkpoint`"
        )
    else:
        with only_cached_if_unreachable() if pretrained else nullcontext("") as unreachable:
            try:
                model = _create(name, pretrained=pretrained, num_classes=n_classes, **arguments)
            except ModelError as error:
                if not (unreachable and isinstance(error.__cause__, OSError)):
                    raise
                raise ModelError(
                    f"cannot build {name!r} with pretrained weights: {unreachable}, and they were not downloaded "
                    "before: connect to the network, or name a file of weights with `checkpoint`"
                ) from error
    if image_size is not None:
        _require_fit(name, model, (in_chans, image_size, image_size))
    return model


def build_feature_head(kind: Head, *, n_features: int, n_classes: int) -> nn.Module:
    """Build a classifier of standardised features [B, n_features]: a linear layer, or one with a hidden layer.

    The features are scaled to a length that does not grow with their number, so that one learning rate suits all.

    Args:
        kind: "linear", or "mlp" with a hidden layer.
        n_features: Number of features D.
        n_classes: Number of classes C.
    """
    scale = Scaled(_FEATURE_LENGTH / n_features**0.5)
    if kind == "linear":
        return nn.Sequential(scale, nn.Linear(n_features, n_classes))
    return nn.Sequential(
        scale, nn.Linear(n_features, _HIDDEN), nn.ReLU(), nn.Dropout(0.2), nn.Linear(_HIDDEN, n_classes)
    )


class Scaled(nn.Module):
    """Multiply the input by a constant."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """Return `factor * x`, for a tensor of any shape."""
        return x * self.factor


def pretrained_configuration(name: str) -> dict[str, Any] | None:
    """Return timm's configuration of the pretrained weights of a model, None where it has no weights for the name.

    Raises:
        ModelError: The name is unknown, or the configuration of a model of a hub cannot be read.
    """
    if ":" in name:
        return _hub_configuration(name)
    config = _config(name)
    return None if config is None or not config.has_weights else asdict(config)


def has_pretrained_weights(name: str) -> bool:
    """Return whether timm has pretrained weights for the name of a model; those of a hub are taken to have some.

    Raises:
        ModelError: The name is unknown.
    """
    config = _config(name)
    return ":" in name or (config is not None and bool(config.has_weights))


def _hub_configuration(name: str) -> dict[str, Any]:
    """Return the configuration of a model by its name with the prefix `hf-hub:` or `local-dir:`."""
    unreachable = ""
    try:
        source, place = timm.models.parse_model_name(name)
        if source == "local-dir":
            return dict(load_model_config_from_path(place)[0])
        with only_cached_if_unreachable() as unreachable:
            return dict(load_model_config_from_hf(place)[0])
    except Exception as error:  # the hub, its client and the files raise errors of many kinds
        reason = unreachable or (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f"the configuration of {name!r} cannot be read: {reason}") from error


def _config(name: str) -> PretrainedCfg | None:
    """Return timm's record of a model's input size, head and weights; None for a model of a hub."""
    if ":" in name:  # a model hub
        return None
    if timm.models.is_model(name.partition(".")[0]):
        try:
            config: PretrainedCfg | None = timm.models.get_pretrained_cfg(name)
        except RuntimeError as error:  # the tag
            raise ModelError(f"unknown model {name!r}: {error}") from error
        return config
    near = difflib.get_close_matches(name, timm.list_models(), n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(near)}?" if near else "timm.list_models() lists all names"
    raise ModelError(f"unknown model {name!r}; {hint}")


def _create(name: str, **arguments: Any) -> nn.Module:
    try:
        model: nn.Module = timm.create_model(name, **arguments)
    except (RuntimeError, ValueError, TypeError, AssertionError, OSError) as error:
        # timm reports a wrong size, tag or download by any of these errors.
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f"cannot build {name!r}: {reason}") from error
    return model


def _require_fit(name: str, model: nn.Module, shape: tuple[int, int, int]) -> None:
    model.eval()
    try:
        with torch.no_grad():
            model(torch.zeros(1, *shape))
    except (RuntimeError, ValueError, AssertionError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f"{name!r} cannot take images of {shape[0]}x{shape[1]}x{shape[2]}: {reason}") from error
    model.train()


def _build_from_checkpoint(
    name: str, n_classes: int, path: Path, config: PretrainedCfg | None, arguments: dict[str, Any]
) -> nn.Module:
    """Build the model with the file's number of classes, load all weights strictly, then replace the head."""
    if not path.is_file():
        raise ModelError(f"no checkpoint at {path}: name a file of weights")
    try:
        weights = load_state_dict(str(path), device="cpu", weights_only=True)
    except Exception as error:
        # A damaged or foreign file can raise any error while it is read.
        raise ModelError(f"cannot read {path} as a file of weights: {_reason_unreadable(error)}") from error
    classifier = _first(None if config is None else config.classifier) or "fc"
    head = weights.get(f"{classifier}.weight")
    n_stored = int(head.shape[0]) if isinstance(head, Tensor) else 0
    overlay = {"file": str(path), "num_classes": n_stored, "custom_load": False}
    first_conv = _first(None if config is None else config.first_conv)
    stem = weights.get(f"{first_conv}.weight")
    if config is not None and isinstance(stem, Tensor):
        # timm converts between numbers of channels, but assumes that the file has those of its own weights.
        overlay["input_size"] = (stem.shape[1], *config.input_size[1:])
    model: Any = _create(name, pretrained=True, num_classes=n_stored, pretrained_cfg_overlay=overlay, **arguments)
    if n_stored != n_classes:
        model.reset_classifier(n_classes)
    return cast(nn.Module, model)


def _reason_unreadable(error: Exception) -> str:
    """Return why a file of weights was refused, without the advice of torch and timm to load it unsafely."""
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    if isinstance(error, pickle.UnpicklingError) or "weights_only" in reason:
        return (
            "it is damaged, or holds other objects than tensors; nothing in it was executed: save the weights alone, "
            "torch.save(model.state_dict(), path), or as .safetensors"
        )
    return reason


def _first(names: str | Sequence[str] | None) -> str | None:
    """Return the first name; timm gives one name or several."""
    if isinstance(names, str) or names is None:
        return names
    return names[0] if names else None
