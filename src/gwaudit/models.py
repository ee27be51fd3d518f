"""Models to train: any timm model by name, a few compact networks for small images, and their linear head.

Importing this module registers the compact networks with timm, so that `timm.create_model("resnet9_16")` and
`build_model("resnet9_16", ...)` give the same thing. They take any image from 4x4 pixels and any number of channels.
"""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import timm
import torch
from timm.models import PretrainedCfg, build_model_with_cfg, generate_default_cfgs, load_state_dict, register_model
from torch import Tensor, nn

from gwaudit.errors import ModelError

# timm appends the name of every registered network to this list.
__all__ = ["LinearHead", "ResNet9", "SmallResNet", "build_model", "find_head", "unwrap"]


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


class LinearHead(NamedTuple):
    """The last linear layer of a classifier: its name in the unwrapped model, and the layer."""

    name: str
    module: nn.Linear


def find_head(model: nn.Module, head: str | nn.Linear | None = None) -> LinearHead:
    """Find the linear layer that produces a model's logits.

    Args:
        model: A classifier, bare or inside DataParallel, DistributedDataParallel or `torch.compile`.
        head: The layer, or its name in `model.named_modules()`, where it cannot be found. Without it, timm's
            `get_classifier()` is asked, else the last `nn.Linear` is taken, which need not be the right one:
            the recorder checks that at the first forward pass.

    Raises:
        ModelError: No such layer, or it is not an `nn.Linear`. The message lists the linear layers there are.
    """
    model = unwrap(model)
    if isinstance(head, str):
        return _head_by_name(model, head)
    if head is not None:
        return _head_by_identity(model, head)
    if callable(get_classifier := getattr(model, "get_classifier", None)):
        return _head_by_identity(model, get_classifier())
    linear = _linear_layers(model)
    if not linear:
        raise ModelError(f"{type(model).__name__} has no nn.Linear, so no linear head to record at")
    return linear[-1]


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


def _linear_layers(model: nn.Module) -> list[LinearHead]:
    return [LinearHead(name, m) for name, m in model.named_modules() if isinstance(m, nn.Linear)]


def _head_by_name(model: nn.Module, name: str) -> LinearHead:
    modules = dict(model.named_modules())
    # A name read off a wrapped model carries the wrapper's prefix.
    bare = name
    while bare not in modules and bare.startswith(("module.", "_orig_mod.")):
        bare = bare.partition(".")[2]
    if bare not in modules:
        raise ModelError(f"no layer is called {name!r}; {_candidates(model)}")
    module = modules[bare]
    if not isinstance(module, nn.Linear):
        raise ModelError(f"the layer {name!r} is {type(module).__name__}, not nn.Linear; {_candidates(model)}")
    return LinearHead(bare, module)


def _head_by_identity(model: nn.Module, head: object) -> LinearHead:
    if not isinstance(head, nn.Linear):
        raise ModelError(f"the head of {type(model).__name__} is {type(head).__name__}, not one nn.Linear; "
                         f"{_candidates(model)}")  # fmt: skip
    for linear in _linear_layers(model):
        if linear.module is head:
            return linear
    raise ModelError(f"the given head is not a layer of this {type(model).__name__}; {_candidates(model)}")


def _candidates(model: nn.Module) -> str:
    names = [linear.name for linear in _linear_layers(model)]
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


# --- compact networks -------------------------------------------------------------------------------------------


class ConvNormAct(nn.Sequential):
    """A convolution without bias, its normalisation, and ReLU (unless told otherwise).

    With `halve`, a max-pooling stands before the normalisation: three quarters of the work of norm and ReLU go, which
    made a training step of `resnet9_16` on two CPU cores 1.4 times faster than pooling last.
    """

    def __init__(self, inputs: int, outputs: int, *, size: int = 3, stride: int = 1, norm: str = "batch",
                 act: bool = True, halve: bool = False) -> None:  # fmt: skip
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)
        if halve:
            # ceil_mode: images of any size keep at least one pixel; at even sizes it changes nothing.
            self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.norm = _norm(norm, outputs)
        if act:
            self.act = nn.ReLU(inplace=True)


