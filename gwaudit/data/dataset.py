"""Define `LabeledDataset`, the interface of a data set to training, export and reports."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Self

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from torch import Tensor

from gwaudit.core.errors import DataError
from gwaudit.data.arrow_columns import TextColumn, taken
from gwaudit.data.fitting import Box, ImageFit, are_photos
from gwaudit.data.image_conversion import ImageConversion
from gwaudit.data.image_decoding import EncodedImage, UnreadableImageError
from gwaudit.data.inputs import Inputs, SubsetInputs
from gwaudit.data.keys import key_text
from gwaudit.data.reading_notes import ReadingNotes

Modality = Literal["images", "features", "texts"]

_STATISTICS_SAMPLES = 10_000
_ROUNDING = 2e-7  # of a float32, relative to it


@dataclass(frozen=True)
class SkippedSample:
    """Describe a row of the source that was left out.

    Attributes:
        row: Number of the row in the source, from 0.
        key: Key of the row.
        reason: Reason why it cannot be used.
    """

    row: int
    key: str
    reason: str


@dataclass(frozen=True, eq=False, repr=False)
class LabeledDataset(torch.utils.data.Dataset[tuple[Tensor, int | Tensor, int]]):
    """Hold labelled samples with ids from 0 to n-1 that are the same each time that the source is loaded.

    Attributes:
        name: Name of the data set.
        inputs: Images, features or texts.
        labels: Given labels, which are audited: [n] int64 indices into the class names, or [n, C] int64 of 0 and 1
            (multi-label).
        class_names: Names of the C classes.
        keys: [n] keys by which people identify the samples, such as paths or row numbers; they are kept as text.
        split: Name of the split.
        true_labels: True labels in the shape of `labels`, where they are known. Only evaluations use them.
        skipped: Rows of the source that were left out before ids were given.
        texts: [n] texts of the samples, where they are texts or were before they were embedded.
        rows: [n] numbers of the samples' rows in the source, from 0, where they are known.
        notes: Notes on the reading of the source: columns, files and rows used and left out, conversions, warnings.
        originals: [n] images as the source stores them, where it stores files or their contents.
        image_fit: How these became squares; None where they kept their size.
        image_conversion: How images of files became 8-bit RGB.
        are_scaled: Whether the inputs are features that were scaled when they were read; a training takes them as they
            are.
        cells: [n] cells of the columns that the features were encoded from, as a person reads them.
        workers: Number of processes that read and augment images ahead of a training; with 0 the training's own does.
    """

    name: str
    inputs: Inputs
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    keys: Sequence[str]
    split: str = "train"
    true_labels: NDArray[np.int64] | None = None
    skipped: tuple[SkippedSample, ...] = field(default=())
    texts: Sequence[str] | None = None
    rows: NDArray[np.int64] | None = None
    notes: ReadingNotes = field(default_factory=ReadingNotes)
    originals: Sequence[EncodedImage] | None = None
    image_fit: ImageFit | None = None
    image_conversion: ImageConversion = field(default_factory=ImageConversion)
    are_scaled: bool = False
    cells: pa.Table | None = None
    workers: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", np.asarray(self.labels))
        if not isinstance(self.keys, TextColumn):
            object.__setattr__(self, "keys", [key_text(key, self.name) for key in self.keys])
        n = len(self.inputs)
        for kind, values in (("labels", self.labels), ("keys", self.keys), ("true labels", self.true_labels)):
            if values is not None and len(values) != n:
                raise DataError(f"{self.name}: {len(values)} {kind} for {n} samples")
        if self.is_multi_label:
            self._require_usable_matrix()
            return
        outside = np.flatnonzero((self.labels < 0) | (self.labels >= len(self.class_names)))
        if len(outside):
            row = int(outside[0])
            raise DataError(
                f"{self.name}: label {self.labels[row]} of sample {self.keys[row]} is outside the "
                f"{len(self.class_names)} classes"
            )
        if len(np.unique(self.labels)) < 2:
            label = f" ({self.class_names[int(self.labels[0])]!r})" if n else ""
            raise DataError(f"{self.name}: all {n} samples have one class{label}: an audit needs at least two classes")

    def _require_usable_matrix(self) -> None:
        expected = (len(self.inputs), len(self.class_names))
        if self.labels.shape != expected:
            raise DataError(
                f"{self.name}: labels have the shape {self.labels.shape}, not {expected}, one column for each class"
            )
        if len(self.class_names) < 2:
            raise DataError(f"{self.name} has one class only: give its 0 and 1 as one label for each sample")
        if not np.isin(self.labels, (0, 1)).all():
            raise DataError(f"{self.name}: multi-label data have the labels 0 and 1 only")
        if len(np.unique(self.labels)) < 2:
            raise DataError(
                f"{self.name}: all {expected[0]} samples have {'all' if self.labels.any() else 'none'} of the "
                "classes; an audit needs classes that are given and classes that are not"
            )

    @property
    def is_multi_label(self) -> bool:
        """Return whether the data are multi-label: each sample has any number of classes."""
        return self.labels.ndim == 2

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        samples = f"{len(self):,} {self.modality}" + (f" of shape {self.input_shape}" if self.input_shape else "")
        return f"<LabeledDataset {self.name!r}: {samples}, {len(self.class_names):,} classes>"

    def __getitem__(self, sample_id: int) -> tuple[Tensor, int | Tensor, int]:
        """Return a sample: image [C, H, W] or features [D], given label (or [C] int64 of 0 and 1), and id."""
        given = self.labels[sample_id]
        label = torch.from_numpy(given.copy()) if self.is_multi_label else int(given)
        return self.read(torch.tensor([sample_id]))[0], label, int(sample_id)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Return the shape of one input: (C, H, W) of images, (D,) of features, () of texts."""
        return self.inputs.shape

    @property
    def modality(self) -> Modality:
        """Return the kind of the inputs: images, features or texts."""
        kinds: dict[int, Modality] = {3: "images", 1: "features", 0: "texts"}
        return kinds[len(self.inputs.shape)]

    @property
    def largest_image(self) -> tuple[int, int]:
        """Return the largest width and height of images in pixels, as the source stores them where it has sizes."""
        sizes = self.notes.image_sizes or [(self.input_shape[2], self.input_shape[1])]
        return max(width for width, _ in sizes), max(height for _, height in sizes)

    @property
    def holds_photos(self) -> bool:
        """Return whether the inputs are photos: images of three channels or one, larger than 96 pixels a side."""
        if self.modality != "images" or self.input_shape[0] not in (1, 3):
            return False
        return are_photos(self.notes.image_sizes, max(self.input_shape[1:]))

    def read(self, sample_ids: Tensor) -> Tensor:
        """Return the inputs of these ids, in this order: images [B, C, H, W], mostly uint8, or features [B, D] float32.

        Raises:
            DataError: An image can no longer be read.
        """
        try:
            return self.inputs.read(sample_ids)
        except (UnreadableImageError, OSError):
            for sample_id in sample_ids.tolist():
                self._require_readable(sample_id)
            raise

    def _require_readable(self, sample_id: int) -> None:
        try:
            self.inputs.read(torch.tensor([sample_id]))
        except (UnreadableImageError, OSError) as error:
            raise DataError(
                f"{self.name}: image {self.keys[sample_id]} can no longer be read ({error}); "
                "restore it, or leave it out and start a new run"
            ) from error

    def image(self, sample_id: int) -> Image.Image:
        """Return the image of a sample, with 8 bits a channel.

        Raises:
            DataError: The samples are not images.
        """
        if self.modality != "images":
            raise DataError(f"{self.name} holds {self.modality}, not images")
        pixels = self.read(torch.tensor([sample_id]))[0]
        if pixels.dtype != torch.uint8:  # unknown units: scale the darkest to 0, the brightest to 255
            low, high = pixels.aminmax()
            pixels = ((pixels - low) / (high - low).clamp_min(1e-12) * 255).to(torch.uint8)
        array = pixels.permute(1, 2, 0).numpy()
        return Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)

    def encoded_image(self, sample_id: int) -> EncodedImage | None:
        """Return the image of a sample as the source stores it, or None where the source has its pixels only."""
        return None if self.originals is None else self.originals[sample_id]

    def seen_box(self, width: int, height: int) -> Box:
        """Return the part that the network sees of an original image: left, top, right, bottom in pixels.

        Args:
            width, height: Size of the original, the right way up (after its EXIF orientation).
        """
        return (0.0, 0.0, width, height) if self.image_fit is None else self.image_fit.seen_box(width, height)

    def with_labels(self, labels: ArrayLike, *, true_labels: ArrayLike | None = None) -> Self:
        """Return the same samples with other given labels, and other true ones where they are known."""
        truth = None if true_labels is None else np.asarray(true_labels, np.int64)
        return replace(self, labels=np.array(labels, np.int64), true_labels=truth)

    def subset(self, sample_ids: ArrayLike) -> Self:
        """Return the samples `sample_ids`, [m] integers in [0, n), with new ids in this order."""
        ids = np.array(sample_ids, np.int64)  # a copy: those of a ranking in a file cannot be written to, as torch asks
        return replace(
            self,
            inputs=SubsetInputs(self.inputs, torch.from_numpy(ids)),
            labels=self.labels[ids],
            keys=taken(self.keys, ids),
            true_labels=None if self.true_labels is None else self.true_labels[ids],
            texts=None if self.texts is None else [self.texts[i] for i in ids],
            cells=None if self.cells is None else self.cells.take(ids),
            originals=None if self.originals is None else taken(self.originals, ids),
            rows=None if self.rows is None else self.rows[ids],
        )

    def channel_statistics(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return mean and standard deviation of each channel [C] or feature [D], in the units of the inputs.

        They are those of all samples, or of 10,000 random ones (always the same) where there are more. Those of
        features that are scaled already are 0 and 1. The standard deviation of a feature with one value in all samples
        is infinite, so that the normalised feature is 0.
        """
        if self.are_scaled:
            return np.zeros(self.input_shape, np.float32), np.ones(self.input_shape, np.float32)
        ids = torch.arange(len(self))
        if len(self) > _STATISTICS_SAMPLES:
            ids = torch.randperm(len(self), generator=torch.Generator().manual_seed(0))[:_STATISTICS_SAMPLES]
        # Values less the first ones: the difference of two large sums would lose the spread of large features.
        start = self.read(ids[:1])[0].double() if self.modality == "features" else torch.zeros(())
        total = squares = torch.zeros(self.input_shape[0], dtype=torch.float64)
        pixels = 0
        for chunk in torch.split(ids, 512):
            inputs = self.read(chunk)
            sums, sums_of_squares = (
                _byte_sums(inputs) if inputs.dtype == torch.uint8 else _sums(inputs.double() - start)
            )
            total, squares = total + sums, squares + sums_of_squares
            pixels += inputs[:, 0].numel()
        mean = total / pixels
        std = (squares / pixels - mean.square()).clamp_min(0).sqrt()
        mean = mean + start
        if self.modality == "features":
            std[std <= _ROUNDING * mean.abs()] = torch.inf
        else:  # a lower bound, so that constant channels are not scaled up to noise
            std = std.clamp_min(1.0 if inputs.dtype == torch.uint8 else 1e-6 * float(mean.abs().max().clamp_min(1e-6)))
        return mean.float().numpy(), std.float().numpy()

    @property
    def fingerprint(self) -> str:
        """Return a checksum of inputs, keys, given labels and class names (not true labels): 16 hexadecimal digits."""
        digest = hashlib.sha256()
        self.inputs.add_to(digest)
        digest.update(np.ascontiguousarray(self.labels).tobytes())
        digest.update("\0".join([*self.class_names, ""]).encode("utf-8", "surrogatepass"))
        for key in self.keys:
            digest.update(f"\0{key}".encode("utf-8", "surrogatepass"))
        return digest.hexdigest()[:16]


def _sums(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sum and the sum of squares of each channel or feature, [C] float64."""
    reduced = tuple(d for d in range(values.ndim) if d != 1)
    return values.sum(reduced), values.square().sum(reduced)


def _byte_sums(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the same of images [B, C, H, W] uint8, exactly, by histograms: photos in float64 would fill the memory."""
    pixels, values = images.numpy(), np.arange(256)
    counts = np.zeros((pixels.shape[1], 256), np.int64)
    for image in pixels:
        for channel, histogram in zip(image, counts, strict=True):
            histogram += np.bincount(channel.reshape(-1), minlength=256)
    return torch.from_numpy((counts @ values).astype(np.float64)), torch.from_numpy(
        (counts @ values**2).astype(np.float64)
    )
