"""Write labels as class names, and find class names that may not be what they seem to be."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gwaudit.core.spreadsheet_changes import looks_changed

_WHOLE_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,17}")  # of 18 digits at most, which int64 holds
_MISSING = frozenset({"na", "n/a", "<na>", "nan", "nat", "none", "null", "nil", "#n/a", "?", "-"})
_SEPARATORS = ("|", ";", ",")
_EXAMPLES = 3
_LISTED = 5
_FEW_NUMBERS = 20


def label_text(value: Any) -> str:
    """Return a label as text, which is the name of its class where the names are not known otherwise.

    A text stays as it is: `007`, `7` and `1.10` are three classes. Bytes are decoded as UTF-8; a number without a
    fraction is written without one. A missing value (None, NaN, NaT) or a blank text gives the empty text: no label.

    Raises:
        UnicodeDecodeError: Bytes are not UTF-8.

    Example:
        >>> [label_text(value) for value in ("007", 7, 7.0, b"cat", None, float("nan"))]
        ['007', '7', '7', 'cat', '', '']
    """
    if value is None or value != value:
        return ""
    if isinstance(value, bytes):
        value = value.decode()
    elif isinstance(value, float | np.floating | Decimal) and abs(float(value)) < 2**53 and value == int(value):
        value = int(value)
    text = str(value)
    return text if text.strip() else ""


def joined_names(labels: NDArray[np.int64], class_names: Sequence[str], separator: str | None = None) -> list[str]:
    """Return the classes of each sample as one text, with a separator between them.

    Args:
        labels: [n, C] of 0 and 1.
        class_names: C names.
        separator: The separator; by default `separator_for` these names.

    Example:
        >>> joined_names(np.array([[1, 1], [0, 0]]), ("cat", "dog"))
        ['cat|dog', '']
    """
    separator = separator_for(class_names) if separator is None else separator
    return [separator.join(class_names[label] for label in np.flatnonzero(row).tolist()) for row in labels]


def separator_for(class_names: Sequence[str]) -> str:
    """Return a text that separates class names, and is in none of them."""
    return next((text for text in "|;,/" if not any(text in name for name in class_names)), "||")


def shown_name(name: str) -> str:
    """Return a class name as people read it: in quotes where white space at its ends would not be seen.

    Example:
        >>> shown_name("barolo"), shown_name("barolo ")
        ('barolo', "'barolo '")
    """
    return name if name == name.strip() else repr(name)


def listed(names: Sequence[str]) -> str:
    """Return the first names, and how many more there are.

    Example:
        >>> listed(["a", "b", "c", "d", "e", "f", "g"])
        'a, b, c, d, e and 2 more'
    """
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more:,} more" if more > 0 else "")


def whole_number(text: str) -> int | None:
    """Return the whole number that a text is, in its one usual form; None for any other text.

    Example:
        >>> [whole_number(text) for text in ("7", "-1", "007", "1_0", "1e1", "7.0")]
        [7, -1, None, None, None, None]
    """
    return int(text) if _WHOLE_NUMBER.fullmatch(text) else None


def sorted_names(names: Iterable[str]) -> list[str]:
    """Return class names in order: whole numbers by their value, others by their text."""
    distinct = set(names)
    if all(whole_number(name) is not None for name in distinct):
        return sorted(distinct, key=int)
    return sorted(distinct)


def _joined(names: Collection[str], separator: str) -> list[str]:
    """Return the names that others look like a part of: each of their parts is in two names or more."""
    parts = {name: {part.strip() for part in name.split(separator)} for name in names}
    counts = Counter(part for each in parts.values() for part in each)
    joined = [name for name, each in parts.items() if len(each) > 1]
    return joined if len(joined) > 1 and all(counts[part] > 1 for name in joined for part in parts[name]) else []


def class_warnings(labels: NDArray[np.int64], class_names: Sequence[str]) -> list[str]:
    """Return warnings about class names that may be one class, or no class.

    These are names that differ only in case, white space, Unicode form or the way a number is written; names that are
    joined from others by a separator; names such as
    "nan" that often stand for a missing value; and a class -1, which often stands for no label; texts that spreadsheet
    programs write in place of others; and many whole numbers that do not count the classes from 0 or 1.

    Args:
        labels: [n] class indices, or [n, C] of 0 and 1.
        class_names: C names.
    """
    warnings = []
    indices = np.nonzero(labels == 1)[1] if labels.ndim == 2 else labels[labels >= 0]
    counts = np.bincount(indices, minlength=len(class_names)).tolist()
    used = {name: count for name, count in zip(class_names, counts, strict=True) if count}
    alike: dict[str, list[str]] = defaultdict(list)
    for name in class_names:
        alike[_spelling(name)].append(name)
    groups = [" and ".join(map(repr, names)) for names in alike.values() if len(names) > 1]
    if groups:
        more = f" and {len(groups) - _EXAMPLES} more" if len(groups) > _EXAMPLES else ""
        warnings.append(
            f"classes that look alike are audited as different classes: {'; '.join(groups[:_EXAMPLES])}{more}. "
            "If they are one class, write its name in one way in the source"
        )
    if lists := [repr(name) for name in used if name.startswith("[") and name.endswith("]")]:
        warnings.append(
            f"texts that look like lists are read as classes, such as {', '.join(lists[:_EXAMPLES])}: for several "
            "classes a sample write lists (JSON Lines, Parquet), or texts with a separator (`label_separator`)"
        )
    warnings += [
        f"class names look like several classes each, such as {joined[0]!r}: if they are, name the text between them, "
        f"{separator!r}, by `label_separator`"
        for separator in _SEPARATORS
        if (joined := _joined(used, separator))
    ]
    changed = [repr(name) for name in used if looks_changed(name)]
    if changed:
        warnings.append(
            "class names that a spreadsheet program may have written, "
            f"such as {', '.join(changed[:_EXAMPLES])}: check the source"
        )
    numbers = [whole_number(name) for name in used]
    values = [number for number in numbers if number is not None]
    if len(values) == len(used) > _FEW_NUMBERS and (min(values) > 1 or max(values) - min(values) >= len(values)):
        warnings.append(
            f"the labels are {len(values)} whole numbers from {min(values)} to {max(values)}, read as classes without "
            "an order: if they are measurements, counts or ids, name another column with `label_column`"
        )
    for name, rows in used.items():
        if name.strip().casefold() in _MISSING:
            warnings.append(
                f"{name!r} is read as the name of a class ({rows} samples): if it stands for a missing label, empty "
                "these cells in the source"
            )
        elif name == "-1" and len(used) > 2:
            warnings.append(
                f"-1 is read as a class ({rows} samples): if it stands for a missing label, name the other classes "
                "with `classes`"
            )
    return warnings


def plain_text(name: str) -> str:
    """Return the text that names have in common which differ in case, white space or Unicode form.

    Example:
        >>> plain_text("Barolo ") == plain_text("barolo")
        True
    """
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def _spelling(name: str) -> str:
    """Return the text that all ways to write a name, or a number, have in common: 1.10 may be 1.1 (or another one)."""
    text = plain_text(name)
    try:
        return str(Decimal(text).normalize())
    except InvalidOperation:
        return text
