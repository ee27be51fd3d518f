"""Find the columns of inputs, labels and keys in a table, and turn its rows into samples."""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from gwaudit.core.errors import DataError, did_you_mean
from gwaudit.core.files import file_below, path_below
from gwaudit.core.settings import DataSettings, split_commas
from gwaudit.core.spreadsheet_changes import looks_changed
from gwaudit.data.class_names import label_text
from gwaudit.data.exported_columns import exported_columns
from gwaudit.data.image_decoding import EncodedImage
from gwaudit.data.image_signatures import image_of_base64
from gwaudit.data.inputs import Inputs, Texts, features
from gwaudit.data.labels import UNLABELLED, ParsedLabels, matrix_of_columns, parse_labels
from gwaudit.data.readers.column_cells import (
    are_image_names,
    are_numbers,
    is_empty,
    is_list,
    is_list_of_numbers,
    is_text,
)
from gwaudit.data.readers.declared_columns import class_names_in
from gwaudit.data.readers.feature_columns import choose_features, named_features
from gwaudit.data.readers.feature_encoding import Features
from gwaudit.data.readers.raw_samples import (
    BrokenRows,
    RawSamples,
    default_keys,
    note_constant_features,
    rows_not_finite,
)
from gwaudit.data.reading_notes import ReadingNotes

DEFAULT_COLUMN_NAMES = {
    "label_column": ("label", "fine_label", "labels", "category", "class", "target", "intent"),
    "image_column": ("img", "image", "path", "file_name", "filename", "file", "image_path"),
    "text_column": ("text", "sentence", "question", "content"),
    "feature_columns": ("embedding", "embeddings", "features", "latent", "vector"),
    "id_column": ("key", "__key__", "id"),
}
"""Names of columns that are found without a setting, in any case, by the setting that names others."""

_ROLES = {"image_column": "images", "text_column": "texts", "feature_columns": "features"}
_USUAL_SUFFIXES = (".jpg", ".png", ".jpeg", ".JPG", ".tif")  # that a table may leave out
_FIRST_PATHS = 20
_NUMPY_SCALAR = re.compile(r"(?:np|numpy)\.float\d+\(([^()]*)\)")
_INPUT_SETTINGS = ("image_column", "text_column", "feature_columns")  # in the order in which columns are looked for


class _InputColumn(NamedTuple):
    """Hold the inputs of columns, their paths where they are files, the rows that cannot be used, and scaled cells."""

    inputs: Inputs | Sequence[EncodedImage]
    paths: list[str | None] | None
    broken: BrokenRows
    cells: pa.Table | None = None


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
    if not table.num_rows:
        raise DataError(f"{name} has no rows")
    parsed, label_columns = _labels(table, settings, name)
    notes.remarks += parsed.remarks
    id_column = _find_column(table, settings, "id_column", name)
    if settings.id_column is None and id_column is not None and are_image_names(table[id_column]):
        id_column = None  # the names of image files, which are inputs and keys
    of_split = [column for columns in notes.columns_used.values() for column in columns]
    if label_columns:
        notes.use_columns("labels", label_columns)
    if id_column is not None:
        notes.use_columns("keys", [id_column])
    added = [c for c in exported_columns(table).added if c not in {*label_columns, id_column}]
    notes.leave_out_columns("added by an export of gwaudit", added)
    others = [c for c in table.column_names if c not in {*of_split, *label_columns, id_column, *added}]
    column = _inputs(table, settings, name, root, others, parsed.labels, notes)
    keys, unnamed = _keys(table, id_column, column.paths, settings.split)
    changed = [repr(key) for key in keys if looks_changed(key)] if id_column is not None else []
    if changed:
        notes.warn(
            f"{len(changed):,} keys in the column {id_column} may have been written by a spreadsheet program, such as "
            f"{', '.join(changed[:3])}: check the source"
        )
    return RawSamples(
        name=name,
        split=settings.split,
        inputs=column.inputs,
        labels=parsed.labels,
        class_names=parsed.class_names,
        keys=keys,
        broken={**unnamed, **parsed.broken, **column.broken, **(broken or {})},
        notes=notes,
        are_scaled=column.cells is not None,
        cells=column.cells,
    )


