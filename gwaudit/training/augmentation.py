"""Augment and normalise batches of image tensors.

If several ranks have a part of a batch each, every rank draws for the whole batch (`BatchPart`). The shift and the flip
of an image then do not depend on the number of ranks.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.transforms import v2

from gwaudit.core.settings import Augmentation


class BatchPart(NamedTuple):
    """Describe which part of a batch a rank has.

    Attributes:
        indices: The indices of its samples in the batch.
        batch_size: Number of samples of the whole batch.
    """

    indices: slice
    batch_size: int


def random_crop(images: Tensor, generator: torch.Generator, part: BatchPart | None = None) -> Tensor:
    """Shift each image by up to an eighth of its side, and fill the border with zeros.

    Args:
        images: [B, C, H, W] of any dtype.
        generator: Draws the shifts.
        part: The part of a batch that these images are, or None for a whole batch.

    Returns:
        Shifted images, of the same shape and dtype.
    """
    height, width = images.shape[2:]
    pad_y, pad_x = height // 8, width // 8
    padded = functional.pad(images, (pad_x, pad_x, pad_y, pad_y))
    rows, columns = _draw_windows(_whole_batch(images, part), (height, width), (pad_y, pad_x), generator)
    return _take(padded, rows, columns)


def random_shift(images: Tensor, generator: torch.Generator, part: BatchPart | None = None) -> Tensor:
    """Shift each image by up to a sixteenth of its side, and fill the border with its reflection.

    Args:
        images, generator, part: As for `random_crop`.

    Returns:
        Shifted images, of the same shape and dtype.
    """
    height, width = images.shape[2:]
    pad_y, pad_x = height // 16, width // 16
    rows, columns = _draw_windows(_whole_batch(images, part), (height, width), (pad_y, pad_x), generator)
    return _take(images, _reflect(rows - pad_y, height), _reflect(columns - pad_x, width))


def _whole_batch(images: Tensor, part: BatchPart | None) -> BatchPart:
    return BatchPart(slice(None), len(images)) if part is None else part


def _draw_windows(
    part: BatchPart, size: tuple[int, int], pad: tuple[int, int], generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return rows [B, H] and columns [B, W] of a random window of that size in an image padded on all sides."""
    top = torch.randint(2 * pad[0] + 1, (part.batch_size, 1), generator=generator)[part.indices]
    left = torch.randint(2 * pad[1] + 1, (part.batch_size, 1), generator=generator)[part.indices]
    return top + torch.arange(size[0]), left + torch.arange(size[1])


def _reflect(indices: Tensor, size: int) -> Tensor:
    return size - 1 - (size - 1 - indices.abs()).abs()


def _take(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    batch, channels = torch.arange(len(images))[:, None, None, None], torch.arange(images.shape[1])[:, None, None]
    return images[batch, channels, rows[:, None, :, None], columns[:, None, None, :]]


def random_flip(images: Tensor, generator: torch.Generator, part: BatchPart | None = None) -> Tensor:
    """Mirror each image left to right with probability 1/2.

    Args:
        images, generator, part: As for `random_crop`.

    Returns:
        Images of the same shape and dtype.
    """
    indices, batch_size = _whole_batch(images, part)
    flipped = torch.rand(batch_size, generator=generator)[indices] < 0.5
    return torch.where(flipped[:, None, None, None], images.flip(3), images)


def rand_augment(images: Tensor) -> Tensor:
    """Apply RandAugment to each image (Cubuk et al., 2020; torchvision's defaults).

    It draws from torch's global generator, as torchvision does; the trainer seeds that for each epoch.

    Args:
        images: [B, C, H, W] uint8.

    Returns:
        Images of the same shape and dtype.
    """
    transform = v2.RandAugment()
    return torch.stack([transform(image) for image in images])


def alternating_flips(n: int, epoch: int, seed: int) -> Tensor:
    """Return which samples to mirror in an epoch: each one every other epoch, half of them in the first.

    In two epochs every sample is seen both ways; with random flips, half of them are (Jordan, arXiv 2404.00498).

    Args:
        n: Number of samples.
        epoch: The epoch, counted from 0.
        seed: Seed of the draw.

    Returns:
        [n] bool.
    """
    first = torch.rand(n, generator=torch.Generator().manual_seed(seed)) < 0.5
    return first if epoch % 2 == 0 else ~first


def augment(
    images: Tensor,
    kind: Augmentation,
    generator: torch.Generator,
    *,
    flipped: Tensor | None = None,
    part: BatchPart | None = None,
) -> Tensor:
    """Augment a batch of images on the CPU.

    Args:
        images: [B, C, H, W] uint8.
        kind: "crop-flip", "shift-flip" (a smaller shift, filled by reflection), "randaugment" (crop and flip, then
            RandAugment), "crop" or "none".
        generator: Draws crops and flips.
        flipped: [B] bool, which images to mirror; for "shift-flip" only.
        part: The part of a batch that these images are. RandAugment's own draws do not depend on it.

    Returns:
        Images of the same shape and dtype.
    """
    if kind == "none":
        return images
    if kind == "shift-flip":
        shifted = random_shift(images, generator, part)
        return shifted if flipped is None else torch.where(flipped[:, None, None, None], shifted.flip(3), shifted)
    images = random_crop(images, generator, part)
    if kind == "crop":
        return images
    images = random_flip(images, generator, part)
    return rand_augment(images) if kind == "randaugment" else images


def normalise(inputs: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Subtract the mean of each channel or feature, and divide by its standard deviation.

    Args:
        inputs: Images [B, C, H, W] or features [B, D].
        mean, std: [C] or [D], in the units of the inputs.

    Returns:
        The normalised inputs, float32.
    """
    if inputs.ndim == 2:
        return (inputs.float() - mean) / std
    return (inputs.float() - mean[:, None, None]) / std[:, None, None]
