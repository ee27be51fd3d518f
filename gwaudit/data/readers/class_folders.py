"""Find the splits and the classes in the paths of a folder of images."""

import sys
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from gwaudit.core.errors import DataError
from gwaudit.data.class_names import listed
from gwaudit.data.reading_notes import ReadingNotes
from gwaudit.data.splits import choose_split, split_kind, split_kind_within


class ClassFolders(NamedTuple):
    """Describe which images of a folder belong to a split, and to which class.

    Attributes:
        split: Name of the split; None where the folder has none.
        folder: Folders from the source down to those of the classes.
        paths: Paths of the images of the split, below the source, with "/" between the parts.
        classes: Name of the class of each.
    """

    split: str | None
    folder: tuple[str, ...]
    paths: list[str]
    classes: list[str]


def find_classes(paths: Sequence[str], split: str, source: object, notes: ReadingNotes, hint: str = "") -> ClassFolders:
    """Return the split that is asked for, and the class of each of its images.

    A folder is a class, unless it has the name of a split: `train/cat/1.png`, or `cat/train/1.png` where every class
    has such folders. A folder `train` that holds images beside other classes is a class (a locomotive).

    Args:
        paths: Paths of all images, below the source, with "/" between the parts, in order.
        split: Split that is asked for.
        source: The folder, for messages.
        notes: Notes of the reading, which receive the splits and the images without a class.
        hint: Sentence at the end of the message if a split has no class folders.

    Raises:
        DataError: There is no such split, or it cannot be decided whether a folder is a split or a class.
    """
    folders = _by_folder(paths, 0)
    notes.pass_over("it is in no class folder", [path for path in paths if _depth(path) == 0])
    if splits := _split_folders(folders, split, source):
        found = choose_split(split, splits, source, notes)
        unused = [path for name, inside in folders.items() if name not in splits for path in inside]
        notes.pass_over("it is in no split", unused)
        base, images = _descend((found,), folders[found])
        notes.pass_over("it is in no class folder", [path for path in images if _depth(path) == len(base)])
        images = [path for path in images if _depth(path) > len(base)]
        if not images:
            raise DataError(
                f"{source} has the split {found!r} without a folder for each class: give a table of paths and labels, "
                f"or labels in a `metadata.csv` beside the images{hint}"
            )
        _warn_of_deeper_classes(images, len(base), notes)
        return ClassFolders(found, base, images, [_part(path, len(base)) for path in images])
    if splits := _splits_in_classes(folders, notes):
        found = choose_split(split, splits, source, notes)
        images = [path for path in paths if _depth(path) > 1 and _part(path, 1).casefold() == found]
        _warn_of_deeper_classes([path.replace(f"/{_part(path, 1)}/", "/", 1) for path in images], 0, notes)
        return ClassFolders(found, (), images, [_part(path, 0) for path in images])
    choose_split(split, [], source, notes)
    if len({split_kind_within(name) for name in folders} - {None}) > 1:
        notes.warn(
            f"The folders {listed(sorted(folders))} are read as classes, though some have names of splits: if they "
            "are splits, give a table of paths and labels as the source."
        )
    images = [path for path in paths if _depth(path) > 0]
    _warn_of_deeper_classes(images, 0, notes)
    return ClassFolders(None, (), images, [_part(path, 0) for path in images])


def _depth(path: str) -> int:
    """Return the number of folders that a file lies in."""
    return path.count("/")


def _part(path: str, depth: int) -> str:
    """Return the part of a path at a depth; all names of one folder are one object, which a million need."""
    return sys.intern(path.split("/", depth + 1)[depth])


def _by_folder(paths: Iterable[str], depth: int) -> dict[str, list[str]]:
    """Return the paths by the name of the folder at a depth; without those that have none."""
    folders: dict[str, list[str]] = {}
    for path in paths:
        if _depth(path) > depth:
            folders.setdefault(_part(path, depth), []).append(path)
    return folders


def _split_folders(folders: dict[str, list[str]], asked: str, source: object) -> list[str]:
    """Return the folders that are splits; none where all are classes."""
    named = [name for name in folders if split_kind(name)]
    structured = {name for name, paths in folders.items() if any(_depth(path) > 1 for path in paths)}
    if asked in structured and split_kind(asked) is None:  # a name of one's own, such as fold1
        return sorted({*named, asked})
    if not named:
        return _loosely_named_splits(folders, structured)
    others = [name for name in folders if name not in named]
    if not others:
        return named
    kinds = {split_kind(name) for name in named}
    if len(kinds) > 1 and structured.intersection(named):
        return named
    if len(kinds) == 1 and not structured.intersection(named):
        return []
    raise DataError(
        f"{source} has the folder {named[0]!r}, which may be a split or a class, beside {listed(others)}: "
        f"give the folder {named[0]!r} itself as the source if it holds the classes, else rename it"
    )


def _loosely_named_splits(folders: dict[str, list[str]], structured: set[str]) -> list[str]:
    """Return folders such as `seg_train` and `seg_test`, where all are named so or they hold the same folders."""
    named = [name for name in folders if split_kind_within(name)]
    if len({split_kind_within(name) for name in named}) < 2 or not structured.intersection(named):
        return []  # without folders of classes in them, `test_tube` and `train_station` are classes
    if len(named) == len(folders):
        return named
    inside = []
    for name in named:
        base, images = _descend((name,), folders[name])
        inside.append(set(_by_folder(images, len(base))))
    return named if structured.issuperset(named) and set.intersection(*inside) else []


def _splits_in_classes(folders: dict[str, list[str]], notes: ReadingNotes) -> list[str]:
    """Return the splits, in lower case, where every class has a folder for each."""
    inside = {name: _folders_at(paths, 1) for name, paths in folders.items()}
    divided = [name for name, names in inside.items() if all(split_kind(part) for part in names)]
    if folders and len(divided) == len(folders):
        return sorted({part.casefold() for names in inside.values() for part in names})
    for name in divided:
        if len({split_kind(part) for part in inside[name]}) > 1:
            notes.warn(
                f"The class {name} has the folders {listed(sorted(inside[name]))}, other classes have not: all of its "
                "images are read."
            )
    return []


def _folders_at(paths: Iterable[str], depth: int) -> set[str]:
    """Return the names of the folders at a depth; the empty name for files that lie there."""
    return {_part(path, depth) if _depth(path) > depth else "" for path in paths}


def _descend(base: tuple[str, ...], paths: list[str]) -> tuple[tuple[str, ...], list[str]]:
    """Return the folder of the classes: some archives hold `train/train/cat`."""
    inside = {_part(path, len(base)) if _depth(path) > len(base) + 1 else "" for path in paths}
    name = next(iter(inside), "")
    if len(inside) == 1 and name and split_kind_within(name) == split_kind_within(base[-1]):
        return _descend((*base, name), paths)
    return base, paths


def _warn_of_deeper_classes(paths: Sequence[str], depth: int, notes: ReadingNotes) -> None:
    """Warn where all folders hold the same folders: the classes may be these."""
    inside = [_folders_at(images, depth + 1) for images in _by_folder(paths, depth).values()]
    shared = set.intersection(*inside) if len(inside) > 1 else set()
    if len(shared) > 1 and "" not in set.union(*inside) and not all(split_kind(name) for name in shared):
        classes = sorted(_by_folder(paths, depth))
        notes.warn(
            f"The classes are the folders {listed(classes)}, and each of them holds the folders "
            f"{listed(sorted(shared))}: if these are the classes, give one of the upper folders as the source."
        )
