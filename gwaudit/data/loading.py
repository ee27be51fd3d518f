"""Load a data set: choose its reader, apply a label file, and leave out the rows that cannot be used."""

import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Protocol, TypedDict, Unpack

import numpy as np
import pyarrow as pa
import torch
from torch.utils.data import Dataset

from gwaudit.core.errors import BrokenRowsError, DataError, SettingsError
from gwaudit.core.settings import DataSettings, Fit, OnError
from gwaudit.core.urls import restored_url
from gwaudit.data.arrow_columns import TextColumn, taken
from gwaudit.data.class_names import class_warnings
from gwaudit.data.dataset import LabeledDataset, SkippedSample
from gwaudit.data.encoded_images import CachedImages, EncodedImages
from gwaudit.data.fitting import SMALL_SIDE
from gwaudit.data.image_checks import check_tensor
from gwaudit.data.images import DecodedImages, decode_all
from gwaudit.data.inputs import InMemory, Inputs, SubsetInputs, Texts
from gwaudit.data.keys import distinct_keys, utf8_texts
from gwaudit.data.label_files import FileLabels, read_label_file
from gwaudit.data.labels import UNLABELLED
from gwaudit.data.readers import (
    arrays,
    cifar,
    digits,
    hugging_face,
    image_folder,
    tables,
    torch_dataset,
    webdataset,
)
from gwaudit.data.readers.raw_samples import BrokenRows, RawSamples, Source
from gwaudit.data.readers.table_formats import TABLE_SUFFIXES, remedy
from gwaudit.data.reading_progress import ReadingProgress
from gwaudit.data.repeats import note_repeats
from gwaudit.data.url_copies import with_local_files
from gwaudit.data.workers import resolve_workers

_NO_LABEL = "has no label"
_FOR = dict.fromkeys(("label_column", "image_column", "text_column", "feature_columns", "id_column"), "tables") | {
    "classes": "tables, arrays and shards, whose classes may have no names or no order",
    "root": "tables, arrays and shards, whose keys may be paths",
}
"""Kinds of sources that each setting is for which names a part of a source."""


class Reader(Protocol):
    """Describe the functions of a module of `gwaudit.data.readers`.

    `source` is the object, path or name that was given to `load_dataset`; `settings.source` is its text. A module has
    `PARTS` too where it does not use all settings that name parts of a source, such as `label_column`: those it uses.
    """

    def recognises(self, source: Source, settings: DataSettings) -> bool:
        """Return whether the source is of this kind."""

    def read(self, source: Source, settings: DataSettings) -> RawSamples:
        """Read the rows of the source."""


READERS: tuple[Reader, ...] = (  # the first that recognises a source reads it
    hugging_face,  # before torch_dataset, which takes every object
    torch_dataset,  # before all readers of names and paths
    digits,  # a name, before a folder of this name
    tables,  # before image_folder: tables may lie beside the images that they name
    webdataset,
    arrays,
    cifar,
    image_folder,  # takes every folder
)


class LoadingOptions(TypedDict, total=False):
    """Describe the keyword arguments of `load_dataset`; `DataSettings` has their texts and defaults.

    `labels`, `root` and `cache` may also be a `Path`, and `classes` and `feature_columns` a sequence of names.
    """

    labels: str | Path | None
    label_key: str | None
    split: str
    image_size: int | None
    fit: Fit
    on_error: OnError
    label_column: str | None
    label_separator: str | None
    image_column: str | None
    text_column: str | None
    feature_columns: str | Sequence[str] | None
    id_column: str | None
    root: str | Path | None
    classes: str | Sequence[str] | None
    workers: Literal["auto"] | int
    cache: str | Path | None
    cache_limit: float


