"""Models to train: any timm model by name, the compact networks among them, and their linear head."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import timm
import torch
from timm.models import PretrainedCfg, load_state_dict
from torch import Tensor, nn

from gwaudit import patch_networks  # noqa: F401  # registers them with timm
from gwaudit.compact_networks import ResNet9, SmallResNet  # and registers them with timm
from gwaudit.errors import ModelError
from gwaudit.settings import Head

__all__ = ["LinearHead", "ResNet9", "SmallResNet", "build_model", "find_head", "unwrap"]


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
    """Build a classifier by its timm name, with a new head when the weights at hand have another number of classes.

    Args:
        name: A name timm knows, with its tag if it has one (`resnet9_16`, `vit_small_patch16_224.augreg_in21k`).
        n_classes: Number of classes C, at least 2.
        in_chans: Channels of the images.
        image_size: Side of the square images in pixels. Models of a fixed input size (ViT, Swin) need it; with it,
            one image is tried, so that a size that cannot work is refused here.
        pretrained: Download the weights that timm has for this name.
        checkpoint: A file with weights for this name (`.safetensors`, `.pt`), used instead of a download.
            Every weight but the head's must be in it.

    Returns:
        The model, on the CPU, in training mode, float32.

    Raises:
        ModelError: Unknown name, no weights for it, or a checkpoint that does not fit.

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
        raise ModelError(f"timm has no pretrained weights for {name!r}; leave pretrained off or give a checkpoint")
    else:
        model = _create(name, pretrained=pretrained, num_classes=n_classes, **arguments)
    if image_size is not None:
        _require_fit(name, model, (in_chans, image_size, image_size))
    return model


def build_feature_head(kind: Head, *, n_features: int, n_classes: int) -> nn.Module:
    """Build a classifier of features [B, n_features], standardised each: a linear layer, or one with a hidden layer.

    Features are scaled to a length that does not grow with their number, so that one learning rate serves all.
    """
    scale = Scaled(_FEATURE_LENGTH / n_features**0.5)
    if kind == "linear":
        return nn.Sequential(scale, nn.Linear(n_features, n_classes))
    return nn.Sequential(
        scale, nn.Linear(n_features, _HIDDEN), nn.ReLU(), nn.Dropout(0.2), nn.Linear(_HIDDEN, n_classes)
    )


