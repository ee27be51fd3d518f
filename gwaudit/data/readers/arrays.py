"""Features or images that come as NumPy arrays: `.npz` with their labels, `.npy` with a label file beside."""

from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray

from gwaudit.core.errors import DataError
from gwaudit.data.inputs import InMemory, features
from gwaudit.data.labels import UNLABELLED, matrix_of_vectors, parse_labels
from gwaudit.data.readers.columns import not_finite
from gwaudit.data.readers.raw_samples import RawSamples, default_keys, source_name

_INPUTS = ("x", "X", "features", "embeddings", "images", "data", "arr_0", "x_train")
_LABELS = ("y", "labels", "label", "targets", "arr_1", "y_train")
_NAMES = ("class_names", "classes", "names")
_KEYS = ("keys", "ids", "id")


def read_arrays(path: Path, split: str, class_names: tuple[str, ...] | None) -> RawSamples:
    """The rows of a `.npy` or `.npz` file: features [n, D] of any real type, or uint8 images [n, H, W, 3 or 1].

    An `.npz` holds them as `x` (or features, embeddings, images, data) beside `y` (or labels), and may hold
    `class_names` and `keys`. A matrix `y` [n, C] of 0 and 1 gives each row any number of classes.

    Raises:
        DataError: it cannot be read, or holds other shapes or types.
    """
    try:
        content: Any = np.load(path, allow_pickle=False)
        entries = {name: content[name] for name in content.files} if path.suffix == ".npz" else {"x": content}
    except (ValueError, OSError, EOFError, BadZipFile) as error:
        raise DataError(f"{path} cannot be read as NumPy's {path.suffix} ({error}): write it anew") from error
    values = _entry(entries, _INPUTS, path, "inputs")
    inputs = _inputs(values, path)
    given, names = _optional(entries, _LABELS), _optional(entries, _NAMES)
    known = class_names or (None if names is None else tuple(map(str, names)))
    broken = not_finite(inputs.values.numpy()) if inputs.values.ndim == 2 else {}
    labels, found = np.full(len(values), UNLABELLED, np.int64), known or ()
    if given is not None:
        given = given[:, 0] if given.ndim == 2 and given.shape[1] == 1 and known is None else given
        read = parse_labels(given.tolist(), known) if given.ndim == 1 else matrix_of_vectors(list(given), known)
        labels, found, wrong = read
        broken |= wrong
    keys = _optional(entries, _KEYS)
    shown = default_keys(split, len(values)) if keys is None else [str(key) for key in keys]
    for what, rows in (("labels", labels), ("keys", shown)):
        if len(rows) != len(values):
            raise DataError(f"{path} has {len(rows)} {what} for {len(values)} rows")
    return RawSamples(source_name(path), split, inputs, labels, found, shown, broken)


def _inputs(values: NDArray[Any], path: Path) -> InMemory:
    if values.ndim == 2 and values.dtype.kind in "fiub":
        return features(torch.from_numpy(np.ascontiguousarray(values)))
    if values.dtype == np.uint8 and values.ndim in (3, 4):
        images = values[..., None] if values.ndim == 3 else values
        if images.shape[3] not in (1, 3) and images.shape[1] in (1, 3):
            return InMemory(torch.from_numpy(np.ascontiguousarray(images)))
        if images.shape[3] in (1, 3):
            return InMemory(torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))))
    raise DataError(
        f"{path} holds {values.dtype} {values.shape}: expected features [n, D], or uint8 images [n, H, W, 3 or 1]"
    )


def _entry(entries: dict[str, Any], names: tuple[str, ...], path: Path, what: str) -> NDArray[Any]:
    found = _optional(entries, names)
    if found is None:
        raise DataError(f"{path} has no {what} ({', '.join(names[:4])}): its arrays are {', '.join(entries)}")
    return found


def _optional(entries: dict[str, Any], names: tuple[str, ...]) -> NDArray[Any] | None:
    return next((np.asarray(entries[name]) for name in names if name in entries), None)
