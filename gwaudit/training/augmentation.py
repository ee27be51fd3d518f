"""Augment and normalise batches of image tensors.

`draw` makes all random choices of a batch, and `augment` applies them, in any process. If several ranks have a part of
a batch each, every rank draws for the whole batch (`BatchPart`). So an augmented image does not depend on the number of
ranks or of workers.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torchvision.transforms import v2

from gwaudit.core.settings import Augmentation
from gwaudit.data.dataset import LabeledDataset
from gwaudit.training.preprocessing import Preprocessing

LEAST_AREA = 0.35
"""Smallest share of an image in a random resized crop: the object should be in it."""
_STRONG_SHARE = 0.6  # of the images of a batch
_COLOUR_CHANGE = 0.4  # of contrast and saturation
_COLOUR_SHIFT = 0.3  # of each channel, in standard deviations of the image
_HIDDEN_SHARE = 3 / 8  # of a side


class BatchPart(NamedTuple):
    """Describe which part of a batch a rank has.

    Attributes:
        indices: The indices of its samples in the batch.
        batch_size: Number of samples of the whole batch.
    """

    indices: slice
    batch_size: int


class Draws(NamedTuple):
    """Hold the random choices for the images of one rank's part of a batch; None where the augmentation has none.

    Attributes:
        top, left: Position of each image's window in the padded image, [b, 1] int64.
        flipped: Which images to mirror, [b] bool.
        seeds: Seed of the further choices for each image, [b] int64.
        strong: Which images to change in colour and to hide a part of, [b] bool.
        colours: Contrast, saturation and the shift of three channels, [b, 5].
        hidden: Centre of each image's hidden square, as shares of its height and width, [b, 2].
    """

    top: Tensor | None = None
    left: Tensor | None = None
    flipped: Tensor | None = None
    seeds: Tensor | None = None
    strong: Tensor | None = None
    colours: Tensor | None = None
    hidden: Tensor | None = None


def draw(
    kind: Augmentation,
    image_size: tuple[int, int],
    generator: torch.Generator,
    part: BatchPart,
    *,
    flipped: Tensor | None = None,
    seeds: Tensor | None = None,
) -> Draws:
    """Draw the augmentation of a rank's part of a batch.

    Args:
        kind: "crop-flip", "shift-flip" (a smaller shift, filled by reflection), "strong" (shift-flip, and for 60 % of
            the images a larger shift, other colours and a hidden square), "randaugment" (crop and flip, then
            RandAugment), "resized-crop" (random resized crop and flip), "crop" or "none".
        image_size: Height and width of the images.
        generator: Draws crops and flips.
        part: The part of the batch.
        flipped: [b] bool, which images to mirror; for "shift-flip" and "strong" only.
        seeds: [b] seeds (`sample_seeds`); for "randaugment" and "resized-crop" only.
    """
    if kind == "none":
        return Draws()
    if kind == "resized-crop":
        return Draws(seeds=seeds)
    if kind == "strong":
        return _strong_draws(image_size, generator, part, flipped)
    share = 16 if kind == "shift-flip" else 8
    top, left = (
        torch.randint(2 * (length // share) + 1, (part.batch_size, 1), generator=generator)[part.indices]
        for length in image_size
    )
    if kind == "shift-flip":
        return Draws(top, left, flipped)
    if kind == "crop":
        return Draws(top, left)
    flipped = torch.rand(part.batch_size, generator=generator)[part.indices] < 0.5
    return Draws(top, left, flipped, seeds if kind == "randaugment" else None)


def _strong_draws(
    image_size: tuple[int, int], generator: torch.Generator, part: BatchPart, flipped: Tensor | None
) -> Draws:
    n = part.batch_size
    strong = torch.rand(n, generator=generator) < _STRONG_SHARE
    places = 2 * torch.rand(n, 2, generator=generator) - 1
    factors = 1 + _COLOUR_CHANGE * (2 * torch.rand(n, 2, generator=generator) - 1)
    shifts = _COLOUR_SHIFT * torch.randn(n, 3, generator=generator)
    hidden = torch.rand(n, 2, generator=generator)
    own = part.indices
    reach = torch.where(strong[own], 2, 1)  # sixteenths of a side
    top, left = (
        (places[own, axis] * reach * (length // 16)).round().long()[:, None] + length // 16
        for axis, length in enumerate(image_size)
    )
    return Draws(
        top, left, flipped, strong=strong[own], colours=torch.cat([factors, shifts], 1)[own], hidden=hidden[own]
    )


def sample_seeds(seed: int, epoch: int, sample_ids: Tensor) -> Tensor:
    """Return a seed for each sample in an epoch, [b] int64: 32 bits, as torch's generator on a CPU uses no more."""
    states = [np.random.SeedSequence((seed, epoch, i)).generate_state(1)[0] for i in sample_ids.tolist()]
    return torch.tensor(np.array(states, np.int64))


