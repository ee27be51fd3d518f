"""Decode every image of a source once: into memory where they fit, else into a cache on disk.

Where the cache has no room for them either, they are decoded again each time that they are read. Photos that take a
second to decode are kept in the cache too when they fit in memory, for the next audit or report.
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from heapq import merge
from math import prod
from operator import itemgetter

import numpy as np
import torch
from numpy.typing import NDArray

from gwaudit.core.settings import DEFAULT_RESIZING, DataSettings
from gwaudit.data.arrow_columns import taken
from gwaudit.data.encoded_images import CachedImages, EncodedImages, load, recorded_warnings
from gwaudit.data.fitting import SMALL_SIDE, ImageFit, are_photos
from gwaudit.data.image_checks import ImageDigest, check_images, digest_of
from gwaudit.data.image_conversion import DEFAULT_CONVERSION, ImageConversion, Measurement, choose_conversion
from gwaudit.data.image_decoding import (
    EncodedImage,
    ImageHeader,
    LoadedImage,
    UnreadableImageError,
    load_image,
    read_header,
    read_small,
)
from gwaudit.data.image_passes import ImagePasses
from gwaudit.data.inputs import InMemory, Inputs
from gwaudit.data.pixel_cache import DecodedOnce, EarlierPixels, PixelCache, PixelWriter
from gwaudit.data.reading_notes import ReadingNotes
from gwaudit.data.reading_progress import ReadingProgress
from gwaudit.data.workers import naming_dead_workers, resolve_workers

IN_MEMORY_BYTES = 2 * 2**30
LARGE_SIDE = 224
_HELD_BYTES, _SMALL_BYTES = 2**30, 2**28
_BACKGROUND_SAMPLE = 200
_HEADERS_A_SECOND, _IMAGES_A_SECOND, _PIXELS_A_SECOND = 5000, 3000, 50e6  # about, of one core
_WORTH_KEEPING, _WORTH_WORKERS = 1.0, 2.0  # seconds of work
_SECONDS_BETWEEN_REPORTS = 0.1
_CHUNK = 256


_Decoded = tuple[NDArray[np.uint8], ImageDigest]
"""What the network sees of an image, [3, H, W], and its digest."""


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


@naming_dead_workers()
def decode_all(
    items: Sequence[EncodedImage],
    keys: Sequence[str],
    settings: DataSettings,
    notes: ReadingNotes,
    progress: ReadingProgress | None = None,
    before_decoding: Callable[[bool], None] | None = None,
) -> DecodedImages:
    """Decode every item once, to hold it in memory or to keep it in the cache, and to check it.

    Images with more than 8 bits a channel are decoded before, to find their range; those that fit in a GiB are kept
    until they are converted.

    Args:
        items: Paths or contents of image files.
        keys: Keys of the images, for the examples in the notes.
        settings: `image_size`, side in pixels of the square that all images are brought to: by default
            `resizing.side`; without that their own size, where all have one size of at most 96 pixels a side, else 224.
            Also `fit`, `resizing`, `workers`, `cache` and `cache_limit`.
        notes: Notes on the reading, which receive the sizes of the images, the conversion, and warnings.
        progress: Receives the number of images decoded.
        before_decoding: Receives whether the images are photos, when their headers are read and before one is decoded;
            not called where the cache has the images. An error that it raises ends the reading.

    Raises:
        WorkerDiedError: A worker died.
    """
    cache = PixelCache(items, settings)
    with cache.locked():
        once = cache.open()
        if once is None or any(_is_readable(items[index]) for index in once.broken):
            once, inputs = _Decoding(items, settings, progress).run(cache, before_decoding)
        elif _fit_in_memory(len(items), once.images):
            inputs = InMemory(_all_pixels(_cached(once, cache)))
        else:
            inputs = _cached(once, cache)
    notes.include(once.notes)
    if cache.n_bytes:
        notes.remark(f"the decoded images are kept for the next run in {cache.root} ({cache.n_bytes / 1e6:,.0f} MB)")
    elif isinstance(inputs, EncodedImages) and len(inputs):
        notes.remark(
            f"the images are decoded in every epoch: {prod((len(inputs), *inputs.shape)) / 2**30:,.1f} GiB of pixels "
            f"fit neither in memory nor in {cache.root} (`cache_limit`, and the free space of the disk)"
        )
    check_images(once.digests, taken(keys, once.kept), notes)
    return DecodedImages(inputs, once.broken, once.images.conversion, once.images.fit, once.digests)


class _Decoding:
    """Decode the images of a source for the first time."""

    def __init__(self, items: Sequence[EncodedImage], settings: DataSettings, progress: ReadingProgress | None) -> None:
        self.items, self.settings, self.progress = items, settings, progress
        self.notes, self.source = ReadingNotes(), _Source(items)
        self.passes = ImagePasses(resolve_workers(settings.workers, beside_training=False))
        self.small: dict[int, _Decoded] = {}

    @property
    def _asked_side(self) -> int | None:
        """Return the side that images of any size get; None where small images keep their size."""
        resizing = self.settings.resizing
        return self.settings.image_size or (None if resizing.only_photos else resizing.side)

    def run(
        self, cache: PixelCache, before_decoding: Callable[[bool], None] | None = None
    ) -> tuple[DecodedOnce, Inputs]:
        """Return what was found, and the images: in memory, in the cache, or as the source has them."""
        with ExitStack() as stack:
            with recorded_warnings(self.notes) as self.passes.warnings:
                every = range(len(self.items))
                in_workers = len(every) > _WORTH_WORKERS * _HEADERS_A_SECOND
                shared: dict[ImageHeader, ImageHeader] = {}  # equal ones are kept once
                headers: dict[int, ImageHeader] = {}
                look = self.source.look if self._asked_side is None else self.source.header
                for index, (header, small) in self.passes.map(look, every, in_workers=in_workers):
                    headers[index] = shared.setdefault(header, header)
                    if small is not None and len(self.small) * small[0].nbytes < _SMALL_BYTES:
                        self.small[index] = small
                sizes = self._sizes(headers)
                if before_decoding is not None and sizes:
                    side = self.settings.image_size or self.settings.resizing.side or LARGE_SIDE
                    before_decoding(are_photos(list(sizes.values()), side))
                conversion = self._conversion(headers)
                del headers
                sizes = {index: size for index, size in sizes.items() if index not in self.passes.broken}
                images = self._planned(sizes, conversion)
                seconds = len(sizes) / _IMAGES_A_SECOND + sum(w * h for w, h in sizes.values()) / _PIXELS_A_SECOND
                is_worth_keeping = images.fit is not None and seconds > _WORTH_KEEPING
                writer = None
                if is_worth_keeping and cache.has_room(len(sizes) * prod(images.shape)):
                    writer = stack.enter_context(PixelWriter(cache))
                holds_all = _fit_in_memory(len(self.items), images)
                pixels = np.empty((len(sizes) if holds_all else 0, *images.shape), np.uint8)
                kept, digests = self._decode(sizes, images, cache, writer, pixels, in_workers=seconds > _WORTH_WORKERS)
            once = DecodedOnce(images.subset(kept), kept, digests, self.passes.broken, self.notes)
            is_written = writer is not None and writer.finish(once)
        if holds_all:
            return once, InMemory(torch.from_numpy(pixels[: len(kept)]))
        return once, _cached(once, cache) if is_written else replace(once.images, checksums=once.checksums)

    def _decode(
        self,
        sizes: Mapping[int, tuple[int, int]],
        images: EncodedImages,
        cache: PixelCache,
        writer: PixelWriter | None,
        pixels: NDArray[np.uint8],
        *,
        in_workers: bool,
    ) -> tuple[list[int], list[ImageDigest]]:
        """Decode all images into the cache, and into `pixels` where it has room; return their indices and digests."""
        earlier = None if writer is None else cache.earlier(images)
        decoder = _Decoder(self.source, images, earlier, returns_pixels=len(pixels) > 0 or writer is not None)
        kept: list[int] = []
        digests: list[ImageDigest] = []
        is_whole = {index for index, (small, _) in self.small.items() if small.shape == images.shape}
        ready = is_whole.intersection(sizes) if images.fit is None else set()
        rest = [index for index in sizes if index not in ready]
        reports = _Reports(self.progress, len(sizes))
        decoded = self.passes.map(
            decoder,
            rest,
            in_workers=in_workers and bool(rest) and not self.source.held,  # they are held in this process
            on_image=reports,
        )
        for index, (image, digest) in merge(decoded, self._taken(ready, reports), key=itemgetter(0)):
            if image is not None and len(pixels):
                pixels[len(kept)] = image
            if image is not None and writer is not None:
                writer.write(image)
            kept.append(index)
            digests.append(digest)
        return kept, digests

    def _taken(self, indices: Collection[int], reports: "_Reports") -> Iterator[tuple[int, _Decoded]]:
        """Yield the small images that were decoded with their headers, in order, and free them."""
        for index in sorted(indices):
            reports()
            yield index, self.small.pop(index)

    def _planned(self, sizes: Mapping[int, tuple[int, int]], conversion: ImageConversion) -> EncodedImages:
        """Return all images with the size, the fit and the conversion that they get."""
        side, fit, resizing = self._asked_side, self.settings.fit, self.settings.resizing
        self.notes.measure_sizes(sizes.values())
        common = set(sizes.values()) or {(1, 1)}
        if side is None and not (len(common) == 1 and max(next(iter(common))) <= SMALL_SIDE):
            side = resizing.side or LARGE_SIDE
        if resizing.only_photos and not are_photos(list(common), side or 0):
            resizing = DEFAULT_RESIZING
        all_square = all(width == height for width, height in common)
        if fit != DataSettings.fit and (all_square or side is None):
            reason = "are square" if all_square else "keep their size"
            self.notes.remark(f"`fit` ({fit!r}) changes nothing: all images {reason}")
        if all_square:
            fit = "crop"  # the three ways are the same for squares
        square = None if side is None else ImageFit(side, fit, resizing)
        if square is not None and sizes:
            self.notes.remark(square.describe(sum(w != h for w, h in sizes.values()), len(sizes)))
        size = (side, side) if side is not None else next(iter(common))
        return EncodedImages(self.items, size, square, conversion)

    def _conversion(self, headers: Mapping[int, ImageHeader]) -> ImageConversion:
        """Return the conversion, by all images with more than 8 bits and a sample of those with an alpha channel."""
        deep = [index for index, header in headers.items() if header.is_deep]
        alpha = [index for index, header in headers.items() if header.has_alpha and not header.is_deep]
        sample = alpha[:: max(len(alpha) // _BACKGROUND_SAMPLE, 1)]
        measured = [measurement for _, measurement in self.passes.map(self.source.measure, [*deep, *sample])]
        conversion, remarks = choose_conversion(measured)
        for remark in remarks:
            self.notes.remark(remark)
        if pages := sum(header.has_pages for header in headers.values()):
            self.notes.remark(f"{pages:,} images have several pages or frames: the first is read")
        if upper := sum(header.loses_bits for header in headers.values()):
            self.notes.warn(
                f"{upper:,} images have 16 bits a channel in a layout of which only the upper 8 bits can be read"
            )
        return conversion

    def _sizes(self, headers: Mapping[int, ImageHeader]) -> dict[int, tuple[int, int]]:
        """Return width and height of the images that are not broken; after their orientation where it counts."""
        sizes = {index: header.size for index, header in headers.items() if index not in self.passes.broken}
        sides = {tuple(sorted(size)) for size in sizes.values()}
        if self._asked_side is None and len(sides) == 1:
            short, long = next(iter(sides))
            if short != long <= SMALL_SIDE:
                return dict(self.passes.map(self.source.upright_size, sizes))
        return sizes


@dataclass(eq=False)
class _Source:
    """Load images by their index, and hold some between their measurement and their conversion."""

    items: Sequence[EncodedImage]
    held: dict[int, LoadedImage] = field(default_factory=dict)
    held_bytes: int = 0
    small_bytes: int = 0

    def header(self, index: int) -> tuple[ImageHeader, None]:
        return read_header(self.items[index]), None

    def look(self, index: int) -> tuple[ImageHeader, "_Decoded | None"]:
        """Return the header of an image; of a small one also its pixels and digest, up to a quarter of a GiB."""
        if self.small_bytes > _SMALL_BYTES:
            return self.header(index)
        header, loaded = read_small(self.items[index], SMALL_SIDE)
        if loaded is None:
            return header, None
        image = loaded.to_rgb(DEFAULT_CONVERSION)
        pixels = np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))
        self.small_bytes += pixels.nbytes
        return header, (pixels, digest_of(image, pixels))

    def upright_size(self, index: int) -> tuple[int, int]:
        return load_image(self.items[index]).image.size

    def measure(self, index: int) -> Measurement:
        """Return the measurement of an image, and hold the image while there is room."""
        loaded = load_image(self.items[index])
        measurement = loaded.measure()
        if self.held_bytes + loaded.n_bytes <= _HELD_BYTES:
            self.held_bytes += loaded.n_bytes
            self.held[index] = loaded
        return measurement

    def load(self, index: int, fit: ImageFit | None) -> LoadedImage:
        """Return an image that was held, or decode it."""
        return self.held.pop(index, None) or load(self.items[index], fit)


@dataclass(frozen=True, eq=False)
class _Decoder:
    """Return what the network sees of an image, if it is wanted, and the digest."""

    source: _Source
    images: EncodedImages
    earlier: EarlierPixels | None
    returns_pixels: bool

    def __call__(self, index: int) -> tuple[NDArray[np.uint8] | None, ImageDigest]:
        if self.earlier is not None and (found := self.earlier.read(index)) is not None:
            return found
        image, pixels = self.images.fitted(self.source.load(index, self.images.fit))
        return (pixels if self.returns_pixels else None), digest_of(image, pixels)


class _Reports:
    """Report the progress a few times per second, at a call for each image."""

    def __init__(self, progress: ReadingProgress | None, images: int) -> None:
        self._progress, self._images, self._done, self._last = progress, images, 0, time.monotonic()

    def __call__(self) -> None:
        self._done += 1
        if self._progress is None:
            return
        now = time.monotonic()
        if now - self._last > _SECONDS_BETWEEN_REPORTS or self._done == self._images:
            self._last = now
            self._progress.on_images(self._done, self._images)


def _fit_in_memory(n: int, images: EncodedImages) -> bool:
    return n * prod(images.shape) <= IN_MEMORY_BYTES


def _cached(once: DecodedOnce, cache: PixelCache) -> CachedImages:
    return CachedImages(once.images, cache.file, once.checksums)


def _all_pixels(images: CachedImages) -> torch.Tensor:
    pixels = torch.empty((len(images), *images.shape), dtype=torch.uint8)
    for ids in torch.split(torch.arange(len(images)), _CHUNK):
        pixels[ids] = images.read(ids)
    return pixels


def _is_readable(item: EncodedImage) -> bool:
    """Return whether an image that was broken can be decoded now, as after an error of the network."""
    try:
        load_image(item)
    except UnreadableImageError:
        return False
    return True
