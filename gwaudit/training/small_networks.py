"""Compact networks for small images, registered with timm.

Importing this module registers them: `timm.create_model("resnet9_16")` and `build_model("resnet9_16", ...)` then give
the same thing. They take any image from 4x4 pixels and any number of channels.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn
from torch.nn import functional

# timm appends the name of every registered network to this list.
__all__ = ["ResNet9", "SmallResNet", "WhitenedNet"]


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
    def __init__(self, channels: int, norm: str) -> None:
        super().__init__()
        self.block = nn.Sequential(
            ConvNormAct(channels, channels, norm=norm), ConvNormAct(channels, channels, norm=norm)
        )

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
        norm: "batch" or "group".

    Reference:
        David Page, "How to train your ResNet", 2018. The logits are not scaled, so the head's output is the model's.
        Weights start as torch sets them: smaller than Kaiming's, hence learned faster under batch norm.
    """

    def __init__(self, num_classes: int = 10, in_chans: int = 3, width: int = 64, norm: str = "batch") -> None:
        super().__init__(num_classes, in_chans, 8 * width)
        w = width
        self.stem = ConvNormAct(in_chans, w, norm=norm)
        self.body = nn.Sequential(
            ConvNormAct(w, 2 * w, norm=norm, halve=True),
            _Residual(2 * w, norm),
            ConvNormAct(2 * w, 4 * w, norm=norm, halve=True),
            ConvNormAct(4 * w, 8 * w, norm=norm, halve=True),
            _Residual(8 * w, norm),
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


class WhitenedNet(_SmallImageNet):
    """A network that learns in a few epochs: its first layer whitens patches of 2x2 pixels and is not trained.

    Three stages follow, each a convolution, a max-pooling to half the resolution, and a second convolution, with batch
    norm (of fixed scale) and GELU after each. Before training, `whiten` sets the first layer from images.

    Args:
        num_classes: Number of classes; 0 for no head.
        in_chans: Channels of the images.
        widths: Channels of each stage; the last one is the number of latent features.

    Reference:
        Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU", 2024 (arXiv 2404.00498). The scale of its logits is
        in the head's initial weights here, so that the head's output is the model's.
    """

    def __init__(self, num_classes: int = 10, in_chans: int = 3, widths: Sequence[int] = (32, 128, 128)) -> None:
        super().__init__(num_classes, in_chans, widths[-1])
        patch = in_chans * _PATCH**2
        self.first = nn.Conv2d(in_chans, 2 * patch, _PATCH)
        self.first.weight.requires_grad_(False)
        channels = [2 * patch, *widths]
        self.body = nn.Sequential(*(_WhitenedStage(a, b) for a, b in itertools.pairwise(channels)))
        self.pool = nn.AdaptiveMaxPool2d(1)

    def forward_features(self, x: Tensor) -> Tensor:
        """Images [B, in_chans, H, W] to the last feature map [B, num_features, h, w]."""
        features: Tensor = self.body(functional.gelu(self.first(x)))
        return features

    def reset_classifier(self, num_classes: int) -> None:
        """Put a new head in place, without bias; 0 classes leave the pooled features as the output."""
        self.num_classes = num_classes
        self.fc = nn.Linear(self.num_features, num_classes, bias=False) if num_classes else nn.Identity()
        if isinstance(self.fc, nn.Linear):
            with torch.no_grad():
                self.fc.weight.div_(9)

    def no_weight_decay(self) -> set[str]:
        """The head: what decay would do to it, label smoothing does."""
        return {"fc.weight"}

    @torch.no_grad()
    def whiten(self, images: Tensor, *, floor: float = 5e-4) -> None:
        """Have the first layer whiten patches: eigenvectors of their covariance, scaled, and the same negated.

        Args:
            images: [B, in_chans, H, W] normalised, a few thousand.
            floor: added to the eigenvalues.
        """
        patches = images.double().unfold(2, _PATCH, 1).unfold(3, _PATCH, 1).permute(0, 2, 3, 1, 4, 5).flatten(3)
        flat = patches.flatten(0, 2)
        values, vectors = torch.linalg.eigh(flat.T @ flat / len(flat))
        filters = (vectors / (values + floor).sqrt()).T.reshape(-1, images.shape[1], _PATCH, _PATCH)
        weight = torch.cat([filters, -filters])
        self.first.load_state_dict({"weight": weight, "bias": torch.zeros(len(weight))})


_PATCH = 2


class _WhitenedStage(nn.Sequential):
    def __init__(self, inputs: int, outputs: int) -> None:
        layers: list[nn.Module] = []
        for channels, pool in ((inputs, True), (outputs, False)):
            conv = nn.Conv2d(channels, outputs, 3, padding=1, bias=False)
            nn.init.dirac_(conv.weight[: min(channels, outputs)])  # starts by passing its input on
            norm = nn.BatchNorm2d(outputs, momentum=0.4)  # follows weights that move fast
            norm.weight.requires_grad_(False)
            layers += [conv, *([nn.MaxPool2d(2, ceil_mode=True)] if pool else []), norm, nn.GELU()]
        super().__init__(*layers)


_CIFAR_STAGES = (16, 32, 64)
_IMAGENET_STAGES = (64, 128, 256, 512)
_COMPACT = (
    "resnet9_16", "resnet9_16_gn", "resnet9_32", "resnet9_64", "resnet18_small", "resnet18_small_gn",
    "resnet20_bn", "resnet20_gn", "resnet56_bn", "resnet56_gn", "resnet110_gn", "whitened_32", "whitened_64",
)  # fmt: skip

# timm looks for this name when it registers a network.
default_cfgs = generate_default_cfgs(
    {
        name: {
            "input_size": (3, 32, 32),
            "num_classes": 10,
            "first_conv": "first" if name.startswith("whitened") else "stem.conv",
            "classifier": "fc",
        }
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


def _whitened(name: str, widths: Sequence[int], pretrained: bool, arguments: dict[str, Any]) -> WhitenedNet:
    model: WhitenedNet = build_model_with_cfg(WhitenedNet, name, pretrained, **{"widths": widths, **arguments})
    return model


@register_model
def whitened_32(pretrained: bool = False, **arguments: Any) -> WhitenedNet:
    """A whitened network of 32, 128 and 128 channels: 128 latent features, 0.6 million weights."""
    return _whitened("whitened_32", (32, 128, 128), pretrained, arguments)


@register_model
def whitened_64(pretrained: bool = False, **arguments: Any) -> WhitenedNet:
    """A whitened network of 64, 256 and 256 channels, the original: 256 latent features, 2 million weights."""
    return _whitened("whitened_64", (64, 256, 256), pretrained, arguments)


@register_model
def resnet9_16(pretrained: bool = False, **arguments: Any) -> ResNet9:
    """ResNet-9 of width 16: 128 latent features, 0.4 million weights."""
    return _resnet9("resnet9_16", 16, pretrained, arguments)


@register_model
def resnet9_16_gn(pretrained: bool = False, **arguments: Any) -> ResNet9:
    """ResNet-9 of width 16 with group norm: what it has learned does not jump from epoch to epoch."""
    return _resnet9("resnet9_16_gn", 16, pretrained, {"norm": "group", **arguments})


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


@register_model
def resnet110_gn(pretrained: bool = False, **arguments: Any) -> SmallResNet:
    """The 110-layer CIFAR ResNet, group norm."""
    return _small_resnet("resnet110_gn", (18, 18, 18), _CIFAR_STAGES, "group", pretrained, arguments)
