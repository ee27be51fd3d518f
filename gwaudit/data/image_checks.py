"""Find images that hold no picture, of one colour or almost black, and describe images to find equal ones."""

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from gwaudit.data.reading_notes import ReadingNotes

_EXAMPLES = 3
_DARK = 15  # of 255

_PROBE = (16, 16)


class ImageDigest(NamedTuple):
    """Describe the pixels of an image, to compare it with others without holding them.

    Attributes:
        checksum: Checksum of the pixels that the network sees.
        is_constant: Whether the image has one colour.
        brightest: Largest value of a channel.
    """

    checksum: bytes
    is_constant: bool
    brightest: float


def digest_of(image: Image.Image, pixels: NDArray[np.uint8]) -> ImageDigest:
    """Return the digest of a whole RGB image, and of what the network sees of it, [C, H, W]."""
    extrema = image.resize(_PROBE, Image.Resampling.NEAREST).getextrema()
    if _is_constant(extrema) or _brightest(extrema) <= _DARK:  # else all pixels say the same, at a cost
        extrema = image.getextrema()
    return ImageDigest(pixel_checksum(pixels), _is_constant(extrema), _brightest(extrema))


def check_images(
    digests: Sequence[ImageDigest], keys: Sequence[str], notes: ReadingNotes, *, is_8_bit: bool = True
) -> None:
    """Add a warning of images that hold no picture to the notes; `repeats` finds those that hold the same one.

    Args:
        digests: [n] digests of the images.
        keys: [n] keys of the images, for the examples.
        notes: Notes that receive the warnings.
        is_8_bit: Whether the largest value of a channel is 255.
    """
    n = len(digests)
    constant = [keys[row] for row, (_, is_constant, _) in enumerate(digests) if is_constant]
    if constant:
        notes.warn(f"{len(constant):,} of {n:,} images have one colour all over ({_listed(constant)}): look at them")
    brightest = max((most for _, _, most in digests), default=0.0)
    if is_8_bit and len(constant) < n and brightest <= _DARK:
        notes.warn(f"the largest value in all images is {brightest:g} of 255: they look black in the report")


def check_tensor(images: Tensor, keys: Sequence[str], notes: ReadingNotes) -> list[ImageDigest]:
    """Check images as `check_images` does, [n, C, H, W] of any real type, and return their digests."""
    values = images.numpy()
    digests = [
        ImageDigest(pixel_checksum(image), bool((image == image[:, :1, :1]).all()), float(image.max()))
        for image in values
    ]
    check_images(digests, keys, notes, is_8_bit=values.dtype == np.uint8)
    return digests


def pixel_checksum(pixels: NDArray[Any]) -> bytes:
    """Return the checksum of the pixels of an image, 16 bytes."""
    return hashlib.blake2b(np.ascontiguousarray(pixels).data, digest_size=16).digest()


def _is_constant(extrema: Any) -> bool:
    """Return whether the smallest and the largest value of each channel are the same."""
    return all(low == high for low, high in extrema)


def _brightest(extrema: Any) -> float:
    return max(float(high) for _, high in extrema)


def _listed(keys: Sequence[str]) -> str:
    return ", ".join(keys[:_EXAMPLES]) + (", ..." if len(keys) > _EXAMPLES else "")
