"""Read labels from a file of their own: CIFAR-N's, an array, or a table with the key of each sample."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from gwaudit.core.errors import DataError
from gwaudit.core.spreadsheets import column_name, from_cell, read_cells, without_formula
from gwaudit.data.labels import UNLABELLED, class_indices

CLEAN_KEY = "clean_label"
"""Key of the true labels in CIFAR-N's files, and name of their column in tables."""


class KeyedLabels(NamedTuple):
    """Hold the labels of the samples of a source.

    Attributes:
        given: [n] int64 class indices, `UNLABELLED` where the file has none.
        clean: [n] int64 true labels, likewise, where the file has a column of them.
        class_names: Names of the classes.
    """

    given: NDArray[np.int64]
    clean: NDArray[np.int64] | None
    class_names: tuple[str, ...]


def read_keyed_labels(
    path: Path, column: str | None, sample_keys: Sequence[str], class_names: Sequence[str]
) -> KeyedLabels | None:
    """Read labels by the keys of the samples, in any order, as `gwaudit apply` writes them.

    Args:
        path: A `.csv` with a column `key`, one of labels (names or indices; empty for samples to leave out) and, where
            the truth is known, `clean_label`.
        column: Name of the column of labels, by default `label`.
        sample_keys: [n] keys of the source.
        class_names: Class names of the source; empty where it has no labels of its own.

    Returns:
        The labels, or None where the file is of another kind.

    Raises:
        DataError: The file has unknown or repeated keys, unknown classes, or no such column.
    """
    if path.suffix != ".csv" or not path.is_file():
        return None
    wanted = column or "label"
    try:
        header, *rows = read_cells(path, {"key", column_name(wanted)})
    except DataError:
        return None  # `read_label_file` reads it, or says why it cannot be read
    names = [column_name(cell) for cell in header]
    if "key" not in names:
        return None
    if column_name(wanted) not in names:
        raise DataError(f"{path} has no column {wanted!r}: its columns are {', '.join(header)}")
    samples = _sample_ids([row[names.index("key")] for row in rows], sample_keys, path)
    values = [row[names.index(column_name(wanted))] for row in rows]
    given, all_classes = _classes(values, tuple(class_names), path)
    clean = None
    if CLEAN_KEY in names:
        clean, _ = _classes([row[names.index(CLEAN_KEY)] for row in rows], all_classes, path)
        if (unknown := np.flatnonzero((given != UNLABELLED) & (clean == UNLABELLED))).size:
            raise DataError(
                f"{path}, row {unknown[0] + 2}: has a label, but no {CLEAN_KEY}: give it for all samples or for none"
            )
    return KeyedLabels(
        _spread(given, samples, len(sample_keys)),
        None if clean is None else _spread(clean, samples, len(sample_keys)),
        all_classes,
    )


def _sample_ids(cells: list[str], sample_keys: Sequence[str], path: Path) -> NDArray[np.int64]:
    """Return the index of the sample of each row."""
    index_of = {key: index for index, key in enumerate(sample_keys)}
    first_row: dict[int, int] = {}
    for row, cell in enumerate(cells, start=2):
        sample = index_of.get(from_cell(cell), index_of.get(cell))
        if sample is None:
            raise DataError(f"{path}, row {row}: the data have no sample with the key {from_cell(cell)!r}")
        if first_row.setdefault(sample, row) != row:
            raise DataError(f"{path}, row {row}: repeats the key {from_cell(cell)!r} of row {first_row[sample]}")
    return np.fromiter(first_row, np.int64, len(first_row))


def _classes(values: list[str], class_names: tuple[str, ...], path: Path) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    exact = {without_formula(name): index for index, name in enumerate(class_names)}
    if not class_names:
        values = [from_cell(value) for value in values]
    rest = [None if value in exact else value for value in values]
    labels = np.full(len(values), UNLABELLED, np.int64)
    broken: dict[int, str] = {}
    if any(value is not None and value.strip() for value in rest):
        labels, class_names, broken, _ = class_indices(rest, class_names or None)
    if broken:
        row, reason = min(broken.items())
        raise DataError(f"{path}, row {row + 2}: {reason}")
    for row, value in enumerate(values):
        if value in exact:
            labels[row] = exact[value]
    return labels, class_names


def _spread(values: NDArray[np.int64], samples: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    spread = np.full(n, UNLABELLED, np.int64)
    spread[samples] = values
    return spread


def read_label_file(path: Path, key: str | None) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
    """Read the labels in a file, row for row, and the true labels where it has some.

    Args:
        path: A CIFAR-N file (`.pt`), an array (`.npy`; multi-label as a matrix of 0 and 1), or a table with a column
            `label` (`.csv`).
        key: Key of the labels in the `.pt`, or name of their column in the `.csv`.

    Returns:
        The labels, [n] or [n, C] int64, and the true labels, [n] int64: CIFAR-N's `clean_label`, None for other files.

    Raises:
        DataError: The file cannot be read, needs or lacks the key, or does not hold integers.
    """
    if not path.is_file():
        raise DataError(f"no label file at {path}")
    if path.suffix == ".pt":
        entries = _read_archive(path)
        clean = entries.get(CLEAN_KEY)
        return _integers(_entry(entries, key, path), path), None if clean is None else _integers(clean, path)
    if path.suffix == ".npy":
        try:
            values = np.load(path, allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise DataError(f"{path} cannot be read as an array: {error}") from error
        return _zeros_and_ones(values, path) if values.ndim == 2 else _integers(values, path), None
    if path.suffix == ".csv":
        try:
            table = pd.read_csv(path)
        except (ValueError, OSError) as error:
            raise DataError(f"{path} cannot be read as CSV: {error}") from error
        return _integers(_entry(dict(table.items()), key or "label", path), path), None
    raise DataError(f"{path}: label files are .pt (CIFAR-N), .npy or .csv")


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
    array = np.asarray(values)
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise DataError(f"{path}: row {int(np.argmin(np.isfinite(array)))} is NaN or infinite; labels are integers")
        if (array != array.round()).any():
            raise DataError(f"{path}: row {int(np.argmax(array != array.round()))} is not a whole number")
        array = array.astype(np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise DataError(f"{path}: labels must be one integer for each row, not {array.dtype} {array.shape}")
    return array.astype(np.int64)