def augment(images: Tensor, kind: Augmentation, draws: Draws) -> Tensor:
    """Augment a batch of images on their device; by "randaugment" and "resized-crop" on the CPU alone.

    Args:
        images: [b, C, H, W] of any dtype; uint8 for "randaugment".
        kind: The augmentation, as for `draw`.
        draws: What was drawn for it.

    Returns:
        Images of the same shape and dtype.
    """
    if kind == "none":
        return images
    if kind == "resized-crop":
        height, width = images.shape[2:]
        transform = v2.Compose(
            [v2.RandomResizedCrop((height, width), scale=(LEAST_AREA, 1.0)), v2.RandomHorizontalFlip()]
        )
        return _transformed(images, transform, draws)
    assert draws.top is not None
    assert draws.left is not None
    top, left = (offset.to(images.device, non_blocking=True) for offset in (draws.top, draws.left))
    shifted = (_reflected if kind in ("shift-flip", "strong") else _padded)(images, top, left)
    if draws.flipped is not None:
        flipped = draws.flipped.to(images.device, non_blocking=True)
        shifted = torch.where(flipped[:, None, None, None], shifted.flip(3), shifted)
    if kind == "strong":
        return _recoloured(shifted, draws)
    return _transformed(shifted, v2.RandAugment(), draws) if kind == "randaugment" else shifted


def _padded(images: Tensor, top: Tensor, left: Tensor) -> Tensor:
    """Return each image shifted by up to an eighth of its side, with zeros at the border."""
    height, width = images.shape[2:]
    pad_y, pad_x = height // 8, width // 8
    padded = functional.pad(images, (pad_x, pad_x, pad_y, pad_y))
    if images.device.type != "cpu":
        return _take(padded, _range(top, height), _range(left, width))
    windows = torch.empty_like(images)
    # Slices are copied: at 96 pixels `_take` is three times as slow.
    for window, image, y, x in zip(windows, padded, top[:, 0].tolist(), left[:, 0].tolist(), strict=True):
        window.copy_(image[:, y : y + height, x : x + width])
    return windows


def _reflected(images: Tensor, top: Tensor, left: Tensor) -> Tensor:
    """Return each image shifted by up to a sixteenth of its side, with its reflection at the border."""
    height, width = images.shape[2:]
    rows, columns = _range(top, height) - height // 16, _range(left, width) - width // 16
    return _take(images, _reflect(rows, height), _reflect(columns, width))


def _recoloured(images: Tensor, draws: Draws) -> Tensor:
    """Return images of which the strong ones have other colours, and a square of their mean colour.

    Contrast is scaled around the mean of each channel, then each channel is shifted, then saturation is scaled around
    grey. Whole numbers are clamped to the values of their type.
    """
    assert draws.strong is not None
    assert draws.colours is not None
    assert draws.hidden is not None
    device, (height, width) = images.device, images.shape[2:]
    strong, colours, hidden = (
        each.to(device, non_blocking=True) for each in (draws.strong, draws.colours, draws.hidden)
    )
    values = images.float()
    deviation, mean = values.std((1, 2, 3), keepdim=True), values.mean((2, 3), keepdim=True)
    contrast, saturation = colours[:, 0, None, None, None], colours[:, 1, None, None, None]
    shift = colours[:, 2 + torch.arange(images.shape[1], device=device) % 3, None, None] * deviation
    changed = (values - mean) * contrast + mean + shift
    grey = changed.mean(1, keepdim=True)
    changed = grey + (changed - grey) * saturation
    rows, columns = (
        (torch.arange(length, device=device) + 0.5 - hidden[:, axis, None] * length).abs() < _HIDDEN_SHARE * length / 2
        for axis, length in enumerate((height, width))
    )
    is_hidden = (rows[:, :, None] & columns[:, None, :])[:, None]
    changed = torch.where(is_hidden, changed.mean((2, 3), keepdim=True), changed)
    if not images.is_floating_point():
        limits = torch.iinfo(images.dtype)
        changed = changed.round().clamp(limits.min, limits.max)
    return torch.where(strong[:, None, None, None], changed.to(images.dtype), images)


def _reflect(indices: Tensor, size: int) -> Tensor:
    return size - 1 - (size - 1 - indices.abs()).abs()


def _range(first: Tensor, length: int) -> Tensor:
    """Return `length` indices from each of the first ones [b, 1] on, [b, length]."""
    return first + torch.arange(length, device=first.device)


def _take(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    batch, channels = (torch.arange(size, device=images.device) for size in images.shape[:2])
    batch, channels = batch[:, None, None, None], channels[:, None, None]
    return images[batch, channels, rows[:, None, :, None], columns[:, None, None, :]]


def _transformed(images: Tensor, transform: v2.Transform, draws: Draws) -> Tensor:
    """Return the images after a random transform of torchvision, which draws from torch's global generator."""
    assert draws.seeds is not None
    transformed = []
    with torch.random.fork_rng(devices=[]):
        for image, seed in zip(images, draws.seeds.tolist(), strict=True):
            torch.default_generator.manual_seed(seed)  # torch.manual_seed formats the stack too, in half a millisecond
            transformed.append(transform(image))
    return torch.stack(transformed)


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


def statistics_of(dataset: LabeledDataset, preprocessing: Preprocessing | None) -> tuple[Tensor, Tensor]:
    """Return the mean and the standard deviation of each channel or feature, [C], that normalise the inputs.

    Args:
        dataset: The inputs, as the model takes them.
        preprocessing: That of the images; None for features.
    """
    if dataset.modality == "images" and preprocessing is not None:
        return torch.tensor(preprocessing.mean), torch.tensor(preprocessing.std)
    mean, std = dataset.channel_statistics()
    return torch.tensor(mean), torch.tensor(std)


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
