"""From stored images to what a network sees: augmentation and normalisation of batches of tensors.

Where processes have a part of a batch each, all of them draw for the whole of it (`Part`): how an image is shifted and
flipped then does not depend on how many they are.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.transforms import v2

from gwaudit.core.settings import Augmentation


class Part(NamedTuple):
    """Which of a batch's images are at hand: their places in it, and how many it has."""

    places: slice
    batch: int


def random_crop(images: Tensor, generator: torch.Generator, part: Part | None = None) -> Tensor:
    """Shift each image by up to an eighth of its side, zeros coming in: [B, C, H, W] of any dtype, same out."""
    height, width = images.shape[2:]
    pad_y, pad_x = height // 8, width // 8
    padded = functional.pad(images, (pad_x, pad_x, pad_y, pad_y))
    rows, columns = _windows(_whole(images, part), (height, width), (pad_y, pad_x), generator)
    return _gather(padded, rows, columns)


def random_shift(images: Tensor, generator: torch.Generator, part: Part | None = None) -> Tensor:
    """Shift each image by up to a sixteenth of its side, its reflection coming in: [B, C, H, W], same out."""
    height, width = images.shape[2:]
    pad_y, pad_x = height // 16, width // 16
    rows, columns = _windows(_whole(images, part), (height, width), (pad_y, pad_x), generator)
    return _gather(images, _reflected(rows - pad_y, height), _reflected(columns - pad_x, width))


def _whole(images: Tensor, part: Part | None) -> Part:
    return Part(slice(None), len(images)) if part is None else part


def _windows(
    part: Part, size: tuple[int, int], pad: tuple[int, int], generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Rows [B, H] and columns [B, W] of a window of that size, anywhere in an image padded on all sides."""
    top = torch.randint(2 * pad[0] + 1, (part.batch, 1), generator=generator)[part.places]
    left = torch.randint(2 * pad[1] + 1, (part.batch, 1), generator=generator)[part.places]
    return top + torch.arange(size[0]), left + torch.arange(size[1])


def _reflected(places: Tensor, size: int) -> Tensor:
    return size - 1 - (size - 1 - places.abs()).abs()


def _gather(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    batch, channels = torch.arange(len(images))[:, None, None, None], torch.arange(images.shape[1])[:, None, None]
    return images[batch, channels, rows[:, None, :, None], columns[:, None, None, :]]


def random_flip(images: Tensor, generator: torch.Generator, part: Part | None = None) -> Tensor:
    """Mirror each image left to right, or not, by a fair coin: [B, C, H, W], same out."""
    places, batch = _whole(images, part)
    flipped = torch.rand(batch, generator=generator)[places] < 0.5
    return torch.where(flipped[:, None, None, None], images.flip(3), images)


def rand_augment(images: Tensor) -> Tensor:
    """RandAugment (Cubuk et al., 2020; torchvision's defaults), drawn anew for each image: [B, C, H, W] uint8.

    Draws from torch's global generator, as torchvision does; the trainer seeds that for each epoch.
    """
    transform = v2.RandAugment()
    return torch.stack([transform(image) for image in images])


def alternating_flips(n: int, epoch: int, seed: int) -> Tensor:
    """Which of n samples to mirror in an epoch: each every other epoch, half of them in the first: [n] bool.

    In two epochs every sample is seen both ways, which random flips grant only half of them (Jordan, arXiv 2404.00498).
    """
    first = torch.rand(n, generator=torch.Generator().manual_seed(seed)) < 0.5
    return first if epoch % 2 == 0 else ~first


def augment(
    images: Tensor,
    kind: Augmentation,
    generator: torch.Generator,
    *,
    flipped: Tensor | None = None,
    part: Part | None = None,
) -> Tensor:
    """Augment a batch of images on the CPU.

    Args:
        images: [B, C, H, W] uint8.
        kind: "crop-flip", "shift-flip" (a smaller shift with mirrored edges), "randaugment" (crop and flip, then
            RandAugment) or "none".
        generator: draws crops and flips.
        flipped: [B] bool, for "shift-flip" alone: which images to mirror.
        part: where these images stand in a batch that processes share; RandAugment's own draws do not heed it.
    """
    if kind == "none":
        return images
    if kind == "shift-flip":
        shifted = random_shift(images, generator, part)
        return shifted if flipped is None else torch.where(flipped[:, None, None, None], shifted.flip(3), shifted)
    images = random_flip(random_crop(images, generator, part), generator, part)
    return rand_augment(images) if kind == "randaugment" else images


def normalise(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Images [B, C, H, W] or features [B, D] as float32 with `mean` and `std` [C] or [D] (in their units) taken out."""
    if images.ndim == 2:
        return (images.float() - mean) / std
    return (images.float() - mean[:, None, None]) / std[:, None, None]
