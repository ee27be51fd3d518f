"""Finds out what a source is, reads it, applies a label file, and leaves out what cannot be used."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from gwaudit.core.errors import BrokenRowsError, DataError
from gwaudit.core.settings import OnError
from gwaudit.data.dataset import LabeledDataset, SkippedSample
from gwaudit.data.images import decode_all
from gwaudit.data.inputs import InMemory, Inputs, SubsetInputs, Texts
from gwaudit.data.label_files import read_keyed_labels, read_label_file
from gwaudit.data.labels import UNLABELLED
from gwaudit.data.readers.arrays import read_arrays
from gwaudit.data.readers.cifar import is_cifar_batches, read_cifar_batches
from gwaudit.data.readers.columns import Columns, samples_of_table
from gwaudit.data.readers.digits import read_digits
from gwaudit.data.readers.image_folder import read_image_folder
from gwaudit.data.readers.objects import is_hugging_face, load_hugging_face, read_hugging_face, read_torch_dataset
from gwaudit.data.readers.raw_samples import RawSamples, source_name
from gwaudit.data.readers.tables import TABLES, read_tables, table_files
from gwaudit.data.readers.webdataset import read_shards, shard_files

_HUB = "hf:"
_MANIFESTS = ("metadata.csv", "metadata.jsonl", "metadata.parquet")  # beside images, as Hugging Face's ImageFolder


def load_dataset(
    source: str | Path | Dataset[Any],
    *,
    labels: str | Path | None = None,
    label_key: str | None = None,
    split: str = "train",
    image_size: int | None = None,
    on_error: OnError = "stop",
    label_column: str | None = None,
    image_column: str | None = None,
    text_column: str | None = None,
    feature_columns: str | None = None,
    id_column: str | None = None,
    root: str | Path | None = None,
    class_names: Sequence[str] | None = None,
    label_separator: str | None = None,
) -> LabeledDataset:
    """Load a labelled data set, whatever it comes as, under ids and keys that stay.

    Args:
        source: one of

            - "digits" (scikit-learn's);
            - a folder: images with a folder a class (below a folder a split, where there is one), Parquet or Arrow
              files in the layouts of Hugging Face data sets, images beside a `metadata.csv` or `.jsonl`, CIFAR's
              original python batches, WebDataset shards (`.tar`);
            - a table (`.csv`, `.tsv`, `.jsonl`, `.parquet`, `.arrow`) of image paths, encoded images, texts, lists of
              features, or columns of numbers, with a column of labels;
            - arrays (`.npz` with `x` and `y`, `.npy` with a label file);
            - "hf:NAME" or "hf:NAME:CONFIGURATION", by the `datasets` library (the extra `hf`);
            - a `datasets.Dataset`, or any map-style `torch.utils.data.Dataset` of (input, label), without random
              augmentation.
        labels: a file with the given labels, row for row, in place of the source's own: CIFAR-N's `.pt`
            (whose clean labels must equal the source's, and become the true ones), `.npy` or `.csv`. With a column
            `key` the rows of a `.csv` may be in any order, and samples without a label are left out.
        label_key: which labels of that file: `worse_label`, a column.
        split: which split of the source.
        image_size: side of the square that images are resized and cropped to. By default small images of one size
            stay as they are, others become 224.
        on_error: what to do about rows that cannot be used (an unreadable image, an empty text, a NaN, an unknown
            class, a key twice): "stop", or "skip" them and list them in `skipped`. Rows without a label are always
            left out and listed.
        label_column: Name of a table's column with the labels, if it is not one of the usual names. Several columns,
            separated by commas, hold 0 or 1 for one class each.
        image_column: Name of a table's column with the image paths or encoded images.
        text_column: Name of a table's column with the texts.
        id_column: Name of a table's column with the sample ids.
        feature_columns: a table's column of lists of numbers, or several columns of numbers, with commas between.
        root: the folder that the paths in a table are below; by default the table's own.
        class_names: all classes there may be, in order; by default those that the source names, or that occur.
        label_separator: what stands between the classes of a row, as "|", where it has any number of them in one text.
            Lists of classes, and vectors or matrices of 0 and 1, tell that by themselves.

    Raises:
        DataError: what is wrong with the source or the labels, and where.
        BrokenRowsError: rows that cannot be used, with `on_error` "stop".
        MissingExtraError: the source needs a library that is not installed.

    Example:
        >>> load_dataset("digits").class_names[:3]
        ('0', '1', '2')
    """
    if on_error not in ("stop", "skip"):
        raise DataError(f"on_error must be 'stop' or 'skip', not {on_error!r}")
    columns = Columns(label_column, image_column, text_column, feature_columns, id_column, label_separator)
    names = None if class_names is None else tuple(class_names)
    raw = _read(source, split, columns, None if root is None else Path(root), names)
    if label_separator is not None and raw.labels.ndim == 1:
        raise DataError(f"a label separator ({label_separator!r}) is for the labels of tables and shards: leave it out")
    raw, truth = _with_label_file(raw, labels, label_key)
    return _usable(raw, truth, image_size, on_error)


def _read(
    source: str | Path | Dataset[Any],
    split: str,
    columns: Columns,
    root: Path | None,
    names: tuple[str, ...] | None,
) -> RawSamples:
    if is_hugging_face(source):
        return read_hugging_face(source, split, columns, root or Path(), names)
    if not isinstance(source, str | Path):
        return read_torch_dataset(source, split, names)
    if source == "digits":
        return read_digits()
    if str(source).startswith(_HUB):
        loaded = load_hugging_face(str(source).removeprefix(_HUB), split)
        return read_hugging_face(loaded, split, columns, root or Path(), names)
    path = Path(source)
    if not path.exists():
        raise DataError(f"no data set at {path}: give a folder, a table, arrays, hf:NAME, or the name digits")
    if files := tables_of(path, split):
        table, broken = read_tables(files, path)
        below = root or (path if path.is_dir() else path.parent)
        return samples_of_table(
            table, name=source_name(path), split=split, columns=columns, root=below, class_names=names, broken=broken
        )
    if shards := shard_files(path, split):
        return read_shards(shards, path, split, names, columns.separator)
    if path.suffix in (".npy", ".npz"):
        return read_arrays(path, split, names)
    if path.is_file():
        raise DataError(f"{path} is no data set: files are {', '.join(TABLES)}, .npz, .npy or .tar")
    return read_cifar_batches(path, split) if is_cifar_batches(path) else read_image_folder(path, split)


def tables_of(path: Path, split: str) -> list[Path]:
    """The tables that a source is: the file itself, or those in a folder; none of another kind of source."""
    if path.is_file():
        return [path] if path.suffix in TABLES else []
    if files := table_files(path, split):
        return files
    manifests = [folder / name for folder in (path / split, path) for name in _MANIFESTS]
    return [manifest for manifest in manifests if manifest.is_file()][:1]


def _with_label_file(raw: RawSamples, file: str | Path | None, key: str | None) -> tuple[RawSamples, np.ndarray | None]:
    if file is None:
        if key is not None:
            raise DataError(f"a label key ({key!r}) needs the label file that it is in (--labels)")
        if not raw.class_names:
            raise DataError(f"{raw.name} has no labels: give them with --labels (.npy, .csv)")
        return raw, None
    if keyed := read_keyed_labels(Path(file), key, raw.keys, raw.class_names):
        _require_clean(keyed.given, keyed.clean, raw, file)
        return replace(raw, labels=keyed.given, class_names=keyed.class_names), keyed.clean
    given, clean = read_label_file(Path(file), key)
    for what, values in (("labels", given), ("clean labels", clean)):
        if values is not None and len(values) != len(raw):
            raise DataError(f"{file} has {len(values)} {what} for the {len(raw)} samples of {raw.name} ({raw.split})")
    _require_clean(given, clean, raw, file)
    if given.ndim == 2:
        names = raw.class_names or tuple(map(str, range(given.shape[1])))
        if given.shape[1] != len(names):
            raise DataError(f"{file} has {given.shape[1]} columns for the {len(names)} classes of {raw.name}")
        return replace(raw, labels=given, class_names=names), clean
    names = raw.class_names or tuple(map(str, range(int(given.max(initial=-1)) + 1)))
    outside = np.flatnonzero((given < 0) | (given >= len(names)))
    if len(outside):
        row = int(outside[0])
        raise DataError(f"{file}: label {given[row]} of row {row} is outside the {len(names)} classes")
    return replace(raw, labels=given, class_names=names), clean


def _require_clean(given: np.ndarray, clean: np.ndarray | None, raw: RawSamples, file: str | Path) -> None:
    """The true labels of a file must be the source's own, of all samples that it labels."""
    if clean is not None and (other := np.flatnonzero((clean != raw.labels) & (given != UNLABELLED))).size:
        row = int(other[0])
        raise DataError(
            f"{file} is of other data or in another order: its clean label of row {row} is {clean[row]}, "
            f"{raw.name} has {raw.labels[row]} there ({other.size} rows differ)"
        )


def _usable(raw: RawSamples, truth: np.ndarray | None, image_size: int | None, on_error: OnError) -> LabeledDataset:
    """The rows that can be used, as a data set."""
    broken = dict(raw.broken)
    nothing = (raw.labels == UNLABELLED).reshape(len(raw), -1).any(1)
    unlabelled = {int(row): "has no label" for row in np.flatnonzero(nothing) if int(row) not in broken}
    rows = np.array([row for row in range(len(raw)) if row not in broken and row not in unlabelled], np.int64)
    inputs, kept = _decoded(raw, rows, image_size, broken)
    out = [SkippedSample(row, raw.keys[row], reason) for row, reason in sorted({**unlabelled, **broken}.items())]
    if broken and on_error == "stop":
        row, reason = min(broken.items())
        raise BrokenRowsError(
            f"{raw.name}: row {row} ({raw.keys[row]}) cannot be used: {reason}. {len(broken)} such; "
            "mend or remove them, or leave them out with --on-error skip",
            [sample for sample in out if sample.row in broken],
        )
    return LabeledDataset(
        name=raw.name,
        inputs=inputs,
        labels=raw.labels[kept],
        class_names=raw.class_names,
        keys=[raw.keys[row] for row in kept],
        split=raw.split,
        true_labels=None if truth is None else truth[kept],
        skipped=tuple(out),
        texts=[raw.inputs.texts[row] for row in kept] if isinstance(raw.inputs, Texts) else None,
    )


def _decoded(
    raw: RawSamples, rows: np.ndarray, image_size: int | None, broken: dict[int, str]
) -> tuple[Inputs, np.ndarray]:
    """The inputs of the rows, and which rows these are; images that cannot be read join the broken ones."""
    if isinstance(raw.inputs, Sequence):
        inputs, unreadable = decode_all([raw.inputs[row] for row in rows], image_size)
        broken |= {int(rows[index]): f"the image cannot be read: {reason}" for index, reason in unreadable.items()}
        return inputs, np.delete(rows, list(unreadable))
    if image_size is not None and image_size != raw.inputs.shape[-1]:
        raise DataError(f"{raw.name} has inputs of the shape {raw.inputs.shape}; they are not resized")
    if len(rows) == len(raw):
        return raw.inputs, rows
    if isinstance(raw.inputs, Texts):
        return Texts([raw.inputs.texts[row] for row in rows]), rows
    if isinstance(raw.inputs, InMemory):
        return InMemory(raw.inputs.values[torch.from_numpy(rows)]), rows
    return SubsetInputs(raw.inputs, torch.from_numpy(rows)), rows
