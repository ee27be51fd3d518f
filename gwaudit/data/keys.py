"""Make the keys of samples: texts that can be written, no two of them equal."""

import os
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from gwaudit.core.errors import DataError
from gwaudit.data.reading_notes import ReadingNotes


def key_text(key: object, name: str) -> str:
    """Return a key as text.

    Args:
        key: A text, a path, bytes or a whole number.
        name: Name of the data set, for the message.

    Raises:
        DataError: The key is of another kind.
    """
    if isinstance(key, str):
        return key
    if isinstance(key, bytes | os.PathLike):
        return os.fsdecode(key)
    if isinstance(key, int | np.integer):
        return str(key)
    raise DataError(f"{name}: the key {key!r:.80} is a {type(key).__name__}: keys are texts, paths or whole numbers")


def utf8_texts(texts: Sequence[str], notes: ReadingNotes) -> list[str]:
    """Return texts that can be written as UTF-8: each byte of a file name that cannot is written as `\\xe9`.

    Args:
        texts: Keys or class names, which may come from file names in another encoding.
        notes: Notes of the reading, which receive the number of texts that changed.

    Example:
        >>> utf8_texts(["cat", "caf\\udce9"], ReadingNotes())
        ['cat', 'caf\\\\xe9']
    """
    changed = [text for text in texts if not _is_utf8(text)]
    if not changed:
        return list(texts)
    notes.remark(
        f"names that are not UTF-8: {len(changed):,}, such as {_escaped(changed[0])}; their bytes are written as \\x.."
    )
    return [text if _is_utf8(text) else _escaped(text) for text in texts]


def distinct_keys(keys: Sequence[str], notes: ReadingNotes) -> Sequence[str]:
    """Return keys of which no two are equal: the second sample of the key `a.png` gets `a.png#2`.

    Args:
        keys: [n] keys of the source.
        notes: Notes of the reading, which receive the number of samples that got another key.

    Example:
        >>> distinct_keys(["a", "b", "a", "a"], ReadingNotes())
        ['a', 'b', 'a#2', 'a#3']
    """
    if len(set(keys)) == len(keys):
        return keys
    taken = set(keys)
    counts: defaultdict[str, int] = defaultdict(int)
    distinct: list[str] = []
    renamed: list[tuple[str, str]] = []
    for key in keys:
        counts[key] += 1
        new = key
        while counts[key] > 1 and (new := f"{key}#{counts[key]}") in taken:
            counts[key] += 1
        if new != key:
            taken.add(new)
            renamed.append((key, new))
        distinct.append(new)
    key, new = renamed[0]
    notes.remark(
        f"rows that repeat the key of another row: {len(renamed):,}; each is a sample of its own, such as "
        f"{new!r} beside {key!r}"
    )
    return distinct


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _escaped(text: str) -> str:
    try:
        content = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half of a surrogate pair, which no file name gives
        content = text.encode("utf-8", "backslashreplace")
    return content.decode("utf-8", "backslashreplace")
