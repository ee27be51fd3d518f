"""Decode an image to 8-bit RGB, the right way up: of any mode and bit depth, opaque or transparent."""

import ctypes
import importlib
import io
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from gwaudit.core.errors import DataError
from gwaudit.data.image_conversion import ImageConversion, Measurement, is_deep, measure_numbers, visible_greys
from gwaudit.data.image_signatures import HEIF_KIND, reason_unidentified

_ORIENTATION = 0x0112  # the tag of EXIF and TIFF
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_DEEP_COLOUR = ("RGB;16", "RGBX;16", "RGBA;16")  # Pillow decodes the upper or the lower bytes of these
_TIFF_BITS, _TIFF_PLANES, _TIFF_NUMBERS = 258, 284, 339  # BitsPerSample, PlanarConfiguration, SampleFormat
_PIXEL_ERROR = re.compile(r"^decoder error -?\d+.*")
_OTHER_BYTE = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}


class UnreadableImageError(DataError):
    """Signal that a file or its content cannot be decoded as an image."""


@dataclass(frozen=True)
class FilePart:
    """Describe a file within another file by its offset and its length in bytes."""

    path: Path
    offset: int
    size: int

    def read(self) -> bytes:
        """Return the whole content of the part."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.size)


EncodedImage = Path | bytes | FilePart
"""An image that is not decoded yet: its path, its content, or its part of another file."""


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """Describe an image by its header, without decoding it.

    Attributes:
        format: Name of the format in Pillow: `PNG`, `JPEG`.
        size: Width and height in pixels, as stored.
        is_deep: Whether a channel has more than 8 bits that are decoded.
        loses_bits: Whether Pillow decodes only the upper 8 bits of a channel.
        has_alpha: Whether pixels may be transparent.
        has_pages: Whether it has several pages or frames, of which the first is decoded.
    """

    format: str
    size: tuple[int, int]
    is_deep: bool
    loses_bits: bool
    has_alpha: bool
    has_pages: bool


@dataclass(frozen=True, eq=False)
class LoadedImage:
    """Hold a decoded image in its own mode, the right way up.

    Attributes:
        image: The image; of colour with 16 bits a channel, its upper 8 bits.
        lower: The lower 8 bits of colour with 16 bits a channel, else None.
    """

    image: Image.Image
    lower: Image.Image | None = None

    @property
    def n_bytes(self) -> int:
        """Return the size of the pixels in memory, in bytes."""
        pixel = 4 if self.image.mode in ("I", "F") else 2 if is_deep(self.image.mode) else len(self.image.getbands())
        return self.image.width * self.image.height * pixel * (1 if self.lower is None else 2)

    def measure(self) -> Measurement:
        """Return the range of its numbers, or of the greys that are visible, for the choice of a conversion.

        Raises:
            UnreadableImageError: A pixel is not finite.
        """
        if (numbers := self._numbers()) is not None:
            return Measurement(numbers=measure_numbers(numbers))
        return Measurement(greys=visible_greys(self.image))

    def to_rgb(self, conversion: ImageConversion) -> Image.Image:
        """Return the image as 8-bit RGB.

        Raises:
            UnreadableImageError: A pixel is not finite.
        """
        if (numbers := self._numbers()) is None:
            return conversion.flatten(self.image)
        scaled = Image.fromarray(conversion.scale(numbers)).convert("RGB")
        if self.lower is None or self.image.mode == "RGB":
            return scaled
        scaled.putalpha(self.image.getchannel("A"))
        return conversion.flatten(scaled)

    def _numbers(self) -> NDArray[Any] | None:
        """Return the values of an image with more than 8 bits a channel, [H, W] or [H, W, 3], else None."""
        if self.lower is not None:
            upper, lower = (np.asarray(image)[..., :3].astype(np.uint16) for image in (self.image, self.lower))
            return upper * np.uint16(256) + lower
        if not is_deep(self.image.mode):
            return None
        numbers = np.asarray(self.image)
        if numbers.dtype.kind == "f" and not np.isfinite(numbers).all():
            row, column = np.argwhere(~np.isfinite(numbers))[0].tolist()
            raise UnreadableImageError(f"the pixel in row {row}, column {column} is {numbers[row, column]}")
        return numbers


def read_header(item: EncodedImage) -> ImageHeader:
    """Return the header of an image.

    Raises:
        UnreadableImageError: It is not an image of a known format.
    """
    with _open(item) as file:
        return _header_of(file)


def read_small(item: EncodedImage, largest_side: int) -> tuple[ImageHeader, LoadedImage | None]:
    """Return the header of an image, and the image if it is small and opaque, with 8 bits a channel and one page.

    Opening the files of small images takes as long as decoding them, so that both are done at once. An image that
    cannot be decoded is None: `load_image` says why.

    Args:
        item: The encoded image.
        largest_side: Largest side in pixels of a small image.

    Raises:
        UnreadableImageError: It is not an image of a known format.
    """
    with _open(item) as file:
        header = _header_of(file)
        is_plain = not (header.is_deep or header.loses_bits or header.has_alpha or header.has_pages)
        if max(header.size) <= largest_side and is_plain and header.format != "TIFF":
            with suppress(Exception):  # as in `_open`
                image = _upright(file)
                return header, None if _has_alpha(image) else LoadedImage(image)
        return header, None


def _header_of(file: Image.Image) -> ImageHeader:
    kind = str(file.format)
    is_deep_colour = _is_deep_colour(file)
    return ImageHeader(
        format=kind,
        size=(file.width, file.height),
        is_deep=is_deep(file.mode) or is_deep_colour,
        loses_bits=";16" in _raw_mode(file) and not is_deep(file.mode) and not is_deep_colour,
        has_alpha=_has_alpha(file),
        # The second picture of an MPO is a preview or the other eye's.
        has_pages=kind != "MPO" and bool(getattr(file, "is_animated", False)),
    )


def _has_alpha(image: Image.Image) -> bool:
    return image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info


def load_image(item: EncodedImage, least_size: Callable[[int, int], tuple[int, int]] | None = None) -> LoadedImage:
    """Decode the first page of an image, the right way up.

    Args:
        item: The encoded image.
        least_size: Returns the width and height in pixels down to which a JPEG of a width and height may be reduced,
            which saves time: its decoder computes every second, fourth or eighth pixel.

    Raises:
        UnreadableImageError: It is not a whole image.
    """
    with _open(item) as file:
        _require_supported(file)
        if file.format == "TIFF":
            _silence_libtiff()
        is_deep_colour = _is_deep_colour(file)
        if least_size is not None:
            file.draft("RGB", least_size(*file.size))
        image = _upright(file)
    if not is_deep_colour:
        return LoadedImage(image)
    with _open(item) as file:
        _choose_lower_bytes(file)
        return LoadedImage(image, _upright(file))


@contextmanager
def _open(item: EncodedImage) -> Iterator[Image.Image]:
    """Open an image in Pillow; turn every exception of its decoders into an UnreadableImageError."""
    try:
        with _identify(item.read() if isinstance(item, FilePart) else item) as file:
            yield file
    except UnreadableImageError:
        raise
    except FileNotFoundError as error:
        raise UnreadableImageError("there is no file at this path, or at the end of this link") from error
    except Exception as error:  # damaged files make decoders raise any of Python's exceptions
        text = _PIXEL_ERROR.sub(r"its pixels are damaged (\g<0>)", str(error).strip())
        name = "" if isinstance(error, OSError | ValueError | SyntaxError) and text else type(error).__name__
        raise UnreadableImageError(": ".join(part for part in (name, text.split("\n")[0]) if part)) from error


def _identify(source: Path | bytes) -> Image.Image:
    try:
        return _opened(source)
    except UnidentifiedImageError as error:
        start, length = (source[:64], len(source)) if isinstance(source, bytes) else _start(source)
        kind, reason = reason_unidentified(start, length, Image.OPEN)
        if kind == HEIF_KIND and _registers_heif():
            with suppress(UnidentifiedImageError):
                return _opened(source)
        raise UnreadableImageError(reason) from error


def _opened(source: Path | bytes) -> Image.Image:
    return Image.open(io.BytesIO(source) if isinstance(source, bytes) else source)


def _start(path: Path) -> tuple[bytes, int]:
    with path.open("rb") as file:
        return file.read(64), path.stat().st_size


@cache
def _silence_libtiff() -> None:
    """Let libtiff print nothing to the terminal: Pillow raises an error, whose reason we show with the file's name."""
    with suppress(OSError, AttributeError):  # where Pillow's library does not export the functions, as on Windows
        library = ctypes.CDLL(importlib.import_module("PIL._imaging").__file__)
        for set_handler in (library.TIFFSetErrorHandler, library.TIFFSetWarningHandler):
            set_handler.restype = ctypes.c_void_p
            set_handler(None)


