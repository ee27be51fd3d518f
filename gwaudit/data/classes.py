"""Labels as people write them, names or numbers, as indices into class names."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gwaudit.core.errors import DataError, did_you_mean

UNLABELLED = -1
"""Stands for the label of a row that has none."""


def classes_of(
    values: Sequence[Any], class_names: Sequence[str] | None = None
) -> tuple[NDArray[np.int64], tuple[str, ...], dict[int, str]]:
    """The class of each row.

    Whole numbers, also where they are written as text, are indices into the class names. Without names they name
    themselves: 0 to the largest, or only those that occur, where these are few among many. Anything else is a name.
    Nothing, an empty text, and the -1 of Hugging Face's unlabelled splits are no label.

    Args:
        values: [n] one a row: None, a number or a text.
        class_names: all classes there may be, where that is known.

    Returns:
        [n] int64, `UNLABELLED` where there is none; the class names; and what is wrong with a row, by its number.

    Raises:
        DataError: no row has a label.

    Example:
        >>> classes_of(["dog", "cat", "", "dog"])[:2]
        (array([ 1,  0, -1,  1]), ('cat', 'dog'))
    """
    texts = [_text(value) for value in values]
    numbers = [_whole(text) for text in texts]
    labels = np.full(len(texts), UNLABELLED, np.int64)
    given = [row for row, text in enumerate(texts) if text and numbers[row] != UNLABELLED]
    if not given:
        raise DataError(f"none of the {len(texts)} rows has a label")
    broken: dict[int, str] = {}
    known = {str(name): index for index, name in enumerate(class_names or ())}
    if class_names is None:
        known = _own_names([numbers[row] for row in given], [texts[row] for row in given])
    for row in given:
        number = numbers[row]
        if texts[row] in known:
            labels[row] = known[texts[row]]
        elif number is not None and str(number) in known:  # 3.0, as a column of numbers with gaps is written
            labels[row] = known[str(number)]
        elif number is not None and 0 <= number < len(known):
            labels[row] = number
        else:
            broken[row] = (
                f"label {texts[row]!r} is none of the {len(known)} classes{did_you_mean(texts[row], list(known))}"
            )
    return labels, tuple(known), broken


def _own_names(numbers: list[int | None], texts: list[str]) -> dict[str, int]:
    whole = [number for number in numbers if number is not None]
    if len(whole) < len(numbers):
        return {name: index for index, name in enumerate(sorted(set(texts)))}
    distinct = sorted(set(whole))
    if distinct[0] >= 0 and distinct[-1] < 2 * len(distinct):
        distinct = list(range(distinct[-1] + 1))
    return {str(number): index for index, number in enumerate(distinct)}


def _text(value: Any) -> str:
    return "" if value is None or value != value else str(value).strip()


def _whole(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        number = float(text)
        return int(number) if number.is_integer() else None
    except (ValueError, OverflowError):
        return None
