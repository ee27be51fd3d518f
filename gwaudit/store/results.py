"""Publish what one ranking yields as one version, of which a reader sees the whole or nothing.

    RUN/
      results/3f9c0a71b2d4/       a version: every file of one ranking, and contents.json with their checksums
      results/current             a link to the version in use; the text of its name where there are no links
      results/lock                held while a version is made
      suspects.csv, report.html   links to results/current/NAME, for people; copies where there are no links
      replaced/                   files with these names that somebody changed since

A version is made beside the others, named by its content, and put in use by replacing `results/current`, which is one
step. So a process that is killed at any moment leaves the version before whole. The version before is kept until the
next one is published, as a reader may be in the middle of it.
"""

import glob
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gwaudit.core.errors import StoreDamagedError, StoreNotFoundError
from gwaudit.core.files import made_link, sha256, sync, sync_tree, write_atomically, write_text, writing
from gwaudit.core.json import read_json, sealed, unsealed, write_json
from gwaudit.core.locks import acquire_lock
from gwaudit.core.origins import origin_of, publish, withdraw
from gwaudit.core.partial_files import TEMPORARY
from gwaudit.store.working_copies import names_at_origin, refreshed

FOLDER = "results"
CONTENTS = "contents.json"
WAIT = 60.0
"""Seconds that a command waits for another one that is writing results of the same run."""
_NAME = re.compile(rb"[0-9a-f]{12}")
EDITABLE = frozenset({"suspects.csv"})
"""The files that people fill in, whose changes are no damage."""


def results_of(run: Path) -> Path:
    """Return the folder with the results of a run in use: the current version, or the run itself if it has none.

    Raises:
        StoreDamagedError: The run was copied without its links, and its files are of no version; or the name of the
            version in use is damaged.
    """
    current = run / FOLDER / "current"
    if current.is_file():
        name = current.read_bytes().strip()
        if not _NAME.fullmatch(name):
            raise StoreDamagedError(f"{current} does not hold the name of a version: rank the run again")
        return run / FOLDER / name.decode()
    if current.is_dir():
        is_complete = current.is_symlink() or (current / CONTENTS).exists()
        return current.resolve() if is_complete else _version_copied_to(run)
    return run


def _version_copied_to(run: Path) -> Path:
    """Return the version whose files lie in the run's folder itself.

    A zip file made by a program that does not store links holds these files in place of the links to them, and an empty
    folder in place of `results/current`.
    """
    for version in _versions(run):
        if (version / CONTENTS).exists():
            copies = {name: checksum for name, checksum in _contents(version).items() if (run / name).is_file()}
            if copies and all(
                _checksum(run / name) == checksum for name, checksum in copies.items() if name not in EDITABLE
            ):
                return version
    raise StoreDamagedError(
        f"{run / FOLDER / 'current'} is an empty folder, as after a copy without links: rank the run again (gwaudit "
        f"rank {run})"
    )


def no_audit(run: Path) -> StoreNotFoundError:
    """Return the error for a folder without the results of a ranking."""
    if not run.is_dir():
        return StoreNotFoundError(f"there is no folder at {run}: check the path of the run")
    if origin_of(run) is None and not (run / "run.json").exists():
        return StoreNotFoundError(f"{run} holds no audit, and no run (no run.json): check the path")
    return StoreNotFoundError(f"{run} holds no audit: rank the run first (gwaudit rank {run})")


def require_intact(version: Path) -> None:
    """Compare the files of a version with their checksums; a folder without `contents.json` passes.

    Raises:
        StoreDamagedError: A file is missing or altered.
    """
    if not (version / CONTENTS).exists() and version.parent.name != FOLDER:
        return
    for name, checksum in _contents(version).items():
        if name not in EDITABLE and _checksum(version / name) != checksum:
            raise StoreDamagedError(f"{version / name} is missing or was altered: rank the run again")


@contextmanager
def publishing(run: Path, *, update: bool = False) -> Iterator[Path]:
    """Make a version of a run's results and put it in use when the block ends without an error.

    Args:
        run: The run's folder.
        update: Whether the version begins with the files of the current one, of which the block replaces some.

    Yields:
        The folder to fill.

    Raises:
        StoreBusyError: Another process is publishing results of this run.
        StoreNotFoundError: `update` is set, and there is no version yet.
        StoreDamagedError: `update` is set, and the current version is damaged.
        StoreError: The files cannot be written; the current version stays in use.
    """
    folder = run / FOLDER
    if update and not folder.is_dir():
        raise no_audit(run)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    busy = f"the results of {run} are being written by another process: wait for it, or stop it"
    with refreshed(run, FOLDER):
        lock = acquire_lock(folder / "lock", busy, wait=WAIT)
    with lock:
        before = _results_before(run, required=update)
        if update and before == run:
            raise no_audit(run)
        _delete_partial(folder)
        new = folder / f".{uuid.uuid4().hex[:12]}{TEMPORARY}"
        try:
            with writing(folder):
                if update:
                    require_intact(before)
                    shutil.copytree(before, new)
                else:
                    new.mkdir()
            yield new
            with writing(folder):
                version = _finish(new)
                _put_in_use(folder, version)
                _link_names(run, version)
                _delete_others(run, {version, before})
        finally:
            shutil.rmtree(new, ignore_errors=True)


