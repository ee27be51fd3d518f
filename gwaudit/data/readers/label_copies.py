"""Find columns that number the rows, or say the labels again: with them no label error could be found."""

import re
from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gwaudit.data.reading_notes import ReadingNotes

SAYS_LABEL = "says the label again"
"""Reason for which a copy of the labels is left out."""

_ID_NAME = re.compile(
    r"(?:.*[^a-z])?(?:id|ids|idx|index|key|uid|guid|uuid|nr|no|number|row|rowid|rownum)", re.IGNORECASE
)
_MANY_ROWS = 20  # from here on it is no chance that whole numbers rise from row to row
_MANY_PAIRS = 9
_ROWS_PER_CLASS = 5  # from here on it is no chance that a column's values are one with the classes
_CLOSE_OF_TWO, _CLOSE = 0.9, 0.7  # agreement from which on a column is hardly a feature, of two and of more classes


def codes_of_numbers(numbers: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the position of each row's number [n] among the distinct ones, -1 for NaN."""
    return np.asarray(pd.factorize(numbers)[0], np.int64)


def reason_as_row_numbers(name: str, values: NDArray[np.float64]) -> str | None:
    """Return how a column of numbers [n] counts or identifies the rows, or None where it does not.

    Args:
        name: Name of the column.
        values: Its numbers, NaN where one is missing.
    """
    n = len(values)
    if n < 2 or not np.isfinite(values).all() or (values != np.round(values)).any():
        return None
    with np.errstate(over="ignore"):
        steps = np.diff(values)
    if (steps == 1).all() and values[0] in (0, 1):
        return "numbers the rows"
    if n < _MANY_ROWS:
        return None
    if (steps > 0).all():
        return "rises from row to row, as row numbers do"
    ordered = np.sort(values)
    with np.errstate(over="ignore"):
        all_differ = (np.diff(ordered) > 0).all()
        expected_pairs = n * (n - 1) / 2 / (ordered[-1] - ordered[0] + 1)  # of equal values, were they chosen by chance
    if all_differ and (expected_pairs >= _MANY_PAIRS or _ID_NAME.fullmatch(name)):
        return "whole numbers that are all different, as ids are"
    return None


def reason_as_label_copy(
    name: str, codes: NDArray[np.int64], labels: NDArray[np.int64], notes: ReadingNotes
) -> str | None:
    """Return why a column is another form of the labels, or None where it is not; warn where it may be one.

    Rows without a value are left out of the comparison. With two classes, a column may also say the label by having a
    value or none.

    Args:
        name: Name of the column.
        codes: [n] position of each row's value among the distinct ones, -1 where it has none.
        labels: [n] class indices, or [n, C] of 0 and 1; negative where a row has none.
        notes: Notes of the reading, which receive the warnings.
    """
    for given in _forms_of(labels):
        n_classes = _n_distinct(given)
        has_value = (codes >= 0).astype(np.int64)
        agreement = max(_agreement(codes, given), _agreement(has_value, given) if n_classes == 2 else 0.0)
        if agreement == 1:
            return SAYS_LABEL
        largest = float(np.bincount(given[given >= 0]).max(initial=0) / max(1, (given >= 0).sum()))
        close = max(_CLOSE_OF_TWO if n_classes <= 2 else _CLOSE, (1 + largest) / 2)  # not by one large class alone
        if agreement >= close:
            notes.warn(
                f"the column {name} has one value for each class and agrees with {agreement:.0%} of the labels: if it "
                "is another version of the labels, leave it out by naming the columns of features with "
                "`feature_columns`"
            )
    return None


def check_for_related_labels(
    name: str, codes: NDArray[np.int64], labels: NDArray[np.int64], notes: ReadingNotes
) -> None:
    """Check whether a column of categories is a finer or a coarser form of the labels, and warn if so.

    Every value of a finer form occurs with one class only: the breed beside the kind of animal. Every class occurs with
    one value only of a coarser form.

    Args:
        name, codes, labels, notes: As for `reason_as_label_copy`.
    """
    given = _forms_of(labels)[0]
    rows = (codes >= 0) & (given >= 0)
    codes, given = codes[rows], given[rows]
    n_values, n_classes = _n_distinct(codes), _n_distinct(given)
    if n_values > len(codes) / _ROWS_PER_CLASS or n_classes > len(codes) / _ROWS_PER_CLASS:
        return
    is_finer = n_values > n_classes and _decides(codes, given)
    is_coarser = 2 < n_values < n_classes and _decides(given, codes)
    if is_finer or is_coarser:
        one, other = ("value of it", "class") if is_finer else ("class", "value of it")
        notes.warn(
            f"the column {name} may have been made from the labels: each {one} occurs with one {other} only. If so, "
            "leave it out by naming the columns of features with `feature_columns`"
        )


def class_indicators(columns: Mapping[str, NDArray[np.int64]], labels: NDArray[np.int64]) -> list[str]:
    """Return the columns of two values that are the one-hot form of the labels, also where it leaves out one class.

    Args:
        columns: Codes [n] of the values of each column, by its name; -1 where a row has no value.
        labels: [n] class indices, or [n, C] of 0 and 1; negative where a row has none.
    """
    labelled = labels.reshape(len(labels), -1).min(1) >= 0
    given = labels[labelled]
    classes = np.unique(given) if labels.ndim == 1 else np.empty(0)
    if len(classes) < 3 or len(given) < _ROWS_PER_CLASS * len(classes):  # of two classes, one column says the label
        return []
    memberships = {np.packbits(given == c).tobytes(): int(c) for c in classes}
    found: dict[str, int] = {}
    for name, codes in columns.items():
        values = codes[labelled]
        if len(values) and values.min() == 0 and values.max() == 1:
            for value in (0, 1):
                if (member := memberships.get(np.packbits(values == value).tobytes())) is not None:
                    found[name] = member
    return list(found) if len(set(found.values())) >= len(classes) - 1 else []


def _forms_of(labels: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Return the labels as class indices [n]: of multi-label data, of each set of classes, and of each class."""
    if labels.ndim == 1:
        return [labels]
    sets = np.where((labels < 0).any(1), -1, np.unique(labels, axis=0, return_inverse=True)[1].reshape(-1))
    return [sets, *labels.T]


def _agreement(codes: NDArray[np.int64], labels: NDArray[np.int64]) -> float:
    """Return the share of labels that are the class of their value; 0 if not each class has a value of its own."""
    n_classes = _n_distinct(labels)
    rows = (codes >= 0) & (labels >= 0)
    n_rows = int(rows.sum())
    if n_classes < 2 or n_rows < _ROWS_PER_CLASS * n_classes or _n_distinct(codes[rows]) != n_classes:
        return 0.0
    counts = _counts(codes[rows], labels[rows])
    if counts.shape[1] != n_classes or len(set(counts.argmax(1).tolist())) < n_classes:
        return 0.0
    return float(counts.max(1).sum() / n_rows)


def _n_distinct(codes: NDArray[np.int64]) -> int:
    """Return the number of distinct codes that are not negative."""
    return int(np.count_nonzero(np.bincount(codes[codes >= 0])))


def _decides(codes: NDArray[np.int64], others: NDArray[np.int64]) -> bool:
    """Return whether all rows with one code have one other code, too."""
    other_of = np.zeros(int(codes.max(initial=0)) + 1, np.int64)
    other_of[codes] = others  # of one of the rows with this code
    return bool((other_of[codes] == others).all())


def _counts(codes: NDArray[np.int64], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number of rows with each value and each class that occur, [values, classes]."""
    width = int(labels.max(initial=0)) + 1
    counts = np.bincount(codes * width + labels, minlength=(int(codes.max(initial=0)) + 1) * width).reshape(-1, width)
    occurring: NDArray[np.int64] = counts[counts.any(1)][:, counts.any(0)]
    return occurring
