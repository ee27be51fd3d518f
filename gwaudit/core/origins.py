"""Keep a working copy and the folder of an object store that it stands for the same.

A run at a URL has a working copy on this machine, a folder with the file `MARKER`, which names the URL. Everything in
the package reads and writes the working copy. What writes a file there has it published at once: `core.files` for
files that are written atomically, the store for its blocks. In a folder without the file these functions do nothing.
"""

import json
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from gwaudit.core.leases import require_leases
from gwaudit.core.object_store import ObjectFolder
from gwaudit.core.partial_files import TEMPORARY

MARKER = ".origin.json"


@dataclass(frozen=True)
class Origin:
    """Describe the object that a path in a working copy stands for.

    Attributes:
        root: The folder of the working copy.
        folder: The folder of the object store.
        name: The object's name in it; "." for the folder itself.
        copy: The id of the working copy.
    """

    root: Path
    folder: ObjectFolder
    name: str
    copy: str


def origin_of(path: Path) -> Origin | None:
    """Return the object that a path stands for; None outside working copies, and for temporary files."""
    absolute = Path(os.path.abspath(path))  # noqa: PTH100  # Path.absolute keeps ".."
    for root in (absolute, *absolute.parents):
        if (root / MARKER).is_file():
            name = absolute.relative_to(root)
            if any(part.endswith(TEMPORARY) for part in name.parts):
                return None
            url, copy = _read_marker(root / MARKER)
            return Origin(root, ObjectFolder(url), name.as_posix(), copy)
    return None


@lru_cache(maxsize=64)
def _read_marker(marker: Path) -> tuple[str, str]:
    content = json.loads(marker.read_text(encoding="utf-8"))
    return str(content["url"]), str(content["copy"])


def publish(path: Path, name: Path | None = None) -> None:
    """Write a file of a working copy, or all files of a folder, to its origin.

    Args:
        path: The file or folder; links are followed.
        name: The path that it will have in the working copy; by default `path`.

    Raises:
        StoreBusyError: This process held the lock of the run, and another writer has followed.
        StoreError: The origin cannot be written.
    """
    if (origin := origin_of(name or path)) is None:
        return
    require_leases(origin.folder, origin.copy)
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    for file in files:
        below = file.relative_to(path).as_posix()
        origin.folder.upload(file, origin.name if below == "." else f"{origin.name}/{below}")


def publish_text(path: Path, text: str) -> None:
    """Write a text to the origin of a path, in place of an earlier one, in one step.

    Raises:
        StoreBusyError, StoreError: As for `publish`.
    """
    if (origin := origin_of(path)) is not None:
        require_leases(origin.folder, origin.copy)
        origin.folder.write(origin.name, text.encode())


def create_at_origin(path: Path, content: bytes) -> None:
    """Create the origin of a path, which must be new.

    Raises:
        FileExistsError: It exists already, with another content.
        StoreBusyError, StoreError: As for `publish`.
    """
    if (origin := origin_of(path)) is not None:
        require_leases(origin.folder, origin.copy, surely=True)
        origin.folder.create(origin.name, content)


def withdraw(*paths: Path) -> None:
    """Delete the origins of paths in one working copy, and of everything below them.

    Raises:
        StoreBusyError, StoreError: As for `publish`.
    """
    origins = [origin for path in paths if (origin := origin_of(path)) is not None]
    if origins:
        folder = origins[0].folder
        require_leases(folder, origins[0].copy, surely=True)
        below = os.path.commonpath([origin.name for origin in origins])
        names = tuple(f"{origin.name}/" for origin in origins)
        folder.delete([name for name in folder.find(below) if f"{name}/".startswith(names)])


def fetch(path: Path, *, anew: bool = False) -> None:
    """Copy a file of a working copy from its origin.

    Args:
        path: The file; nothing happens where the origin has none.
        anew: Whether to fetch it where it is there already.

    Raises:
        StoreError: The origin cannot be read.
    """
    origin = None if path.is_file() and not anew else origin_of(path)
    if origin is None:
        return
    try:
        origin.folder.download({origin.name: path})
    except FileNotFoundError:
        path.unlink(missing_ok=True)
