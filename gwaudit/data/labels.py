"""Parse labels as people write them into class indices, or into a 0/1 matrix for multi-label data."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gwaudit.core.errors import DataError, did_you_mean

UNLABELLED = -1
"""Label of a row that has none."""

_TRUTH_VALUES = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}


class ParsedLabels(NamedTuple):
    """Hold the labels of n rows.

    Attributes:
        labels: [n] int64 class indices, or [n, C] int64 of 0 and 1 (multi-label); `UNLABELLED` where a row has none.
        class_names: Names of the C classes.
        broken: Reason for each row whose label cannot be used, by its number from 0.
    """

    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    broken: dict[int, str]


def parse_labels(
    values: Sequence[Any], class_names: Sequence[str] | None = None, separator: str | None = None
) -> ParsedLabels:
    """Parse the labels of rows, of one class a row or multi-label.

    With a separator, or where any row holds a list, each label is a set of classes (`matrix_of_class_sets`). Arrays,
    and lists that repeat 0 or 1 and so cannot be sets, are vectors of 0 and 1 (`matrix_of_vectors`). All other labels
    are one class a row (`class_indices`).

    Args:
        values: [n] labels: None, a number, a text, a list, tuple or set of these, or an array [C].
        class_names: All classes, in order, where they are known.
        separator: Text between the classes of one label.

    Raises:
        DataError: No row has a label.

    Example:
        >>> parse_labels(["cat|dog", "", "dog"], separator="|")[:2]
        (array([[1, 1],
               [0, 0],
               [0, 1]]), ('cat', 'dog'))
    """
    if separator is None and not any(_is_collection(value) for value in values):
        return class_indices(values, class_names)
    if any(isinstance(value, np.ndarray) for value in values) or _are_vectors(values):
        return matrix_of_vectors(values, class_names)
    return matrix_of_class_sets(values, class_names, separator)


def class_indices(values: Sequence[Any], class_names: Sequence[str] | None = None) -> ParsedLabels:
    """Return the class index of each row.

    Whole numbers, also as text, are indices into the class names. Without class names the numbers become the names:
    0 to the largest, or only the numbers that occur where these are few among many. Any other value is a class name.
    None, NaN, an empty text, and -1 as in the unlabelled splits of Hugging Face data sets, are no label.

    Args:
        values: [n] labels: None, a number or a text.
        class_names: All classes, in order, where they are known.

    Raises:
        DataError: No row has a label.

    Example:
        >>> class_indices(["dog", "cat", "", "dog"])[:2]
        (array([ 1,  0, -1,  1]), ('cat', 'dog'))
    """
    texts = [_text(value) for value in values]
    numbers = [_whole_number(text) for text in texts]
    labels = np.full(len(texts), UNLABELLED, np.int64)
    labelled = [row for row, text in enumerate(texts) if text and numbers[row] != UNLABELLED]
    if not labelled:
        raise DataError(f"none of the {len(texts)} rows has a label")
    broken: dict[int, str] = {}
    if class_names is None:
        index_of = _index_of_values([numbers[row] for row in labelled], [texts[row] for row in labelled])
    else:
        index_of = {str(name): index for index, name in enumerate(class_names)}
    for row in labelled:
        number = numbers[row]
        if texts[row] in index_of:
            labels[row] = index_of[texts[row]]
        elif number is not None and str(number) in index_of:  # 3.0, as pandas writes integers beside missing values
            labels[row] = index_of[str(number)]
        elif number is not None and 0 <= number < len(index_of):
            labels[row] = number
        else:
            hint = did_you_mean(texts[row], list(index_of))
            broken[row] = f"label {texts[row]!r} is none of the {len(index_of)} classes{hint}"
    return ParsedLabels(labels, tuple(index_of), broken)


def matrix_of_class_sets(
    values: Sequence[Any], class_names: Sequence[str] | None = None, separator: str | None = None
) -> ParsedLabels:
    """Return sets of classes as a 0/1 matrix; the set of a row may be empty, which is a label too.

    Args:
        values: [n] class sets: collections, or texts with the separator between the classes; None for no label.
        class_names: All classes, in order, where they are known.
        separator: Text between the classes of one label.

    Raises:
        DataError: No row has a class, and the class names are not known.
    """
    rows: list[int] = []
    classes: list[Any] = []
    broken: dict[int, str] = {}
    for row, value in enumerate(values):
        for item in _class_set(value, separator):
            rows.append(row)
            classes.append(item)
            if item is None or item != item or not str(item).strip() or str(item).strip() == str(UNLABELLED):
                broken[row] = f"a label in {value!r} is empty: remove it from the list"
    if not classes and class_names is None:
        raise DataError(f"none of the {len(values)} rows has a label")
    indices, names = np.empty(0, np.int64), tuple(map(str, class_names or ()))
    if classes:
        indices, names, unknown = class_indices(classes, class_names)
        broken = {**{rows[position]: reason for position, reason in reversed(unknown.items())}, **broken}
    labels = np.zeros((len(values), len(names)), np.int64)
    usable = indices != UNLABELLED
    labels[np.asarray(rows, np.int64)[usable], indices[usable]] = 1
    labels[[value is None for value in values]] = UNLABELLED
    return ParsedLabels(labels, names, broken)


def matrix_of_vectors(values: Sequence[Any], class_names: Sequence[str] | None = None) -> ParsedLabels:
    """Return vectors of 0 and 1, one value for each class, as a matrix; without class names they are numbered.

    Args:
        values: [n] vectors [C]; None, or a vector in which every value is -1, for no label.
        class_names: All classes, in order, where they are known.

    Raises:
        DataError: No row has a label.
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
            broken[row] = f"its label has the shape {vector.shape}, not one for each of the {len(names)} classes"
        elif vector.dtype.kind not in "fiub":
            broken[row] = f"its label values are {vector.dtype}, not 0 and 1"
        elif ((vector == 0) | (vector == 1)).all():
            labels[row] = vector
        elif not (vector == UNLABELLED).all():
            wrong = int(np.argmax((vector != 0) & (vector != 1)))
            broken[row] = f"its label value for {names[wrong]!r} is {vector[wrong]}, not 0 or 1"
    return ParsedLabels(labels, names, broken)


