"""Finds out what a source is, reads it, applies a label file, and leaves out what cannot be read."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from gwaudit.datasets.cifar import is_cifar_batches, read_cifar_batches
from gwaudit.datasets.digits import read_digits
from gwaudit.datasets.image_folder import read_image_folder
from gwaudit.datasets.images import Images, ImagesInMemory, decode_all
from gwaudit.datasets.label_files import read_label_file
from gwaudit.datasets.labeled import LabeledDataset, SkippedSample
from gwaudit.datasets.parquet import parquet_files, read_parquet
from gwaudit.datasets.sources import RawSamples
from gwaudit.errors import DataError
from gwaudit.settings import OnError


def load_dataset(
    source: str | Path,
    *,
    labels: str | Path | None = None,
    label_key: str | None = None,
    split: str = "train",
    image_size: int | None = None,
    on_error: OnError = "stop",
) -> LabeledDataset:
    """Load a labelled data set.

    Args:
        source: "digits" (scikit-learn's), or a folder: Parquet files in the Hugging Face layout, CIFAR's original
            python batches, or images with a folder a class. A single Parquet file will do, too.
        labels: a file with the given labels, row for row, in place of the source's own: CIFAR-N's `.pt`
            (whose clean labels must equal the source's, and become the true ones), `.npy` or `.csv`.
        label_key: which labels of that file: `worse_label`, a column.
        split: which split of the source.
        image_size: side of the square that images are resized and cropped to. By default small images of one size
            stay as they are, others become 224.
        on_error: what to do about an image that cannot be read: "stop", or "skip" it and list it in `skipped`.

    Raises:
        DataError: what is wrong with the source or the labels, and where.

    Example:
        >>> load_dataset("digits").class_names[:3]
        ('0', '1', '2')
    """
    if on_error not in ("stop", "skip"):
        raise DataError(f"on_error must be 'stop' or 'skip', not {on_error!r}")
    raw, truth = _with_label_file(_read(source, split), labels, label_key)
    images, broken = _decoded(raw, image_size)
    if broken and on_error == "stop":
        row, reason = min(broken.items())
        raise DataError(
            f"{source}: image {raw.keys[row]} (row {row}) cannot be read: {reason}. {len(broken)} such; "
            "mend or remove them, or leave them out with --on-error skip"
        )
    kept = np.array([row for row in range(len(raw)) if row not in broken], np.int64)
    return LabeledDataset(
        name=raw.name,
        images=images,
        labels=raw.labels[kept],
        class_names=raw.class_names,
        keys=[raw.keys[row] for row in kept],
        split=raw.split,
        true_labels=None if truth is None else truth[kept],
        skipped=tuple(SkippedSample(raw.keys[row], reason) for row, reason in sorted(broken.items())),
    )


def _read(source: str | Path, split: str) -> RawSamples:
    if source == "digits":
        return read_digits()
    path = Path(source)
    if not path.exists():
        raise DataError(f"no data set at {path}: give a folder, a Parquet file, or the name digits")
    if files := parquet_files(path, split):
        return read_parquet(files, path, split)
    if path.is_file():
        raise DataError(f"{path} is not a Parquet file")
    if is_cifar_batches(path):
        return read_cifar_batches(path, split)
    return read_image_folder(path, split)


def _with_label_file(raw: RawSamples, file: str | Path | None, key: str | None) -> tuple[RawSamples, np.ndarray | None]:
    if file is None:
        if key is not None:
            raise DataError(f"a label key ({key!r}) needs the label file that it is in (--labels)")
        return raw, None
    given, clean = read_label_file(Path(file), key)
    for what, values in (("labels", given), ("clean labels", clean)):
        if values is not None and len(values) != len(raw):
            raise DataError(f"{file} has {len(values)} {what} for the {len(raw)} samples of {raw.name} ({raw.split})")
    if clean is not None and (other := np.flatnonzero(clean != raw.labels)).size:
        row = int(other[0])
        raise DataError(
            f"{file} is of other data or in another order: its clean label of row {row} is {clean[row]}, "
            f"{raw.name} has {raw.labels[row]} there ({other.size} rows differ)"
        )
    outside = np.flatnonzero((given < 0) | (given >= len(raw.class_names)))
    if len(outside):
        row = int(outside[0])
        raise DataError(f"{file}: label {given[row]} of row {row} is outside the {len(raw.class_names)} classes")
    return replace(raw, labels=given), clean


def _decoded(raw: RawSamples, image_size: int | None) -> tuple[Images, dict[int, str]]:
    if not isinstance(raw.images, np.ndarray):
        return decode_all(raw.images, image_size)
    pixels = torch.from_numpy(raw.images)
    if image_size is not None and image_size != pixels.shape[-1]:
        raise DataError(f"{raw.name} has images of {pixels.shape[-1]} pixels a side; they are not resized")
    return ImagesInMemory(pixels), {}
