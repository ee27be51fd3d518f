"""Choose the columns of a table that are features, and turn columns of numbers into a matrix."""

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import PurePath
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from gwaudit.core.errors import DataError
from gwaudit.data.image_signatures import IMAGE_SUFFIXES
from gwaudit.data.reading_notes import ReadingNotes

_UNNAMED = re.compile(r"\s*|Unnamed: \d+(_level_\d+)?|__index_level_\d+__|level_\d+")
_ID_NAME = re.compile(
    r"(?:.*[^a-z])?(?:id|ids|idx|index|key|uid|guid|uuid|nr|no|number|row|rowid|rownum)", re.IGNORECASE
)
_DECIMAL_COMMA = re.compile(r"\s*[+-]?\d*,\d+\s*")
_THREE_DECIMALS = re.compile(r"\s*[+-]?\d{1,3}(,\d{3})+\s*")
_WITH_UNIT = re.compile(r"\s*[+-]?[$€£¥]?\s*[+-]?\d{1,3}([,. '\u00a0]?\d{3})*([.,]\d+)?\s*[%$€£¥°]?\s*")
_AGAIN = "says the label again"
_TRUTH = {"true": 1.0, "false": 0.0}
_MOSTLY = 0.5  # share of a text column's cells that are numbers, above which the others are errors
_MANY_ROWS = 20  # from here on it is no chance that whole numbers rise from row to row
_MANY_PAIRS = 9
_ROWS_PER_CLASS = 5  # from here on it is no chance that a column's values are one with the classes
_CLOSE_OF_TWO, _CLOSE = 0.9, 0.7  # agreement from which on a column is hardly a feature, of two and of more classes
_LISTED = 5


class Features(NamedTuple):
    """Hold columns of numbers.

    Attributes:
        names: Names of the D columns.
        matrix: [n, D] float32; NaN where a cell is no number.
        broken: Reason for each row with a cell that is no finite number, by the row's number.
    """

    names: tuple[str, ...]
    matrix: NDArray[np.float32]
    broken: dict[int, str]


def choose_features(
    table: pa.Table, candidates: Collection[str], labels: NDArray[np.int64], notes: ReadingNotes
) -> Features:
    """Return the columns of numbers that describe the samples, and note why the other candidates do not.

    Left out are columns without a name, the index of a data frame, numbers that count or identify the rows, columns
    without a value, and columns that say the label again. Columns of texts and of other types are left out with a
    warning.

    Args:
        table: The rows.
        candidates: Names of columns that have no other role.
        labels: [n] class indices, or [n, C] of 0 and 1.
        notes: Notes of the reading.
    """
    index = _index_of_frame(table)
    with_comma: list[str] = []
    chosen: dict[str, NDArray[np.float64]] = {}
    unusable: list[str] = []
    for name in (name for name in table.column_names if name in candidates):
        column = table[name]
        numbers = None
        if name in index:
            reason: str | None = "index of the data frame that was saved"
        elif _UNNAMED.fullmatch(name):
            reason = "without a name, as a saved index is"
        elif is_empty(column):
            reason = "without a value"
        elif (numbers := _numbers(column, name, with_comma)) is not None:
            reason = _row_numbers(name, numbers) or _label_again(name, numbers, labels, notes)
        elif _is_text(column.type):
            texts = pd.Series(column.to_pylist(), dtype=object)
            reason = _label_again(name, pd.factorize(texts)[0].astype(np.float64), labels, notes)
            if reason is None and are_image_names(column):
                unusable.append(name)
                reason = "names of image files, of which none is below the root"
            elif reason is None and _have_units(texts):
                unusable.append(name)
                reason = "numbers with a unit or a separator of thousands, which are not read"
            elif reason is None and texts.is_unique and not any(" " in text for text in texts if text):
                reason = "texts that are all different, as ids are"
        else:
            reason = None
        if reason is not None:
            notes.leave_out_columns(reason, [name or "''"])
        elif numbers is not None:
            chosen[name] = numbers
        else:
            unusable.append(name)
            notes.leave_out_columns(f"{_kind(column.type)}, not numbers", [name])
    if again := notes.columns_left_out.get(_AGAIN):
        notes.warn(
            f"columns with one value for each class say the label again and are left out: {_listed(again)}. With them "
            "no error could be found. If one is a feature, name the columns of features with `feature_columns`"
        )
    if indicators := _class_indicators(chosen, labels):
        notes.warn(
            f"the columns {_listed(indicators)} are 1 for one class and 0 for the others, so together they say the "
            "label again and are left out: with them no error could be found. If they are features, name the columns "
            "of features with `feature_columns`"
        )
        notes.leave_out_columns("say the label again", indicators)
        chosen = {name: numbers for name, numbers in chosen.items() if name not in indicators}
    _note_commas(with_comma, notes)
    if unusable and chosen:
        notes.warn(
            f"columns that are no numbers are not used: {', '.join(unusable)}. Encode them as numbers, or name the one "
            "that holds the inputs (`text_column`, `image_column`)"
        )
    return _features(table, chosen)


