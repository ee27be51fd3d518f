"""Make corrupted test images: from CIFAR-10-C, or with a library of the same fifteen corruptions.

A whole set of fifteen corruptions in five severities is 75 times the test set. Here every test image is used once: the
75 are assigned over a random order of the images, so that each severity has a fifth of them and each corruption a
fifteenth.

The library (imagecorruptions-imaug, the extra `corruptions`) has the severities of ImageNet-C, which are harder on
32x32 pixels than those of CIFAR-10-C: accuracies on the two cannot be compared.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from gwaudit.core.errors import DataError, MissingExtraError
from gwaudit.data.dataset import LabeledDataset

CORRUPTIONS = (
    "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "snow",
    "frost", "fog", "brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression",
)  # fmt: skip
"""The common corruptions of Hendrycks and Dietterich, ICLR 2019."""
SEVERITIES = (1, 2, 3, 4, 5)

_SEEDED = ("impulse_noise", "glass_blur")
_SMALLEST = 32  # pixels a side that the library takes


@dataclass(frozen=True, eq=False)
class CorruptedImages:
    """Hold test images, each with one corruption of one severity.

    Attributes:
        images: [n, C, H, W] uint8.
        labels: [n] int64 right labels.
        corruption: [n] int64 indices into `CORRUPTIONS`.
        severity: [n] int64, 1 to 5.
        origin: Source of the images, for the record.
    """

    images: Tensor
    labels: Tensor
    corruption: NDArray[np.int64]
    severity: NDArray[np.int64]
    origin: str


def corrupted_by_library(test: LabeledDataset, *, seed: int = 0) -> CorruptedImages:
    """Corrupt each image of a test set once.

    Args:
        test: Test set of uint8 images with one or three channels; images below 32 pixels a side are enlarged for the
            library, and reduced again.
        seed: Seed of the assignment of corruptions to images, and of their noise.

    Raises:
        MissingExtraError: The library is not installed.
        DataError: The images are of another kind.
    """
    corrupt = _library()
    everything = test.read(torch.arange(len(test)))
    if everything.ndim != 4 or everything.dtype != torch.uint8 or everything.shape[1] not in (1, 3):
        raise DataError(f"{test.name}: only 8-bit images with one or three channels can be corrupted")
    corruption, severity = _assign(len(test), seed)
    corrupted = []
    state = np.random.get_state()  # the library draws from numpy's global generator
    np.random.seed(seed)
    try:
        for number, image in enumerate(everything):
            name = CORRUPTIONS[corruption[number]]
            # Two corruptions take a seed; without it they draw from a new generator.
            seeded = {"seed": seed * 1_000_003 + number} if name in _SEEDED else {}
            how = partial(corrupt, severity=int(severity[number]), corruption_name=name, **seeded)
            corrupted.append(_corrupt(image, how))
    finally:
        np.random.set_state(state)
    return CorruptedImages(
        torch.stack(corrupted),
        torch.from_numpy(test.labels),
        corruption,
        severity,
        "imagecorruptions (severities of ImageNet-C)",
    )


def corrupted_from_files(
    folder: Path, test: LabeledDataset, ids: NDArray[np.int64], *, seed: int = 0
) -> CorruptedImages:
    """Read CIFAR-10-C: one `.npy` [5 n, H, W, 3] a corruption, severity after severity, and `labels.npy`.

    Args:
        folder: Folder with the files.
        test: Test images that are evaluated on.
        ids: [len(test)] their indices in the whole test set, whose order the files have.
        seed: Seed of the assignment of corruptions to images.

    Raises:
        DataError: Files are missing, or hold other images.
    """
    labels = _array(folder / "labels.npy")
    whole = len(labels) // len(SEVERITIES)
    if len(ids) and (ids.max() >= whole or (labels[ids] != test.labels).any()):
        raise DataError(f"{folder} is of other images than {test.name}, or in another order: its labels differ")
    corruption, severity = _assign(len(ids), seed)
    images = torch.empty((len(ids), *test.input_shape), dtype=torch.uint8)
    for number, name in enumerate(CORRUPTIONS):
        assigned = np.flatnonzero(corruption == number)
        if not len(assigned):
            continue
        content = _array(folder / f"{name}.npy")
        height, width = test.input_shape[1:]
        if content.shape != (len(labels), height, width, test.input_shape[0]) or content.dtype != np.uint8:
            raise DataError(
                f"{folder / f'{name}.npy'} holds {content.dtype} {content.shape}, expected uint8 "
                f"{(len(labels), height, width, test.input_shape[0])}"
            )
        rows = np.array(content[(severity[assigned] - 1) * whole + ids[assigned]])
        images[torch.from_numpy(assigned)] = torch.from_numpy(rows).permute(0, 3, 1, 2)
    return CorruptedImages(images, torch.from_numpy(test.labels), corruption, severity, "CIFAR-10-C")


def _assign(n: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the corruption and the severity of each of n images."""
    combinations = np.array(list(itertools.product(range(len(CORRUPTIONS)), SEVERITIES)), np.int64)
    assigned = combinations[np.random.default_rng(seed).permutation(n) % len(combinations)]
    return assigned[:, 0], assigned[:, 1]


def _corrupt(image: Tensor, corrupt: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]) -> Tensor:
    """Corrupt one image [C, H, W], in the size and with the three channels that the library needs."""
    channels, height, width = image.shape
    times = -(-_SMALLEST // min(height, width))
    large = image.repeat_interleave(times, 1).repeat_interleave(times, 2)
    pixels = np.ascontiguousarray(large.expand(3, -1, -1).permute(1, 2, 0).numpy())
    corrupted = torch.from_numpy(np.array(corrupt(pixels))).permute(2, 0, 1).float()
    if times > 1:
        corrupted = functional.avg_pool2d(corrupted[None], times)[0]
    return (corrupted if channels == 3 else corrupted.mean(0, keepdim=True)).round().to(torch.uint8)


def _library() -> Callable[..., NDArray[np.uint8]]:
    try:
        from imagecorruptions import corrupt
    except ImportError as error:
        raise MissingExtraError("corrupting test images", "corruptions") from error
    typed: Callable[..., NDArray[np.uint8]] = corrupt
    return typed


def _array(path: Path) -> NDArray[np.generic]:
    try:
        content: NDArray[np.generic] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} cannot be read as an array of CIFAR-10-C: {error}") from error
    return content
