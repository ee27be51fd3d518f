"""The file of a sample's image: the original where it is still at hand, else a PNG of what the network saw."""

import io
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from PIL import Image

if TYPE_CHECKING:  # for its type alone
    from gwaudit.data.dataset import LabeledDataset

_UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)
_SUFFIXES = {"JPEG": ".jpg", "TIFF": ".tif", "MPO": ".jpg"}


@dataclass(frozen=True)
class Picture:
    """An image file, on the disk or as its content.

    Attributes:
        source: where it is, or what is in it.
        format: as Pillow calls it: `PNG`, `JPEG`.
        size: width and height in pixels.
    """

    source: Path | bytes
    format: str
    size: tuple[int, int]

    @property
    def suffix(self) -> str:
        """How its name ends: `.png`."""
        return _SUFFIXES.get(self.format, f".{self.format.lower()}")

    @property
    def n_bytes(self) -> int:
        """Its length."""
        return len(self.source) if isinstance(self.source, bytes) else self.source.stat().st_size

    def open(self) -> BinaryIO:
        """For reading its content."""
        return io.BytesIO(self.source) if isinstance(self.source, bytes) else self.source.open("rb")

    def place(self, target: Path, *, copy: bool) -> None:
        """Put it at `target`: a link to the file, a copy of it, or its content."""
        if isinstance(self.source, bytes):
            target.write_bytes(self.source)
        elif copy:
            shutil.copyfile(self.source, target)
        else:
            target.symlink_to(self.source.resolve())


def picture_of(dataset: "LabeledDataset", sample_id: int, root: Path | None) -> Picture:
    """The file of a sample's image.

    Args:
        dataset: of images.
        sample_id: which one.
        root: the folder that the samples' keys are paths below, where they are paths.

    Returns:
        The original: where the data set keeps it, or at its key. Else a PNG of the image as the data set has it, which
        may be smaller.

    Raises:
        DataError: it can no longer be read.
    """
    for source in (_kept(dataset, sample_id), _below(root, dataset.keys[sample_id])):
        if source is not None:
            with suppress(*_UNREADABLE):
                return _recognised(source)
    content = io.BytesIO()
    image = dataset.image(sample_id)
    image.save(content, "PNG")
    return Picture(content.getvalue(), "PNG", image.size)


def _kept(dataset: "LabeledDataset", sample_id: int) -> Path | bytes | None:
    from gwaudit.data.images import EncodedImages, FilePart

    if not isinstance(dataset.inputs, EncodedImages):
        return None
    item = dataset.inputs.items[sample_id]
    return item.read() if isinstance(item, FilePart) else item


def _below(root: Path | None, key: str) -> Path | None:
    """The file at a key below the root. A key that is no path, or leads out of the root, has none."""
    if root is None or "\0" in key:
        return None
    base = os.path.normpath(root.absolute())
    whole = os.path.normpath(os.path.join(base, key))  # noqa: PTH118  # Path does not take out ..
    with suppress(ValueError, OSError):  # another drive; a name too long
        if os.path.commonpath([base, whole]) == base and Path(whole).is_file():
            return Path(whole)
    return None


def _recognised(source: Path | bytes) -> Picture:
    with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
        return Picture(source, image.format or "PNG", image.size)