def label_column_of(table: pa.Table, settings: DataSettings) -> str | None:
    """Return the column of labels: the one that is set, that an export wrote, or with a usual name; else None.

    Several columns are joined by commas.
    """
    if settings.label_column is not None:
        return settings.label_column
    exported = ",".join(exported_columns(table).labels)
    return exported or next(iter(usual_columns("label_column", table.column_names)), None)


def usual_columns(setting: str, columns: Sequence[str]) -> list[str]:
    """Return the columns with a usual name for a role, the best first: exact names before those in another case.

    Args:
        setting: Setting that names another column for this role.
        columns: Names of columns.

    Example:
        >>> usual_columns("label_column", ["Target", "text", "class"])
        ['class', 'Target']
    """
    usual = DEFAULT_COLUMN_NAMES[setting]
    exact = [name for name in usual if name in columns]
    return exact + [column for column in columns if column.strip().casefold() in usual and column not in exact]


def _labels(table: pa.Table, settings: DataSettings, name: str) -> tuple[ParsedLabels, tuple[str, ...]]:
    """Return the labels, and the names of their columns."""
    label = label_column_of(table, settings)
    if label is not None and label not in table.column_names and "," in label:
        columns = _require_columns(table, label, name)
        if settings.label_separator is not None or settings.classes is not None:
            raise DataError(
                f"{name}: the columns in `label_column` name the classes: leave out `label_separator` and `classes`"
            )
        return matrix_of_columns({column: table[column].to_pylist() for column in columns}), columns
    stated = settings.class_names
    if label is None and settings.labels is not None:
        return ParsedLabels(np.full(table.num_rows, UNLABELLED, np.int64), stated or (), {}), ()
    if label is None:
        raise DataError(
            f"{name} has no column of labels ({', '.join(DEFAULT_COLUMN_NAMES['label_column'][:3])}, ...): "
            f"its columns are {', '.join(table.column_names)}; {_remedy_for_names(table.column_names)}"
        )
    values = table[_require_column(table, label, name)]
    if pa.types.is_struct(values.type) or pa.types.is_map(values.type):
        raise DataError(
            f"{name}: the column {label!r} holds dictionaries, which are no labels: write the classes of a row as a "
            "list, or name a column of 0 and 1 for each class, joined by commas"
        )
    class_names = stated or class_names_in(table).get(label)
    parsed = parse_labels(values.to_pylist(), class_names, settings.label_separator, numbers_are_indices=stated is None)
    if unused := _unused_categories(values, parsed.class_names):
        listed = ", ".join(unused[:5]) + (", ..." if len(unused) > 5 else "")
        remark = f"no row has these categories of the column {label}, which are left out: {listed}"
        parsed = parsed._replace(remarks=(*parsed.remarks, remark))
    return parsed, (label,)


def _remedy_for_names(columns: Sequence[str]) -> str:
    """Return what to do where no column has a usual name: names that are numbers are often those of a first row."""
    numbers = sum(
        re.fullmatch(r"[+-]?(\d+\.\d*|\.\d+)(e[+-]?\d+)?", name.strip(), re.IGNORECASE) is not None for name in columns
    )
    if numbers:
        return "they look like a first row of data: write a line with the names of the columns above it"
    if len(columns) == 1:
        return "name one with `label_column`; cells of CSV are separated by commas, semicolons, tabs or bars"
    return "name one with `label_column`"


def _without_categories(table: pa.Table) -> pa.Table:
    """Return a table whose columns of categories are columns of the values of these categories."""
    for position, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(position, field.name, table.column(position).cast(field.type.value_type))
    return table


