"""Read labels from a file of their own: CIFAR-N's, an array, or a table with the key of each sample."""

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from gwaudit.core.errors import DataError, did_you_mean
from gwaudit.core.spreadsheet_changes import changed_by_spreadsheet
from gwaudit.core.spreadsheets import column_name, from_cell, read_cells, texts_are_quoted, without_formula
from gwaudit.data.array_files import read_array
from gwaudit.data.class_names import label_text, separator_for
from gwaudit.data.class_sizes import require_classes
from gwaudit.data.labels import (
    UNLABELLED,
    ParsedLabels,
    class_indices,
    matrix_of_class_sets,
    matrix_of_columns,
    without_one_hot,
)

TABLE_SUFFIXES = (".csv", ".tsv", ".txt")

CLEAN_KEY = "clean_label"
"""Key of the true labels in CIFAR-N's files, and name of their column in tables."""


_SHOWN_CLASSES = 6

# Names of columns that number the rows; pandas writes its index under the empty one.
_NUMBER_OF_ROW = re.compile(r"|unnamed:_0|.*\bid|.*_id|idx|index|nr|no|number|row(_number)?")


class FileLabels(NamedTuple):
    """Hold the labels of the samples of a source, as a file gives them.

    Attributes:
        given: [n] int64 class indices, `UNLABELLED` where the file has none; or [n, C] of 0 and 1 (multi-label).
        clean: True labels, likewise, where the file has them.
        class_names: Names of the classes.
        remarks: Sentences about labels that are not read as they are written.
    """

    given: NDArray[np.int64]
    clean: NDArray[np.int64] | None
    class_names: tuple[str, ...]
    remarks: tuple[str, ...] = ()


def read_label_file(
    path: Path,
    key: str | None,
    class_names: Sequence[str] = (),
    sample_keys: Sequence[str] | None = None,
    *,
    multi_label: bool = False,
    separator: str | None = None,
) -> FileLabels:
    """Read the labels of samples from a file, by their keys or row for row.

    Args:
        path: A table (`.csv`, `.tsv`, `.txt`) with a column of labels, which are names or indices of classes; an array
            (`.npy`; multi-label as a matrix of 0 and 1); or a CIFAR-N file (`.pt`). A table with a column `key` is
            read by the keys, in any order, as `gwaudit apply` writes it; samples without a label in it have none. Where
            the truth is known it has a column `clean_label` too. In multi-label data a cell holds all classes of a
            sample; or each class has a column of 0 and 1.
        key: Name of the column of labels, by default `label` (or `labels`, in multi-label data); or key of the labels
            in the `.pt`.
        class_names: Class names of the source; empty where it has no labels of its own.
        sample_keys: [n] keys of the source; without them a table is read row for row.
        multi_label: Whether the source is multi-label: its samples have sets of classes.
        separator: Text between the classes of one cell, besides the one that `gwaudit.data.class_names.joined_names`
            writes.

    Raises:
        DataError: The file cannot be read, needs or lacks the key, or has unknown or repeated keys, or labels that are
            missing, no classes, or not one for each sample.
    """
    if not path.is_file():
        raise DataError(f"no label file at {path}")
    if path.suffix.lower() in TABLE_SUFFIXES:
        if multi_label:
            labels = _read_set_table(path, key, tuple(class_names), sample_keys, separator)
        else:
            labels = _read_table(path, key, tuple(class_names), sample_keys)
    elif path.suffix == ".pt":
        entries = _read_archive(path)
        labels = _labels_by_row(_integers(_entry(entries, key, path), path).tolist(), tuple(class_names), path)
        if CLEAN_KEY in entries:
            labels = labels._replace(clean=_integers(entries[CLEAN_KEY], path))
    elif path.suffix == ".npy":
        labels = _read_array(path, tuple(class_names), multi_label=multi_label)
    else:
        raise DataError(f"{path}: label files are .pt (CIFAR-N), .npy or tables ({', '.join(TABLE_SUFFIXES)})")
    if not class_names and labels.given.ndim == 1:
        require_classes(labels.given, labels.class_names)
    for kind, values in (("labels", labels.given), ("clean labels", labels.clean)):
        if sample_keys is not None and values is not None and len(values) != len(sample_keys):
            raise DataError(
                f"{path} has {len(values)} {kind} for the {len(sample_keys)} samples of the data"
                f"{', and no column key' if path.suffix.lower() in TABLE_SUFFIXES else ''}"
            )
    return labels


