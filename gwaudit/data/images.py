"""Decode images to one size: all at once where they fit in memory, else each time that they are read."""

import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from gwaudit.core.settings import DEFAULT_RESIZING, Fit, Resizing
from gwaudit.data.fitting import SMALL_SIDE, ImageFit, are_photos
from gwaudit.data.image_checks import ImageDigest, check_images, digest_of
from gwaudit.data.image_conversion import DEFAULT_CONVERSION, ImageConversion, Measurement, choose_conversion
from gwaudit.data.image_decoding import (
    EncodedImage,
    FilePart,
    ImageHeader,
    LoadedImage,
    UnreadableImageError,
    load_image,
    read_header,
)
from gwaudit.data.inputs import Digest, InMemory, Inputs
from gwaudit.data.reading_notes import ReadingNotes
from gwaudit.data.workers import in_worker

IN_MEMORY_BYTES = 2 * 2**30
LARGE_SIDE = 224
_HELD_BYTES = 2**30
_BACKGROUND_SAMPLE = 200

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class EncodedImages:
    """Hold encoded images, and decode them each time that they are read.

    Threads decode: Pillow's decoders release Python's global lock.

    Attributes:
        items: The encoded images.
        size: Width and height in pixels of the decoded images.
        fit: How each image becomes a square; None where all have that size already.
        conversion: How they become 8-bit RGB.
    """

    items: Sequence[EncodedImage]
    size: tuple[int, int]
    fit: ImageFit | None
    conversion: ImageConversion

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return the shape (C, H, W) of one image."""
        return 3, self.size[1], self.size[0]

    def __len__(self) -> int:
        return len(self.items)

    def read(self, sample_ids: Tensor) -> Tensor:
        """Return the images of these ids, [B, C, H, W] uint8."""
        items = [self.items[i] for i in sample_ids.tolist()]
        with recorded_warnings(), ThreadPoolExecutor(1 if in_worker() else os.cpu_count()) as threads:
            images = list(threads.map(lambda item: _fitted(load_image(item).to_rgb(self.conversion), self.fit), items))
        return torch.from_numpy(np.stack(images))

    def add_to(self, digest: Digest) -> None:
        """Add the length of every item to a checksum: reading all content would cost an epoch."""
        for item in self.items:
            digest.update(str(_n_bytes(item)).encode())
        # Runs from before there was a choice have the checksum of a crop.
        if self.fit is not None and self.fit != ImageFit(self.fit.side):
            digest.update(repr(self.fit).encode())
        if self.conversion != DEFAULT_CONVERSION:
            digest.update(repr(self.conversion).encode())


@dataclass(frozen=True, eq=False)
class DecodedImages:
    """Hold the result of decoding the images of a data set.

    Attributes:
        inputs: Those that can be decoded, in order.
        broken: Reason for each of the others, by its index.
        conversion: How they became 8-bit RGB.
        fit: How they became squares; None where they kept their size.
        digests: Digests of those that can be decoded; empty where the inputs are not images.
    """

    inputs: Inputs
    broken: dict[int, str] = field(default_factory=dict)
    conversion: ImageConversion = field(default_factory=ImageConversion)
    fit: ImageFit | None = None
    digests: Sequence[ImageDigest] = ()


def _fitted(image: Image.Image, fit: ImageFit | None) -> NDArray[np.uint8]:
    """Return what the network sees of an RGB image, [3, H, W] uint8."""
    if fit is not None:
        image = fit.apply(image)
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


def decode_all(
    items: Sequence[EncodedImage],
    keys: Sequence[str],
    image_size: int | None,
    notes: ReadingNotes,
    fit: Fit = "crop",
    resizing: Resizing = DEFAULT_RESIZING,
) -> DecodedImages:
    """Decode every item once, to hold it in memory or to check that it can be decoded.

    Images with more than 8 bits a channel are decoded before, to find their range; those that fit in a GiB are kept
    until they are converted.

    Args:
        items: Paths or contents of image files.
        keys: Keys of the images, for the examples in the notes.
        image_size: Side in pixels of the square that all images are brought to. By default `resizing.side`; without
            that their own size, where all have one size of at most 96 pixels a side, else 224.
        notes: Notes on the reading, which receive the sizes of the images, the conversion, and warnings.
        fit: How images that are not square become one.
        resizing: Interpolation and central crop; by default bicubic, without a crop.
    """
    broken: dict[int, str] = {}
    side = image_size or (None if resizing.only_photos else resizing.side)
    with recorded_warnings(notes):
        headers = dict(_map_readable(lambda index: read_header(items[index]), range(len(items)), broken))
        source = _Source(items)
        conversion = _conversion(headers, source, broken, notes)
        sizes = _sizes(headers, source, side, broken)
        if not sizes:
            return DecodedImages(InMemory(torch.empty((0, 3, 1, 1), dtype=torch.uint8)), broken)
        notes.measure_sizes(sizes.values())
        common = set(sizes.values())
        if side is None and not (len(common) == 1 and max(next(iter(common))) <= SMALL_SIDE):
            side = resizing.side or LARGE_SIDE
        if resizing.only_photos and not are_photos(notes.image_sizes, side or 0):
            resizing = DEFAULT_RESIZING
        width, height = (side, side) if side is not None else next(iter(common))
        if all(w == h for w, h in common):
            fit = "crop"  # the three ways are the same for squares
        square = None if side is None else ImageFit(side, fit, resizing)
        if square is not None:
            notes.remark(square.describe(sum(w != h for w, h in sizes.values()), len(sizes)))
        holds_all = len(sizes) * 3 * height * width <= IN_MEMORY_BYTES

        def decode(index: int) -> tuple[NDArray[np.uint8] | None, ImageDigest]:
            image = source.load(index).to_rgb(conversion)
            pixels = _fitted(image, square)
            return (pixels if holds_all else None), digest_of(image, pixels)

        pixels = np.empty((len(sizes) if holds_all else 0, 3, height, width), np.uint8)
        kept: list[int] = []
        digests: list[ImageDigest] = []
        for index, (image, digest) in _map_readable(decode, sizes, broken):
            if image is not None:
                pixels[len(kept)] = image
            kept.append(index)
            digests.append(digest)
    check_images(digests, [keys[index] for index in kept], notes)
    inputs: Inputs = EncodedImages([items[index] for index in kept], (width, height), square, conversion)
    if holds_all:
        inputs = InMemory(torch.from_numpy(pixels[: len(kept)]))
    return DecodedImages(inputs, broken, conversion, square, digests)


@dataclass(eq=False)
class _Source:
    """Load images by their index, and hold some between their measurement and their conversion."""

    items: Sequence[EncodedImage]
    held: dict[int, LoadedImage] = field(default_factory=dict)
    held_bytes: int = 0

    def measure(self, index: int) -> Measurement:
        """Return the measurement of an image, and hold the image while there is room."""
        loaded = load_image(self.items[index])
        measurement = loaded.measure()
        if self.held_bytes + loaded.n_bytes <= _HELD_BYTES:
            self.held_bytes += loaded.n_bytes
            self.held[index] = loaded
        return measurement

    def load(self, index: int) -> LoadedImage:
        """Return an image that was held, or decode it."""
        return self.held.pop(index, None) or load_image(self.items[index])


def _conversion(
    headers: dict[int, ImageHeader], source: _Source, broken: dict[int, str], notes: ReadingNotes
) -> ImageConversion:
    """Return the conversion for all images with more than 8 bits, and by a sample of those with an alpha channel."""
    deep = [index for index, header in headers.items() if header.is_deep]
    alpha = [index for index, header in headers.items() if header.has_alpha and not header.is_deep]
    sample = alpha[:: max(len(alpha) // _BACKGROUND_SAMPLE, 1)]
    measured = [measurement for _, measurement in _map_readable(source.measure, [*deep, *sample], broken)]
    conversion, remarks = choose_conversion(measured)
    for remark in remarks:
        notes.remark(remark)
    if pages := sum(header.has_pages for header in headers.values()):
        notes.remark(f"{pages:,} images have several pages or frames: the first is read")
    if upper := sum(header.loses_bits for header in headers.values()):
        notes.warn(f"{upper:,} images have 16 bits a channel in a layout of which only the upper 8 bits can be read")
    return conversion


def _sizes(
    headers: dict[int, ImageHeader], source: _Source, image_size: int | None, broken: dict[int, str]
) -> dict[int, tuple[int, int]]:
    """Return width and height of the images that are not broken; after their orientation where it counts."""
    sizes = {index: header.size for index, header in headers.items() if index not in broken}
    sides = {tuple(sorted(size)) for size in sizes.values()}
    if image_size is None and len(sides) == 1:
        short, long = next(iter(sides))
        if short != long <= SMALL_SIDE:
            return dict(_map_readable(lambda index: load_image(source.items[index]).image.size, sizes, broken))
    return sizes


@contextmanager
def recorded_warnings(notes: ReadingNotes | None = None) -> Iterator[None]:
    """Keep the warnings of decoders from the terminal, and add them to the notes, if any."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    if notes is not None:
        shown = [str(each.message) for each in caught if issubclass(each.category, UserWarning | RuntimeWarning)]
        for text, count in Counter(text.strip().split("\n")[0] for text in shown).items():
            notes.remark(f"a decoder warned {count:,} {'time' if count == 1 else 'times'}: {text}")


def _n_bytes(item: EncodedImage) -> int:
    if isinstance(item, bytes):
        return len(item)
    return item.size if isinstance(item, FilePart) else item.stat().st_size


def _map_readable(work: Callable[[int], T], indices: Iterable[int], broken: dict[int, str]) -> Iterator[tuple[int, T]]:
    """Yield index and result of `work` in order, from threads; add the reason for each item that fails to `broken`."""

    def attempt(index: int) -> T | UnreadableImageError:
        try:
            return work(index)
        except UnreadableImageError as error:
            return error

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        # A few thousand at a time: all results at once would need twice the memory.
        for chunk in batched(indices, 4096):
            for index, result in zip(chunk, threads.map(attempt, chunk), strict=True):
                if isinstance(result, UnreadableImageError):
                    broken[index] = str(result)
                else:
                    yield index, result


def batched(values: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield the values in lists of `size`; the last one may be shorter."""
    values = iter(values)
    while chunk := list(islice(values, size)):
        yield chunk
