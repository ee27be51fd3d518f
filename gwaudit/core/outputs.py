"""Check the places that users name for what is written, before the work whose result would be lost."""

import errno
import os
import stat
from pathlib import Path

from gwaudit.core.errors import StoreError, StoreExistsError
from gwaudit.core.files import writing
from gwaudit.core.partial_files import LONGEST_NAME
from gwaudit.core.urls import require_local

MANIFEST = "run.json"
"""The file that makes a folder one of a run."""

RECORDED = frozenset({MANIFEST, "samples", "epochs", "commits", "checkpoints", "lock", "lock.exists"})
"""The names of what a training writes to the folder of its run."""

_NAMES_OF_RUN = RECORDED | {"results", "rounds", "decisions.csv"}
"""What a run keeps or reads under these names, also where they are free yet."""


def require_new(path: Path | str) -> None:
    """Raise an error where nothing new can be made at a path.

    Args:
        path: the path of a new file or folder, whose parents need not exist.

    Raises:
        StoreExistsError: something is there.
        StoreError: the path, or a folder above it, is not one that can be written to.
    """
    require_local(path)
    path = Path(path)
    if _existing(path) is not None:
        raise StoreExistsError(f"{path} exists: choose another path, or delete it")
    _require_no_dangling_link(path)
    _require_writable(path)


def require_folder(path: Path | str) -> None:
    """Raise an error where a path is neither a folder nor free for a new one.

    Raises:
        StoreExistsError: a file is there.
        StoreError: the path, or a folder above it, is not one that can be written to.
    """
    require_local(path)
    path, found = Path(path), _existing(Path(path))
    if found is not None and not stat.S_ISDIR(found.st_mode):
        raise StoreExistsError(f"{path} is a file, where a folder is to be made: choose another path, or delete it")
    _require_no_dangling_link(path)
    _require_writable(path)


def require_file(path: Path | str) -> Path:
    """Return the path of a file to write, new or in place of an earlier one; a link is followed.

    Raises:
        StoreError: the path is a folder or a device, or is a run's own, or a folder above it is not one that can be
            written to.
    """
    require_local(path)
    path, found = Path(path), _existing(Path(path))
    if found is not None and stat.S_ISDIR(found.st_mode):
        raise StoreError(f"{path} is a folder, where a file is to be written: add the name of the file")
    if found is not None and not stat.S_ISREG(found.st_mode):
        raise StoreError(f"{path} is a device or a pipe, where a file is to be written: choose another path")
    for place in {path.absolute(), path.resolve()}:
        run = next((folder for folder in place.parents if (folder / MANIFEST).is_file()), None)
        if run is not None:
            require_not_of_run(path, run, place.relative_to(run).as_posix(), is_there=found is not None)
    path = path.resolve() if path.is_symlink() else path
    _require_writable(path)
    return path


def require_not_of_run(path: Path | str, run: Path | str, name: str, *, is_there: bool) -> None:
    """Raise an error where a file to write would replace one in the folder of a run, or would be taken for its own.

    Args:
        path: the file, as the user named it.
        run: the folder of the run in which it lies, a path or a URL.
        name: where it lies in the run, with slashes.
        is_there: whether it exists.

    Raises:
        StoreError: it would.
    """
    if is_there:
        raise StoreError(
            f"{path} lies in the run {run}, where nothing is written over: choose another path, or delete it if it is "
            "yours"
        )
    if (first := name.partition("/")[0]) in _NAMES_OF_RUN:
        raise StoreError(f"{path} lies in the run {run}, to which the name {first} belongs: choose another path")


def _existing(path: Path) -> os.stat_result | None:
    """Return what is at a path, links followed; None where it is free."""
    with writing(path):
        if any(len(os.fsencode(part)) > LONGEST_NAME for part in path.parts):
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        try:
            return path.stat()
        except FileNotFoundError:
            return None


def _require_no_dangling_link(path: Path) -> None:
    if path.is_symlink() and not path.exists():
        raise StoreExistsError(
            f"{path} is a link to a place that does not exist: choose another path, or delete the link"
        )


def _require_writable(path: Path) -> None:
    """Raise StoreError where the nearest folder above a path that exists cannot be written to."""
    with writing(path):
        above = path if path.is_dir() else next(folder for folder in path.absolute().parents if folder.exists())
        if not above.is_dir():
            raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if not os.access(above, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
