"""Read images that do not fit into memory: decoded each time, or from the cache of decoded images."""

import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from torch import Tensor

from gwaudit.data.arrow_columns import taken
from gwaudit.data.fitting import ImageFit
from gwaudit.data.image_checks import pixel_checksum
from gwaudit.data.image_conversion import DEFAULT_CONVERSION, ImageConversion
from gwaudit.data.image_decoding import EncodedImage, FilePart, LoadedImage, load_image
from gwaudit.data.inputs import Digest, Inputs, SubsetInputs
from gwaudit.data.reading_notes import ReadingNotes
from gwaudit.data.workers import in_worker


@dataclass(frozen=True, eq=False)
class EncodedImages:
    """Hold encoded images, and decode them each time that they are read.

    In a process without workers threads decode: Pillow's decoders release Python's global lock.

    Attributes:
        items: The encoded images.
        size: Width and height in pixels of the decoded images.
        fit: How each image becomes a square; None where all have that size already.
        conversion: How they become 8-bit RGB.
        checksums: Checksum of the pixels of each image, n times 16 bytes; empty where they were not decoded before.
    """

    items: Sequence[EncodedImage]
    size: tuple[int, int]
    fit: ImageFit | None
    conversion: ImageConversion
    checksums: bytes = b""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return the shape (C, H, W) of one image."""
        return 3, self.size[1], self.size[0]

    def __len__(self) -> int:
        return len(self.items)

    def read(self, sample_ids: Tensor) -> Tensor:
        """Return the images of these ids, [B, C, H, W] uint8."""
        images = np.empty((len(sample_ids), *self.shape), np.uint8)

        def decode(position: int, index: int) -> None:
            images[position] = self.fitted(load(self.items[index], self.fit))[1]

        with recorded_warnings(), ThreadPoolExecutor(1 if in_worker() else os.cpu_count()) as threads:
            list(threads.map(decode, range(len(sample_ids)), sample_ids.tolist()))
        return torch.from_numpy(images)

    def fitted(self, loaded: LoadedImage) -> tuple[Image.Image, NDArray[np.uint8]]:
        """Return an image as RGB, and what the network sees of it, [3, H, W] uint8."""
        image = loaded.to_rgb(self.conversion)
        square = image if self.fit is None else self.fit.apply(image)
        return image, np.ascontiguousarray(np.asarray(square).transpose(2, 0, 1))

    def subset(self, indices: Sequence[int]) -> Self:
        """Return the images of these indices, in this order."""
        return replace(self, items=taken(self.items, indices), checksums=_rows(self.checksums, indices))

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
class CachedImages:
    """Hold images that lie decoded in a file, of which the checksum of each image is compared when it is read.

    An image whose pixels in the file are not those that were written, and every image when the file is gone, is decoded
    from its original.

    Attributes:
        originals: The images as the source has them.
        file: The pixels, [n, C, H, W] uint8.
        checksums: Checksum of the pixels of each image, n times 16 bytes.
    """

    originals: EncodedImages
    file: Path
    checksums: bytes

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return the shape (C, H, W) of one image."""
        return self.originals.shape

    def __len__(self) -> int:
        return len(self.originals)

    def read(self, sample_ids: Tensor) -> Tensor:
        """Return the images of these ids, [B, C, H, W] uint8."""
        try:
            # Mapped for this batch alone: pages of a map that stays would count as memory of the process.
            pixels = np.memmap(self.file, np.uint8, "r", shape=(len(self), *self.shape))[sample_ids.numpy()]
        except (OSError, ValueError):  # deleted to make room, or cut short
            return self.originals.read(sample_ids)
        images = np.asarray(pixels)
        expected = [self.checksums[16 * i : 16 * i + 16] for i in sample_ids.tolist()]
        damaged = [at for at, image in enumerate(images) if pixel_checksum(image) != expected[at]]
        if damaged:
            images[damaged] = self.originals.read(sample_ids[damaged]).numpy()
        return torch.from_numpy(images)

    def add_to(self, digest: Digest) -> None:
        """Add the originals to a checksum: with and without the cache the data are the same."""
        self.originals.add_to(digest)


def known_checksums(inputs: Inputs) -> bytes:
    """Return the checksums of the pixels of images that were decoded before, n times 16 bytes; of others b""."""
    if isinstance(inputs, SubsetInputs):
        return _rows(known_checksums(inputs.inputs), inputs.ids.numpy())
    return inputs.checksums if isinstance(inputs, EncodedImages | CachedImages) else b""


def load(item: EncodedImage, fit: ImageFit | None) -> LoadedImage:
    """Decode an image; a JPEG only as large as is needed for its fit (`ImageFit.least_size`).

    Raises:
        UnreadableImageError: It is not a whole image.
    """
    least_size: Callable[[int, int], tuple[int, int]] | None = None if fit is None else fit.least_size
    return load_image(item, least_size)


@contextmanager
def recorded_warnings(notes: ReadingNotes | None = None) -> Iterator[list[str]]:
    """Keep the warnings of decoders from the terminal, and add them to the notes, if any.

    Yields:
        A list, for the warnings of other processes, which are added to the notes too; when the block ends it holds all.
    """
    texts: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield texts
    shown = [str(each.message) for each in caught if issubclass(each.category, UserWarning | RuntimeWarning)]
    texts += [text.strip().split("\n")[0] for text in shown]
    if notes is not None:
        for text, count in Counter(texts).items():
            notes.remark(f"a decoder warned {count:,} {'time' if count == 1 else 'times'}: {text}")


def _rows(checksums: bytes, indices: ArrayLike) -> bytes:
    return np.frombuffer(checksums, "V16")[np.asarray(indices, np.int64)].tobytes() if checksums else b""


def _n_bytes(item: EncodedImage) -> int:
    if isinstance(item, bytes):
        return len(item)
    return item.size if isinstance(item, FilePart) else item.stat().st_size
