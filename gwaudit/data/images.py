"""Decode images to one size: all at once where they fit in memory, else each time that they are read."""

import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from gwaudit.core.settings import DEFAULT_RESIZING, Fit, Resizing
from gwaudit.data.fitting import ImageFit
from gwaudit.data.image_files import UNREADABLE, EncodedImage, FilePart
from gwaudit.data.inputs import Digest, InMemory, Inputs
from gwaudit.data.reading_notes import ReadingNotes

IN_MEMORY_BYTES = 2 * 2**30
LARGE_SIDE = 224
_SMALL_SIDE = 96

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class EncodedImages:
    """Hold encoded images, and decode them each time that they are read.

    Threads decode: Pillow's decoders release Python's global lock.

    Attributes:
        items: The encoded images.
        size: Width and height in pixels of the decoded images.
        fit: How each image becomes a square; None where all have that size already.
    """

    items: Sequence[EncodedImage]
    size: tuple[int, int]
    fit: ImageFit | None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return the shape (C, H, W) of one image."""
        return 3, self.size[1], self.size[0]

    def __len__(self) -> int:
        return len(self.items)

    def read(self, sample_ids: Tensor) -> Tensor:
        """Return the images of these ids, [B, C, H, W] uint8."""
        items = [self.items[i] for i in sample_ids.tolist()]
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            images = list(threads.map(lambda item: decode(item, self.fit), items))
        return torch.from_numpy(np.stack(images))

    def add_to(self, digest: Digest) -> None:
        """Add the length of every item to a checksum: reading all content would cost an epoch."""
        for item in self.items:
            digest.update(str(_n_bytes(item)).encode())
        # Runs from before there was a choice have the checksum of a crop.
        if self.fit is not None and self.fit != ImageFit(self.fit.side):
            digest.update(repr(self.fit).encode())


def decode(item: EncodedImage, fit: ImageFit | None) -> NDArray[np.uint8]:
    """Decode one image to [3, H, W] uint8, the right way up.

    Args:
        item: The encoded image.
        fit: How the image becomes a square; None to keep its size.

    Raises:
        OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError: It is not a whole image
            (`UNREADABLE`).
    """
    with Image.open(_openable(item)) as file:
        image = ImageOps.exif_transpose(file).convert("RGB")
    if fit is not None:
        image = fit.apply(image)
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


def decode_all(
    items: Sequence[EncodedImage],
    image_size: int | None,
    notes: ReadingNotes,
    fit: Fit = "crop",
    resizing: Resizing = DEFAULT_RESIZING,
) -> tuple[Inputs, dict[int, str], ImageFit | None]:
    """Decode every item once, to hold it in memory or to check that it can be decoded.

    Args:
        items: Paths or contents of image files.
        image_size: Side in pixels of the square that all images are brought to. By default their own size, where all
            have one size of at most 96 pixels a side, else 224.
        notes: Notes on the reading, which receive the sizes of the images.
        fit: How images that are not square become one.
        resizing: Interpolation and central crop; by default bicubic, without a crop.

    Returns:
        The images that can be decoded, in order; for each of the others its index and the reason; and how the images
        became squares, None where they kept their size.
    """
    broken: dict[int, str] = {}
    sizes = dict(_map_readable(_size, dict(enumerate(items)), broken))
    if not sizes:
        return InMemory(torch.empty((0, 3, 1, 1), dtype=torch.uint8)), broken, None
    notes.measure_sizes(sizes.values())
    common = set(sizes.values())
    side = image_size
    if side is None and not (len(common) == 1 and max(next(iter(common))) <= _SMALL_SIDE):
        side = LARGE_SIDE
    width, height = (side, side) if side is not None else next(iter(common))
    if all(w == h for w, h in common):
        fit = "crop"  # the three ways are the same for squares
    square = None if side is None else ImageFit(side, fit, resizing)
    if square is not None:
        notes.remark(square.describe(sum(w != h for w, h in sizes.values()), len(sizes)))
    holds_all = len(sizes) * 3 * height * width <= IN_MEMORY_BYTES
    pixels = np.empty((len(sizes) if holds_all else 0, 3, height, width), np.uint8)
    kept: list[int] = []
    for index, image in _map_readable(lambda item: decode(item, square), {i: items[i] for i in sizes}, broken):
        if holds_all:
            pixels[len(kept)] = image
        kept.append(index)
    if holds_all:
        return InMemory(torch.from_numpy(pixels[: len(kept)])), broken, square
    return EncodedImages([items[index] for index in kept], (width, height), square), broken, square


def _size(item: EncodedImage) -> tuple[int, int]:
    with Image.open(_openable(item)) as file:
        size: tuple[int, int] = file.size
        return size


def _openable(item: EncodedImage) -> io.BytesIO | Path:
    if isinstance(item, Path):
        return item
    return io.BytesIO(item if isinstance(item, bytes) else item.read())


def _n_bytes(item: EncodedImage) -> int:
    if isinstance(item, bytes):
        return len(item)
    return item.size if isinstance(item, FilePart) else item.stat().st_size


def _map_readable(
    work: Callable[[EncodedImage], T], items: Mapping[int, EncodedImage], broken: dict[int, str]
) -> Iterator[tuple[int, T]]:
    """Yield index and result of `work` in order, from threads; add the reason for each item that fails to `broken`."""

    def attempt(item: EncodedImage) -> T | Exception:
        try:
            return work(item)
        except UNREADABLE as error:
            return error

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        # A few thousand at a time: all results at once would need twice the memory.
        for chunk in batched(items.items(), 4096):
            for (index, _), result in zip(chunk, threads.map(attempt, [item for _, item in chunk]), strict=True):
                if isinstance(result, Exception):
                    broken[index] = str(result).splitlines()[0] if str(result) else type(result).__name__
                else:
                    yield index, result


def batched(values: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield the values in lists of `size`; the last one may be shorter."""
    values = iter(values)
    while chunk := list(islice(values, size)):
        yield chunk
