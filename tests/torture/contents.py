"""Compare what commands have left in a folder, and check that what was committed is whole."""

import hashlib
import json
from pathlib import Path

CHANGING = ("attempt", "committed_at", "sha256")
"""The fields of a commit that differ between two runs of the same training; its metric `seconds` does too."""

LOCKS = {"lock", "lock.exists", "decisions.lock"}


def contents(folder: Path) -> dict[str, str]:
    """Return the checksum of every file in a folder by its path, without what differs from run to run.

    That are the times and the names of attempts in commits, the versions of results that are not in use, locks, and
    what killed attempts left in `leftovers/`.
    """
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.name in LOCKS or "leftovers" in parts or (path.is_dir() and not path.is_symlink()):
            continue
        if "results" in parts and parts[0] in ("run", "corrected"):
            if parts[-1] == "current":
                version = path.parent / path.readlink() if path.is_symlink() else path.parent / path.read_text().strip()
                _add(found, folder / "run" / "CURRENT", version, folder)
            elif ".partial" in path.as_posix():
                found[path.relative_to(folder).as_posix()] = "left"
            continue
        if path.is_symlink():
            if path.exists():
                _add(found, path, path, folder)
            else:
                found[path.relative_to(folder).as_posix()] = "dangling"
            continue
        _add(found, path, path, folder)
    return found


def _add(found: dict[str, str], name: Path, path: Path, folder: Path) -> None:
    if path.is_dir():
        for entry in sorted(path.iterdir()):
            _add(found, name / entry.name, entry, folder)
        return
    parts = list(name.relative_to(folder).parts)
    data = path.read_bytes()
    if "commits" in parts and path.suffix == ".json":
        data = _lasting(data)
    if "epochs" in parts and len(parts) > parts.index("epochs") + 2:
        parts[parts.index("epochs") + 2] = "ATTEMPT"
    found["/".join(parts)] = hashlib.sha256(data).hexdigest()


def _lasting(data: bytes) -> bytes:
    try:
        commit = json.loads(data)
        attempt = commit["attempt"]
    except (ValueError, KeyError, TypeError):  # damaged
        return data
    lasting = {name: value for name, value in commit.items() if name not in CHANGING}
    lasting["metrics"] = {name: value for name, value in commit["metrics"].items() if name != "seconds"}
    return json.dumps(lasting, sort_keys=True).replace(attempt, "ATTEMPT").encode()


def differences(expected: dict[str, str], found: dict[str, str]) -> list[str]:
    """Return the names that only one of two contents has, or that differ."""
    return sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))


def require_whole(folder: Path, *, ranked: bool) -> None:
    """Check that what is committed in a folder can be read: runs, their epochs, and the results in use.

    Raises:
        GwauditError: something that was committed is not whole.
        AssertionError: a ranking that was there is gone.
    """
    from gwaudit.analysis.audit import Audit
    from gwaudit.core.errors import StoreNotFoundError
    from gwaudit.store.results import require_intact, results_of
    from gwaudit.store.store import TrajectoryStore

    for path in (folder / "run", folder / "run" / "rounds" / "1"):
        try:
            TrajectoryStore.open(path).verify()
        except StoreNotFoundError:
            assert not ranked or path.name == "1", f"{path} is gone"
    run = folder / "run"
    if ranked or (run / "results" / "current").exists():
        require_intact(results_of(run))
        Audit.load(run)
