"""Find the splits of a source by their names, and choose the one that is asked for."""

import re
from collections.abc import Sequence

from gwaudit.core.errors import DataError
from gwaudit.data.reading_notes import ReadingNotes

TRAIN = "train"
"""Name of the default split."""

# The names that the `datasets` library recognises in file names, and spellings in one word.
_NAMES_OF_KINDS = {
    TRAIN: ("train", "training", "trainset", "trainval"),
    "validation": ("validation", "valid", "val", "dev", "valset", "devset"),
    "test": ("test", "testing", "eval", "evaluation", "testset"),
}
_KINDS = {name: kind for kind, names in _NAMES_OF_KINDS.items() for name in names}
_FILLERS = {"set", "split", "data", "dataset", "images", "imgs", "image", "img", "files", "shards"}


class NoSplitsError(DataError):
    """Signal that a split was asked of a source that has none."""


def split_kind(name: str) -> str | None:
    """Return "train", "validation" or "test" where a name is that of a split, else None.

    Example:
        >>> split_kind("Valid"), split_kind("training_set"), split_kind("val2017"), split_kind("trains")
        ('validation', 'train', 'validation', None)
    """
    words = _words(name)
    return split_kind_within(name) if all(word in _KINDS or word in _FILLERS for word in words) else None


def split_kind_within(name: str) -> str | None:
    """Return "train", "validation" or "test" where one word of a longer name is that of a split, else None.

    Example:
        >>> split_kind_within("imagenet-train-000001"), split_kind_within("train-or-test")
        ('train', None)
    """
    kinds = {_KINDS[word] for word in _words(name) if word in _KINDS}
    return kinds.pop() if len(kinds) == 1 else None


def split_word(name: str) -> str:
    """Return the word of a name that says its split, as it is written.

    Example:
        >>> split_word("imagenet-Val-000001")
        'Val'
    """
    return next(word for word in _as_written(name) if word.lower() in _KINDS)


def choose_split(asked: str, available: Sequence[str], source: object, notes: ReadingNotes) -> str:
    """Return the one of the splits of a source that is asked for: by its name, in any case, or by another usual name.

    Args:
        asked: Split that is asked for.
        available: Names of the splits of the source; none where all samples belong together.
        source: Source, for the message.
        notes: Notes of the reading, which receive the splits.

    Raises:
        NoSplitsError: The source has no splits, and another one than "train" is asked for.
        DataError: The source has no such split, or several.
    """
    notes.splits = list(available)
    if not available:
        if split_kind(asked) != TRAIN:
            raise NoSplitsError(f"{source} has no splits, so there is no {asked!r}: leave out `split`")
        return asked
    if asked in available:
        return asked
    kind = split_kind_within(asked)
    matches = [name for name in available if name.casefold() == asked.casefold()] or [
        name for name in available if kind is not None and split_kind_within(name) == kind
    ]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise DataError(
            f"{source} has several splits that {asked!r} may mean: {', '.join(matches)}. Choose one with `split`"
        )
    raise DataError(f"{source} has no split {asked!r}: it has {', '.join(available)}. Choose one with `split`")


def split_of_part(asked: str, own: object, source: object, notes: ReadingNotes) -> str:
    """Return the split of a source that is one split by itself, such as a saved part of a data set.

    Args:
        asked: Split that is asked for; "train", the default, accepts any.
        own: Name of the split that the source says it is; None, or an expression such as "train[:10%]", says nothing.
        source: Source, for the message.
        notes: Notes of the reading, which receive the split.

    Raises:
        DataError: The source is another split.
    """
    own_name = str(own or "")
    if not re.fullmatch(r"\w+", own_name):
        return choose_split(asked, [], source, notes)
    notes.splits = [own_name]
    return own_name if split_kind(asked) == TRAIN else choose_split(asked, [own_name], source, notes)


def _words(name: str) -> list[str]:
    return [word.lower() for word in _as_written(name)]


def _as_written(name: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name))