@cache
def _registers_heif() -> bool:
    """Return whether pillow-heif is installed, which then decodes HEIC images."""
    try:
        importlib.import_module("pillow_heif").register_heif_opener()
    except ImportError:
        return False
    return True


def _upright(file: Image.Image) -> Image.Image:
    """Return the image of an opened file as its orientation says; the metadata are not written again."""
    file.load()  # first: a TIFF is turned by it, and then has no orientation
    try:
        orientation = file.getexif().get(_ORIENTATION)
    except Exception:  # damaged metadata; browsers, too, then show the pixels as they are stored
        orientation = None
    method = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return file.copy() if method is None else file.transpose(method)


def _is_deep_colour(file: Image.Image) -> bool:
    """Return whether a file has colour of 16 bits a channel, of which one decoding gives 8."""
    return file.mode in ("RGB", "RGBA") and _raw_mode(file).startswith(_DEEP_COLOUR)


def _raw_mode(file: Image.Image) -> str:
    """Return the layout of the stored pixels in Pillow's notation, such as `RGB;16B`; empty where it has none."""
    tiles = getattr(file, "tile", None)
    if not tiles:
        return ""
    arguments = tiles[0][3]
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def _choose_lower_bytes(file: Image.Image) -> None:
    """Let Pillow decode the lower byte of every 16-bit value, by the layout of the other byte order."""
    tiles = []
    for codec, extents, offset, arguments in file.tile:  # type: ignore[attr-defined]  # of ImageFile, as is every file
        parts = arguments if isinstance(arguments, tuple) else (arguments,)
        raw = parts[0][:-1] + _OTHER_BYTE[parts[0][-1]]
        tiles.append((codec, extents, offset, (raw, *parts[1:]) if isinstance(arguments, tuple) else raw))
    file.tile = tiles  # type: ignore[attr-defined]  # as above


def _require_supported(file: Image.Image) -> None:
    """Raise UnreadableImageError for TIFF files that Pillow decodes to wrong values."""
    tags = getattr(file, "tag_v2", None)
    if tags is None:
        return
    bits = tags.get(_TIFF_BITS, (8,))
    if max(bits) > 8 and tags.get(_TIFF_PLANES) == 2 and len(file.getbands()) > 1 and ";16" not in _raw_mode(file):
        raise UnreadableImageError("a TIFF with 16 bits a channel in separate planes: save it with interleaved ones")
    if max(bits) == 8 and 2 in tags.get(_TIFF_NUMBERS, (1,)):
        raise UnreadableImageError("a TIFF with signed 8-bit numbers: save it with unsigned ones")