def _read_table(
    path: Path, key: str | None, class_names: tuple[str, ...], sample_keys: Sequence[str] | None
) -> FileLabels:
    wanted = column_name(key or "label")
    header, *rows = _read_rows(path, {"key", wanted})
    names = [column_name(cell) for cell in header]
    if wanted not in names:
        raise DataError(f"{path} has no column {key or 'label'!r}: its columns are {', '.join(header)}")
    columns = {name: [row[position] for row in rows] for position, name in reversed(list(enumerate(names)))}
    if sample_keys is not None and "key" not in columns:
        _require_order(columns, wanted, sample_keys, path)
    if sample_keys is None or "key" not in columns:
        return _labels_by_row([from_cell(value) for value in columns[wanted]], class_names, path, first_row=2)
    samples = _sample_ids(columns["key"], sample_keys, path)
    given, all_classes, remarks = _classes(columns[wanted], class_names, path)
    if not texts_are_quoted(path, {wanted}):
        _refuse_changed_classes(given, all_classes, path)
    clean = None
    if CLEAN_KEY in columns:
        clean, _, _ = _classes(columns[CLEAN_KEY], all_classes, path)
        if (unknown := np.flatnonzero((given != UNLABELLED) & (clean == UNLABELLED))).size:
            raise DataError(
                f"{path}, row {unknown[0] + 2}: has a label, but no {CLEAN_KEY}: give it for all samples or for none"
            )
    return FileLabels(
        _spread(given, samples, len(sample_keys)),
        None if clean is None else _spread(clean, samples, len(sample_keys)),
        all_classes,
        remarks,
    )


def _read_rows(path: Path, expected: Collection[str]) -> list[list[str]]:
    """Return the cells of a table; raise DataError where a row has more than the header: they would be lost."""
    header, *rows = read_cells(
        path, expected, "name its column of labels label, or give the name that it has as `label_key`"
    )
    for number, row in enumerate(rows, start=2):
        if any(cell.strip() for cell in row[len(header) :]):
            raise DataError(
                f"{path}, row {number}: has {len(row)} cells, the header has {len(header)}: put texts with separators "
                "in quotes"
            )
    return [header, *rows]


def _read_set_table(
    path: Path,
    key: str | None,
    class_names: tuple[str, ...],
    sample_keys: Sequence[str] | None,
    separator: str | None,
) -> FileLabels:
    wanted = (column_name(key),) if key is not None else ("label", "labels")
    header, *rows = _read_rows(path, {"key", *wanted, *map(column_name, class_names)})
    names = [column_name(cell) for cell in header]
    columns = {name: [row[position] for row in rows] for position, name in reversed(list(enumerate(names)))}
    column = next((name for name in wanted if name in columns), None)
    clean = None
    if column is not None:
        given = _class_sets(columns[column], class_names, separator, path, column)
        if CLEAN_KEY in columns:
            clean = _class_sets(columns[CLEAN_KEY], class_names, separator, path, CLEAN_KEY)
    else:
        given = _class_columns(header, rows, class_names, key, path)
    if sample_keys is not None and "key" in columns:
        samples = _sample_ids(columns["key"], sample_keys, path)
        given = _spread(given, samples, len(sample_keys))
        clean = None if clean is None else _spread(clean, samples, len(sample_keys))
    elif sample_keys is not None:
        _require_order(columns, column or "", sample_keys, path)
    return FileLabels(given, clean, class_names)


def _class_columns(
    header: list[str], rows: list[list[str]], class_names: tuple[str, ...], key: str | None, path: Path
) -> NDArray[np.int64]:
    """Return the columns of the classes as a matrix [n, C] of 0 and 1."""
    texts = [from_cell(cell).strip() for cell in header]
    if key is not None or not set(class_names) <= set(texts):
        raise DataError(
            f"{path} has no column {key or 'label'!r}{'' if key else ', and not one for each class'}: its columns are "
            f"{', '.join(header)}"
        )
    parsed = matrix_of_columns({name: [row[texts.index(name)] for row in rows] for name in class_names})
    if parsed.broken:
        row, reason = min(parsed.broken.items())
        raise DataError(f"{path}, row {row + 2}: {reason}")
    return parsed.labels


def _class_sets(
    cells: list[str], class_names: tuple[str, ...], separator: str | None, path: Path, column: str
) -> NDArray[np.int64]:
    """Return the sets of classes in cells as a matrix [n, C] of 0 and 1; an empty cell is the empty set."""
    texts, known, own = [from_cell(cell) for cell in cells], set(class_names), separator_for(class_names)
    separators = [own] if separator in (None, own) else [separator, own]
    unknown: list[tuple[str, int]] = []
    for text in separators:
        parts = ((part.strip(), row) for row, cell in enumerate(texts) for part in cell.split(text))
        first = next(((part, row) for part, row in parts if part and part not in known), None)
        if first is None:
            return matrix_of_class_sets(texts, class_names, text).labels
        unknown.append(first)
    name, row = max(unknown, key=lambda found: found[1])  # the separator that fits the most rows
    raise DataError(
        f"{path}, row {row + 2}: column {column}: {name!r} is none of the {len(class_names)} classes"
        f"{did_you_mean(name, class_names)}; the classes of a sample are separated by "
        f"{' or '.join(map(repr, separators))}"
    )