def load_dataset(source: str | Path | Dataset[Any], **options: Unpack[LoadingOptions]) -> LabeledDataset:
    """Load a labelled data set, with ids and keys that are the same each time.

    Args:
        source: One of

            - "digits" (scikit-learn's);
            - a folder: images with a folder for each class (in a folder of the split, where there is one), Parquet or
              Arrow files in the layouts of Hugging Face data sets, images beside a `metadata.csv` or `.jsonl`, CIFAR's
              original python batches, WebDataset shards (`.tar`);
            - a table (`.csv`, `.tsv`, `.json`, `.jsonl`, `.parquet`, `.arrow`) of image paths, encoded images, texts,
              lists of features, or columns of numbers, with a column of labels;
            - arrays (`.npz` with `x` and `y`, `.npy` with a label file);
            - "hf:NAME" or "hf:NAME:CONFIGURATION", loaded by the `datasets` library (the extra `hf`);
            - any of these folders and files at a URL of fsspec: s3://, gs://, az://, hf://, https://;
            - a `datasets.Dataset`, or any map-style `torch.utils.data.Dataset` of (input, label), without random
              augmentation.
        **options: Settings that `gwaudit.DataSettings` describes: `labels`, `label_key`, `split`, `image_size`,
            `fit`, `on_error`, `label_column`, `label_separator`, `image_column`, `text_column`, `feature_columns`,
            `id_column`, `root`, `classes`, `workers`, `cache` and `cache_limit`. Here `labels`, `root` and `cache` may
            also be a `Path`, and `classes` and `feature_columns` a sequence of names. Names of classes may have commas
            then.

    Raises:
        SettingsError: A setting is impossible.
        DataError: The source or the labels cannot be used; the message names the file and the row.
        BrokenRowsError: Rows cannot be used, and `on_error` is "stop".
        MissingExtraError: The source needs a library that is not installed.

    Example:
        >>> load_dataset("digits").class_names[:3]
        ('0', '1', '2')
    """
    if unknown := options.keys() - LoadingOptions.__annotations__.keys():
        raise TypeError(f"load_dataset() got an unexpected keyword argument {min(unknown)!r}")
    settings: dict[str, Any] = {
        name: os.fspath(value) if isinstance(value, os.PathLike) else value for name, value in options.items()
    }
    if not isinstance(classes := options.get("classes"), str | None):
        settings["classes"] = _one_name_a_line(classes)
    if not isinstance(columns := options.get("feature_columns"), str | None):
        settings["feature_columns"] = _with_commas(columns)
    text = restored_url(source) if isinstance(source, str | Path) else f"<{type(source).__name__}>"
    return read_source(DataSettings(text, **settings), source)


def read_source(
    settings: DataSettings,
    source: Source | None = None,
    progress: ReadingProgress | None = None,
    before_decoding: Callable[[bool], None] | None = None,
) -> LabeledDataset:
    """Load the data set that settings describe, without their `encoder` and `add_noise`.

    Args:
        settings: The settings.
        source: Object or path that `settings.source` stands for; by default `settings.source` itself.
        progress: Receives the number of images decoded.
        before_decoding: As for `gwaudit.data.images.decode_all`.

    Raises:
        GwauditError: As in `load_dataset`.
    """
    settings = with_local_files(settings)
    source = settings.source if source is None or isinstance(source, str | Path) else source
    reader = _find_reader(source, settings)
    _require_used(settings, getattr(reader, "PARTS", _FOR))
    try:
        raw = reader.read(source, settings)
    except (pa.ArrowException, OverflowError, UnicodeError) as error:  # of a value, such as the year 10^6
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(f"{settings.source} holds a value that cannot be read ({reason}): correct it") from error
    if settings.label_separator is not None and raw.labels.ndim == 1:
        raise DataError(
            f"`label_separator` ({settings.label_separator!r}) is for the labels of tables and shards: leave it out"
        )
    source_keys = TextColumn(utf8_texts(raw.keys, raw.notes))
    raw = replace(
        raw,
        keys=TextColumn(distinct_keys(source_keys, raw.notes)),
        class_names=tuple(distinct_keys(utf8_texts(raw.class_names, raw.notes), raw.notes)),
    )
    raw, true_labels = _apply_label_file(raw, settings)
    return _usable_samples(raw, true_labels, source_keys, settings, progress, before_decoding)


def _one_name_a_line(names: Sequence[str]) -> str:
    for name in names:
        if not str(name).strip() or len(str(name).splitlines()) > 1:
            raise SettingsError(f"`classes` holds {name!r}, which is empty or has several lines: give other names")
    return "".join(f"{name}\n" for name in names)


