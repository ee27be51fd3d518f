"""Find the image file of a sample: the original where it still exists, else a PNG of the network's input."""

import io
import shutil
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from PIL import Image

from gwaudit.core.errors import DataError
from gwaudit.core.files import file_below, made_link
from gwaudit.data.image_conversion import ImageConversion
from gwaudit.data.image_decoding import FilePart, UnreadableImageError, load_image, read_header

if TYPE_CHECKING:  # for its type alone: this module needs no torch
    from gwaudit.data.dataset import LabeledDataset

_SUFFIXES = {"JPEG": ".jpg", "TIFF": ".tif", "MPO": ".jpg"}


@dataclass(frozen=True)
class ImageFile:
    """Describe an image file, on the disk or in memory.

    Attributes:
        source: Path of the file, or its content.
        format: Name of the format in Pillow: `PNG`, `JPEG`.
        size: Width and height in pixels, as stored.
        is_plain: Whether every program shows it as it was audited: a channel has 8 bits at most.
        conversion: How it becomes 8-bit RGB.
    """

    source: Path | bytes
    format: str
    size: tuple[int, int]
    is_plain: bool = True
    conversion: ImageConversion = field(default_factory=ImageConversion)

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

    def decode(self, least_side: int | None = None) -> Image.Image:
        """Return the whole image as 8-bit RGB, the right way up.

        Args:
            least_side: Sides in pixels down to which it may be reduced, which saves time.

        Raises:
            UnreadableImageError: It is not a whole image.
        """
        least_size = None if least_side is None else lambda _width, _height: (least_side, least_side)
        return load_image(self.source, least_size).to_rgb(self.conversion)

    def save(self, target: Path, *, copy: bool) -> None:
        """Save the image as `target`: a file as a link, or as a copy if `copy`; content in memory is written.

        On a file system without symbolic links a file is copied.
        """
        if isinstance(self.source, bytes):
            target.write_bytes(self.source)
            return
        if copy or not made_link(target, self.source.resolve()):
            shutil.copyfile(self.source, target)


def original_file_of(dataset: "LabeledDataset", sample_id: int) -> ImageFile:
    """Return the image file of a sample with all that its source holds.

    Args:
        dataset: A data set of images.
        sample_id: Id of the sample.

    Returns:
        The file as the source stores it. Of sources of 8-bit pixels, such as arrays, a PNG of these pixels.

    Raises:
        DataError: The file can no longer be read, or a PNG cannot hold the pixels.
    """
    source, key = dataset.encoded_image(sample_id), dataset.keys[sample_id]
    if source is not None:
        try:
            return _identify(source.read() if isinstance(source, FilePart) else source, dataset.image_conversion)
        except (UnreadableImageError, OSError) as error:
            raise DataError(f"{dataset.name}: the image {key} can no longer be read ({error}): restore it") from error
    if str(dataset[sample_id][0].dtype) != "torch.uint8":
        raise DataError(
            f"{dataset.name} holds images as numbers that a PNG file cannot hold: export the ids, and select the "
            "samples from your own data"
        )
    return _png_of(dataset, sample_id)


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
            with suppress(UnreadableImageError, OSError):
                return _identify(source.read() if isinstance(source, FilePart) else source, dataset.image_conversion)
    return _png_of(dataset, sample_id)


def _png_of(dataset: "LabeledDataset", sample_id: int) -> ImageFile:
    content = io.BytesIO()
    image = dataset.image(sample_id)
    image.save(content, "PNG")
    return ImageFile(content.getvalue(), "PNG", image.size)


def _identify(source: Path | bytes, conversion: ImageConversion) -> ImageFile:
    header = read_header(source)
    is_plain = not (header.is_deep or header.loses_bits)
    return ImageFile(source, header.format, header.size, is_plain, conversion)
