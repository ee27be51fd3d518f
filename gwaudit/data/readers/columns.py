"""Which columns of a table are what: images, texts or features, labels, ids. Rows become samples here."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from numpy.typing import NDArray

from gwaudit.core.errors import DataError
from gwaudit.core.files import file_below, path_below
from gwaudit.data.image_files import EncodedImage
from gwaudit.data.inputs import Inputs, Texts, features
from gwaudit.data.labels import ParsedLabels, matrix_of_columns, parse_labels
from gwaudit.data.readers.raw_samples import RawSamples, default_keys

Broken = dict[int, str]


@dataclass(frozen=True)
class Columns:
    """Names of columns; None where the usual names tell.

    Attributes:
        label: of the given labels, or of lists of them; or several names of columns of 0 and 1, with commas between.
        image: of paths, or of encoded images (bytes, or Hugging Face's struct of bytes and path).
        text: of texts.
        features: of lists of numbers; or several names of numbers, with commas between.
        id: of what a person knows each row by.
        separator: what stands between the labels of a row, where they are text.
    """

    label: str | None = None
    image: str | None = None
    text: str | None = None
    features: str | None = None
    id: str | None = None
    separator: str | None = None


DEFAULT_COLUMN_NAMES = {
    "label": ("label", "fine_label", "labels", "category", "class", "target", "intent"),
    "image": ("img", "image", "path", "file_name", "filename", "file", "image_path"),
    "text": ("text", "sentence", "question", "content"),
    "features": ("embedding", "embeddings", "features", "latent", "vector"),
    "id": ("key", "__key__", "id"),
}


def samples_of_table(
    table: pa.Table,
    *,
    name: str,
    split: str,
    columns: Columns,
    root: Path,
    class_names: Sequence[str] | None = None,
    broken: Broken | None = None,
) -> RawSamples:
    """The rows of a table as samples.

    Args:
        table: the rows.
        name, split: what it is called, and its split.
        columns: which columns are what.
        root: the folder that paths are below; a path that leaves it is broken.
        class_names: all classes there may be; by default those of Hugging Face's metadata, else those that occur.
        broken: what is known to be wrong with a row, by its number.

    Raises:
        DataError: a column is missing, or of the wrong type.
    """
    broken = dict(broken or {})
    (labels, class_names, wrong), label = _labels(table, columns, name, class_names)
    id_column = _find(table, "id", columns.id, name, required=False)
    read = _inputs(table, columns, name, root, taken={*label, id_column})
    broken = {**wrong, **read.broken, **broken}
    keys, twice = _keys(table, id_column, read.paths, split)
    return RawSamples(name, split, read.inputs, labels, class_names, keys, {**twice, **broken})


def _labels(
    table: pa.Table, columns: Columns, name: str, class_names: Sequence[str] | None
) -> tuple[ParsedLabels, tuple[str, ...]]:
    """The labels, and the columns that they are in."""
    chosen = columns.label
    if chosen is not None and chosen not in table.column_names and "," in chosen:
        several = [str(_find(table, "label", part.strip(), name, required=True)) for part in chosen.split(",")]
        if columns.separator is not None or class_names is not None:
            raise DataError(f"{name}: columns of 0 and 1 name the classes; leave out label separator and class names")
        return matrix_of_columns({column: table[column].to_pylist() for column in several}), tuple(several)
    label = str(_find(table, "label", chosen, name, required=True))
    names = class_names or _class_names(table, label)
    return parse_labels(table[label].to_pylist(), names, columns.separator), (label,)


def _find(table: pa.Table, what: str, chosen: str | None, name: str, *, required: bool) -> str | None:
    there = table.column_names
    if chosen is not None:
        if chosen not in there:
            raise DataError(f"{name} has no column {chosen!r}: its columns are {', '.join(there)}")
        return chosen
    usual = next((column for column in DEFAULT_COLUMN_NAMES[what] if column in there), None)
    if usual is None and required:
        raise DataError(
            f"{name} has no {what} column ({', '.join(DEFAULT_COLUMN_NAMES[what][:3])}, ...): "
            f"its columns are {', '.join(there)}; "
            f"say which with --{what}-column"
        )
    return usual


class _Column(NamedTuple):
    """What a column holds: the inputs, the paths where they are files, and what is wrong with rows."""

    inputs: Inputs | Sequence[EncodedImage]
    paths: list[str | None] | None
    broken: Broken


def _inputs(table: pa.Table, columns: Columns, name: str, root: Path, taken: set[str | None]) -> _Column:
    """What is named decides, then what there is: images before texts before features, and numbers at last."""
    told = [kind for kind in ("image", "text", "features") if getattr(columns, kind) is not None]
    if len(told) > 1:
        raise DataError(f"{name}: say one of --image-column, --text-column and --feature-columns, not several")
    if columns.features is not None and columns.features not in table.column_names:
        chosen = [_find(table, "features", part.strip(), name, required=True) for part in columns.features.split(",")]
        return _number_columns(table, [str(column) for column in chosen])
    for kind in told or ("image", "text", "features"):
        column = _find(table, kind, getattr(columns, kind), name, required=False)
        if kind == "image" and column is None:  # under any name, where the type tells
            column = next((c for c in table.column_names if _holds_bytes(table[c].type)), None)
        if column is None or column in taken:
            continue
        if kind == "image":
            return _images(table[column], column, name, root)
        return _texts(table[column]) if kind == "text" else _lists(table[column], column, name)
    numeric = [column for column in table.column_names if column not in taken and _is_numeric(table[column])]
    if not numeric:
        raise DataError(
            f"{name} has no column of images, texts or numbers: its columns are {', '.join(table.column_names)}; "
            "say which with --image-column, --text-column or --feature-columns"
        )
    return _number_columns(table, numeric)


def _images(values: pa.ChunkedArray, column: str, name: str, root: Path) -> _Column:
    if _holds_bytes(values.type) and pa.types.is_struct(values.type):
        array = values.combine_chunks()
        contents = array.field("bytes").to_pylist()
        has_paths = values.type.get_field_index("path") >= 0
        paths = array.field("path").to_pylist() if has_paths else [None] * len(contents)
        if all(contents) and not (all(paths) and len(set(paths)) == len(paths)):
            paths = [None] * len(contents)  # some writers call every image the same
    elif _holds_bytes(values.type):
        contents = values.to_pylist()
        paths = [None] * len(contents)
    elif _is_text(values.type):
        paths = [path.strip() if path else None for path in values.to_pylist()]
        contents = [None] * len(paths)
    else:
        raise DataError(
            f"{name}: column {column!r} must hold paths, or the bytes of images (or a struct with these), "
            f"not {values.type}"
        )
    items: list[EncodedImage] = []
    broken: Broken = {}
    for row, (content, path) in enumerate(zip(contents, paths, strict=True)):
        items.append(content or b"")
        if not content and path:
            if path_below(root, path) is None:
                broken[row] = f"path {path!r} leaves {root}: say with --root below which folder the files are"
            elif (file := file_below(root, path)) is None:
                broken[row] = f"there is no file {path!r} below {root}"
            else:
                items[row] = file
        elif not content:
            broken[row] = "has no image"
    return _Column(items, paths if any(paths) else None, broken)


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return bool(kind.get_field_index("bytes") >= 0)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _texts(values: pa.ChunkedArray) -> _Column:
    texts = ["" if value is None else str(value) for value in values.to_pylist()]
    return _Column(Texts(texts), None, {row: "has an empty text" for row, text in enumerate(texts) if not text.strip()})


def _lists(values: pa.ChunkedArray, column: str, name: str) -> _Column:
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
    return _Column(features(torch.from_numpy(matrix)), None, {**not_finite(matrix), **broken})


def _is_numeric(values: pa.ChunkedArray) -> bool:
    if pa.types.is_integer(values.type) or pa.types.is_floating(values.type):
        return True
    if not _is_text(values.type):
        return False
    return bool(pd.to_numeric(pd.Series(values.to_pylist()), errors="coerce").notna().mean() > 0.5)


def _number_columns(table: pa.Table, names: list[str]) -> _Column:
    read = {name: pd.to_numeric(pd.Series(table[name].to_pylist()), errors="coerce") for name in names}
    matrix = np.stack([read[name].to_numpy(np.float32) for name in names], axis=1)
    broken: Broken = {}
    for row, column in np.argwhere(~np.isfinite(matrix)).tolist():
        broken.setdefault(row, f"{names[column]!r} is {table[names[column]][row].as_py()!r}, not a number")
    return _Column(features(torch.from_numpy(matrix)), None, broken)


def not_finite(matrix: NDArray[np.floating[Any]]) -> Broken:
    """The rows of features [n, D] with a NaN or infinity, and where."""
    broken: Broken = {}
    for row in np.flatnonzero(~np.isfinite(matrix).all(1)).tolist():
        place = int(np.argmin(np.isfinite(matrix[row])))
        broken[row] = f"feature {place} is {matrix[row, place]}"
    return broken


def _keys(table: pa.Table, column: str | None, paths: list[str | None] | None, split: str) -> tuple[list[str], Broken]:
    """What each row is known by, which must be told apart."""
    if column is not None:
        given = [None if value is None else str(value) for value in table[column].to_pylist()]
    elif paths is not None:
        given = paths
    else:
        return default_keys(split, table.num_rows), {}
    first: dict[str, int] = {}
    keys: list[str] = []
    broken: Broken = {}
    for row, key in enumerate(given):
        keys.append(key or f"{split}/{row:06d}")
        if not key and column is not None:
            broken[row] = f"has nothing in column {column!r}"
        elif first.setdefault(keys[row], row) != row:
            broken[row] = f"key {key!r} is that of row {first[keys[row]]} already"
    return keys, broken


def _class_names(table: pa.Table, column: str) -> tuple[str, ...] | None:
    """Of Hugging Face's metadata."""
    metadata = (table.schema.metadata or {}).get(b"huggingface")
    try:
        feature = json.loads(metadata)["info"]["features"][column] if metadata else {}
        return tuple(feature.get("feature", feature)["names"])  # of a list of classes, or of one
    except (ValueError, KeyError, TypeError):
        return None