def _unused_categories(values: pa.ChunkedArray, class_names: Sequence[str]) -> list[str]:
    if not pa.types.is_dictionary(values.type):
        return []
    categories = [label_text(value) for chunk in values.chunks for value in chunk.dictionary.to_pylist()]
    return [name for name in dict.fromkeys(categories) if name and name not in class_names]


def _find_column(table: pa.Table, settings: DataSettings, setting: str, name: str) -> str | None:
    """Return the column that a setting names, else the first of its default names in the table, else None."""
    chosen: str | None = getattr(settings, setting)
    if chosen is not None:
        return _require_column(table, chosen, name)
    return next(iter(usual_columns(setting, table.column_names)), None)


def _require_column(table: pa.Table, column: str, name: str) -> str:
    if column not in table.column_names:
        hint = did_you_mean(column, table.column_names)
        raise DataError(f"{name} has no column {column!r}{hint}: its columns are {', '.join(table.column_names)}")
    return column


def _require_columns(table: pa.Table, columns: str, name: str) -> tuple[str, ...]:
    return tuple(_require_column(table, column, name) for column in split_commas(columns))


def _inputs(
    table: pa.Table,
    settings: DataSettings,
    name: str,
    root: Path,
    others: list[str],
    labels: NDArray[np.int64],
    notes: ReadingNotes,
) -> _InputColumn:
    """Return the inputs in the column that is named, else in columns of images, texts, lists, or numbers.

    Args:
        table: The rows.
        settings: Names of columns.
        name: Name of the data set.
        root: Folder that paths are relative to.
        others: Columns that have no other role.
        labels: Labels of the rows.
        notes: Notes of the reading.

    Raises:
        DataError: There is no such column, or it is of a wrong type.
    """
    named = [setting for setting in _INPUT_SETTINGS if getattr(settings, setting) is not None]
    if len(named) > 1:
        raise DataError(f"{name}: give one of `image_column`, `text_column` and `feature_columns`, not several")
    if settings.feature_columns is not None and settings.feature_columns not in table.column_names:
        columns = _require_columns(table, settings.feature_columns, name)
        if of_labels := [column for column in columns if column in notes.columns_used.get("labels", [])]:
            raise DataError(f"{name}: the column {of_labels[0]!r} holds the labels: leave it out of `feature_columns`")
        return _number_columns(named_features(table, columns, name, notes), others, notes, table)
    plain = _without_categories(table)
    setting, column = _input_column(plain, settings, name, named, others, root)
    if column is not None and setting == "feature_columns" and not _may_be_lists(plain[column]):
        return _number_columns(named_features(table, [column], name, notes), others, notes, table)
    if column is None:
        chosen = choose_features(table, others, labels, notes)
        if not chosen.names:
            reasons = [f"{', '.join(columns)} ({why})" for why, columns in notes.columns_left_out.items()]
            raise DataError(
                f"{name} has no column of images, texts, numbers or categories: its columns are "
                f"{', '.join(table.column_names)}; "
                f"name one with `image_column`, `text_column` or `feature_columns`"
                + (f". Not used: {'; '.join(reasons)}" if reasons else "")
            )
        return _number_columns(chosen, [], notes, table)
    role = _ROLES[setting]
    notes.use_columns(role, [column])
    notes.leave_out_columns(f"not used beside the {role}", [other for other in others if other != column])
    if setting == "image_column":
        return _images(plain[column], column, name, root, notes)
    return _texts(plain[column]) if setting == "text_column" else _lists(plain[column], column, name, notes)


