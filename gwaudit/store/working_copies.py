"""Let a run lie at a URL of an object store: keep a working copy here, in which everything reads and writes.

    CACHE/runs/3f9c0a71b2d4/
      photos/           the working copy, a run's folder as everywhere; `.origin.json` names its URL
      refresh.lock      held while the copy is compared with the store
      versions.json     the versions of files that can change, when they were fetched

What is written to the copy is published at once (`core.origins`): blocks and checkpoints, then the commit of their
epoch, which is created on the condition that there is none. So an epoch exists at the URL as a whole or not at all,
and of two writers one gets an error. The lock of the one writer is a lease there (`core.leases`).

What is small is fetched when a command names the URL: `run.json`, commits, decisions, the results in use. Samples,
epochs and checkpoints are fetched when they are read, and compared with their checksums like everywhere.
"""

import hashlib
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from gwaudit.core.caches import cache_folder
from gwaudit.core.errors import SettingsError, StoreError
from gwaudit.core.files import path_below, write_text, writing
from gwaudit.core.json import read_json, to_json
from gwaudit.core.leases import FOLDER as LEASES
from gwaudit.core.object_store import WRITABLE, ObjectFolder, require_plain, version_of
from gwaudit.core.origins import MARKER, Origin, origin_of
from gwaudit.core.partial_files import TEMPORARY
from gwaudit.core.shown_paths import show_as
from gwaudit.core.urls import is_url, path_of_file_url, redacted, restored_url

_ON_DEMAND = ("samples", "epochs", "checkpoints")
_HERE_ALONE = ("leftovers", "replaced")
_ROUND = re.compile(r"rounds/\d+/")
_EPOCH = re.compile(r"(rounds/\d+/)?epochs/(epoch-\d{5})/")
_NAMED_BY_CONTENT = re.compile(r"(rounds/\d+/)?results/[0-9a-f]+/")
_CURRENT, _ANY = re.compile(r"(rounds/\d+/)?results/current"), re.compile(r".*", re.DOTALL)


def run_folder(run: Path | str) -> Path:
    """Return the folder of a run, which is its working copy where the run lies at a URL; it is brought up to date.

    Args:
        run: A path, or a URL of an object store, also as a `Path` was made of it.

    Raises:
        SettingsError: A run cannot lie at this kind of URL.
        StoreError: The store cannot be reached.
    """
    url = restored_url(run)
    if not is_url(url):
        return Path(run)
    if (path := path_of_file_url(url)) is not None:
        return path
    url = _checked(url)
    folder = cache_folder("runs") / hashlib.sha256(url.encode()).hexdigest()[:12] / url.rpartition("/")[2]
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        folder = folder.resolve()
        with FileLock(folder.parent / "refresh.lock"):
            if not (folder / MARKER).exists():
                write_text(folder.parent / MARKER, to_json({"url": url, "copy": uuid.uuid4().hex}))
                (folder.parent / MARKER).replace(folder / MARKER)
    show_as(str(folder), url)
    with refreshed(folder, None):
        pass
    return folder


def url_of(run: Path) -> str | None:
    """Return the URL of a run with a working copy in this folder, or None."""
    origin = origin_of(run)
    return None if origin is None else f"{origin.folder}/{origin.name}".removesuffix("/.")


def place_of(run: Path) -> tuple[str, str]:
    """Return what names the folder of a run on other machines too.

    Returns:
        The folder of its working copy's origin, for `run_folder`, and its name there; without one its path, and ".".
    """
    origin = origin_of(run)
    return (str(run.absolute()), ".") if origin is None else (origin.folder.url, origin.name)


@contextmanager
def refreshed(run: Path, part: str | None = "") -> Iterator[None]:
    """Compare a working copy with its origin after the block, in which the caller acquires a lock of it.

    What another process of this machine is writing to is left alone: it has the newest files. Elsewhere nothing is
    done.

    Args:
        run: The folder of the run.
        part: The part of the run's folder that the caller has locked: "" for the run itself, "results"; None where the
            block locks nothing.

    Raises:
        StoreError: The origin cannot be read.
    """
    origin = origin_of(run)
    if origin is None:
        yield
        return
    locked = None if part is None else Path(origin.name, part).as_posix().removeprefix(".")
    with FileLock(origin.root.parent / "refresh.lock"):
        yield
        _refresh(origin, locked)


def names_at_origin(run: Path) -> set[str]:
    """Return the names of the files and folders at the origin of a run's folder, without those of the package's own."""
    if (origin := origin_of(run)) is None:
        return set()
    prefix = "" if origin.name == "." else f"{origin.name}/"
    return {name.removeprefix(prefix).partition("/")[0] for name in origin.folder.find(prefix)} - {LEASES}


def _checked(url: str) -> str:
    """Return the URL of a run without slashes at its end.

    Raises:
        SettingsError: A run cannot lie there.
    """
    scheme, _, rest = url.partition("://")
    scheme = scheme.lower()
    if scheme not in WRITABLE:
        raise SettingsError(
            f"a run cannot lie at {redacted(url)}: URLs of runs begin with {', '.join(f'{s}://' for s in WRITABLE)}. "
            "Record to a local folder, and copy it there"
        )
    require_plain(url, "a run")
    parts = [part for part in rest.split("/") if part]
    if (len(parts) < 2 and scheme != "memory") or not parts or {".", ".."} & set(parts):
        raise SettingsError(f"{url} names no folder in a bucket: name one, such as {scheme}://BUCKET/runs/NAME")
    return f"{scheme}://{'/'.join(parts)}"