def _norm(kind: str, channels: int) -> nn.Module:
    """Batch norm, or group norm with 4 or more channels a group and at most 32 groups."""
    return nn.BatchNorm2d(channels) if kind == "batch" else nn.GroupNorm(min(32, channels // 4), channels)


class _SmallImageNet(nn.Module):
    """What both compact families share: timm's interface around a body, a global pooling and a linear `fc`."""

    stem: nn.Module
    body: nn.Module
    pool: nn.Module

    def __init__(self, num_classes: int, in_chans: int, num_features: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.in_chans = in_chans
        self.num_features = self.head_hidden_size = num_features
        self.reset_classifier(num_classes)

    def get_classifier(self) -> nn.Module:
        """The linear head, or an identity when there are no classes."""
        return self.fc

    def reset_classifier(self, num_classes: int) -> None:
        """Put a new head in place; 0 classes leave the pooled features as the output."""
        self.num_classes = num_classes
        self.fc: nn.Module = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()

    def forward_features(self, x: Tensor) -> Tensor:
        """Images [B, in_chans, H, W] to the last feature map [B, num_features, h, w]."""
        features: Tensor = self.body(self.stem(x))
        return features

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Feature map to logits [B, num_classes], or to the pooled features [B, num_features]."""
        latent: Tensor = self.pool(x).flatten(1)
        return latent if pre_logits else self.fc(latent)

    def forward(self, x: Tensor) -> Tensor:
        """Images [B, in_chans, H, W] to logits [B, num_classes]."""
        return self.forward_head(self.forward_features(x))


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.block = nn.Sequential(ConvNormAct(channels, channels), ConvNormAct(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        residual: Tensor = self.block(x)
        return x + residual


class ResNet9(_SmallImageNet):
    """The nine-layer residual network of the DAWNBench CIFAR-10 entries, at any width.

    Width w means feature maps of w, 2w, 4w and 8w channels, hence a latent of 8w. Width 64 is the original;
    width 16 learns CIFAR-10 in minutes on two CPU cores and has 128 latent features.

    Args:
        num_classes: Number of classes; 0 for no head.
        in_chans: Channels of the images.
        width: Channels of the first layer, w.

    Reference:
        David Page, "How to train your ResNet", 2018. The logits are not scaled, so the head's output is the model's.
        Weights start as torch sets them: smaller than Kaiming's, hence learned faster under batch norm.
    """

    def __init__(self, num_classes: int = 10, in_chans: int = 3, width: int = 64) -> None:
        super().__init__(num_classes, in_chans, 8 * width)
        w = width
        self.stem = ConvNormAct(in_chans, w)
        self.body = nn.Sequential(
            ConvNormAct(w, 2 * w, halve=True),
            _Residual(2 * w),
            ConvNormAct(2 * w, 4 * w, halve=True),
            ConvNormAct(4 * w, 8 * w, halve=True),
            _Residual(8 * w),
        )
        self.pool = nn.AdaptiveMaxPool2d(1)


class _BasicBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, *, stride: int, norm: str) -> None:
        super().__init__()
        self.block = nn.Sequential(
            ConvNormAct(inputs, outputs, stride=stride, norm=norm),
            ConvNormAct(outputs, outputs, norm=norm, act=False),
        )
        same = inputs == outputs and stride == 1
        self.shortcut: nn.Module = (
            nn.Identity() if same else ConvNormAct(inputs, outputs, size=1, stride=stride, norm=norm, act=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.block(x) + self.shortcut(x))


class SmallResNet(_SmallImageNet):
    """A ResNet of basic blocks with a 3x3 stem that keeps the resolution, for images of about 32x32.

    Args:
        num_classes: Number of classes; 0 for no head.
        in_chans: Channels of the images.
        layers: Blocks of each stage; every stage but the first halves the resolution.
        widths: Channels of each stage.
        norm: "batch" or "group".

    Reference:
        He et al., "Deep Residual Learning for Image Recognition", CVPR 2016 (section 4.2; shortcuts of kind B).
    """

    def __init__(
        self,
        num_classes: int = 10,
        in_chans: int = 3,
        layers: Sequence[int] = (3, 3, 3),
        widths: Sequence[int] = (16, 32, 64),
        norm: str = "batch",
    ) -> None:
        super().__init__(num_classes, in_chans, widths[-1])
        self.stem = ConvNormAct(in_chans, widths[0], norm=norm)
        blocks: list[nn.Module] = []
        channels = widths[0]
        for stage, (count, width) in enumerate(zip(layers, widths, strict=True)):
            for block in range(count):
                stride = 2 if stage > 0 and block == 0 else 1
                blocks.append(_BasicBlock(channels, width, stride=stride, norm=norm))
                channels = width
        self.body = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


_CIFAR_STAGES = (16, 32, 64)
_IMAGENET_STAGES = (64, 128, 256, 512)
_COMPACT = (
    "resnet9_16", "resnet9_32", "resnet9_64", "resnet18_small", "resnet18_small_gn",
    "resnet20_bn", "resnet20_gn", "resnet56_bn", "resnet56_gn",
)  # fmt: skip

# timm looks for this name when it registers a network.
default_cfgs = generate_default_cfgs(
    {
        name: {"input_size": (3, 32, 32), "num_classes": 10, "first_conv": "stem.conv", "classifier": "fc"}
        for name in _COMPACT
    }
)


def _resnet9(name: str, width: int, pretrained: bool, arguments: dict[str, Any]) -> ResNet9:
    model: ResNet9 = build_model_with_cfg(ResNet9, name, pretrained, **{"width": width, **arguments})
    return model


def _small_resnet(
    name: str, layers: Sequence[int], widths: Sequence[int], norm: str, pretrained: bool, arguments: dict[str, Any]
) -> SmallResNet:
    shape = {"layers": layers, "widths": widths, "norm": norm}
    model: SmallResNet = build_model_with_cfg(SmallResNet, name, pretrained, **{**shape, **arguments})
    return model


@register_model
def resnet9_16(pretrained: bool = False, **arguments: Any) -> ResNet9:
    """ResNet-9 of width 16: 128 latent features, 0.4 million weights."""
    return _resnet9("resnet9_16", 16, pretrained, arguments)


@register_model
def resnet9_32(pretrained: bool = False, **arguments: Any) -> ResNet9:
    """ResNet-9 of width 32: 256 latent features."""
    return _resnet9("resnet9_32", 32, pretrained, arguments)


@register_model
def resnet9_64(pretrained: bool = False, **arguments: Any) -> ResNet9:
    """ResNet-9 of width 64, the original: 512 latent features."""
    return _resnet9("resnet9_64", 64, pretrained, arguments)


@register_model
def resnet18_small(pretrained: bool = False, **arguments: Any) -> SmallResNet:
    """ResNet-18 with a 3x3 stem and no pooling before the first stage, batch norm."""
    return _small_resnet("resnet18_small", (2, 2, 2, 2), _IMAGENET_STAGES, "batch", pretrained, arguments)


@register_model
def resnet18_small_gn(pretrained: bool = False, **arguments: Any) -> SmallResNet:
    """ResNet-18 with a 3x3 stem and no pooling before the first stage, group norm."""
    return _small_resnet("resnet18_small_gn", (2, 2, 2, 2), _IMAGENET_STAGES, "group", pretrained, arguments)


@register_model
def resnet20_bn(pretrained: bool = False, **arguments: Any) -> SmallResNet:
    """The 20-layer CIFAR ResNet, batch norm."""
    return _small_resnet("resnet20_bn", (3, 3, 3), _CIFAR_STAGES, "batch", pretrained, arguments)


@register_model
def resnet20_gn(pretrained: bool = False, **arguments: Any) -> SmallResNet:
    """The 20-layer CIFAR ResNet, group norm."""
    return _small_resnet("resnet20_gn", (3, 3, 3), _CIFAR_STAGES, "group", pretrained, arguments)


@register_model
def resnet56_bn(pretrained: bool = False, **arguments: Any) -> SmallResNet:
    """The 56-layer CIFAR ResNet, batch norm."""
    return _small_resnet("resnet56_bn", (9, 9, 9), _CIFAR_STAGES, "batch", pretrained, arguments)


@register_model
def resnet56_gn(pretrained: bool = False, **arguments: Any) -> SmallResNet:
    """The 56-layer CIFAR ResNet, group norm."""
    return _small_resnet("resnet56_gn", (9, 9, 9), _CIFAR_STAGES, "group", pretrained, arguments)