class Scaled(nn.Module):
    """Its input times a constant."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return x * self.factor


def pretrained_statistics(name: str, channels: int) -> tuple[list[float], list[float]] | None:
    """Mean and standard deviation [C] of the pixels (0 to 255) that timm's weights of a model expect.

    None for models that timm has no weights for, or images of another number of channels.
    """
    config = _config(name)
    if config is None or not config.has_weights or len(config.mean) != channels:
        return None
    return [255 * value for value in config.mean], [255 * value for value in config.std]


class LinearHead(NamedTuple):
    """The layer that makes a classifier's logits.

    Attributes:
        name: its name in the unwrapped model.
        module: an `nn.Linear`, an `nn.Conv2d`, or another layer with a weight [C, D].
        guessed: nobody said that it makes the logits, so the first forward pass has to show it.
    """

    name: str
    module: nn.Module
    guessed: bool = False

    @property
    def n_outputs(self) -> int:
        """C. Not read off the weight where that is computed anew at each look, as under `spectral_norm`."""
        for name in ("out_features", "out_channels"):
            if isinstance(count := getattr(self.module, name, None), int):
                return count
        return len(cast(Tensor, self.module.weight))


def find_head(model: nn.Module, head: str | nn.Module | None = None) -> LinearHead:
    """Find the layer that produces a model's logits.

    Args:
        model: A classifier, bare or inside DataParallel, DistributedDataParallel or `torch.compile`.
        head: The layer, or its name in `model.named_modules()`, where it cannot be found. Without it, timm's
            `get_classifier()` is asked, else the last `nn.Linear` (where there is none, the last `nn.Conv2d`) is taken,
            which need not be the right one: the recorder checks that at the first forward pass.

    Raises:
        ModelError: No such layer, or it has no weight [C, D]. The message lists the linear layers there are.
    """
    model = unwrap(model)
    if isinstance(head, str):
        return _head_by_name(model, head)
    if head is not None:
        return _head_by_identity(model, head)
    layers = model
    if callable(get_classifier := getattr(model, "get_classifier", None)):
        layers = get_classifier()
        if _is_head(layers):
            return _head_by_identity(model, layers)
    inside = list(layers.modules()) if isinstance(layers, nn.Module) else []
    for kind in (nn.Linear, nn.Conv2d):
        if candidates := [module for module in inside if isinstance(module, kind)]:
            return _head_by_identity(model, candidates[-1])._replace(guessed=True)
    if layers is model:
        raise ModelError(f"{type(model).__name__} has no nn.Linear and no nn.Conv2d, so no linear head to record at")
    raise ModelError(f"the head of {type(model).__name__} is {type(layers).__name__}, not one linear layer; "
                     f"{_candidates(model)}")  # fmt: skip


def unwrap(model: nn.Module) -> nn.Module:
    """Return the model inside DataParallel, DistributedDataParallel, AveragedModel and `torch.compile` wrappers."""
    while True:
        if isinstance(
            model,
            nn.DataParallel | nn.parallel.DistributedDataParallel | torch.optim.swa_utils.AveragedModel,
        ):
            model = model.module
        elif isinstance(inner := model._modules.get("_orig_mod"), nn.Module):
            model = inner
        else:
            return model


def _head_by_name(model: nn.Module, name: str) -> LinearHead:
    modules = dict(model.named_modules())
    # A name read off a wrapped model carries the wrapper's prefix.
    bare = name
    while bare not in modules and bare.startswith(("module.", "_orig_mod.")):
        bare = bare.partition(".")[2]
    if bare not in modules:
        raise ModelError(f"no layer is called {name!r}; {_candidates(model)}")
    if not _is_head(modules[bare]):
        raise ModelError(f"the layer {name!r} is {type(modules[bare]).__name__}, without a weight of a row for each "
                         f"class; {_candidates(model)}")  # fmt: skip
    return _head_by_identity(model, modules[bare])


def _head_by_identity(model: nn.Module, head: nn.Module) -> LinearHead:
    if not _is_head(head):
        raise ModelError(f"the given head is {type(head).__name__}, without a weight of a row for each class; "
                         f"{_candidates(model)}")  # fmt: skip
    for name, module in model.named_modules():
        if module is head:
            # Whether a map of logits is averaged over its positions only the model's output shows.
            return LinearHead(name, head, guessed=isinstance(head, nn.Conv2d))
    raise ModelError(f"the given head is not a layer of this {type(model).__name__}; {_candidates(model)}")


def _is_head(module: object) -> bool:
    if isinstance(module, nn.Linear | nn.Conv2d):
        return True
    weight = getattr(module, "weight", None)
    return isinstance(module, nn.Module) and isinstance(weight, Tensor) and weight.ndim == 2


def _candidates(model: nn.Module) -> str:
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    if not names:
        return "the model has no nn.Linear at all"
    shown = ", ".join(repr(name) for name in names[-5:])
    return f"give head= one of its nn.Linear layers: {'..., ' if len(names) > 5 else ''}{shown}"


def _config(name: str) -> PretrainedCfg | None:
    """What timm knows of a model's input size, head and weights."""
    if ":" in name:  # a model hub's
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
        # timm reports a wrong size, tag or download by any of these.
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
    """Build with as many classes as the file's head has, load all weights strictly, then change the head."""
    if not path.is_file():
        raise ModelError(f"no checkpoint at {path}")
    try:
        weights = load_state_dict(str(path), device="cpu", weights_only=True)
    except Exception as error:
        # Whatever a stranger's file raises while it is read, it is the file that is wrong.
        raise ModelError(f"cannot read {path} as a file of weights: {str(error).splitlines()[0]}") from error
    classifier = _first(None if config is None else config.classifier) or "fc"
    head = weights.get(f"{classifier}.weight")
    n_stored = int(head.shape[0]) if isinstance(head, Tensor) else 0
    overlay = {"file": str(path), "num_classes": n_stored, "custom_load": False}
    first_conv = _first(None if config is None else config.first_conv)
    stem = weights.get(f"{first_conv}.weight")
    if config is not None and isinstance(stem, Tensor):
        # timm converts between channels, but takes the file's to be those of its own weights.
        overlay["input_size"] = (stem.shape[1], *config.input_size[1:])
    model: Any = _create(name, pretrained=True, num_classes=n_stored, pretrained_cfg_overlay=overlay, **arguments)
    if n_stored != n_classes:
        model.reset_classifier(n_classes)
    return cast(nn.Module, model)


def _first(names: str | Sequence[str] | None) -> str | None:
    """timm gives one name or several."""
    if isinstance(names, str) or names is None:
        return names
    return names[0] if names else None
