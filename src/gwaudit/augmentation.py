"""From stored images to what a network sees: augmentation and normalisation of whole batches of tensors."""

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.transforms import v2

from gwaudit.settings import Augmentation


def random_crop(images: Tensor, generator: torch.Generator) -> Tensor:
    """Shift each image by up to an eighth of its side, zeros coming in: [B, C, H, W] of any dtype, same out."""
    batch, channels, height, width = images.shape
    pad_y, pad_x = height // 8, width // 8
    padded = functional.pad(images, (pad_x, pad_x, pad_y, pad_y))
    top = torch.randint(2 * pad_y + 1, (batch, 1), generator=generator)
    left = torch.randint(2 * pad_x + 1, (batch, 1), generator=generator)
    rows = (top + torch.arange(height))[:, None, :, None]
    columns = (left + torch.arange(width))[:, None, None, :]
    return padded[torch.arange(batch)[:, None, None, None], torch.arange(channels)[None, :, None, None], rows, columns]


def random_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror each image left to right, or not, by a fair coin: [B, C, H, W], same out."""
    flipped = torch.rand(len(images), generator=generator) < 0.5
    return torch.where(flipped[:, None, None, None], images.flip(3), images)


def rand_augment(images: Tensor) -> Tensor:
    """RandAugment (Cubuk et al., 2020; torchvision's defaults), drawn anew for each image: [B, C, H, W] uint8.

    Draws from torch's global generator, as torchvision does; the trainer seeds that for each epoch.
    """
    transform = v2.RandAugment()
    return torch.stack([transform(image) for image in images])


def augment(images: Tensor, kind: Augmentation, generator: torch.Generator) -> Tensor:
    """Augment a batch of images on the CPU.

    Args:
        images: [B, C, H, W] uint8.
        kind: "crop-flip", "randaugment" (crop and flip, then RandAugment) or "none".
        generator: draws crops and flips.
    """
    if kind == "none":
        return images
    images = random_flip(random_crop(images, generator), generator)
    return rand_augment(images) if kind == "randaugment" else images


def normalise(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Images [B, C, H, W] of any dtype to float32 with `mean` and `std` [C] (in units of the images) taken out."""
    return (images.float() - mean[:, None, None]) / std[:, None, None]
