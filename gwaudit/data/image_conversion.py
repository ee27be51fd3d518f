"""Turn images into 8-bit RGB by one rule for all images of a data set."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

BACKGROUNDS = {255: "white", 0: "black", 128: "grey"}
"""Greys that transparent images may be put on, in the order of preference."""

_FLOAT_RANGES = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0))
_BULK = 0.001  # share of the pixels, at either end, that may be outliers
_OUTLIER_FACTOR = 16  # a range wider by more leaves fewer than 16 of 256 levels to the other pixels
_LEAST_CONTRAST = 32

Range = tuple[float, float]


class NumberRange(NamedTuple):
    """Describe the values of an image: smallest and largest, and of all but 0.1 % of the pixels at either end."""

    is_float: bool
    low: float
    bulk_low: float
    bulk_high: float
    high: float


class Measurement(NamedTuple):
    """Hold what an image says about the conversion of its data set.

    Attributes:
        numbers: Range of its values, where they have more than 8 bits.
        greys: Smallest and largest grey of its visible pixels, where others are transparent.
    """

    numbers: NumberRange | None = None
    greys: tuple[int, int] | None = None


@dataclass(frozen=True)
class ImageConversion:
    """Describe how all images of a data set become 8-bit RGB.

    Attributes:
        integers: Smallest and largest value of images with 16 or 32 bits, which become 0 and 255.
        floats: The same of images of floating-point numbers.
        background: Grey behind transparent pixels, 0 to 255.
    """

    integers: Range = (0.0, 65535.0)
    floats: Range = (0.0, 1.0)
    background: int = 255

    def scale(self, numbers: NDArray[Any]) -> NDArray[np.uint8]:
        """Return numbers of any shape and real type scaled to 0..255; values outside the range become its ends."""
        low, high = self.floats if numbers.dtype.kind == "f" else self.integers
        scaled = (numbers.astype(np.float64) - low) * (255 / max(high - low, 1e-300))
        rounded: NDArray[np.uint8] = np.rint(scaled.clip(0, 255)).astype(np.uint8)
        return rounded

    def flatten(self, image: Image.Image) -> Image.Image:
        """Return an image with 8 bits a channel as RGB, on the background where it is transparent.

        An image whose every pixel is transparent is returned without its transparency.
        """
        if not _has_alpha(image):
            return image if image.mode == "RGB" else image.convert("RGB")
        transparent = image.convert("RGBA")
        alpha = transparent.getchannel("A")
        least, most = alpha.getextrema()
        colours = transparent.convert("RGB")
        if least == 255 or most == 0:
            return colours
        flat = Image.new("RGB", image.size, (self.background,) * 3)
        flat.paste(colours, mask=alpha)
        return flat


DEFAULT_CONVERSION = ImageConversion()
"""Conversion of images that are opaque and have 8 bits a channel, or fill the range of 16 bits."""


def is_deep(mode: str) -> bool:
    """Return whether a mode of Pillow has more than 8 bits a channel: `I`, `I;16`, `F`, ..."""
    return mode in ("I", "F") or mode.startswith("I;")


def measure_numbers(numbers: NDArray[Any]) -> NumberRange:
    """Return the range of the values of an image."""
    values = numbers.reshape(-1).astype(np.uint8) if numbers.dtype == bool else numbers.reshape(-1)
    rank = int(len(values) * _BULK)
    bulk = np.partition(values, (rank, len(values) - 1 - rank))
    return NumberRange(
        numbers.dtype.kind == "f",
        float(values.min()),
        float(bulk[rank]),
        float(bulk[len(values) - 1 - rank]),
        float(values.max()),
    )


def visible_greys(image: Image.Image) -> tuple[int, int] | None:
    """Return the smallest and the largest grey of the visible pixels, or None where none or all of them are visible."""
    if not _has_alpha(image):
        return None
    transparent = image.convert("RGBA")
    alpha = transparent.getchannel("A")
    least, most = alpha.getextrema()
    if least == 255 or most == 0:
        return None
    visible = np.flatnonzero(transparent.convert("L").histogram(alpha.point(lambda value: 255 * (2 * value > most))))
    return int(visible[0]), int(visible[-1])


def choose_conversion(measurements: Iterable[Measurement]) -> tuple[ImageConversion, list[str]]:
    """Return the conversion for a data set, and sentences that say what it does.

    The range of integers starts at 0 and ends at the bit depth that holds the largest value: 255, 1023, 4095, 65535;
    with negative values it is that of the values. Floating-point numbers have the range 0..1, -1..1 or 0..255 where
    the values fill more than half of it, else that of the values. Where 0.1 % of the pixels would leave the others
    fewer than 16 levels, the range is that of the others. The background is white, unless more images contrast with
    black or grey.

    Args:
        measurements: Those of all images with more than 8 bits, and of transparent ones.
    """
    measured = list(measurements)
    conversion, remarks = DEFAULT_CONVERSION, []
    for is_float in (False, True):
        ranges = [one.numbers for one in measured if one.numbers is not None and one.numbers.is_float == is_float]
        if not ranges:
            continue
        chosen, clipped = _common_range(ranges, is_float)
        conversion = (
            ImageConversion(conversion.integers, chosen) if is_float else ImageConversion(chosen, conversion.floats)
        )
        kind = "of floating-point numbers" if is_float else "with more than 8 bits a channel"
        if chosen == (0, 255) and not clipped:
            continue  # the values stay as they are
        remarks.append(
            f"{len(ranges):,} images {kind} are scaled from {chosen[0]:.6g}..{chosen[1]:.6g} to 0..255"
            + (", which clips outliers, at most 0.1 % of the pixels of an image at either end" if clipped else "")
        )
    greys = [one.greys for one in measured if one.greys is not None]
    if greys:
        background = _background(greys)
        conversion = ImageConversion(conversion.integers, conversion.floats, background)
        remarks.append(f"transparent images are put on a {BACKGROUNDS[background]} background")
    return conversion, remarks


def _common_range(ranges: Sequence[NumberRange], is_float: bool) -> tuple[Range, bool]:
    """Return the range for all images, and whether outliers lie outside it."""
    low, high = min(one.low for one in ranges), max(one.high for one in ranges)
    bulk_low, bulk_high = min(one.bulk_low for one in ranges), max(one.bulk_high for one in ranges)
    clipped = high - low > _OUTLIER_FACTOR * (bulk_high - bulk_low) > 0
    if clipped:
        low, high = bulk_low, bulk_high
    if not is_float:
        return (low, high) if low < 0 else (0.0, float(2 ** max(int(high).bit_length(), 1) - 1)), clipped
    for start, end in _FLOAT_RANGES:
        if start <= low and end / 2 < high <= end:
            return (start, end), clipped
    return (low, high), clipped


def _background(greys: Sequence[tuple[int, int]]) -> int:
    """Return the background on which the fewest images are invisible."""

    def invisible(background: int) -> int:
        return sum(max(abs(low - background), abs(high - background)) < _LEAST_CONTRAST for low, high in greys)

    return min(BACKGROUNDS, key=invisible)


def _has_alpha(image: Image.Image) -> bool:
    return image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info
