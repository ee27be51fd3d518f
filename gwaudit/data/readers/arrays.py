"""Read features or images from NumPy arrays: `.npz` with their labels, `.npy` with a label file."""

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gwaudit.core.errors import DataError
from gwaudit.core.settings import DataSettings
from gwaudit.data.array_files import read_array, read_arrays
from gwaudit.data.class_names import label_text
from gwaudit.data.image_conversion import Measurement, choose_conversion, measure_numbers
from gwaudit.data.inputs import InMemory, features
from gwaudit.data.labels import UNLABELLED, ParsedLabels, parse_labels
from gwaudit.data.readers.raw_samples import (
    BrokenRows,
    RawSamples,
    Source,
    default_keys,
    note_constant_features,
    rows_not_finite,
    source_name,
)
from gwaudit.data.reading_notes import ReadingNotes
from gwaudit.data.splits import choose_split, split_kind_within, split_word

PARTS: tuple[str, ...] = ("classes", "root")
"""Settings that name parts of such a source."""
_INPUTS = ("x", "X", "features", "embeddings", "images", "data", "arr_0")
_LABELS = ("y", "Y", "labels", "label", "targets", "target", "arr_1")
_CLASS_NAMES = ("class_names", "classes", "names", "target_names", "label_names")
_KEYS = ("keys", "ids", "id")


def recognises(source: Source, settings: DataSettings) -> bool:
    """Return whether the source is a `.npy` or `.npz` file."""
    path = Path(settings.source)
    return path.suffix in (".npy", ".npz") and path.is_file()


def read(source: Source, settings: DataSettings) -> RawSamples:
    """Read the rows of a `.npy` or `.npz` file: features [n, D] of any real type, or images [n, H, W, 3 or 1].

    An `.npz` holds them as `x` (or features, embeddings, images, data) beside `y` (or labels), and may hold
    `class_names` and `keys`. A matrix `y` [n, C] of 0 and 1 is multi-label.

    Raises:
        DataError: The file cannot be read, or holds other shapes or types.
    """
    path, notes = Path(settings.source), ReadingNotes()
    all_entries = read_arrays(path) if path.suffix == ".npz" else {"x": read_array(path)}
    split, entries = _entries_of_split(all_entries, settings.split, path, notes)
    values = _entry(entries, _INPUTS)
    if values is None:
        raise DataError(f"{path} has no inputs ({', '.join(_INPUTS[:4])}): its arrays are {', '.join(all_entries)}")
    inputs, broken = _inputs(values, path, notes)
    parsed = _labels(entries, len(values), settings, path)
    given_keys = _texts(entries, _KEYS, path)
    keys = default_keys(split, len(values)) if given_keys is None else list(given_keys)
    for name, rows in (("labels", parsed.labels), ("keys", keys)):
        if len(rows) != len(values):
            raise DataError(f"{path} has {len(rows)} {name} for {len(values)} rows")
    notes.remarks.extend(parsed.remarks)
    return RawSamples(
        name=source_name(path),
        split=split,
        inputs=inputs,
        labels=parsed.labels,
        class_names=parsed.class_names,
        keys=keys,
        broken={**broken, **parsed.broken},
        notes=notes,
    )


def _entries_of_split(
    entries: dict[str, Any], asked: str, path: Path, notes: ReadingNotes
) -> tuple[str, dict[str, Any]]:
    """Return the split, and its arrays under their plain names: `x` for `x_train`, `images` for `test_images`.

    Arrays without a split in their names, such as the class names, belong to every split.
    """
    roles = {*_INPUTS, *_LABELS, *_CLASS_NAMES, *_KEYS}
    shared: dict[str, Any] = {}
    splits: dict[str, dict[str, Any]] = {}
    written: dict[tuple[str, str], str] = {}  # names of arrays, by their split and their plain name
    for name, values in entries.items():
        word = split_word(name) if name not in roles and split_kind_within(name) else ""
        plain = re.sub(f"^{word}_?|_?{word}$", "", name) if word else name
        if word and plain in roles:
            splits.setdefault(word, {})[plain] = values
            written[word, plain] = name
        else:
            shared[name] = values
    splits = {word: arrays for word, arrays in splits.items() if _entry(arrays, _INPUTS) is not None}
    if splits and _entry(shared, _INPUTS) is not None:
        raise DataError(
            f"{path} has inputs with and without a split in their names: {', '.join(entries)}. Write the arrays of "
            "each split under names such as x_train and y_train"
        )
    split = choose_split(asked, list(splits), path, notes)
    chosen = {**shared, **splits.get(split, {})}
    used = set()
    for role, names in (("inputs", _INPUTS), ("labels", _LABELS), ("class names", _CLASS_NAMES), ("keys", _KEYS)):
        if found := next((name for name in names if name in chosen), ""):
            used.add(found)
            notes.use_columns(role, [written.get((split, found), found)])
    notes.leave_out_columns("no array of this name is read", [name for name in shared if name not in used])
    return split, chosen


