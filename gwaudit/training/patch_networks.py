"""Networks that begin with patches, for images of about 32x32: a ViT and a ConvNeXt, registered with timm.

timm's own classes, cut for small images: patches and stems of 4 and 2 pixels where ImageNet's models have 16 and 4.
"""

from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.convnext import ConvNeXt
from timm.models.vision_transformer import VisionTransformer

__all__: list[str] = []  # timm appends the name of every registered network

# timm looks for this name when it registers a network.
default_cfgs = generate_default_cfgs(
    {
        "vit_mini_patch4_32": {
            "input_size": (3, 32, 32),
            "num_classes": 10,
            "first_conv": "patch_embed.proj",
            "classifier": "head",
            "fixed_input_size": True,
        },
        "convnext_mini_32": {
            "input_size": (3, 32, 32),
            "num_classes": 10,
            "first_conv": "stem.0",
            "classifier": "head.fc",
        },
    }
)


@register_model
def vit_mini_patch4_32(pretrained: bool = False, **arguments: Any) -> VisionTransformer:
    """A ViT with patches of 4 pixels, 6 layers of width 192 in 3 heads: 2.7 million weights, 192 latent features."""
    shape: dict[str, Any] = {
        "img_size": 32, "patch_size": 4, "embed_dim": 192, "depth": 6, "num_heads": 3, "class_token": False,
        "global_pool": "avg",
    }  # fmt: skip
    model: VisionTransformer = build_model_with_cfg(
        VisionTransformer, "vit_mini_patch4_32", pretrained, **{**shape, **arguments}
    )
    return model


@register_model
def convnext_mini_32(pretrained: bool = False, **arguments: Any) -> ConvNeXt:
    """A ConvNeXt with a stem of 2 pixels and stages of 32, 64, 128 and 256 channels; images from 16x16."""
    shape: dict[str, Any] = {"depths": (2, 2, 4, 2), "dims": (32, 64, 128, 256), "patch_size": 2}
    model: ConvNeXt = build_model_with_cfg(ConvNeXt, "convnext_mini_32", pretrained, **{**shape, **arguments})
    return model