def _require_order(columns: dict[str, list[str]], wanted: str, sample_keys: Sequence[str], path: Path) -> None:
    """Raise DataError if another column names the samples in another order than theirs: by keys, files or numbers."""
    files = [key.rpartition("/")[2] for key in sample_keys]
    for name, cells in columns.items():
        texts = [from_cell(cell) for cell in cells]
        if name in (wanted, CLEAN_KEY) or len(set(texts)) < len(texts):
            continue
        for own in (list(sample_keys), files):
            known = set(own)
            if texts != own and len(known) == len(own) and sum(text in known for text in texts) > len(texts) / 2:
                raise DataError(
                    f"{path}: the column {name!r} holds keys of the samples in another order than the data: name it "
                    "'key', so that each label is read by its key, which is such as " + repr(sample_keys[0])
                )
        numbers = [int(text) for text in texts if text.strip().isdecimal()]
        if _NUMBER_OF_ROW.fullmatch(name) and len(numbers) == len(texts) and numbers != sorted(numbers):
            raise DataError(
                f"{path}: the column {name!r} numbers the rows in another order than that of the file, and labels are "
                "read row for row without a column key: add one with the keys of the samples, such as "
                f"{sample_keys[0]!r}, or sort the file"
            )


def _sample_ids(cells: list[str], sample_keys: Sequence[str], path: Path) -> NDArray[np.int64]:
    """Return the index of the sample of each row."""
    index_of = {key: index for index, key in enumerate(sample_keys)}
    first_row: dict[int, int] = {}
    for row, cell in enumerate(cells, start=2):
        sample = index_of.get(from_cell(cell), index_of.get(cell))
        if sample is None:
            hint = changed_by_spreadsheet(from_cell(cell), sample_keys) or f": keys are such as {sample_keys[0]!r}"
            raise DataError(f"{path}, row {row}: the data have no sample with the key {from_cell(cell)!r}{hint}")
        if first_row.setdefault(sample, row) != row:
            raise DataError(f"{path}, row {row}: repeats the key {from_cell(cell)!r} of row {first_row[sample]}")
    return np.fromiter(first_row, np.int64, len(first_row))


def _classes(
    values: list[str], class_names: tuple[str, ...], path: Path
) -> tuple[NDArray[np.int64], tuple[str, ...], tuple[str, ...]]:
    """Return the class index of each cell, the class names, and remarks; an empty cell is no label."""
    exact = {without_formula(name): index for index, name in enumerate(class_names)}
    if not class_names:
        values = [from_cell(value) for value in values]
    rest = [None if value in exact else value for value in values]
    labels = np.full(len(values), UNLABELLED, np.int64)
    remarks: tuple[str, ...] = ()
    if any(value is not None and value.strip() for value in rest):
        labels, class_names, broken, remarks = class_indices(rest, class_names or None)
        if broken:
            row, reason = min(broken.items())
            raise DataError(f"{path}, row {row + 2}: {reason}")
    for row, value in enumerate(values):
        if value in exact:
            labels[row] = exact[value]
    return labels, class_names, remarks


def _refuse_changed_classes(labels: NDArray[np.int64], class_names: tuple[str, ...], path: Path) -> None:
    """Raise DataError if a class of the file may be another one that a spreadsheet program changed throughout."""
    present = {class_names[label] for label in np.unique(labels[labels != UNLABELLED])}
    absent = [name for name in class_names if name not in present]
    for name in sorted(present):
        if hint := changed_by_spreadsheet(name, absent):
            raise DataError(
                f"{path} has labels {name!r}, and none of a class that may have become {name!r}{hint}; or put the "
                "labels of the file in quotes if they are right"
            )