def _entry(entries: dict[str, Any], names: tuple[str, ...]) -> NDArray[Any] | None:
    return next((np.asarray(entries[name]) for name in names if name in entries), None)


def _inputs(values: NDArray[Any], path: Path, notes: ReadingNotes) -> tuple[InMemory, BrokenRows]:
    """Return features or images, and the rows that hold a NaN or an infinity."""
    if 0 in values.shape:
        raise DataError(f"{path} holds no values: its inputs have the shape {values.shape}")
    if values.ndim == 2 and values.dtype.kind in "fiub":
        values = values.astype(np.float64) if values.dtype.itemsize > 8 else values
        inputs = features(torch.from_numpy(np.require(values, values.dtype.newbyteorder("="), ["C", "W"])))
        note_constant_features(values, notes)
        return inputs, rows_not_finite(inputs.values.numpy())
    is_series = values.ndim == 3 and values.dtype.kind == "f" and values.shape[1] != values.shape[2]  # [n, time, D]
    if values.ndim in (3, 4) and values.dtype.kind in "fiub" and not is_series:
        images = values[..., None] if values.ndim == 3 else values
        if images.shape[3] in (1, 3):
            images = images.transpose(0, 3, 1, 2)
        if images.shape[1] in (1, 3):
            pixels, broken = _as_8_bit(images, notes)
            return InMemory(torch.from_numpy(np.ascontiguousarray(pixels))), broken
    raise DataError(
        f"{path} holds {values.dtype} {values.shape}: expected features [n, D], or images [n, H, W, 3 or 1]"
    )


def _as_8_bit(images: NDArray[Any], notes: ReadingNotes) -> tuple[NDArray[np.uint8], BrokenRows]:
    """Return images of any real type as uint8, by one range for all of them, and those that are not finite."""
    if images.dtype == np.uint8:
        return images, {}
    finite = np.array([np.isfinite(image).all() for image in images], bool)
    rows = np.flatnonzero(finite).tolist()
    conversion, remarks = choose_conversion(Measurement(measure_numbers(images[row])) for row in rows)
    notes.remarks.extend(remarks)
    pixels = np.zeros(images.shape, np.uint8)
    for row in rows:
        pixels[row] = conversion.scale(images[row])
    return pixels, dict.fromkeys(np.flatnonzero(~finite).tolist(), "the image holds a NaN or an infinity")


def _texts(entries: dict[str, Any], names: tuple[str, ...], path: Path) -> tuple[str, ...] | None:
    """Return the texts of a list of keys or class names, or None where the file has no such array."""
    name = next((name for name in names if name in entries), None)
    if name is None:
        return None
    values = np.asarray(entries[name])
    if values.ndim != 1:
        raise DataError(
            f"{path}: the array {name} must be a list of texts or numbers, not {values.dtype} {values.shape}"
        )
    return tuple(os.fsdecode(value) if isinstance(value, bytes) else label_text(value) for value in values.tolist())


def _labels(entries: dict[str, Any], n: int, settings: DataSettings, path: Path) -> ParsedLabels:
    class_names = settings.class_names or _texts(entries, _CLASS_NAMES, path)
    given = _entry(entries, _LABELS)
    if given is None and settings.labels is None and len(entries) > 1:
        raise DataError(
            f"{settings.source} has no labels ({', '.join(_LABELS[:4])}): its arrays are {', '.join(entries)}. Write "
            "them under one of these names, or give a file of labels (.npy, .csv) as `labels`"
        )
    if given is None:
        return ParsedLabels(np.full(n, UNLABELLED, np.int64), class_names or (), {})
    if given.ndim == 0:
        raise DataError(f"{path}: the labels are a single value ({given.dtype}): expected one for each row")
    values = given.tolist() if given.ndim == 1 else list(given)
    return parse_labels(values, class_names, numbers_are_indices=settings.classes is None)
