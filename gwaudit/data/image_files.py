"""Find the image file of a sample: the original where it still exists, else a PNG of the network's input."""

import io
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from PIL import Image

from gwaudit.core.files import file_below

if TYPE_CHECKING:  # for its type alone: this module needs no torch
    from gwaudit.data.dataset import LabeledDataset

# Pillow raises these for files that are not whole images: unknown or cut short, bad headers, decompression bombs.
UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)

_SUFFIXES = {"JPEG": ".jpg", "TIFF": ".tif", "MPO": ".jpg"}


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


@dataclass(frozen=True)
class ImageFile:
    """Describe an image file, on the disk or in memory.

    Attributes:
        source: Path of the file, or its content.
        format: Name of the format in Pillow: `PNG`, `JPEG`.
        size: Width and height in pixels.
    """

    source: Path | bytes
    format: str
    size: tuple[int, int]

    @property
    def suffix(self) -> str:
        """Return the usual suffix of a file of this format, such as `.png`."""
        return _SUFFIXES.get(self.format, f".{self.format.lower()}")

    @property
    def n_bytes(self) -> int:
        """Return the length of the content in bytes."""
        return len(self.source) if isinstance(self.source, bytes) else self.source.stat().st_size

    def open(self) -> BinaryIO:
        """Open the content for reading."""
        return io.BytesIO(self.source) if isinstance(self.source, bytes) else self.source.open("rb")

    def save(self, target: Path, *, copy: bool) -> None:
        """Save the image as `target`: a file as a link, or as a copy if `copy`; content in memory is written."""
        if isinstance(self.source, bytes):
            target.write_bytes(self.source)
        elif copy:
            shutil.copyfile(self.source, target)
        else:
            target.symlink_to(self.source.resolve())


def image_file_of(dataset: "LabeledDataset", sample_id: int, root: Path | None) -> ImageFile:
    """Return the image file of a sample.

    Args:
        dataset: A data set of images.
        sample_id: Id of the sample.
        root: Folder that the keys of the samples are relative to, where the keys are paths.

    Returns:
        The original file, as the data set keeps it or as it lies at its key. Where there is none, a PNG of the image
        in the data set, which may be smaller than the original.

    Raises:
        DataError: The image can no longer be read.
    """
    original = None if root is None else file_below(root, dataset.keys[sample_id])
    for source in (dataset.encoded_image(sample_id), original):
        if source is not None:
            with suppress(*UNREADABLE):
                return _identify(source.read() if isinstance(source, FilePart) else source)
    content = io.BytesIO()
    image = dataset.image(sample_id)
    image.save(content, "PNG")
    return ImageFile(content.getvalue(), "PNG", image.size)


def _identify(source: Path | bytes) -> ImageFile:
    with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
        return ImageFile(source, image.format or "PNG", image.size)