def _results_before(run: Path, *, required: bool) -> Path:
    """Return the results in use; the run itself where they are damaged and not required."""
    try:
        return results_of(run)
    except StoreDamagedError:
        if required:
            raise
        return run


def _contents(version: Path) -> dict[str, str]:
    try:
        files = unsealed(read_json(version / CONTENTS))["files"]
        return {str(name): str(checksum) for name, checksum in files.items()}
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise StoreDamagedError(f"{version / CONTENTS} cannot be read ({error}): rank the run again") from error


def _checksum(path: Path) -> str | None:
    with suppress(OSError):
        return sha256(path)
    return None


def _finish(new: Path) -> Path:
    """Record the checksums of a filled folder and rename it to its version."""
    (new / CONTENTS).unlink(missing_ok=True)
    paths = sorted(path for path in new.rglob("*") if path.is_file())
    files = {path.relative_to(new).as_posix(): sha256(path) for path in paths}
    content = sealed({"files": files})
    write_json(new / CONTENTS, content)
    version = new.parent / str(content["sha256"])[:12]
    if version.is_dir():
        if all(_checksum(version / name) == checksum for name, checksum in files.items()):
            return version
        _keep_changed_files(version)
        shutil.rmtree(version)
    sync_tree(new)
    publish(new, version)
    new.rename(version)
    sync(version.parent)
    return version


def _put_in_use(folder: Path, version: Path) -> None:
    """Replace `results/current`, in one step."""
    current, temporary = folder / "current", folder / f".current.{uuid.uuid4().hex[:8]}{TEMPORARY}"
    if origin_of(folder) is not None or not made_link(temporary, Path(version.name)):  # an object store has no links
        write_text(current, version.name + "\n")
        return
    if current.is_dir() and not current.is_symlink():  # a copy of the run for which links were followed
        shutil.rmtree(current)
    temporary.replace(current)
    sync(folder)


def _link_names(run: Path, version: Path) -> None:
    """Give the files and folders of the version in use their names in the run's folder."""
    names = {path.name for path in version.iterdir()} - {CONTENTS}
    has_links = (run / FOLDER / "current").is_symlink()  # else a link to what is in it would lead nowhere
    for entry in list(run.iterdir()):
        if entry.is_symlink() and entry.name not in names and entry.readlink().parts[:2] == (FOLDER, "current"):
            entry.unlink()
    for name in names:
        link, target = run / name, Path(FOLDER, "current", name)
        if link.is_symlink() and link.readlink() == target and link.exists():
            continue
        _move_aside(run, link, like=version / name)
        temporary = run / f".{name}.{uuid.uuid4().hex[:8]}{TEMPORARY}"
        if has_links and made_link(temporary, target, is_folder=(version / name).is_dir()):
            temporary.replace(link)
        else:
            _copy(version / name, link)
    sync(run)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target)
        withdraw(target)
        publish(target)
    else:
        write_atomically(target, lambda temporary: shutil.copyfile(source, temporary))


def _move_aside(run: Path, path: Path, *, like: Path) -> None:
    """Move a file or folder that somebody else wrote to `replaced/`; delete what equals a version's."""
    if path.is_symlink() or not path.exists():
        path.unlink(missing_ok=True)
        return
    if path.is_dir():
        equal = all(
            _checksum(like / file.relative_to(path)) == _checksum(file) for file in path.rglob("*") if file.is_file()
        )
    else:
        equal = any(_checksum(version / path.name) == _checksum(path) for version in _versions(run))
    if not equal:
        _keep(run, path)
    elif path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def _keep(run: Path, path: Path) -> None:
    kept, number = run / "replaced" / path.name, 1
    kept.parent.mkdir(exist_ok=True)
    while kept.exists():
        number += 1
        kept = kept.with_name(f"{path.stem}-{number}{path.suffix}")
    path.rename(kept)
    publish(kept)


def _keep_changed_files(version: Path) -> None:
    """Move the files of a version that people fill in, and have changed, to `replaced/`."""
    with suppress(StoreDamagedError):
        for name in EDITABLE & _contents(version).keys():
            if (version / name).is_file() and _checksum(version / name) != _contents(version)[name]:
                _keep(version.parent.parent, version / name)


def _versions(run: Path) -> list[Path]:
    return [path for path in (run / FOLDER).iterdir() if path.is_dir() and not path.is_symlink()]


def _delete_others(run: Path, kept: set[Path]) -> None:
    names = {path.name for path in kept}
    for version in _versions(run):
        if version.name not in names:
            _keep_changed_files(version)
            shutil.rmtree(version)
    withdraw(*(run / FOLDER / name for name in names_at_origin(run / FOLDER) - names - {"current"}))


def _delete_partial(folder: Path) -> None:
    """Delete what killed processes left of versions, and of their names in the run; the caller holds the lock."""
    run = folder.parent
    names = {path.name for version in _versions(run) for path in version.iterdir()}
    links = [path for name in names for path in run.glob(f".{glob.escape(name)}.*{TEMPORARY}")]
    for path in (*folder.glob(f".*{TEMPORARY}"), *links):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
