"""Register networks for images of about 32x32 pixels with timm.

Importing this module registers all of `NETWORKS`: `timm.create_model("resnet9_16")` and
`build_model("resnet9_16", ...)` then build the same network. A new network is a row of that table. The ResNets and the
whitened networks take any image from 4x4 pixels and any number of channels. The ViT and the ConvNeXt are timm's own
classes with patches and stems of 4 and 2 pixels, instead of the 16 and 4 of ImageNet's models.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.convnext import ConvNeXt
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional

# timm appends the name of every registered network to this list.
__all__ = ["NETWORKS", "Network", "ResNet9", "SmallResNet", "WhitenedNet"]

_PATCH = 2


class ConvNormAct(nn.Sequential):
    """Apply a convolution without bias, its normalisation, and ReLU (if `act`).

    With `halve`, a max-pooling comes before the normalisation. That saves three quarters of the work of norm and
    ReLU, and made a training step of `resnet9_16` on two CPU cores 1.4 times faster than pooling last.
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
    """Return batch norm, or group norm with at least 4 channels per group and at most 32 groups."""
    return nn.BatchNorm2d(channels) if kind == "batch" else nn.GroupNorm(min(32, channels // 4), channels)


class _SmallImageNet(nn.Module):
    """Give timm's interface to a body, a global pooling and a linear head `fc`."""

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
        """Return the linear head, or an identity if there are no classes."""
        return self.fc

    def reset_classifier(self, num_classes: int) -> None:
        """Replace the head by a new one; with 0 classes the pooled features are the output."""
        self.num_classes = num_classes
        self.fc: nn.Module = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the last feature map [B, num_features, h, w] of images [B, in_chans, H, W]."""
        features: Tensor = self.body(self.stem(x))
        return features

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Return the logits [B, num_classes] of a feature map, or its pooled features [B, num_features]."""
        latent: Tensor = self.pool(x).flatten(1)
        return latent if pre_logits else self.fc(latent)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits [B, num_classes] of images [B, in_chans, H, W]."""
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
    """Build the nine-layer residual network of the DAWNBench CIFAR-10 entries, in any width.

    Width w means feature maps of w, 2w, 4w and 8w channels, so a latent of 8w features. Width 64 is the original;
    width 16 learns CIFAR-10 in minutes on two CPU cores and has 128 latent features.

    Args:
        num_classes: Number of classes; 0 for no head.
        in_chans: Number of channels of the images.
        width: Number of channels of the first layer, w.
        norm: "batch" or "group".

    Reference:
        David Page, "How to train your ResNet", 2018. The logits are not scaled, so the model returns the head's output.
        Weights are initialised as torch does by default: smaller than Kaiming's, so learned faster under batch norm.
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
    """Build a ResNet of basic blocks with a 3x3 stem that keeps the resolution, for images of about 32x32.

    Args:
        num_classes: Number of classes; 0 for no head.
        in_chans: Number of channels of the images.
        layers: Number of blocks of each stage; every stage but the first halves the resolution.
        widths: Number of channels of each stage.
        norm: "batch" or "group".

    Reference:
        He et al., "Deep Residual Learning for Image Recognition", CVPR 2016 (section 4.2; shortcuts of type B).
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
    """Build a network that learns in a few epochs: its first layer whitens patches of 2x2 pixels and is not trained.

    Three stages follow, each a convolution, a max-pooling to half the resolution, and a second convolution, with batch
    norm (of fixed scale) and GELU after each. Before the training, `whiten` sets the first layer from images.

    Args:
        num_classes: Number of classes; 0 for no head.
        in_chans: Number of channels of the images.
        widths: Number of channels of each stage; the last one is the number of latent features.

    Reference:
        Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU", 2024 (arXiv 2404.00498). Here the scale of its logits
        is part of the head's initial weights, so that the model returns the head's output.
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
        """Return the last feature map [B, num_features, h, w] of images [B, in_chans, H, W]."""
        features: Tensor = self.body(functional.gelu(self.first(x)))
        return features

    def reset_classifier(self, num_classes: int) -> None:
        """Replace the head by a new one without bias; with 0 classes the pooled features are the output."""
        self.num_classes = num_classes
        self.fc = nn.Linear(self.num_features, num_classes, bias=False) if num_classes else nn.Identity()
        if isinstance(self.fc, nn.Linear):
            with torch.no_grad():
                self.fc.weight.div_(9)

    def no_weight_decay(self) -> set[str]:
        """Return the name of the head's weight: label smoothing keeps it small, so it needs no weight decay."""
        return {"fc.weight"}

    @torch.no_grad()
    def whiten(self, images: Tensor, *, floor: float = 5e-4) -> None:
        """Set the first layer's filters to the scaled eigenvectors of the patches' covariance, and their negatives.

        Args:
            images: [B, in_chans, H, W] normalised images, a few thousand.
            floor: Number added to the eigenvalues.
        """
        patches = images.double().unfold(2, _PATCH, 1).unfold(3, _PATCH, 1).permute(0, 2, 3, 1, 4, 5).flatten(3)
        flat = patches.flatten(0, 2)
        values, vectors = torch.linalg.eigh(flat.T @ flat / len(flat))
        filters = (vectors / (values + floor).sqrt()).T.reshape(-1, images.shape[1], _PATCH, _PATCH)
        weight = torch.cat([filters, -filters])
        self.first.load_state_dict({"weight": weight, "bias": torch.zeros(len(weight))})


class _WhitenedStage(nn.Sequential):
    def __init__(self, inputs: int, outputs: int) -> None:
        layers: list[nn.Module] = []
        for channels, pool in ((inputs, True), (outputs, False)):
            conv = nn.Conv2d(channels, outputs, 3, padding=1, bias=False)
            nn.init.dirac_(conv.weight[: min(channels, outputs)])  # the initial convolution is the identity
            norm = nn.BatchNorm2d(outputs, momentum=0.4)  # a short average, as the weights change fast
            norm.weight.requires_grad_(False)
            layers += [conv, *([nn.MaxPool2d(2, ceil_mode=True)] if pool else []), norm, nn.GELU()]
        super().__init__(*layers)


@dataclass(frozen=True)
class Network:
    """Describe a network to register with timm.

    Attributes:
        description: The network in one line.
        constructor: Its class, which takes timm's arguments and `arguments`.
        arguments: Arguments of the constructor that make this network.
        first_conv: Name of its first convolution.
        classifier: Name of its linear head.
        fixed_input_size: Whether it takes images of one size only, the argument `img_size`.
    """

    description: str
    constructor: Callable[..., nn.Module]
    arguments: Mapping[str, Any]
    first_conv: str = "stem.conv"
    classifier: str = "fc"
    fixed_input_size: bool = False


def _cifar_resnet(blocks: int, norm: str) -> dict[str, Any]:
    return {"layers": (blocks,) * 3, "widths": (16, 32, 64), "norm": norm}


def _resnet18(norm: str) -> dict[str, Any]:
    return {"layers": (2, 2, 2, 2), "widths": (64, 128, 256, 512), "norm": norm}


_VIT = {
    "img_size": 32, "patch_size": 4, "embed_dim": 192, "depth": 6, "num_heads": 3, "class_token": False,
    "global_pool": "avg",
}  # fmt: skip
_CONVNEXT = {"depths": (2, 2, 4, 2), "dims": (32, 64, 128, 256), "patch_size": 2}

NETWORKS: Mapping[str, Network] = {
    "resnet9_16": Network("ResNet-9 of width 16: 128 latent features, 0.4 million weights.", ResNet9, {"width": 16}),
    "resnet9_16_gn": Network(
        "ResNet-9 of width 16, group norm: its predictions change less from epoch to epoch.",
        ResNet9,
        {"width": 16, "norm": "group"},
    ),
    "resnet9_32": Network("ResNet-9 of width 32: 256 latent features.", ResNet9, {"width": 32}),
    "resnet9_64": Network("ResNet-9 of width 64, the original: 512 latent features.", ResNet9, {"width": 64}),
    "resnet18_small": Network(
        "ResNet-18 with a 3x3 stem and no pooling before the first stage, batch norm.", SmallResNet, _resnet18("batch")
    ),
    "resnet18_small_gn": Network(
        "ResNet-18 with a 3x3 stem and no pooling before the first stage, group norm.", SmallResNet, _resnet18("group")
    ),
    "resnet20_bn": Network("The 20-layer CIFAR ResNet, batch norm.", SmallResNet, _cifar_resnet(3, "batch")),
    "resnet20_gn": Network("The 20-layer CIFAR ResNet, group norm.", SmallResNet, _cifar_resnet(3, "group")),
    "resnet56_bn": Network("The 56-layer CIFAR ResNet, batch norm.", SmallResNet, _cifar_resnet(9, "batch")),
    "resnet56_gn": Network("The 56-layer CIFAR ResNet, group norm.", SmallResNet, _cifar_resnet(9, "group")),
    "resnet110_gn": Network("The 110-layer CIFAR ResNet, group norm.", SmallResNet, _cifar_resnet(18, "group")),
    "whitened_32": Network(
        "A whitened network of 32, 128 and 128 channels: 128 latent features, 0.6 million weights.",
        WhitenedNet,
        {"widths": (32, 128, 128)},
        first_conv="first",
    ),
    "whitened_64": Network(
        "A whitened network of 64, 256 and 256 channels, the original: 256 latent features, 2 million weights.",
        WhitenedNet,
        {"widths": (64, 256, 256)},
        first_conv="first",
    ),
    "vit_mini_patch4_32": Network(
        "A ViT with patches of 4 pixels, 6 layers of width 192 in 3 heads: 2.7 million weights, 192 latent features.",
        VisionTransformer,
        _VIT,
        first_conv="patch_embed.proj",
        classifier="head",
        fixed_input_size=True,
    ),
    "convnext_mini_32": Network(
        "A ConvNeXt with a stem of 2 pixels and stages of 32, 64, 128 and 256 channels; images from 16x16.",
        ConvNeXt,
        _CONVNEXT,
        first_conv="stem.0",
        classifier="head.fc",
    ),
}
"""The networks that this module registers with timm, by name."""

# timm looks for this name in the module of a network that is registered.
default_cfgs = generate_default_cfgs(
    {
        name: {
            "input_size": (3, 32, 32),
            "num_classes": 10,
            "first_conv": network.first_conv,
            "classifier": network.classifier,
            "fixed_input_size": network.fixed_input_size,
        }
        for name, network in NETWORKS.items()
    }
)


def _register(name: str, network: Network) -> None:
    def build(pretrained: bool = False, **arguments: Any) -> nn.Module:
        model: nn.Module = build_model_with_cfg(
            network.constructor, name, pretrained, **{**network.arguments, **arguments}
        )
        return model

    build.__name__, build.__doc__ = name, network.description
    globals()[name] = register_model(build)


for _name, _network in NETWORKS.items():
    _register(_name, _network)
