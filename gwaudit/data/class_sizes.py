"""Judge classes by their numbers of samples: enough to learn, too few to judge their labels, or no classes at all."""

import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

import numpy as np
from numpy.typing import NDArray

from gwaudit.core.errors import DataError

LEAST_SAMPLES = 5
"""Number of samples from which on the labels of a class can be judged.

With fewer, right labels look wrong: all of classes of one sample, 58 % and 11 % of those of two and three, 2 % of four
and five, none of six to ten (docs/measure_imbalance.py). Five is the number of folds by which heads are held out, each
of which needs a sample of the class.
"""

_ENOUGH_ROWS = 20  # of fewer rows it cannot be seen that their labels are no classes
_FEW_LEVELS = 20  # more are no ratings, of which half stars have ten
_MOST = 0.9  # of the labels: some may stand for missing values, such as NA
_EXAMPLES = 3
_DATE = re.compile(
    r"(\d{4}([-/.]\d{1,2}){1,2}|\d{1,2}([-/.])\d{1,2}\3\d{4}|\d{1,2}/\d{1,2}/\d{2})([ T]\d.*)?|\d{1,2}:\d{2}.*"
)


def small_classes(labels: NDArray[np.integer], n_classes: int) -> NDArray[np.bool_]:
    """Return the classes with some samples, but too few (`LEAST_SAMPLES`) to judge their labels, [C].

    Args:
        labels: [n] class indices, or [n, C] of 0 and 1; there a class is small, too, if few samples lack it.
        n_classes: C.

    Example:
        >>> small_classes(np.array([0] * 20 + [1] * 4), 3)
        array([False,  True, False])
    """
    counts = _sizes(labels, n_classes)
    return np.asarray((counts > 0) & (counts < LEAST_SAMPLES))


def require_learnable(labels: NDArray[np.integer], class_names: Sequence[str], name: str) -> None:
    """Raise DataError unless two classes have two samples; in multi-label data, a class that two have and two lack.

    Args:
        labels: [n] class indices, or [n, C] of 0 and 1.
        class_names: C names.
        name: Name of the data set.
    """
    multi_label = labels.ndim == 2
    usable = int((_sizes(labels, len(class_names)) >= 2).sum())
    if usable >= (1 if multi_label else 2):
        return
    needed = "a class that two samples have and two lack" if multi_label else "two classes with two samples each"
    raise DataError(
        f"{name} has {len(labels):,} samples of {len(class_names):,} classes: an audit needs at least {needed}, and "
        f"{LEAST_SAMPLES} samples of each class whose labels it is to judge"
    )


def require_classes(labels: NDArray[np.int64], class_names: Sequence[str]) -> None:
    """Raise DataError if labels that name their classes themselves are measurements, dates, ids or texts.

    These are labels of mostly one row each; fractions and dates of more than 20 values; and whole numbers of more than
    20 values, most of which have too few rows to judge them. Ratings of a few levels are classes.

    Args:
        labels: [n] class indices, negative where a row has no label.
        class_names: C names, the labels as they are written.
    """
    counts = np.bincount(labels[labels >= 0], minlength=len(class_names))
    n, n_classes = int(counts.sum()), int((counts > 0).sum())
    if n < _ENOUGH_ROWS:
        return
    numbers = [_number(name) for name in class_names]
    are_numbers = np.mean([number is not None for number in numbers]) > _MOST
    are_dates = np.mean([_DATE.fullmatch(text.strip()) is not None for text in class_names]) > _MOST
    mostly_small = 2 * int(small_classes(labels[labels >= 0], len(class_names)).sum()) > n_classes
    has_fractions = any(number is not None and number != number.to_integral_value() for number in numbers)
    measured = are_numbers and (has_fractions or mostly_small)
    if 2 * n_classes <= n and not (n_classes > _FEW_LEVELS and (measured or are_dates)):
        return
    examples = ", ".join(map(repr, class_names[:_EXAMPLES]))
    kind, remedy = "ids or free texts", ""
    if are_dates:
        kind, remedy = "dates", "Write the month or the year of each into a column of its own. "
    elif are_numbers:
        kind = "measurements, counts or ids"
        remedy = "For a regression target, sort its values into a few bins, in a column of their own. "
    raise DataError(
        f"the labels are {n_classes} different values in {n} rows ({examples}, ...): these are no classes, but {kind}. "
        f"{remedy}Name another column with `label_column`, or, if these are classes, all of them with `classes`"
    )


def _sizes(labels: NDArray[np.integer], n_classes: int) -> NDArray[np.int64]:
    """Return the number of samples of each class, [C]; if multi-label, of those that have it or lack it."""
    if labels.ndim == 1:
        return np.bincount(labels, minlength=n_classes)
    given = labels.sum(0)
    return np.asarray(np.minimum(given, len(labels) - given), np.int64)


def _number(text: str) -> Decimal | None:
    """Return the number that a label is, also as a percentage, as a price or with a decimal comma; else None."""
    digits = text.strip().strip("$€£%").strip()
    digits = digits.replace(",", ".") if digits.count(",") == 1 and "." not in digits else digits.replace(",", "")
    try:
        number = Decimal(digits)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None
