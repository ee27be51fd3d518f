"""Fit images into a square, as a network takes them, and return the part of the original that it sees."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageOps

from gwaudit.core.settings import DEFAULT_RESIZING, Fit, Resizing

BORDER = (124, 116, 104)
"""Colour of the border of padded images: the mean colour of ImageNet."""

_TREATMENTS = {
    "crop": "the ends of their longer side are cut off (`fit` is crop)",
    "pad": "they get a border (`fit` is pad)",
    "squash": "they are distorted (`fit` is squash)",
}

SMALL_SIDE = 96
"""The largest side in pixels of small images, which stay as they are if they have one size."""

Box = tuple[float, float, float, float]
"""Left, top, right and bottom of a part of an image, in pixels."""


def are_photos(sizes: Sequence[tuple[int, int]], side: int) -> bool:
    """Return whether images are photos: larger than 96 pixels, or small ones of several sizes that are enlarged.

    Args:
        sizes: Some of their widths and heights as they are stored, the largest ones among them; empty where they have
            no other size than the one that is read.
        side: Larger side in pixels of an image as it is read.

    Example:
        >>> are_photos([(32, 32)], 224), are_photos([(640, 480)], 64)
        (False, True)
    """
    largest = max((max(size) for size in sizes), default=side)
    return largest > SMALL_SIDE or (len(set(sizes)) > 1 and side > SMALL_SIDE)


@dataclass(frozen=True)
class ImageFit:
    """Describe how images of any size become squares of one size.

    An image is first fitted into a square of `side / resizing.crop_share` pixels, of which the centre of `side` pixels
    is kept, as timm does in an evaluation. For square images the three ways are the same.

    Attributes:
        side: Side of the square in pixels.
        fit: "crop" scales the shorter side to the square and cuts off the ends of the longer one; "pad" scales the
            longer side to the square and adds a border in `BORDER`; "squash" scales each side to the square.
        resizing: Interpolation, and the share of the square that is kept.
    """

    side: int
    fit: Fit = "crop"
    resizing: Resizing = DEFAULT_RESIZING

    def apply(self, image: Image.Image) -> Image.Image:
        """Return the square that the network sees of an RGB image."""
        square, method = (self._square, self._square), Image.Resampling[self.resizing.interpolation.upper()]
        if image.size != square:
            if self.fit == "crop":
                image = ImageOps.fit(image, square, method)
            elif self.fit == "pad":
                image = ImageOps.pad(image, square, method, color=BORDER)
            else:
                image = image.resize(square, method)
        if self._square == self.side:
            return image
        start = self._margin
        return image.crop((start, start, start + self.side, start + self.side))

    def least_size(self, width: int, height: int) -> tuple[int, int]:
        """Return the width and height down to which a decoder may reduce an image of this size.

        They are twice those to which the image is scaled, so that the interpolation still averages several pixels: the
        difference is hardly visible (Pillow's `reducing_gap` of 2).
        """
        side = 2 * self._square
        if self.fit != "pad":
            return side, side
        longest = max(width, height)
        return math.ceil(side * width / longest), math.ceil(side * height / longest)

    def seen_box(self, width: int, height: int) -> Box:
        """Return the part of an image of this size, the right way up, that the network sees."""
        if self.fit == "squash":
            scales = width / self._square, height / self._square
        else:
            scale = (min if self.fit == "crop" else max)(width, height) / self._square
            scales = scale, scale
        box = []
        for length, scale in zip((width, height), scales, strict=True):
            start = (length - self._square * scale) / 2 + self._margin * scale
            box.append((max(start, 0.0), min(start + self.side * scale, float(length))))
        (left, right), (top, bottom) = box
        return left, top, right, bottom

    def describe(self, n_not_square: int, n: int) -> str:
        """Return a sentence about the images that the network sees, for n images of which some are not square."""
        size = f"{self.side}x{self.side} pixels ({self.resizing.interpolation}"
        kept = f", the centre {self.resizing.crop_share:.1%} of each side" if self._square != self.side else ""
        others = f"; {n_not_square:,} of {n:,} are not square: {_TREATMENTS[self.fit]}" if n_not_square else ""
        return f"the network sees images of {size}{kept}){others}"

    @property
    def _square(self) -> int:
        return math.floor(self.side / self.resizing.crop_share)

    @property
    def _margin(self) -> int:
        return round((self._square - self.side) / 2)
