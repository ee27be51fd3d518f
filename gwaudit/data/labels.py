"""Parse labels as people write them into class indices, or into a 0/1 matrix for multi-label data."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gwaudit.core.errors import DataError, did_you_mean
from gwaudit.core.spreadsheet_changes import changed_by_spreadsheet
from gwaudit.data.class_names import label_text, sorted_names, whole_number
from gwaudit.data.class_sizes import require_classes

UNLABELLED = -1
"""Label of a row that has none."""

_TRUTH_VALUES = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}


class ParsedLabels(NamedTuple):
    """Hold the labels of n rows.

    Attributes:
        labels: [n] int64 class indices, or [n, C] int64 of 0 and 1 (multi-label); `UNLABELLED` where a row has none.
        class_names: Names of the C classes.
        broken: Reason for each row whose label cannot be used, by its number from 0.
        remarks: Sentences about labels that are not read as they are written.
    """

    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    broken: dict[int, str]
    remarks: tuple[str, ...] = ()


def parse_labels(
    values: Sequence[Any],
    class_names: Sequence[str] | None = None,
    separator: str | None = None,
    *,
    numbers_are_indices: bool = False,
) -> ParsedLabels:
    """Parse the labels of rows, of one class a row or multi-label.

    With a separator, or where any row holds a list, each label is a set of classes (`matrix_of_class_sets`). Arrays,
    and lists that repeat 0 or 1 and so cannot be sets, are vectors of 0 and 1 (`matrix_of_vectors`); where each has
    exactly one 1 they are one-hot, one class a row. All other labels are one class a row (`class_indices`).

    Args:
        values: [n] labels: None, a number, a text, bytes, a list, tuple or set of these, or an array [C].
        class_names: All classes, in order, where they are known.
        separator: Text between the classes of one label.
        numbers_are_indices: Whether numbers (not texts) are indices into the class names, also where these are numbers.

    Raises:
        DataError: No row has a label, or the labels are no classes (`class_sizes.require_classes`).

    Example:
        >>> parse_labels(["cat|dog", "", "dog"], separator="|")[:2]
        (array([[1, 1],
               [0, 0],
               [0, 1]]), ('cat', 'dog'))
    """
    arrays = [value for value in values if isinstance(value, np.ndarray)]
    if arrays and all(array.size == 1 for array in arrays) and len(class_names or ()) != 1:  # [B, 1], a class a row
        values = [value.item() if isinstance(value, np.ndarray) else value for value in values]
    if separator is None and not any(_is_collection(value) for value in values):
        parsed = class_indices(values, class_names, numbers_are_indices=numbers_are_indices)
        if class_names is None:
            require_classes(parsed.labels, parsed.class_names)
        return parsed
    if any(isinstance(value, np.ndarray) for value in values) or _are_vectors(values):
        return without_one_hot(matrix_of_vectors(values, class_names))
    return matrix_of_class_sets(values, class_names, separator, numbers_are_indices=numbers_are_indices)


def class_indices(
    values: Sequence[Any], class_names: Sequence[str] | None = None, *, numbers_are_indices: bool = False
) -> ParsedLabels:
    """Return the class index of each row.

    Without class names, the labels that occur are the names (`label_text`), in order: -1 is a class as any other. With
    class names, a label is one of the names. A whole number that is none of them is an index into them, unless the
    names are numbers too; then all numbers are indices where some are no names and all are in range. -1, which is no
    index, is then no label. None, NaN and an empty text are no label.

    Args:
        values: [n] labels: None, a number, a text or bytes.
        class_names: All classes, in order, where they are known.
        numbers_are_indices: Whether numbers (not texts) are indices into the class names, also where these are numbers.

    Raises:
        DataError: No row has a label, or a class name that occurs twice is a label.

    Example:
        >>> class_indices(["dog", "cat", "", "dog"])[:2]
        (array([ 1,  0, -1,  1]), ('cat', 'dog'))
    """
    texts, broken = _texts(values)
    if class_names is None:
        name_of = _names_of_texts(texts)
        index_of = {name: index for index, name in enumerate(sorted_names(name_of.values()))}
        indices = {text: index_of[name] for text, name in name_of.items()}
        labels = np.array([indices.get(text, UNLABELLED) for text in texts], np.int64)
        parsed = ParsedLabels(labels, tuple(index_of), broken)
    else:
        parsed = _indices_into(_distinct(class_names, texts), values, texts, broken, numbers_are_indices)
    if not broken and (parsed.labels == UNLABELLED).all():
        raise DataError(f"none of the {len(texts)} rows has a label")
    return parsed


def _texts(values: Sequence[Any]) -> tuple[list[str], dict[int, str]]:
    """Return each label as text, and the reason for each row whose label is no text."""
    texts: list[str] = []
    broken: dict[int, str] = {}
    for row, value in enumerate(values):
        try:
            texts.append(label_text(value))
        except UnicodeDecodeError:
            texts.append("")
            broken[row] = f"label {value!r} is not text in UTF-8"
        if isinstance(value, Mapping):
            texts[row] = ""
            broken[row] = f"label {value!r} is an object: expected a number or a text"
    return texts, broken


def _names_of_texts(texts: Sequence[str]) -> dict[str, str]:
    """Return the class name for each text that occurs.

    White space around a text is no part of the name, unless the text occurs without it too. `3.0` is 3 where all are
    such numbers, as pandas writes whole numbers beside missing values: a name does not change once these are filled in.
    """
    distinct = {text for text in texts if text}
    if all(text.endswith(".0") and whole_number(text[:-2]) is not None for text in distinct):
        return {text: text[:-2] for text in distinct}
    n_spellings = Counter(text.strip() for text in distinct)
    return {text: text if n_spellings[text.strip()] > 1 else text.strip() for text in distinct}


def _distinct(class_names: Sequence[str], texts: Sequence[str]) -> dict[str, int]:
    """Return the index of each name; of names that occur twice the later ones get their index."""
    index_of: dict[str, int] = {}
    for index, name in enumerate(map(label_text, class_names)):
        if name in index_of and name in texts:
            raise DataError(
                f"the class names hold {name!r} twice, and it is a label: give each class a name of its own"
            )
        index_of[f"{name} ({index})" if name in index_of else name] = index
    return index_of


def _indices_into(
    index_of: Mapping[str, int],
    values: Sequence[Any],
    texts: Sequence[str],
    broken: dict[int, str],
    numbers_are_indices: bool,
) -> ParsedLabels:
    """Return the index of the class of each row among class names that are known."""
    numbers = [_number(value, text) for value, text in zip(values, texts, strict=True)]
    is_number = np.array([number is not None for number in numbers], bool)
    index = np.array([UNLABELLED if number is None else number for number in numbers], np.int64)
    labels = np.array([_find(text, number, index_of) for text, number in zip(texts, numbers, strict=True)], np.int64)
    remarks = []
    if spaces := sum(text not in index_of and text.strip() in index_of for text in texts):
        remarks.append(f"{spaces} labels have white space around the name of their class, which is left out")
    by_index = is_number & (labels == UNLABELLED)
    if numbers_are_indices:
        by_index = is_number & np.array([not isinstance(value, str | bytes) for value in values], bool)
    elif any(whole_number(name) is not None for name in index_of):
        needed, in_range = by_index & (index != UNLABELLED), (index >= UNLABELLED) & (index < len(index_of))
        by_index = is_number & (needed.any() and in_range.all())
        if by_index.any():
            remarks.append(
                f"labels are indices of the classes, from 0: the label 0 is the class {next(iter(index_of))!r}"
            )
    _require_indices_from_0(index[by_index], index_of)
    labels[by_index] = np.where(index < len(index_of), index, UNLABELLED)[by_index].clip(UNLABELLED)
    is_minus_one = (labels == UNLABELLED) & is_number & (index == UNLABELLED)
    if is_minus_one.any():
        remarks.append(f"{is_minus_one.sum()} labels are -1, which is none of the classes: they count as missing")
    unknown = [row for row in np.flatnonzero((labels == UNLABELLED) & ~is_minus_one).tolist() if texts[row]]
    hints = {text: _hint(text, list(index_of)) for text in {texts[row] for row in unknown}}
    broken |= {
        row: f"label {texts[row]!r} is none of the {len(index_of)} classes{hints[texts[row]]}" for row in unknown
    }
    return ParsedLabels(labels, tuple(index_of), broken, tuple(remarks))


def _require_indices_from_0(indices: NDArray[np.int64], class_names: Collection[str]) -> None:
    """Raise DataError if the indices of C classes are 1 to C: each would name the class after its own."""
    if indices.size and indices.min() == 1 and indices.max() == len(class_names):
        raise DataError(
            f"the labels are numbers from 1 to {len(class_names)}, but indices of the {len(class_names)} classes are "
            "counted from 0: write the names of the classes as labels, or subtract 1"
        )


def _hint(text: str, names: list[str]) -> str:
    """Return which of the class names an unknown label may stand for, or ""."""
    return changed_by_spreadsheet(text, names) or did_you_mean(text, names)


def _number(value: Any, text: str) -> int | None:
    if isinstance(value, bool | np.bool_):
        return int(value)
    text = text.strip()
    return whole_number(text.removesuffix(".0"))  # pandas writes whole numbers beside missing values as 3.0


def _find(text: str, number: int | None, index_of: Mapping[str, int]) -> int:
    """Return the index of the class that a label names, or `UNLABELLED`."""
    for name in (text, text.strip(), str(number)):
        if name in index_of:
            return index_of[name]
    return UNLABELLED


def matrix_of_class_sets(
    values: Sequence[Any],
    class_names: Sequence[str] | None = None,
    separator: str | None = None,
    *,
    numbers_are_indices: bool = False,
) -> ParsedLabels:
    """Return sets of classes as a 0/1 matrix; the set of a row may be empty, which is a label too.

    Args:
        values: [n] class sets: collections, or texts with the separator between the classes; None for no label.
        class_names: All classes, in order, where they are known.
        separator: Text between the classes of one label.
        numbers_are_indices: Whether numbers (not texts) are indices into the class names, also where these are numbers.

    Raises:
        DataError: No row has a class, and the class names are not known.
    """
    rows: list[int] = []
    classes: list[Any] = []
    for row, value in enumerate(values):
        for item in _class_set(value, separator):
            rows.append(row)
            classes.append(item)
    if not classes and class_names is None:
        raise DataError(f"none of the {len(values)} rows has a label")
    parsed = ParsedLabels(np.empty(0, np.int64), tuple(map(str, class_names or ())), {})
    if classes:
        parsed = class_indices(classes, class_names, numbers_are_indices=numbers_are_indices)
    indices, names, unknown, remarks = parsed
    broken = {rows[position]: reason for position, reason in reversed(unknown.items())}
    for position in np.flatnonzero(indices == UNLABELLED).tolist():
        if position not in unknown:
            broken[rows[position]] = f"a label in {values[rows[position]]!r} is empty: remove it from the list"
    if not names:
        raise DataError(f"the labels of the {len(values)} rows name no class")
    labels = np.zeros((len(values), len(names)), np.int64)
    usable = indices != UNLABELLED
    labels[np.asarray(rows, np.int64)[usable], indices[usable]] = 1
    labels[[value is None for value in values]] = UNLABELLED
    return ParsedLabels(labels, names, broken, remarks)


def matrix_of_vectors(values: Sequence[Any], class_names: Sequence[str] | None = None) -> ParsedLabels:
    """Return vectors of 0 and 1, one value for each class, as a matrix; without class names they are numbered.

    Args:
        values: [n] vectors [C]; None, or a vector in which every value is -1, for no label.
        class_names: All classes, in order, where they are known.

    Raises:
        DataError: No row has a label.
    """
    vectors = [None if value is None else _vector(value) for value in values]
    lengths = [vector.size for vector in vectors if vector is not None]
    if not lengths:
        raise DataError(f"none of the {len(values)} rows has a label")
    names = tuple(map(str, class_names or range(int(np.bincount(lengths).argmax()))))
    if not names:
        raise DataError(f"the labels of the {len(values)} rows name no class")
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


def _vector(value: Any) -> NDArray[Any]:
    try:
        return np.atleast_1d(np.asarray(value))
    except ValueError:  # lists of several lengths in a list
        return np.atleast_1d(np.asarray(value, object))


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


def without_one_hot(parsed: ParsedLabels) -> ParsedLabels:
    """Return one class a row where every vector has exactly one 1."""
    labelled = (parsed.labels != UNLABELLED).all(1)
    if len(parsed.class_names) < 2 or not labelled.any() or (parsed.labels[labelled].sum(1) != 1).any():
        return parsed
    remark = "every label is a vector with exactly one 1 (one-hot): it is read as one class a row"
    classes = np.where(labelled, parsed.labels.argmax(1), UNLABELLED)
    return parsed._replace(labels=classes, remarks=(*parsed.remarks, remark))


def _is_collection(value: Any) -> bool:
    return isinstance(value, list | tuple | set | frozenset | np.ndarray)


def _class_set(value: Any, separator: str | None) -> list[Any]:
    if value is None:
        return []
    if _is_collection(value):
        return list(value)
    if separator is None:
        return [value]
    return [part.strip() for part in label_text(value).split(separator) if part.strip()]


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