def _input_column(
    table: pa.Table, settings: DataSettings, name: str, named: list[str], others: list[str], root: Path
) -> tuple[str, str | None]:
    """Return the setting that names the column of inputs and this column, or None where columns of numbers are left.

    Raises:
        DataError: Several columns hold lists of numbers.
    """
    if named:
        return named[0], _find_column(table, settings, named[0], name)
    of_bytes = next((column for column in others if _holds_bytes(table[column].type)), None)
    has_lists = any(is_list_of_numbers(table[column].type) for column in others)
    for setting in _INPUT_SETTINGS:
        usual = (column for column in usual_columns(setting, others) if not is_empty(table[column]))
        column = next((c for c in usual if _is_suitable(table[c], c, setting, root)), None)
        if setting == "image_column" and (column is None or not _holds_bytes(table[column].type)):
            if has_lists and column is not None and not _has_files(table[column], root):
                column = None  # the table of embeddings names the images that they were made of
            column = of_bytes or column  # a column of bytes has images under any name
        if column is not None:
            return setting, column
    of_files = (column for column in others if not has_lists and are_image_names(table[column]))
    if (column := next((c for c in of_files if _has_files(table[c], root)), None)) is not None:
        return "image_column", column
    lists = [column for column in others if is_list_of_numbers(table[column].type)]
    if len(lists) > 1:
        raise DataError(f"{name} has several columns of lists ({', '.join(lists)}): name one with `feature_columns`")
    return "feature_columns", lists[0] if lists else None


def _images(values: pa.ChunkedArray, column: str, name: str, root: Path, notes: ReadingNotes) -> _InputColumn:
    contents, paths = _contents_and_paths(values, column, name)
    items: list[EncodedImage] = [content or b"" for content in contents]
    broken: BrokenRows = {}
    changes: Counter[str] = Counter()
    for row, (content, path) in enumerate(zip(contents, paths, strict=True)):
        if content:
            continue
        if not path:
            broken[row] = "has no image"
        elif "://" in path:
            broken[row] = f"{path!r} is an address, not a file: download the images first"
        elif path_below(root, path) is None:
            broken[row] = f"path {path!r} leads out of {root}: give the folder above all files as `root`"
        else:
            file, change = _file_of(root, path)
            changes[change] += 1
            if file is None:
                broken[row] = f"there is no file {path!r} below {root}"
            else:
                items[row] = file
    if is_text(values.type) and any(contents):
        notes.remark(f"{sum(map(bool, contents)):,} images in the column {column} are decoded from base64")
    for change, count in changes.items():
        if change:
            notes.remark(f"{count:,} paths in the column {column} are {change}")
    return _InputColumn(items, paths if any(paths) else None, broken)


def _file_of(root: Path, path: str) -> tuple[Path | None, str]:
    """Return the file of a path, and how the path was changed to find it; None where there is none."""
    if (file := file_below(root, path)) is not None:
        return file, ""
    slashes = path.replace("\\", "/")
    if (file := file_below(root, slashes)) is not None:
        return file, "read with / in place of the backslashes of Windows"
    for form in ("NFC", "NFD"):
        if (file := file_below(root, unicodedata.normalize(form, slashes))) is not None:
            return file, f"read in another Unicode form ({form}), which the files have"
    if not PurePath(slashes).suffix:
        for suffix in _USUAL_SUFFIXES:
            if (file := file_below(root, slashes + suffix)) is not None:
                return file, f"read with the suffix {suffix}, which the files have"
    return None, ""


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
    elif is_text(values.type):
        texts = [text.strip() if text else None for text in values.to_pylist()]
        contents = [image_of_base64(text) if text else None for text in texts]
        paths = [None if content else text for text, content in zip(texts, contents, strict=True)]
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


def _texts(values: pa.ChunkedArray) -> _InputColumn:
    texts = ["" if value is None else str(value) for value in values.to_pylist()]
    broken = {row: "has an empty text" for row, text in enumerate(texts) if not text.strip()}
    return _InputColumn(Texts(texts), None, broken)