def matrix_of_columns(columns: Mapping[str, Sequence[Any]]) -> ParsedLabels:
    """Return columns of 0 and 1 (or of false and true), one for each class, as a matrix.

    Args:
        columns: [n] values of each class, by the name of the class; a row without a value in any column has no label.

    Raises:
        DataError: No row has a label.
    """
    names, n = tuple(columns), len(next(iter(columns.values())))
    labels = np.full((n, len(names)), UNLABELLED, np.int64)
    broken: dict[int, str] = {}
    texts = {name: ["" if v is None else str(v).strip() for v in values] for name, values in columns.items()}
    for row in range(n):
        cells = [texts[name][row] for name in names]
        values = [_TRUTH_VALUES.get(cell.lower(), UNLABELLED) for cell in cells]
        if UNLABELLED not in values:
            labels[row] = values
        elif any(cells):
            wrong = values.index(UNLABELLED)
            broken[row] = f"{names[wrong]!r} is {cells[wrong]!r}, not 0 or 1"
    if (labels == UNLABELLED).all() and not broken:
        raise DataError(f"none of the {n} rows has a label")
    return ParsedLabels(labels, names, broken)


def _index_of_values(numbers: list[int | None], texts: list[str]) -> dict[str, int]:
    """Return the classes that the labels name themselves, and the index of each."""
    whole = [number for number in numbers if number is not None]
    if len(whole) < len(numbers):
        return {name: index for index, name in enumerate(sorted(set(texts)))}
    distinct = sorted(set(whole))
    if distinct[0] >= 0 and distinct[-1] < 2 * len(distinct):
        distinct = list(range(distinct[-1] + 1))
    return {str(number): index for index, number in enumerate(distinct)}


def _text(value: Any) -> str:
    return "" if value is None or value != value else str(value).strip()


def _whole_number(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        number = float(text)
        return int(number) if number.is_integer() else None
    except (ValueError, OverflowError):
        return None


def _is_collection(value: Any) -> bool:
    return isinstance(value, list | tuple | set | frozenset | np.ndarray)


def _class_set(value: Any, separator: str | None) -> list[Any]:
    if value is None:
        return []
    if _is_collection(value):
        return list(value)
    if separator is None:
        return [value]
    return [part for part in str(value).split(separator) if part.strip()]


def _are_vectors(values: Sequence[Any]) -> bool:
    """Return whether most lists have one length, of three or more, and hold 0 and 1: a set repeats neither.

    Lists of decimal numbers, as multi-label losses take them, are vectors at any length.
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
