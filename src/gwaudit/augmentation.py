"""From stored images to what a network sees: augmentation and normalisation of whole batches of tensors."""

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.transforms import v2

from gwaudit.settings import Augmentation


def random_crop(images: Tensor, generator: torch.Generator) -> Tensor:
    """Shift each image by up to an eighth of its side, zeros coming in: [B, C, H, W] of any dtype, same out."""
    height, width = images.shape[2:]
    pad_y, pad_x = height // 8, width // 8
    padded = functional.pad(images, (pad_x, pad_x, pad_y, pad_y))
    rows, columns = _windows(len(images), (height, width), (pad_y, pad_x), generator)
    return _gather(padded, rows, columns)


def random_shift(images: Tensor, generator: torch.Generator) -> Tensor:
    """Shift each image by up to a sixteenth of its side, its reflection coming in: [B, C, H, W], same out."""
    height, width = images.shape[2:]
    pad_y, pad_x = height // 16, width // 16
    rows, columns = _windows(len(images), (height, width), (pad_y, pad_x), generator)
    return _gather(images, _reflected(rows - pad_y, height), _reflected(columns - pad_x, width))


def _windows(
    batch: int, size: tuple[int, int], pad: tuple[int, int], generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Rows [B, H] and columns [B, W] of a window of that size, anywhere in an image padded on all sides."""
    top = torch.randint(2 * pad[0] + 1, (batch, 1), generator=generator)
    left = torch.randint(2 * pad[1] + 1, (batch, 1), generator=generator)
    return top + torch.arange(size[0]), left + torch.arange(size[1])


def _reflected(places: Tensor, size: int) -> Tensor:
    return size - 1 - (size - 1 - places.abs()).abs()


def _gather(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    batch, channels = torch.arange(len(images))[:, None, None, None], torch.arange(images.shape[1])[:, None, None]
    return images[batch, channels, rows[:, None, :, None], columns[:, None, None, :]]


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


def alternating_flips(n: int, epoch: int, seed: int) -> Tensor:
    """Which of n samples to mirror in an epoch: each every other epoch, half of them in the first: [n] bool.

    In two epochs every sample is seen both ways, which random flips grant only half of them (Jordan, arXiv 2404.00498).
    """
    first = torch.rand(n, generator=torch.Generator().manual_seed(seed)) < 0.5
    return first if epoch % 2 == 0 else ~first


def augment(images: Tensor, kind: Augmentation, generator: torch.Generator, *, flipped: Tensor | None = None) -> Tensor:
    """Augment a batch of images on the CPU.

    Args:
        images: [B, C, H, W] uint8.
        kind: "crop-flip", "shift-flip" (a smaller shift with mirrored edges), "randaugment" (crop and flip, then
            RandAugment) or "none".
        generator: draws crops and flips.
        flipped: [B] bool, for "shift-flip" alone: which images to mirror.
    """
    if kind == "none":
        return images
    if kind == "shift-flip":
        shifted = random_shift(images, generator)
        return shifted if flipped is None else torch.where(flipped[:, None, None, None], shifted.flip(3), shifted)
    images = random_flip(random_crop(images, generator), generator)
    return rand_augment(images) if kind == "randaugment" else images


def normalise(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Images [B, C, H, W] or features [B, D] as float32 with `mean` and `std` [C] or [D] (in their units) taken out."""
    if images.ndim == 2:
        return (images.float() - mean) / std
    return (images.float() - mean[:, None, None]) / std[:, None, None]
