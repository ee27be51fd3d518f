"""Find the image files below a folder, and note the files that are passed over."""

import fnmatch
import os
import re
from collections.abc import Iterator
from pathlib import Path

from gwaudit.core.errors import DataError
from gwaudit.data.image_signatures import IMAGE_SUFFIXES, image_kind
from gwaudit.data.reading_notes import ReadingNotes

# Names that file managers, notebooks and file systems give to files and folders of their own.
_SYSTEM_NAMES = (
    ".ipynb_checkpoints", ".trash*", ".thumbnails", ".ds_store", "._*", "@eadir", "#recycle", "@recycle", "__macosx",
    "__pycache__", "lost+found", "$recycle.bin", "system volume information", "thumbs.db", "desktop.ini",
)  # fmt: skip
_IS_SYSTEM_NAME = re.compile("|".join(map(fnmatch.translate, _SYSTEM_NAMES)), re.IGNORECASE).match
_SUFFIXES = tuple(IMAGE_SUFFIXES)
_SYSTEM = "made by the system or a program"
_HIDDEN = "hidden (its name begins with a dot)"
_NO_IMAGE = "not an image"
_OTHER_SUFFIX = "an image by its content, but not by its suffix: convert or rename it"
_LINK_UP = "a link to a folder above it"
_LINK_TWICE = "a link to a folder that is read already"

_FolderId = tuple[int, int]


def find_images(root: Path, notes: ReadingNotes) -> list[str]:
    """Return the paths of the image files below a folder, relative to it, with "/" between the parts, in order.

    A file is an image by its suffix, or by its first bytes where it has no suffix. Links are followed; a link to
    nothing is returned if it has the suffix of an image. Hidden files and folders are left out.

    Args:
        root: The folder.
        notes: Notes that receive the files and folders that are passed over.

    Raises:
        DataError: A folder cannot be opened.
    """
    return list(_images_in(root, "", (_folder_id(root),), set(), notes))


def reason_left_out(name: str) -> str | None:
    """Return the reason why a file or folder of this name is no part of the data, or None."""
    if _IS_SYSTEM_NAME(name):
        return _SYSTEM
    return _HIDDEN if name.startswith(".") else None


def _images_in(
    root: Path, folder: str, above: tuple[_FolderId, ...], seen: set[_FolderId], notes: ReadingNotes
) -> Iterator[str]:
    """Yield the images below a folder, in the order of their parts.

    Args:
        root: Folder that all names are relative to.
        folder: The folder, with a "/" at its end; empty for the root.
        above: The folder, and the folders that it lies in.
        seen: All folders that were read of the same folder in the root: each is read once.
        notes: Notes that receive what is passed over.
    """
    for entry in _entries(root / folder):
        name = folder + entry.name
        if reason := reason_left_out(entry.name):
            notes.pass_over(reason, [name])
        elif entry.is_dir():
            inside = seen if folder else set()
            if (identity := _folder_id(root / name)) in above or identity in inside:
                notes.pass_over(_LINK_UP if identity in above else _LINK_TWICE, [name])
                continue
            inside.add(identity)
            yield from _images_in(root, f"{name}/", (*above, identity), inside, notes)
        elif reason := _reason_no_image(root, name):
            notes.pass_over(reason, [name])
        else:
            yield name


def _entries(folder: Path) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: os.path.normcase(entry.name))
    except OSError as error:
        raise DataError(
            f"{folder} cannot be opened ({error.strerror}): make it readable, or take it out of the data"
        ) from error


def _reason_no_image(root: Path, name: str) -> str | None:
    """Return the reason why a file is passed over, or None where it is an image."""
    if name.lower().endswith(_SUFFIXES):  # a path for each of a million files takes seconds
        return None
    path = root / name
    suffix = path.suffix
    if not path.is_file() or image_kind(_first_bytes(path)) is None:
        return _NO_IMAGE
    return _OTHER_SUFFIX if suffix[1:].isidentifier() else None  # "Dr. Smith" and "scan 12.30" have no suffix


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(32)
    except OSError:
        return b""


def _folder_id(folder: Path) -> _FolderId:
    status = folder.stat()
    return status.st_dev, status.st_ino