def _with_commas(columns: Sequence[str]) -> str:
    if len(columns) > 1 and (name := next((name for name in columns if "," in name), None)) is not None:
        raise SettingsError(f"`feature_columns` holds {name!r}, which has a comma: rename this column")
    return ",".join(columns)


def _find_reader(source: Source, settings: DataSettings) -> Reader:
    for reader in READERS:
        if reader.recognises(source, settings):
            return reader
    path = Path(settings.source)
    if path.exists():
        kinds = f"files are {', '.join(TABLE_SUFFIXES)}, .npz, .npy or .tar"
        raise DataError(f"{path} is not a data set: {f'it is {remedy(path)}; ' if remedy(path) else ''}{kinds}")
    raise DataError(f"no data set at {path}: give a folder, a table, arrays, hf:NAME, or the name digits")


def _require_used(settings: DataSettings, used: Collection[str]) -> None:
    """Raise SettingsError if a part is named that sources of this kind do not have: it would do nothing."""
    for name, kinds in _FOR.items():
        if (value := getattr(settings, name)) is not None and name not in used:
            raise SettingsError(
                f"`{name}` ({value!r}) does nothing for {settings.source}: it is for {kinds}. Leave it out"
            )


def _apply_label_file(raw: RawSamples, settings: DataSettings) -> tuple[RawSamples, np.ndarray | None]:
    """Return the samples with the labels of the label file, and the true labels where the file has them."""
    if settings.labels is None:
        if settings.label_key is not None:
            raise DataError(f"`label_key` ({settings.label_key!r}) needs a file with this key: give it as `labels`")
        if not raw.class_names:
            raise DataError(f"{raw.name} has no labels: give a file of labels (.npy, .csv) as `labels`")
        return raw, None
    file = Path(settings.labels)
    raw.notes.remark(f"the given labels are those of {file}")
    labels = read_label_file(
        file,
        settings.label_key,
        raw.class_names,
        raw.keys,
        multi_label=raw.labels.ndim == 2,
        separator=settings.label_separator,
    )
    _require_clean_labels(labels.given, labels.clean, raw, file)
    raw.notes.remarks += labels.remarks
    _warn_of_other_order(labels, raw, file)
    return replace(raw, labels=labels.given, class_names=labels.class_names), labels.clean


def _warn_of_other_order(labels: FileLabels, raw: RawSamples, file: Path) -> None:
    """Warn where most labels of a file are not the source's own: it may be in another order."""
    if labels.given.shape != raw.labels.shape or labels.class_names != raw.class_names:
        return
    known = (labels.given != UNLABELLED) & (raw.labels != UNLABELLED)
    differ = int((labels.given != raw.labels)[known].sum())
    if 2 * differ > known.sum():
        raw.notes.warn(
            f"{differ / known.sum():.0%} of the labels of {file.name} are not those of the source: check the order of "
            "its rows, and of the classes that its numbers stand for"
        )


def _require_clean_labels(given: np.ndarray, clean: np.ndarray | None, raw: RawSamples, file: Path) -> None:
    """Raise DataError unless the true labels of a file are the source's own, for all samples that it labels."""
    if clean is None:
        return
    different = np.flatnonzero(((clean != raw.labels) & (given != UNLABELLED)).reshape(len(raw), -1).any(1))
    if len(different):
        row = int(different[0])
        raise DataError(
            f"{file} is of other data or in another order: its clean label of row {row} is {clean[row]}, "
            f"{raw.name} has {raw.labels[row]} there ({len(different)} rows differ)"
        )