def named_features(table: pa.Table, names: Sequence[str], source: str, notes: ReadingNotes) -> Features:
    """Return the columns of numbers with these names.

    Raises:
        DataError: A column holds no numbers.
    """
    chosen: dict[str, NDArray[np.float64]] = {}
    with_comma: list[str] = []
    for name in names:
        column = table[name]
        numbers = _numbers(column, name, with_comma)
        if numbers is None and _is_text(column.type):
            numbers = _numbers_of_texts(column.to_pylist())
        if numbers is None or np.isnan(numbers).all():
            raise DataError(f"{source}: column {name!r} holds {_kind(column.type)}, not numbers: leave it out")
        chosen[name] = numbers
    _note_commas(with_comma, notes)
    return _features(table, chosen)


def _note_commas(names: Sequence[str], notes: ReadingNotes) -> None:
    if names:
        notes.remark(f"commas are read as decimal points in the columns {_listed(names)}")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_LISTED]) + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")


def _features(table: pa.Table, chosen: Mapping[str, NDArray[np.float64]]) -> Features:
    matrix = np.empty((table.num_rows, len(chosen)), np.float32)
    broken: dict[int, str] = {}
    for position, (name, numbers) in enumerate(chosen.items()):
        with np.errstate(over="ignore"):
            matrix[:, position] = numbers
        for row in np.flatnonzero(~np.isfinite(matrix[:, position])).tolist():
            problem = "too large for float32" if np.isfinite(numbers[row]) else "not a number"
            broken.setdefault(row, f"{name!r} is {table[name][row].as_py()!r}, {problem}")
    return Features(tuple(chosen), matrix, broken)


def is_list(kind: pa.DataType) -> bool:
    """Return whether a type is of lists."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def is_list_of_numbers(kind: pa.DataType) -> bool:
    """Return whether a type is of lists of numbers."""
    return is_list(kind) and bool(pa.types.is_integer(kind.value_type) or pa.types.is_floating(kind.value_type))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def is_empty(column: pa.ChunkedArray) -> bool:
    """Return whether no row of a column has a value."""
    if column.null_count == len(column):
        return True
    if _is_text(column.type):
        return not any(value and value.strip() for value in column.to_pylist())
    return bool(pa.types.is_floating(column.type) and np.isnan(column.to_numpy()).all())


def are_image_names(values: pa.ChunkedArray) -> bool:
    """Return whether a column holds names of image files: texts of which most end in the suffix of an image."""
    if not _is_text(values.type):
        return False
    texts = [text.strip() for text in values.to_pylist() if text and text.strip()]
    return sum(PurePath(text).suffix.lower() in IMAGE_SUFFIXES for text in texts) > len(texts) / 2


def are_numbers(texts: Sequence[str]) -> bool:
    """Return whether most texts are numbers."""
    return bool(texts) and bool((~np.isnan(_numbers_of_texts(texts))).mean() > _MOSTLY)


def _numbers(column: pa.ChunkedArray, name: str, with_comma: list[str]) -> NDArray[np.float64] | None:
    """Return the number of each row [n], NaN where there is none; None where the column is none of numbers.

    The name of a column of texts with decimal commas is added to `with_comma`.
    """
    kind = column.type
    if _is_text(kind):
        texts = column.to_pylist()
        numbers = _numbers_of_texts(texts)
        if (~np.isnan(numbers)).mean() > _MOSTLY:
            return numbers
        commas_read = _numbers_with_comma(texts)
        if commas_read is not None:
            with_comma.append(name)
        return commas_read
    of_numbers = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal)
    if not any(is_kind(kind) for is_kind in of_numbers):
        return None
    return np.array(column.cast(pa.float64(), safe=False).to_numpy(), np.float64)


def _numbers_of_texts(texts: Sequence[str | None]) -> NDArray[np.float64]:
    truth = np.array([_TRUTH.get((text or "").strip().casefold(), np.nan) for text in texts], np.float64)
    if (~np.isnan(truth)).mean() > _MOSTLY:
        return truth
    values = pd.Series(list(texts), dtype=object)
    return pd.to_numeric(values, errors="coerce").to_numpy(np.float64)


def _numbers_with_comma(texts: Sequence[str | None]) -> NDArray[np.float64] | None:
    """Return the numbers of texts that have a decimal comma; None where they are no such numbers."""
    filled = [text for text in texts if text and text.strip()]
    with_comma = [text for text in filled if _DECIMAL_COMMA.fullmatch(text)]
    are_thousands = all(_THREE_DECIMALS.fullmatch(text) for text in with_comma)  # or decimals: 1,234 may be both
    if not with_comma or are_thousands or any("." in text for text in filled):
        return None
    numbers = pd.to_numeric(pd.Series([(text or "").replace(",", ".") for text in texts]), errors="coerce")
    return numbers.to_numpy(np.float64) if numbers.notna().mean() > _MOSTLY else None


def _kind(kind: pa.DataType) -> str:
    names: tuple[tuple[Callable[[pa.DataType], bool], str], ...] = (
        (_is_text, "texts"),
        (pa.types.is_temporal, "dates and times"),
        (is_list_of_numbers, "lists of numbers"),
    )
    return next((name for is_kind, name in names if is_kind(kind)), f"values of the type {kind}")


def _index_of_frame(table: pa.Table) -> set[str]:
    """Return the columns that hold the index of the data frame that was saved, as pandas' metadata name them."""
    try:
        entries = json.loads((table.schema.metadata or {}).get(b"pandas", b"{}")).get("index_columns", [])
    except (ValueError, AttributeError):
        return set()
    return {entry for entry in entries if isinstance(entry, str)}