def _spread(values: NDArray[np.int64], samples: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    spread = np.full((n, *values.shape[1:]), UNLABELLED, np.int64)
    spread[samples] = values
    return spread


def _labels_by_row(values: list[Any], class_names: tuple[str, ...], path: Path, first_row: int = 0) -> FileLabels:
    """Return the labels of all rows; raise DataError if one is missing or is none of the classes."""
    parsed = class_indices(values, class_names or None)
    missing = np.flatnonzero(parsed.labels == UNLABELLED)
    if missing.size:
        row = int(missing[0])
        reason = parsed.broken.get(row) or (
            f"label {label_text(values[row])!r} is none of the {len(parsed.class_names)} classes"
            if label_text(values[row])
            else "has no label; only a table with a column key may leave samples out"
        )
        raise DataError(f"{path}, row {row + first_row}: {reason}")
    names, remarks = parsed.class_names, parsed.remarks
    if not {label_text(value) for value in values} & set(names):
        remarks = (*remarks, *_order_of(names, f"the numbers in {path.name}"))
    return FileLabels(parsed.labels, None, names, remarks)


def _order_of(class_names: tuple[str, ...], what: str) -> tuple[str, ...]:
    """Return a remark about the classes that numbers stand for, where their names are no such numbers."""
    if class_names == tuple(map(str, range(len(class_names)))):
        return ()
    shown = [f"{number} is {name!r}" for number, name in enumerate(class_names[:_SHOWN_CLASSES])]
    more = len(class_names) - len(shown)
    rest = f" and so on, {more} more in the order of the names" if more else ""
    return (f"{what} stand for the classes in the order of the source: {', '.join(shown)}{rest}",)


def _read_array(path: Path, class_names: tuple[str, ...], *, multi_label: bool) -> FileLabels:
    values = read_array(path)
    if values.ndim == 2 and values.dtype.kind in "fiub":
        matrix = _zeros_and_ones(values, path)
        names = class_names or tuple(map(str, range(values.shape[1])))
        if values.shape[1] != len(names):
            raise DataError(f"{path} has {values.shape[1]} columns for the {len(names)} classes of the source")
        parsed = ParsedLabels(matrix, names, {}, _order_of(names, f"the columns of {path.name}"))
        parsed = parsed if multi_label else without_one_hot(parsed)
        return FileLabels(parsed.labels, None, names, parsed.remarks)
    if values.dtype.kind == "b" and len(class_names) > 2:
        raise DataError(f"{path} holds false and true, and the source has {len(class_names)} classes: give their names")
    if values.dtype.kind in "USb" and values.ndim == 1:
        return _labels_by_row(values.tolist(), class_names, path)
    return _labels_by_row(_integers(values, path).tolist(), class_names, path)


def _read_archive(path: Path) -> dict[str, Any]:
    # Only the constructors of numpy arrays are allowed, under numpy's old and new names: a pickle that asks for more
    # is refused before it runs.
    reconstruct = np.empty(0).__reduce__()[0]
    allowed: list[Any] = [
        (reconstruct, "numpy.core.multiarray._reconstruct"),
        (reconstruct, "numpy._core.multiarray._reconstruct"),
        np.ndarray,
        np.dtype,
        np.dtypes.Int64DType,
    ]
    try:
        with torch.serialization.safe_globals(allowed):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # an unpickler may raise any exception
        raise DataError(f"{path} is not a CIFAR-N label file; nothing in it was executed") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} is not a CIFAR-N label file: it holds a {type(content).__name__}")
    return content


def _entry(entries: dict[Any, Any], key: str | None, path: Path) -> Any:
    keys = ", ".join(str(name) for name in entries)
    if key is None:
        raise DataError(f"{path} holds several labels: choose one by its key with `label_key`: {keys}")
    if key not in entries:
        raise DataError(f"{path} has no {key!r}: it has {keys}")
    return entries[key]


def _zeros_and_ones(values: NDArray[Any], path: Path) -> NDArray[np.int64]:
    other = np.argwhere((values != 0) & (values != 1))
    if len(other):
        row, column = other[0].tolist()
        raise DataError(
            f"{path}: labels must be one integer for each row, or a matrix of 0 and 1: row {row} holds "
            f"{values[row, column]} in column {column}"
        )
    return values.astype(np.int64)


def _integers(values: Any, path: Path) -> NDArray[np.int64]:
    try:
        array = np.asarray(values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else values)
    except (TypeError, ValueError, RuntimeError) as error:  # sparse or bfloat16 tensors, lists of several lengths
        raise DataError(f"{path}: labels must be one integer for each row: {str(error).splitlines()[0]}") from error
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise DataError(f"{path}: row {int(np.argmin(np.isfinite(array)))} is NaN or infinite; labels are integers")
        if (array != array.round()).any():
            raise DataError(f"{path}: row {int(np.argmax(array != array.round()))} is not a whole number")
    if array.dtype.kind in "fu" and (large := array >= 2.0**53).any():
        raise DataError(f"{path}: row {int(np.argmax(large))} is {array[large][0]}, too large for a label")
    if array.dtype.kind == "f":
        array = array.astype(np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise DataError(f"{path}: labels must be one integer for each row, not {array.dtype} {array.shape}")
    return array.astype(np.int64)
