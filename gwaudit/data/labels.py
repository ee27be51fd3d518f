"""Labels of samples that may have any number of classes, as a 0/1 matrix: of lists, separated texts or 0/1 vectors."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gwaudit.core.errors import DataError
from gwaudit.data.classes import UNLABELLED, classes_of

Labels = tuple[NDArray[np.int64], tuple[str, ...], dict[int, str]]
"""Labels, [n] or [n, C]; the class names; what is wrong with a row, by its number."""

_TRUTH = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}


def labels_of(values: Sequence[Any], class_names: Sequence[str] | None = None, separator: str | None = None) -> Labels:
    """The labels of rows, whether each has one class or any number of them.

    With a separator, or where any row holds a list, a row's label is the set of its classes, as `label_sets` reads it.
    Arrays, and lists that cannot be sets as they repeat 0 and 1, are vectors with a 0 or 1 a class. Else
    `classes_of` reads one class a row.

    Args:
        values: [n] one a row: None, a number, a text, a list, tuple or set of these, or an array [C].
        class_names: all classes there may be, where that is known.
        separator: what stands between the classes in a text.

    Returns:
        [n] int64 class indices, or [n, C] int64 of 0 and 1, `UNLABELLED` where there is no label; the class names; and
        what is wrong with a row, by its number.

    Raises:
        DataError: no row has a label.

    Example:
        >>> labels_of(["cat|dog", "", "dog"], separator="|")[:2]
        (array([[1, 1],
               [0, 0],
               [0, 1]]), ('cat', 'dog'))
    """
    if separator is None and not any(_is_several(value) for value in values):
        return classes_of(values, class_names)
    if any(isinstance(value, np.ndarray) for value in values) or _are_vectors(values):
        return label_vectors(values, class_names)
    return label_sets(values, class_names, separator)


def label_sets(values: Sequence[Any], class_names: Sequence[str] | None = None, separator: str | None = None) -> Labels:
    """Sets of classes, as lists or as text with a separator between; an empty one is a label too: none of the classes.

    Args, Returns, Raises: as for `labels_of`; None is no label.
    """
    rows: list[int] = []
    items: list[Any] = []
    broken: dict[int, str] = {}
    for row, value in enumerate(values):
        for item in _items(value, separator):
            rows.append(row)
            items.append(item)
            if item is None or item != item or not str(item).strip() or str(item).strip() == str(UNLABELLED):
                broken[row] = f"a label in {value!r} is empty: leave it out of the list"
    if not items and class_names is None:
        raise DataError(f"none of the {len(values)} rows has a label")
    indices, names = np.empty(0, np.int64), tuple(map(str, class_names or ()))
    if items:
        indices, names, wrong = classes_of(items, class_names)
        broken = {**{rows[place]: reason for place, reason in reversed(wrong.items())}, **broken}
    labels = np.zeros((len(values), len(names)), np.int64)
    there = indices != UNLABELLED
    labels[np.asarray(rows, np.int64)[there], indices[there]] = 1
    labels[[value is None for value in values]] = UNLABELLED
    return labels, names, broken


def label_vectors(values: Sequence[Any], class_names: Sequence[str] | None = None) -> Labels:
    """Vectors of 0 and 1, a place for each class; without names the classes are numbers.

    Args, Returns, Raises: as for `labels_of`; None, and a vector of the value `UNLABELLED` alone, is no label.
    """
    vectors = [None if value is None else np.atleast_1d(np.asarray(value)) for value in values]
    lengths = [vector.size for vector in vectors if vector is not None]
    if not lengths:
        raise DataError(f"none of the {len(values)} rows has a label")
    names = tuple(map(str, class_names or range(int(np.bincount(lengths).argmax()))))
    labels = np.full((len(values), len(names)), UNLABELLED, np.int64)
    broken: dict[int, str] = {}
    for row, vector in enumerate(vectors):
        if vector is None:
            continue
        if vector.shape != (len(names),):
            broken[row] = f"has label values of the shape {vector.shape}, not one for each of the {len(names)} classes"
        elif vector.dtype.kind not in "fiub":
            broken[row] = f"its label values are {vector.dtype}, not 0 and 1"
        elif ((vector == 0) | (vector == 1)).all():
            labels[row] = vector
        elif not (vector == UNLABELLED).all():
            place = int(np.argmax((vector != 0) & (vector != 1)))
            broken[row] = f"its label value for {names[place]!r} is {vector[place]}, not 0 or 1"
    return labels, names, broken


def label_columns(columns: Mapping[str, Sequence[Any]]) -> Labels:
    """A column of 0 and 1 (or of false and true) a class, in the order of the columns.

    Args:
        columns: the rows of each column, by the name of its class; a row that has nothing in any has no label.

    Returns, Raises: as for `labels_of`.
    """
    names, n = tuple(columns), len(next(iter(columns.values())))
    labels = np.full((n, len(names)), UNLABELLED, np.int64)
    broken: dict[int, str] = {}
    texts = {name: ["" if v is None else str(v).strip() for v in values] for name, values in columns.items()}
    for row in range(n):
        cells = [texts[name][row] for name in names]
        values = [_TRUTH.get(cell.lower(), UNLABELLED) for cell in cells]
        if UNLABELLED not in values:
            labels[row] = values
        elif any(cells):
            place = values.index(UNLABELLED)
            broken[row] = f"{names[place]!r} is {cells[place]!r}, not 0 or 1"
    if (labels == UNLABELLED).all() and not broken:
        raise DataError(f"none of the {n} rows has a label")
    return labels, names, broken


def _is_several(value: Any) -> bool:
    return isinstance(value, list | tuple | set | frozenset | np.ndarray)


def _items(value: Any, separator: str | None) -> list[Any]:
    if value is None:
        return []
    if _is_several(value):
        return list(value)
    if separator is None:
        return [value]
    return [part for part in str(value).split(separator) if part.strip()]


def _are_vectors(values: Sequence[Any]) -> bool:
    """Whether most lists are of numbers that are 0 or 1, three or more of one length: a set has neither of them twice.

    Lists of decimal numbers, as models of several labels want them, are vectors at any length.
    """
    lists = [value for value in values if isinstance(value, list | tuple)]
    if not lists:
        return False
    decimal = any(isinstance(item, float) for value in lists for item in value)
    length = int(np.bincount([len(value) for value in lists]).argmax())
    alike = [value for value in lists if len(value) == length and all(_is_zero_or_one(item) for item in value)]
    return length >= (1 if decimal else 3) and len(alike) > len(lists) / 2


def _is_zero_or_one(item: Any) -> bool:
    return isinstance(item, int | float) and item in (0, 1)
