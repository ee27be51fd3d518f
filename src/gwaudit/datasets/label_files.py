"""Labels that come in a file of their own: CIFAR-N's, or plain arrays."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from gwaudit.errors import DataError

CLEAN_KEY = "clean_label"


def read_label_file(path: Path, key: str | None) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
    """Labels, and the true ones that the file gives beside them.

    Args:
        path: a CIFAR-N file (`.pt`), an array (`.npy`; a matrix of 0 and 1 where a sample has any number of classes),
            or a table with a column `label` (`.csv`).
        key: which labels: an entry of the `.pt`, a column of the `.csv`.

    Returns:
        [n] (or [n, C]) int64 each; the true labels are CIFAR-N's `clean_label`, None for other files.

    Raises:
        DataError: it cannot be read, needs or lacks the key, or does not hold integers.
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
    # The constructors of numpy arrays, under numpy's old and new names, and nothing else: a pickle that asks for
    # more is refused before it runs.
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
    except Exception as error:  # what an unpickler makes of rubbish is any error there is
        raise DataError(f"{path} is not a CIFAR-N label file; nothing in it was executed") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} is not a CIFAR-N label file: it holds a {type(content).__name__}")
    return content


def _entry(entries: dict[Any, Any], key: str | None, path: Path) -> Any:
    there = ", ".join(str(name) for name in entries)
    if key is None:
        raise DataError(f"{path} holds several labels: choose one by its key (--label-key): {there}")
    if key not in entries:
        raise DataError(f"{path} has no {key!r}: there are {there}")
    return entries[key]


def _zeros_and_ones(values: NDArray[Any], path: Path) -> NDArray[np.int64]:
    other = np.argwhere((values != 0) & (values != 1))
    if len(other):
        row, column = other[0].tolist()
        raise DataError(
            f"{path}: labels must be one integer a row, or a matrix of 0 and 1: row {row} holds "
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
        raise DataError(f"{path}: labels must be one integer a row, not {array.dtype} {array.shape}")
    return array.astype(np.int64)