def _is_suitable(values: pa.ChunkedArray, column: str, setting: str, root: Path) -> bool:
    """Return whether a column with a usual name holds such inputs: numbers are no texts and no images.

    A number may be a path: of a file of this name below `root`. In a column `text`, a number is a text.
    """
    if setting == "feature_columns":
        return _may_be_lists(values)
    if not is_text(values.type):
        return bool(pa.types.is_nested(values.type) or _holds_bytes(values.type))
    texts = [text.strip() for text in values.to_pylist() if text and text.strip()]
    return column.casefold() == "text" or not are_numbers(texts) or _file_of(root, texts[0])[0] is not None


def _has_files(values: pa.ChunkedArray, root: Path) -> bool:
    """Return whether one of the first paths in a column is that of a file below `root`; contents need none."""
    if not is_text(values.type):
        return True
    paths = [text.strip() for text in values.slice(0, _FIRST_PATHS).to_pylist() if text and text.strip()]
    return any(_file_of(root, path)[0] is not None or image_of_base64(path) for path in paths)


def _may_be_lists(values: pa.ChunkedArray) -> bool:
    """Return whether a column holds lists, also written as texts: "[0.5, 1.5]"."""
    if is_text(values.type):
        return all(text.strip().startswith("[") for text in values.to_pylist() if text and text.strip())
    return is_list(values.type)


def _lists_of_texts(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return lists of numbers that are written as texts, also as numpy prints them; None for a text that is no list."""
    lists: list[list[float] | None] = []
    for text in values.to_pylist():
        plain = _NUMPY_SCALAR.sub(r"\1", text or "")  # in lists of scalars, as numpy 2 prints them
        try:
            lists.append([float(number) for number in re.split(r"[\s,]+", plain.strip(" []\t\r\n")) if number])
        except ValueError:
            lists.append(None)
    return pa.chunked_array([pa.array(lists, pa.large_list(pa.float64()))])


def _lists(values: pa.ChunkedArray, column: str, name: str, notes: ReadingNotes) -> _InputColumn:
    if is_text(values.type) and _may_be_lists(values):
        values = _lists_of_texts(values)
    kind = values.type
    if not is_list_of_numbers(kind):
        raise DataError(f"{name}: column {column!r} must hold lists of numbers, not {kind}")
    array = values.combine_chunks().cast(pa.large_list(kind.value_type))
    lengths = array.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    width = int(np.bincount(lengths).argmax())
    if not width:
        raise DataError(f"{name}: the column {column!r} holds no lists of numbers, such as [0.5, 1.5]")
    usable = lengths == width
    matrix = np.full((len(lengths), width), np.nan)
    matrix[usable] = array.filter(pa.array(usable)).flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
    broken = {int(row): f"has {lengths[row]} features, not {width}" for row in np.flatnonzero(~usable)}
    note_constant_features(matrix[usable], notes)
    return _InputColumn(features(torch.from_numpy(matrix)), None, {**rows_not_finite(matrix), **broken})


def _number_columns(chosen: Features, others: list[str], notes: ReadingNotes, table: pa.Table) -> _InputColumn:
    notes.use_columns("features", chosen.names)
    noted = {*chosen.names}.union(*notes.columns_left_out.values())
    notes.leave_out_columns("not in `feature_columns`", [name for name in others if name not in noted])
    return _InputColumn(features(torch.from_numpy(chosen.matrix)), None, chosen.broken, table.select(chosen.names))


def _keys(
    table: pa.Table, column: str | None, paths: list[str | None] | None, split: str
) -> tuple[list[str], BrokenRows]:
    """Return the key of each row, from the column of ids or the paths of images, and the rows without an id."""
    if column is not None:
        cells = table[column].to_pylist()
        given: list[str | None] = [
            os.fsdecode(cell) if isinstance(cell, bytes) else label_text(cell) or None for cell in cells
        ]
    elif paths is not None:
        given = paths
    else:
        return default_keys(split, table.num_rows), {}
    keys = [key or f"{split}/{row:06d}" for row, key in enumerate(given)]
    empty = [row for row, key in enumerate(given) if not key and column is not None]
    return keys, dict.fromkeys(empty, f"column {column!r} is empty")
