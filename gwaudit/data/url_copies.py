"""Copy a source at a URL to a folder of the cache, from which it is read like any other.

    CACHE/copies/3f9c0a71b2d4/
      data/photos/              the copy, under the name of the source
      state.json                size and version of each file at the URL, when it was copied

At each use the files at the URL are listed, and those that are new or changed are copied again. A copy is complete, or
an error says why not.
"""

import hashlib
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from gwaudit.core.caches import cache_folder
from gwaudit.core.downloads import download
from gwaudit.core.errors import DataError
from gwaudit.core.files import path_below, writing
from gwaudit.core.json import read_json, write_json
from gwaudit.core.locks import acquire_lock
from gwaudit.core.object_store import version_of
from gwaudit.core.partial_files import TEMPORARY
from gwaudit.core.settings import DataSettings
from gwaudit.core.shown_paths import path_at, show_as
from gwaudit.core.urls import (
    is_redacted,
    is_url,
    open_url,
    path_of_file_url,
    reaching,
    redacted,
    restored_url,
    retrying,
)

_BATCH = 256  # files that are copied at a time, after which the state is written
_WAIT = 3600.0  # seconds for another process that copies the same source


def with_local_files(data: DataSettings) -> DataSettings:
    """Return settings of data with the paths of local copies in place of URLs.

    Raises:
        DataError: Something cannot be copied.
    """

    def local(place: str | None) -> str | None:
        return str(local_copy(place)) if place is not None and is_url(place) else place

    source = str(local_copy(data.source)) if is_url(data.source) else data.source
    return replace(data, source=source, labels=local(data.labels), root=local(data.root), classes=local(data.classes))


def local_file(place: Path | str) -> Path:
    """Return the path of a file, which is that of a local copy where the file lies at a URL.

    Args:
        place: A path, or a URL of fsspec, also as a `Path` was made of it.

    Raises:
        DataError: As `local_copy`.
    """
    url = restored_url(place)
    in_run = path_at(url)  # in the working copy of a run at a URL
    return Path(in_run or place) if in_run or not is_url(url) else local_copy(url)


def local_copy(url: str) -> Path:
    """Return the path of a local copy of a file or folder at a URL, which is brought up to date first.

    Args:
        url: The URL; of `file://` its own path is returned.

    Raises:
        DataError: It does not exist, cannot be read, or does not fit on the disk.
    """
    if (path := path_of_file_url(url)) is not None:
        return path
    shown = redacted(url)
    key = hashlib.sha256(shown.encode()).hexdigest()[:12]
    folder = cache_folder("copies") / key
    name = shown.partition("?")[0].rstrip("/").rpartition("/")[2] or "data"
    if (copy := path_below(folder / "data", name)) is None or copy == folder / "data":
        raise DataError(f"{shown} has no name that a local copy can have: name a file or folder")
    if is_redacted(url):
        if copy.exists():
            return copy
        raise DataError(
            f"{shown} was recorded without its password or query, and its local copy is gone: give the place of the "
            "data with `root`"
        )
    with writing(copy.parent):
        copy.parent.mkdir(parents=True, exist_ok=True)
    with acquire_lock(folder / "lock", f"{shown} is being copied by another process", wait=_WAIT):
        _bring_up_to_date(url, shown, copy, folder / "state.json")
    show_as(str(copy), shown)
    return copy


def _bring_up_to_date(url: str, shown: str, copy: Path, state: Path) -> None:
    file_system, root = open_url(url, error=DataError)
    try:
        with reaching(url, "cannot be read", DataError):
            info = retrying(lambda: file_system.info(root))
            is_file = info["type"] == "file"
            found = {root: info} if is_file else retrying(lambda: file_system.find(root, detail=True))
    except FileNotFoundError:
        raise DataError(f"there is nothing at {shown}: check the URL") from None
    files = {copy: root} if is_file else {_target(copy, root, path, shown): path for path in found if path[-1] != "/"}
    if not files:
        raise DataError(f"there is nothing at {shown}: check the URL")
    if not is_file and len(files) < sum(path[-1] != "/" for path in found):
        raise DataError(f"{shown} holds files that would have one name on a disk (as a//b and a/b): rename them")
    versions = {target.relative_to(copy.parent).as_posix(): version_of(found[path]) for target, path in files.items()}
    before = _read_state(state)
    if copy.is_file() != is_file:
        _delete(copy)
    if not is_file:
        for path in list(copy.rglob("*")):
            if not path.is_dir() and path not in files:
                path.unlink()
    wanted = [
        target
        for target in files
        if not _is_current(target, before.get(name := target.relative_to(copy.parent).as_posix()), versions[name])
    ]
    _require_space(shown, copy, sum(found[files[target]].get("size") or 0 for target in wanted))
    kept = {name: version for name, version in before.items() if versions.get(name) == version}
    for batch in _batches(wanted):
        _copy(file_system, {target: files[target] for target in batch}, found, shown)
        kept |= {name: versions[name] for name in (t.relative_to(copy.parent).as_posix() for t in batch)}
        write_json(state, {"url": shown, "files": kept})


def _target(copy: Path, root: str, path: str, shown: str) -> Path:
    """Return the path of the copy of a file, which lies below that of the folder."""
    prefix = root.rstrip("/")
    name = path[len(prefix) :].strip("/") if path.startswith(prefix) else path
    target = path_below(copy, name) if name and "\0" not in name and "\\" not in name else None
    if target is None or target == copy or target.name.endswith(TEMPORARY):
        raise DataError(f"{shown} holds {redacted(path)!r:.200}, whose name no local file can have: rename it")
    return target


def _is_current(target: Path, before: object, version: list[str] | None) -> bool:
    if version is None or before != version or not target.is_file():
        return False
    return version[0] in ("None", str(target.stat().st_size))


def _read_state(state: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        files = read_json(state).get("files")
        return files if isinstance(files, dict) else {}
    return {}


def _require_space(shown: str, copy: Path, size: int) -> None:
    free = shutil.disk_usage(copy.parent).free
    if size > free:
        raise DataError(
            f"{shown} has {size / 2**30:.1f} GiB to copy, and the disk of {copy.parent} has {free / 2**30:.1f} GiB "
            "free: name a folder on another disk by the environment variable GWAUDIT_CACHE"
        )


def _batches(targets: list[Path]) -> Iterator[list[Path]]:
    for start in range(0, len(targets), _BATCH):
        yield targets[start : start + _BATCH]


def _copy(file_system: Any, files: Mapping[Path, str], found: Mapping[str, Mapping[str, Any]], shown: str) -> None:
    try:
        with reaching(shown, "cannot be read", DataError):
            sizes = {path: found[path].get("size") for path in files.values()}
            download(file_system, {path: target for target, path in files.items()}, sizes)
    except FileNotFoundError as error:
        raise DataError(f"{shown} changed while it was copied ({redacted(str(error))}): try again") from None
    except FileExistsError as error:
        raise DataError(f"{shown} holds a file and a folder of one name ({error.filename}): rename one") from None


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
