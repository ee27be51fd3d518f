"""Find the columns of inputs, labels and keys in a table, and turn its rows into samples."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from gwaudit.core.errors import DataError
from gwaudit.core.files import file_below, path_below
from gwaudit.core.settings import DataSettings, split_commas
from gwaudit.data.image_decoding import EncodedImage
from gwaudit.data.inputs import Inputs, Texts, features
from gwaudit.data.labels import ParsedLabels, matrix_of_columns, parse_labels
from gwaudit.data.readers.raw_samples import BrokenRows, RawSamples, default_keys, rows_not_finite
from gwaudit.data.reading_notes import ReadingNotes

DEFAULT_COLUMN_NAMES = {
    "label_column": ("label", "fine_label", "labels", "category", "class", "target", "intent"),
    "image_column": ("img", "image", "path", "file_name", "filename", "file", "image_path"),
    "text_column": ("text", "sentence", "question", "content"),
    "feature_columns": ("embedding", "embeddings", "features", "latent", "vector"),
    "id_column": ("key", "__key__", "id"),
}
"""Names of columns that are found without a setting, by the setting that names others."""

_INPUT_SETTINGS = ("image_column", "text_column", "feature_columns")  # in the order in which columns are looked for


class _InputColumn(NamedTuple):
    """Hold the inputs of a column, their paths where they are files, and the rows that cannot be used."""

    inputs: Inputs | Sequence[EncodedImage]
    paths: list[str | None] | None
    broken: BrokenRows


def samples_of_table(
    table: pa.Table,
    settings: DataSettings,
    *,
    name: str,
    root: Path,
    notes: ReadingNotes,
    broken: BrokenRows | None = None,
) -> RawSamples:
    """Return the rows of a table as samples.

    The class names are those of the settings, else those in Hugging Face's metadata, else the labels that occur.

    Args:
        table: The rows.
        settings: Names of columns, split, classes and label separator.
        name: Name of the data set.
        root: Folder that paths are relative to; a row whose path leads out of it is broken.
        notes: Notes of the reading, which receive the columns.
        broken: Reason for each row that is known to be broken, by its number.

    Raises:
        DataError: A column is missing or of a wrong type.
    """
    parsed, label_columns = _labels(table, settings, name)
    id_column = _find_column(table, settings, "id_column", name)
    notes.remarks.extend(parsed.remarks)
    column = _inputs(table, settings, name, root, taken={*label_columns, id_column})
    keys, unnamed = _keys(table, id_column, column.paths, settings.split)
    return RawSamples(
        name=name,
        split=settings.split,
        inputs=column.inputs,
        labels=parsed.labels,
        class_names=parsed.class_names,
        keys=keys,
        broken={**unnamed, **parsed.broken, **column.broken, **(broken or {})},
        notes=notes,
    )


def _labels(table: pa.Table, settings: DataSettings, name: str) -> tuple[ParsedLabels, tuple[str, ...]]:
    """Return the labels, and the names of their columns."""
    chosen = settings.label_column
    if chosen is not None and chosen not in table.column_names and "," in chosen:
        columns = _require_columns(table, chosen, name)
        if settings.label_separator is not None or settings.classes is not None:
            raise DataError(
                f"{name}: the columns in `label_column` name the classes: leave out `label_separator` and `classes`"
            )
        return matrix_of_columns({column: table[column].to_pylist() for column in columns}), columns
    label = _find_column(table, settings, "label_column", name)
    if label is None:
        raise DataError(
            f"{name} has no column of labels ({', '.join(DEFAULT_COLUMN_NAMES['label_column'][:3])}, ...): "
            f"its columns are {', '.join(table.column_names)}; name one with `label_column`"
        )
    stated = settings.class_names
    class_names = stated or _class_names_of_metadata(table, label)
    values = table[label].to_pylist()
    return parse_labels(values, class_names, settings.label_separator, numbers_are_indices=stated is None), (label,)


def _find_column(table: pa.Table, settings: DataSettings, setting: str, name: str) -> str | None:
    """Return the column that a setting names, else the first of its default names in the table, else None."""
    chosen: str | None = getattr(settings, setting)
    if chosen is not None:
        return _require_column(table, chosen, name)
    return next((column for column in DEFAULT_COLUMN_NAMES[setting] if column in table.column_names), None)


def _require_column(table: pa.Table, column: str, name: str) -> str:
    if column not in table.column_names:
        raise DataError(f"{name} has no column {column!r}: its columns are {', '.join(table.column_names)}")
    return column


def _require_columns(table: pa.Table, columns: str, name: str) -> tuple[str, ...]:
    return tuple(_require_column(table, column, name) for column in split_commas(columns))


def _inputs(table: pa.Table, settings: DataSettings, name: str, root: Path, taken: set[str | None]) -> _InputColumn:
    """Return the inputs in the column that is named, else in columns of images, texts, features, or numbers."""
    named = [setting for setting in _INPUT_SETTINGS if getattr(settings, setting) is not None]
    if len(named) > 1:
        raise DataError(f"{name}: give one of `image_column`, `text_column` and `feature_columns`, not several")
    if settings.feature_columns is not None and settings.feature_columns not in table.column_names:
        return _number_columns(table, _require_columns(table, settings.feature_columns, name))
    for setting in named or _INPUT_SETTINGS:
        column = _find_column(table, settings, setting, name)
        if setting == "image_column" and column is None:  # a column of bytes has images under any name
            column = next((c for c in table.column_names if _holds_bytes(table[c].type)), None)
        if column is None or column in taken:
            continue
        if setting == "image_column":
            return _images(table[column], column, name, root)
        return _texts(table[column]) if setting == "text_column" else _lists(table[column], column, name)
    numeric = [column for column in table.column_names if column not in taken and _is_numeric(table[column])]
    if not numeric:
        raise DataError(
            f"{name} has no column of images, texts or numbers: its columns are {', '.join(table.column_names)}; "
            "name one with `image_column`, `text_column` or `feature_columns`"
        )
    return _number_columns(table, numeric)


def _images(values: pa.ChunkedArray, column: str, name: str, root: Path) -> _InputColumn:
    contents, paths = _contents_and_paths(values, column, name)
    items: list[EncodedImage] = [content or b"" for content in contents]
    broken: BrokenRows = {}
    for row, (content, path) in enumerate(zip(contents, paths, strict=True)):
        if content:
            continue
        if not path:
            broken[row] = "has no image"
        elif path_below(root, path) is None:
            broken[row] = f"path {path!r} leads out of {root}: give the folder above all files as `root`"
        elif (file := file_below(root, path)) is None:
            broken[row] = f"there is no file {path!r} below {root}"
        else:
            items[row] = file
    return _InputColumn(items, paths if any(paths) else None, broken)


def _contents_and_paths(values: pa.ChunkedArray, column: str, name: str) -> tuple[list[bytes | None], list[str | None]]:
    """Return the content and the path of the image of each row, None where the table does not have it."""
    contents: list[bytes | None] = [None] * len(values)
    paths: list[str | None] = [None] * len(values)
    if _holds_bytes(values.type) and pa.types.is_struct(values.type):
        array = values.combine_chunks()
        contents = array.field("bytes").to_pylist()
        if values.type.get_field_index("path") >= 0:
            paths = array.field("path").to_pylist()
        if all(contents) and not (all(paths) and len(set(paths)) == len(paths)):
            paths = [None] * len(values)  # some writers give every image the same path
    elif _holds_bytes(values.type):
        contents = values.to_pylist()
    elif _is_text(values.type):
        paths = [path.strip() if path else None for path in values.to_pylist()]
    else:
        raise DataError(
            f"{name}: column {column!r} must hold paths, or the bytes of images (or a struct with these), "
            f"not {values.type}"
        )
    return contents, paths


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return bool(kind.get_field_index("bytes") >= 0)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _texts(values: pa.ChunkedArray) -> _InputColumn:
    texts = ["" if value is None else str(value) for value in values.to_pylist()]
    broken = {row: "has an empty text" for row, text in enumerate(texts) if not text.strip()}
    return _InputColumn(Texts(texts), None, broken)


def _lists(values: pa.ChunkedArray, column: str, name: str) -> _InputColumn:
    kind = values.type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not is_list or not (pa.types.is_integer(kind.value_type) or pa.types.is_floating(kind.value_type)):
        raise DataError(f"{name}: column {column!r} must hold lists of numbers, not {kind}")
    array = values.combine_chunks().cast(pa.large_list(kind.value_type))
    lengths = array.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    width = int(np.bincount(lengths).argmax())
    if not width:
        raise DataError(f"{name}: the lists in column {column!r} are empty")
    usable = lengths == width
    matrix = np.full((len(lengths), width), np.nan, np.float32)
    matrix[usable] = array.filter(pa.array(usable)).flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
    broken = {int(row): f"has {lengths[row]} features, not {width}" for row in np.flatnonzero(~usable)}
    return _InputColumn(features(torch.from_numpy(matrix)), None, {**rows_not_finite(matrix), **broken})


def _is_numeric(values: pa.ChunkedArray) -> bool:
    if pa.types.is_integer(values.type) or pa.types.is_floating(values.type):
        return True
    if not _is_text(values.type):
        return False
    return bool(pd.to_numeric(pd.Series(values.to_pylist()), errors="coerce").notna().mean() > 0.5)


def _number_columns(table: pa.Table, names: Sequence[str]) -> _InputColumn:
    numbers = {name: pd.to_numeric(pd.Series(table[name].to_pylist()), errors="coerce") for name in names}
    matrix = np.stack([numbers[name].to_numpy(np.float32) for name in names], axis=1)
    broken: BrokenRows = {}
    for row, column in np.argwhere(~np.isfinite(matrix)).tolist():
        broken.setdefault(row, f"{names[column]!r} is {table[names[column]][row].as_py()!r}, not a number")
    return _InputColumn(features(torch.from_numpy(matrix)), None, broken)


def _keys(
    table: pa.Table, column: str | None, paths: list[str | None] | None, split: str
) -> tuple[list[str], BrokenRows]:
    """Return the key of each row, from the column of ids or the paths of images, and the rows without an id."""
    if column is not None:
        given = [None if value is None else str(value) for value in table[column].to_pylist()]
    elif paths is not None:
        given = paths
    else:
        return default_keys(split, table.num_rows), {}
    keys = [key or f"{split}/{row:06d}" for row, key in enumerate(given)]
    empty = [row for row, key in enumerate(given) if not key and column is not None]
    return keys, dict.fromkeys(empty, f"column {column!r} is empty")


def _class_names_of_metadata(table: pa.Table, column: str) -> tuple[str, ...] | None:
    """Return the class names in Hugging Face's metadata, where there are some."""
    metadata = (table.schema.metadata or {}).get(b"huggingface")
    try:
        feature = json.loads(metadata)["info"]["features"][column] if metadata else {}
        return tuple(feature.get("feature", feature)["names"])  # of a list of classes, or of one class
    except (ValueError, KeyError, TypeError):
        return None