def _refresh(origin: Origin, locked: str | None) -> None:
    """Make the small files of a working copy those of its origin, but for the parts that another lock protects."""
    root = origin.root
    found = _listed(origin.folder)
    owners: dict[str, bool] = {}

    def is_ours(name: str) -> bool:
        owner = _owner(name)
        if owner not in owners:
            owners[owner] = owner == locked or not _is_locked(root / owner)
        return owners[owner]

    if is_ours("run.json") and not _is_same_run(root, origin.folder, found):
        _empty(root)
    state = root.parent / "versions.json"
    before = _read_versions(state)
    versions: dict[str, Any] = {}
    for pattern in (_CURRENT, _ANY):  # what is wanted of the results depends on which are in use
        wanted = {
            name: info
            for name, info in found.items()
            if pattern.fullmatch(name) and _is_wanted(name, root, found) and is_ours(name)
        }
        outdated = {
            name: root / name
            for name, info in wanted.items()
            if not _is_current(root / name, info, name, before.get(name))
        }
        with suppress(FileNotFoundError):  # deleted meanwhile; what misses it says so
            origin.folder.download(outdated, {name: found[name].get("size") for name in outdated})
            versions |= {name: version_of(info) for name, info in wanted.items()}
    for path in [path for path in root.rglob("*") if path.is_file()]:
        name = path.relative_to(root).as_posix()
        if name not in found and _is_published(name) and not _is_uncommitted(name, found) and is_ours(name):
            path.unlink(missing_ok=True)
    write_text(state, to_json(versions))


def _listed(folder: ObjectFolder) -> dict[str, Mapping[str, Any]]:
    """Return the objects of a run by name, of those whose names can be those of files.

    Some stores list objects later than they have them. The next commit and the results in use are looked for by name.
    """
    found = folder.find()
    numbers = [int(name[14:19]) for name in found if re.fullmatch(r"commits/epoch-\d{5}\.json", name)]
    number = max(numbers, default=-1) + 1
    while "run.json" in found and folder.exists(name := f"commits/epoch-{number:05d}.json"):
        found[name] = {}
        number += 1
    with suppress(FileNotFoundError):
        if "results/current" in found:
            found |= folder.find(f"results/{folder.read('results/current').decode().strip()}")
    return {name: info for name, info in found.items() if path_below(Path("run"), name) is not None}


def _is_current(path: Path, info: Mapping[str, Any], name: str, before: object) -> bool:
    """Return whether a file here is that of the origin: what its name says, or the version that was fetched before."""
    if not path.is_file() or path.stat().st_size != info.get("size"):
        return False
    return _NAMED_BY_CONTENT.match(name) is not None or (before is not None and before == version_of(info))


def _is_same_run(root: Path, folder: ObjectFolder, found: Mapping[str, Any]) -> bool:
    """Return whether a working copy holds the run of its origin, or nothing that could be of another one."""
    here = root / "run.json"
    if not here.exists():
        return not any((root / part).exists() for part in _ON_DEMAND)
    with suppress(FileNotFoundError):
        return "run.json" in found and here.read_bytes() == folder.read("run.json")
    return False


def _empty(root: Path) -> None:
    for entry in root.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name not in (MARKER, "lock"):
            entry.unlink()


def _owner(name: str) -> str:
    """Return the part of a run that a file belongs to, in whose folder its lock lies."""
    run = found[0] if (found := _ROUND.match(name)) else ""
    return f"{run}results" if name[len(run) :].startswith("results/") else run.rstrip("/")


def _is_wanted(name: str, root: Path, found: Mapping[str, Any]) -> bool:
    """Return whether a file is fetched with every refresh: not what is fetched on demand, nor what is no run's."""
    run = matched[0] if (matched := _ROUND.match(name)) else ""
    first, _, rest = name[len(run) :].partition("/")
    if first == "results" and rest != "current":
        current = root / run / first / "current"
        return current.is_file() and rest.startswith(current.read_text(encoding="utf-8").strip() + "/")
    if first in (*_ON_DEMAND, *_HERE_ALONE, LEASES):
        return False
    return "run.json" in found or first == "commits"


def _is_published(name: str) -> bool:
    """Return whether a file of a working copy is at its origin too, if it was not deleted there."""
    path = Path(name)
    return not (
        path.name in (MARKER, "lock", "lock.exists", "review.html")
        or path.parts[0] in _HERE_ALONE
        or path.name.endswith((TEMPORARY, ".lock"))
    )


def _is_uncommitted(name: str, found: Mapping[str, Any]) -> bool:
    """Return whether a file is of an epoch that is not committed: a rank of another machine's training may write it."""
    matched = _EPOCH.match(name)
    return matched is not None and f"{matched[1] or ''}commits/{matched[2]}.json" not in found


def _is_locked(folder: Path) -> bool:
    """Return whether a process of this machine holds the lock of a part of a run."""
    if not (folder / "lock").exists():
        return False
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except OSError as error:
        raise StoreError(f"{folder / 'lock'} cannot be locked ({error}): choose another cache folder") from error
    lock.release()
    return False


def _read_versions(path: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        return read_json(path)
    return {}