def _usable_samples(
    raw: RawSamples,
    true_labels: np.ndarray | None,
    source_keys: Sequence[str],
    settings: DataSettings,
    progress: ReadingProgress | None,
    before_decoding: Callable[[bool], None] | None,
) -> LabeledDataset:
    """Return the rows that can be used as a data set, which lists the others."""
    broken = dict(raw.broken)
    has_no_label = (raw.labels == UNLABELLED).reshape(len(raw), -1).any(1)
    unlabelled = {int(row): _NO_LABEL for row in np.flatnonzero(has_no_label) if int(row) not in broken}
    rows = np.delete(np.arange(len(raw)), [*broken, *unlabelled])
    decoded, kept = _decode(raw, rows, settings, broken, progress, before_decoding)
    for warning in class_warnings(raw.labels[kept], raw.class_names):
        raw.notes.warn(warning)
    source_rows = np.arange(len(raw)) if raw.rows is None else raw.rows
    skipped = [
        SkippedSample(int(source_rows[row]), raw.keys[row], reason)
        for row, reason in sorted({**unlabelled, **broken}.items())
    ]
    if broken and settings.on_error == "stop":
        row, reason = min(broken.items())
        raise BrokenRowsError(
            f"{raw.name}: row {source_rows[row]} ({raw.keys[row]}) cannot be used: {reason} "
            f"(first of {len(broken)} broken rows). Fix or remove them, or leave them out with `on_error='skip'`",
            [sample for sample in skipped if sample.reason != _NO_LABEL],
        )
    dataset = LabeledDataset(
        name=raw.name,
        inputs=decoded.inputs,
        labels=raw.labels[kept],
        class_names=raw.class_names,
        keys=taken(raw.keys, kept),
        split=raw.split,
        true_labels=None if true_labels is None else true_labels[kept],
        skipped=tuple(skipped),
        texts=[raw.inputs.texts[row] for row in kept] if isinstance(raw.inputs, Texts) else None,
        rows=source_rows[kept],
        notes=raw.notes,
        originals=taken(raw.inputs, kept) if isinstance(raw.inputs, Sequence) else None,
        image_fit=decoded.fit,
        image_conversion=decoded.conversion,
        are_scaled=raw.are_scaled,
        cells=None if raw.cells is None else raw.cells.take(kept),
        workers=_workers(decoded.inputs, settings),
    )
    note_repeats(dataset, taken(source_keys, kept), decoded.digests)
    return dataset


def _workers(inputs: Inputs, settings: DataSettings) -> int:
    """Return how many processes read and augment the inputs.

    Unasked, none for small images in memory, whose augmentation is done before a worker could send them, and none for a
    data set of torch that the user made, which each would copy.
    """
    is_in_memory, is_image = isinstance(inputs, InMemory | Texts), len(inputs.shape) == 3
    if is_in_memory and not is_image:
        return 0
    is_photo = is_in_memory and max(inputs.shape[1:]) > SMALL_SIDE
    if is_photo or isinstance(inputs, EncodedImages | CachedImages):
        return resolve_workers(settings.workers)
    return 0 if settings.workers == "auto" else settings.workers


def _decode(
    raw: RawSamples,
    rows: np.ndarray,
    settings: DataSettings,
    broken: BrokenRows,
    progress: ReadingProgress | None,
    before_decoding: Callable[[bool], None] | None,
) -> tuple[DecodedImages, np.ndarray]:
    """Return the inputs of the rows, and the rows that have some; add images that cannot be read to `broken`."""
    keys = taken(raw.keys, rows)
    if not isinstance(raw.inputs, Sequence):
        inputs = _loaded_inputs(raw.name, raw.inputs, rows, settings.image_size)
        if isinstance(inputs, InMemory) and inputs.values.ndim == 4:
            return DecodedImages(inputs, digests=check_tensor(inputs.values, keys, raw.notes)), rows
        return DecodedImages(inputs), rows
    decoded = decode_all(taken(raw.inputs, rows), keys, settings, raw.notes, progress, before_decoding)
    broken |= {int(rows[index]): f"the image cannot be read: {reason}" for index, reason in decoded.broken.items()}
    return decoded, np.delete(rows, list(decoded.broken))


def _loaded_inputs(name: str, inputs: Inputs, rows: np.ndarray, image_size: int | None) -> Inputs:
    """Return the rows of inputs that need no decoding."""
    if image_size is not None and inputs.shape[-1:] != (image_size,):
        raise DataError(f"{name} has inputs of the shape {inputs.shape}, which `image_size` does not change")
    if len(rows) == len(inputs):
        return inputs
    if isinstance(inputs, Texts):
        return Texts([inputs.texts[row] for row in rows])
    if isinstance(inputs, InMemory):
        return InMemory(inputs.values[torch.from_numpy(rows)])
    return SubsetInputs(inputs, torch.from_numpy(rows))
