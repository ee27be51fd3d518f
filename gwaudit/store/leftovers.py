"""Keep what killed writers have left out of the way, without ever deleting an epoch that may be wanted."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from gwaudit.core.files import writing
from gwaudit.core.origins import origin_of, withdraw
from gwaudit.core.partial_files import TEMPORARY

FOLDER = "leftovers"
"""Name of the folder of a run that keeps the attempts of epochs that no commit names."""


def clear_leftovers(run: Path, attempts: Mapping[int, str]) -> None:
    """Move the attempts of epochs that are not committed to `leftovers/`, and delete those of committed epochs.

    After an incomplete copy of a run, what looks like a killed attempt may be an epoch whose commit is missing. So it
    is kept until the epoch is recorded anew.

    Args:
        run: The run's folder, locked by the caller.
        attempts: The attempt that is committed, by epoch.

    Raises:
        StoreError: A folder cannot be moved or deleted.
    """
    committed = {f"epoch-{epoch:05d}": attempt for epoch, attempt in attempts.items()}
    with writing(run):
        for epoch in committed:
            shutil.rmtree(run / FOLDER / epoch, ignore_errors=True)
        for attempt in (run / "epochs").glob("*/*"):
            epoch = attempt.parent.name
            if epoch not in committed:
                (run / FOLDER / epoch).mkdir(parents=True, exist_ok=True)
                attempt.rename(run / FOLDER / epoch / attempt.name)
            elif committed[epoch] != attempt.name:
                shutil.rmtree(attempt)
        stale = [path for path in _attempts_at_origin(run) if committed.get(path.parent.name, path.name) != path.name]
        withdraw(*stale)
        for folder in ("commits", "checkpoints"):
            for partial in (run / folder).glob(f".*{TEMPORARY}"):
                partial.unlink()


def _attempts_at_origin(run: Path) -> set[Path]:
    """Return the paths of the attempts that lie at the origin of a run; none for a run on this machine."""
    if (origin := origin_of(run / "epochs")) is None:
        return set()
    return {(origin.root / name).parent for name in origin.folder.find(origin.name)}
