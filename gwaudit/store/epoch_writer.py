"""An epoch on its way into a run: written block by block, committed as a whole."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gwaudit.core.errors import InvalidEpochError, StoreError
from gwaudit.core.files import create_exclusively, sync, writing
from gwaudit.store.block_files import MISSING_LABEL, SIGNALS, Array, FileRecord, checked_signals, write_signals

if TYPE_CHECKING:  # for its type alone: the store makes the writer
    from gwaudit.store.store import TrajectoryStore


@dataclass(frozen=True)
class EpochCommit:
    """What is recorded about a whole epoch.

    Attributes:
        epoch: its number, from 0.
        attempt: the folder that holds its files.
        files: one a block.
        missing: samples that the epoch did not see.
        repeated: rows beyond the first of a sample, dropped.
        metrics: numbers about the epoch (GWA, loss, ...); NaN is null in the file.
        committed_at: UTC, ISO 8601.
    """

    epoch: int
    attempt: str
    files: tuple[FileRecord, ...]
    missing: int = 0
    repeated: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    committed_at: str = ""


class WrittenBlock(NamedTuple):
    """A block's file of an epoch that is not committed yet, and how many of its samples are missing."""

    file: FileRecord
    missing: int


def commit_path(run: Path, epoch: int) -> Path:
    """The file that makes an epoch of a run exist."""
    return run / "commits" / f"epoch-{epoch:05d}.json"


class EpochWriter:
    """An epoch on its way into the store; nothing of it exists before `commit`.

    Attributes:
        written: the blocks so far, by number.
    """

    def __init__(self, store: "TrajectoryStore", epoch: int, attempt: str) -> None:
        self._store = store
        self._epoch = epoch
        self._attempt = attempt
        self._folder = store.path / "epochs" / f"epoch-{epoch:05d}" / attempt
        self.written: dict[int, WrittenBlock] = {}
        with writing(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)

    def write_block(self, block: int, signals: Mapping[str, ArrayLike]) -> None:
        """Write one block: arrays with a place for each of its ids, NaN and `MISSING_LABEL` where missing."""
        reach = self._store.block_range(block)
        columns = checked_signals(self._epoch, signals, len(reach))
        path = self._folder / f"block-{block:06d}.parquet"
        with writing(path):
            self.written[block] = WrittenBlock(*write_signals(self._store.path, path, block, reach, columns))

    def write_rows(self, sample_ids: NDArray[Any], signals: Mapping[str, Array], blocks: range) -> None:
        """Write some blocks from rows in any order.

        Args:
            sample_ids: [m] distinct ids of these blocks; the ids left out are stored as missing.
            signals: the arrays of `SIGNALS`, [m] each.
            blocks: which to write.
        """
        order = np.argsort(sample_ids)
        ids = sample_ids[order]
        for block in blocks:
            reach = self._store.block_range(block)
            rows = slice(*np.searchsorted(ids, [reach.start, reach.stop]))
            dense = {}
            for name, dtype in SIGNALS.items():
                dense[name] = np.full(len(reach), np.nan if dtype.kind == "f" else MISSING_LABEL, dtype)
                dense[name][ids[rows] - reach.start] = signals[name][order[rows]]
            self.write_block(block, dense)

    def commit(self, *, repeated: int = 0, metrics: Mapping[str, float] | None = None) -> EpochCommit:
        """Make the epoch exist, of the blocks in `written`: of this process, and of others where they were added.

        Raises:
            InvalidEpochError: a block was not written, or the epoch was committed meanwhile.
            StoreError: this store is open for reading only.
        """
        if not self._store.writable:
            raise StoreError(f"{self._store.path} is open for reading: the process that holds it open commits")
        absent = set(range(self._store.n_blocks)) - set(self.written)
        if absent:
            raise InvalidEpochError(f"epoch {self._epoch}: block {min(absent)} was not written")
        commit = EpochCommit(
            epoch=self._epoch,
            attempt=self._attempt,
            files=tuple(self.written[block].file for block in sorted(self.written)),
            missing=sum(block.missing for block in self.written.values()),
            repeated=repeated,
            metrics={name: float(value) for name, value in (metrics or {}).items()},
            committed_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        content = asdict(commit)
        content["metrics"] = {k: v if np.isfinite(v) else None for k, v in commit.metrics.items()}
        path = commit_path(self._store.path, self._epoch)
        try:
            with writing(path):
                for folder in (self._folder, self._folder.parent, self._folder.parent.parent):
                    sync(folder)
                create_exclusively(path, json.dumps(content, indent=1).encode())
        except FileExistsError:
            raise InvalidEpochError(f"epoch {self._epoch} of {self._store.path} is committed already") from None
        return commit
