"""Make pictures of samples for a person: of the whole original, with a mark of the part that the network saw."""

import base64
import io

from PIL import Image

from gwaudit.data.dataset import LabeledDataset
from gwaudit.data.image_files import image_file_of

_EXACT_SIDE = 64  # small images are kept exactly
_PIXELS_PER_BYTE = 10  # of a photograph, at a quality between 50 and 85
_LARGEST_SIDE = 1_000
_SMALLEST_SIDE = 32
_QUALITIES = (82, 60, 35)
_ENCODING = 2  # half the time of the default 4, for 3 % more bytes
_LARGE_SIDE = 2_000

Seen = tuple[float, float, float, float]
"""Part of a picture that the network saw: left, top, right and bottom as shares of its width and height."""


def whole_picture(dataset: LabeledDataset, sample_id: int, least_side: int) -> tuple[Image.Image, Seen | None]:
    """Return the picture of a sample, from its original where the source has one, and the part that the network saw.

    Args:
        dataset: A data set of images.
        sample_id: Id of the sample.
        least_side: Sides in pixels down to which the picture may be reduced while it is decoded.

    Returns:
        The picture, the right way up, with 8 bits a channel; and the part, None where the network saw it whole.

    Raises:
        DataError: The image can no longer be read.
    """
    if dataset.encoded_image(sample_id) is None:
        return dataset.image(sample_id), None
    picture = image_file_of(dataset, sample_id, None).decode(least_side)
    width, height = picture.size
    left, top, right, bottom = dataset.seen_box(width, height)
    hidden = max(left, width - right) > 0.01 * width or max(top, height - bottom) > 0.01 * height
    return picture, (left / width, top / height, right / width, bottom / height) if hidden else None


def thumbnail(picture: Image.Image, most_bytes: int) -> str:
    """Return a picture, as large as the bytes allow, as a data URI.

    Args:
        picture: Image of any mode and size.
        most_bytes: Largest size of the file in bytes. Quality is reduced first, then the number of pixels.
    """
    picture = picture if picture.mode in ("L", "RGB") else picture.convert("RGB")
    if max(picture.size) <= _EXACT_SIDE:
        exact = _encoded(picture, "PNG")
        if len(exact) <= most_bytes:
            return _uri(exact, "png")
    pixels = most_bytes * _PIXELS_PER_BYTE
    while True:
        small = _reduced(picture, pixels)
        for quality in _QUALITIES:
            content = _encoded(small, "WEBP", quality=quality, method=_ENCODING)
            if len(content) <= most_bytes or max(small.size) <= _SMALLEST_SIDE:
                return _uri(content, "webp")
            if len(content) > 3 * most_bytes:
                break  # a lower quality is not enough
        width, height = small.size
        pixels = width * height * most_bytes * 9 // (len(content) * 10)  # fewer bytes need fewer pixels


def large_picture(dataset: LabeledDataset, sample_id: int) -> bytes:
    """Return the whole picture of a sample as WebP, with sides of at most 2,000 pixels.

    Raises:
        DataError: The image can no longer be read.
    """
    picture, _ = whole_picture(dataset, sample_id, _LARGE_SIDE)
    picture.thumbnail((_LARGE_SIDE, _LARGE_SIDE), Image.Resampling.LANCZOS, reducing_gap=2.0)
    return _encoded(picture, "WEBP", quality=90, method=_ENCODING)


def _reduced(picture: Image.Image, pixels: int) -> Image.Image:
    """Return a copy of at most `pixels` pixels, with sides of at most `_LARGEST_SIDE`; it is never larger."""
    width, height = picture.size
    scale = min(1.0, (pixels / (width * height)) ** 0.5, _LARGEST_SIDE / max(width, height))
    side = max(_SMALLEST_SIDE, round(max(width, height) * scale))
    small = picture.copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    return small


def _encoded(image: Image.Image, format: str, **options: int) -> bytes:
    content = io.BytesIO()
    image.save(content, format, **options)
    return content.getvalue()


def _uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
