"""Read the commits of a run: the small files that make its epochs exist."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from gwaudit.core.errors import StoreDamagedError, StoreError
from gwaudit.core.json import read_json, unsealed
from gwaudit.store.block_files import FileRecord, damaged
from gwaudit.store.layout import RunLayout


@dataclass(frozen=True)
class EpochCommit:
    """Describe a committed epoch.

    Attributes:
        epoch: Its number, from 0.
        attempt: The folder that holds its files.
        files: Its files, one a block.
        missing: Number of rows that the epoch did not record.
        repeated: Number of observations that were dropped because their row had one already.
        metrics: Numbers about the epoch (GWA, loss, ...); NaN is null in the file.
        committed_at: Time of the commit, UTC, ISO 8601.
        run_id: The id of its run, `TrajectoryStore.run_id`; empty in commits of earlier versions.
    """

    epoch: int
    attempt: str
    files: tuple[FileRecord, ...]
    missing: int = 0
    repeated: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    committed_at: str = ""
    run_id: str = ""


def commit_path(run: Path, epoch: int) -> Path:
    """Return the path of the file that makes an epoch of a run exist."""
    return run / "commits" / f"epoch-{epoch:05d}.json"


def committed_epochs(run: Path) -> set[int]:
    """Return the numbers of the epochs whose commit files are in the folder of a run."""
    names = (path.name for path in (run / "commits").glob("epoch-*.json"))
    return {int(found[1]) for name in names if (found := re.fullmatch(r"epoch-(\d+)\.json", name))}


class CommitLog:
    """Keep the commits of a run as they appear on the disk.

    Args:
        layout: The run's.
        run_id: The run's id.
    """

    def __init__(self, layout: RunLayout, run_id: str) -> None:
        self._layout = layout
        self._run_id = run_id
        self._commits: dict[int, EpochCommit] = {}

    @property
    def next_epoch(self) -> int:
        """Return the number of the epoch to be written next, as the disk shows it now.

        Raises:
            StoreDamagedError: A commit file is broken, or is missing while later ones are there.
        """
        known = committed_epochs(self._layout.path) | self._commits.keys()
        for epoch in range(len(known)):
            if epoch not in known:
                before = (
                    "to go on with the epochs before the gap, move the commit files of later epochs to another place"
                )
                raise StoreDamagedError(
                    f"{commit_path(self._layout.path, epoch)} is missing, though epoch {max(known)} is committed: copy "
                    f"the run's folder again as a whole; or, {before if epoch else 'train anew in another folder'}"
                )
            self.read(epoch)
        return len(known)

    def read(self, epoch: int) -> EpochCommit:
        """Return the commit of an epoch.

        Raises:
            StoreError: The epoch is not committed.
            StoreDamagedError: Its commit file is broken.
        """
        if epoch not in self._commits:
            path = commit_path(self._layout.path, epoch)
            try:
                content = unsealed(read_json(path))
                content["files"] = tuple(FileRecord(**record) for record in content["files"])
                content["metrics"] = {k: float("nan") if v is None else v for k, v in content["metrics"].items()}
                commit = EpochCommit(**content)
            except FileNotFoundError:
                raise StoreError(f"{self._layout.path} has no epoch {epoch}: {self.next_epoch} are committed") from None
            except (ValueError, TypeError, KeyError, OSError) as error:
                raise damaged(path, f"cannot be read ({error})") from error
            n_blocks = self._layout.n_blocks
            if commit.epoch != epoch or len(commit.files) != n_blocks:
                raise damaged(path, f"is of epoch {commit.epoch} and {len(commit.files)} of {n_blocks} blocks")
            if commit.run_id not in ("", self._run_id):
                raise damaged(path, "belongs to another run than `run.json`")
            self._commits[epoch] = commit
        return self._commits[epoch]

    def remember(self, commit: EpochCommit) -> None:
        """Keep a commit of another process before the file system shows it here."""
        self._commits[commit.epoch] = commit