def _row_numbers(name: str, values: NDArray[np.float64]) -> str | None:
    """Return how a column numbers the rows, or None where it does not."""
    n = len(values)
    if n < 2 or not np.isfinite(values).all() or (values != np.round(values)).any():
        return None
    steps, ordered = np.diff(values), np.sort(values)
    if (steps == 1).all() and values[0] in (0, 1):
        return "numbers the rows"
    if n < _MANY_ROWS:
        return None
    if (steps > 0).all():
        return "rises from row to row, as row numbers do"
    all_differ = (np.diff(ordered) > 0).all()
    expected_pairs = n * (n - 1) / 2 / (ordered[-1] - ordered[0] + 1)  # of equal values, were they chosen by chance
    if all_differ and (expected_pairs >= _MANY_PAIRS or _ID_NAME.fullmatch(name)):
        return "whole numbers that are all different, as ids are"
    return None


def _have_units(texts: "pd.Series[str]") -> bool:
    """Return whether most texts are numbers with a sign such as % or $, or with separators of thousands."""
    filled = [text for text in texts if text and text.strip()]
    return sum(_WITH_UNIT.fullmatch(text) is not None for text in filled) > _MOSTLY * len(filled)


def _label_again(name: str, values: NDArray[np.float64], labels: NDArray[np.int64], notes: ReadingNotes) -> str | None:
    """Return why a column is another form of the labels, or None where it is not; warn where it may be one."""
    if labels.ndim == 2:  # each set of classes is a class of its own here
        rows = np.where((labels < 0).any(1), -1, np.unique(labels, axis=0, return_inverse=True)[1].reshape(-1))
        return _label_again(name, values, rows, notes)
    agreement = _agreement(values, labels) if not np.isnan(values).any() else 0
    if agreement == 1:
        return _AGAIN
    if agreement >= (_CLOSE_OF_TWO if labels.max() < 2 else _CLOSE):
        notes.warn(
            f"the column {name} has one value for each class and agrees with {agreement:.0%} of the labels: if it is "
            "another version of the labels, leave it out by naming the columns of features with `feature_columns`"
        )
    return None


def _agreement(values: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Return the share of labels that are the class of their value; 0 if not each class has a value of its own."""
    labelled = labels >= 0
    distinct, codes = np.unique(values[labelled], return_inverse=True)
    classes, given = np.unique(labels[labelled], return_inverse=True)
    if not len(classes) or len(distinct) != len(classes) or len(given) < _ROWS_PER_CLASS * len(classes):
        return 0.0
    counts = np.zeros((len(distinct), len(classes)), np.int64)
    np.add.at(counts, (codes, given), 1)
    if len(set(counts.argmax(1).tolist())) < len(classes):
        return 0.0
    return float(counts.max(1).sum() / len(given))


def _class_indicators(columns: Mapping[str, NDArray[np.float64]], labels: NDArray[np.int64]) -> list[str]:
    """Return the columns of 0 and 1 that are the one-hot form of the labels, also where it leaves out one class."""
    labelled = labels.reshape(len(labels), -1).min(1) >= 0
    given = labels[labelled]
    classes = np.unique(given) if labels.ndim == 1 else np.empty(0)
    if len(classes) < 3 or len(given) < _ROWS_PER_CLASS * len(classes):  # of two classes, one column says the label
        return []
    memberships = {np.packbits(given == c).tobytes(): c for c in classes}
    found = {}
    for name, values in columns.items():
        is_one = values[labelled] == 1
        if (is_one | (values[labelled] == 0)).all() and (
            c := memberships.get(np.packbits(is_one).tobytes())
        ) is not None:
            found[name] = c
    return list(found) if len(set(found.values())) >= len(classes) - 1 else []
