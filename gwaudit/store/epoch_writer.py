"""Write an epoch into a run block by block, and commit it as a whole."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gwaudit.core.errors import InvalidEpochError, StoreError
from gwaudit.core.files import create_exclusively, sync, writing
from gwaudit.core.json import sealed, to_json
from gwaudit.store.block_files import MISSING_LABEL, SIGNALS, Array, FileRecord, checked_signals, write_signals
from gwaudit.store.commits import EpochCommit, commit_path
from gwaudit.store.layout import RunLayout


class WrittenBlock(NamedTuple):
    """Describe a block's file of an epoch that is not committed yet, and the number of its missing rows."""

    file: FileRecord
    missing: int


class EpochWriter:
    """Write one epoch of a run; nothing of it exists before `commit`.

    Args:
        layout: The run's.
        epoch: The number of the epoch.
        attempt: The name of the folder that takes the files.
        run_id: The run's id.
        may_commit: Says whether this process holds the writer's lock.

    Attributes:
        written: The blocks so far, by number.
    """

    def __init__(
        self, layout: RunLayout, epoch: int, attempt: str, *, run_id: str, may_commit: Callable[[], bool]
    ) -> None:
        self._layout = layout
        self._epoch = epoch
        self._attempt = attempt
        self._run_id = run_id
        self._may_commit = may_commit
        self._folder = layout.path / "epochs" / f"epoch-{epoch:05d}" / attempt
        self.written: dict[int, WrittenBlock] = {}
        with writing(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            commit_path(layout.path, epoch).parent.mkdir(exist_ok=True)  # object stores have no empty folders

    def write_block(self, block: int, signals: Mapping[str, ArrayLike]) -> None:
        """Write one block.

        Args:
            block: The number of the block.
            signals: The arrays of `SIGNALS`, [rows of the block] each; NaN and `MISSING_LABEL` where a row is missing.
        """
        columns = checked_signals(self._epoch, signals, len(self._layout.block_range(block)))
        path = self._folder / f"block-{block:06d}.parquet"
        with writing(path):
            self.written[block] = WrittenBlock(*write_signals(self._layout, path, block, columns))

    def write_rows(self, row_ids: NDArray[Any], signals: Mapping[str, Array], blocks: range) -> None:
        """Write some blocks from rows in any order.

        Args:
            row_ids: Distinct ids of rows of these blocks, [m]; the rows that are left out are stored as missing.
            signals: The arrays of `SIGNALS`, [m] each.
            blocks: The numbers of the blocks.
        """
        order = np.argsort(row_ids)
        ids = row_ids[order]
        for block in blocks:
            held = self._layout.block_range(block)
            rows = slice(*np.searchsorted(ids, [held.start, held.stop]))
            dense = {}
            for name, dtype in SIGNALS.items():
                dense[name] = np.full(len(held), np.nan if dtype.kind == "f" else MISSING_LABEL, dtype)
                dense[name][ids[rows] - held.start] = signals[name][order[rows]]
            self.write_block(block, dense)

    def commit(self, *, repeated: int = 0, metrics: Mapping[str, Any] | None = None) -> EpochCommit:
        """Make the epoch exist, of the blocks in `written`: of this process, and of others where they were added.

        Args:
            repeated: Number of observations that were dropped because their row had one already.
            metrics: As for `read_metrics`.

        Raises:
            InvalidEpochError: A block was not written, or the epoch was committed meanwhile.
            StoreError: The run is open for reading only.
        """
        path = self._layout.path
        if not self._may_commit():
            raise StoreError(f"{path} is open for reading: the process that holds it open commits")
        absent = set(range(self._layout.n_blocks)) - set(self.written)
        if absent:
            raise InvalidEpochError(f"epoch {self._epoch}: block {min(absent)} was not written")
        commit = EpochCommit(
            epoch=self._epoch,
            attempt=self._attempt,
            files=tuple(self.written[block].file for block in sorted(self.written)),
            missing=sum(block.missing for block in self.written.values()),
            repeated=repeated,
            metrics=read_metrics(metrics or {}),
            committed_at=datetime.now(UTC).isoformat(timespec="seconds"),
            run_id=self._run_id,
        )
        file = commit_path(path, self._epoch)
        try:
            with writing(file):
                for folder in (self._folder, self._folder.parent, self._folder.parent.parent):
                    sync(folder)
                create_exclusively(file, to_json(sealed(asdict(commit))).encode())
        except FileExistsError:
            raise InvalidEpochError(f"epoch {self._epoch} of {path} is committed already") from None
        return commit


def read_metrics(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return the metrics of an epoch as floats; warn of values that are not numbers, which are left out.

    Args:
        metrics: Numbers by name: Python's, numpy's, tensors and arrays with one element. None becomes NaN.

    Example:
        >>> read_metrics({"accuracy": np.float32(0.5), "validation": None})
        {'accuracy': 0.5, 'validation': nan}
    """
    numbers = {}
    for name, value in metrics.items():
        try:
            number = value.item() if hasattr(value, "item") else value
            if isinstance(number, str | bytes):
                raise TypeError
            numbers[str(name)] = float("nan") if number is None else float(number)
        except (TypeError, ValueError, RuntimeError, OverflowError):
            warnings.warn(
                f"the metric {name!r} is {value!r:.80}, not a number: it is not stored with the epoch", stacklevel=2
            )
    return numbers


def checked_row_ids(layout: RunLayout, epoch: int, row_ids: ArrayLike) -> NDArray[Any]:
    """Return the row ids of an epoch as an array, [m].

    Raises:
        InvalidEpochError: They are no integers, out of range, or given twice.
    """
    ids, name = np.asarray(row_ids), layout.id_column.replace("_", " ")
    if ids.ndim != 1 or ids.dtype.kind not in "iu":
        raise InvalidEpochError(f"epoch {epoch}: {name}s must be [m] integers, not {ids.dtype} {ids.shape}")
    outside = ids[(ids < 0) | (ids >= layout.n_rows)]
    if len(outside):
        raise InvalidEpochError(
            f"epoch {epoch}: {name} {outside[0]} is out of range (ids are 0 to {layout.n_rows - 1})"
        )
    counts = np.bincount(ids, minlength=layout.n_rows)
    if len(ids) and counts.max() > 1:
        twice = int(np.argmax(counts > 1))
        raise InvalidEpochError(f"epoch {epoch}: {name} {twice} comes {counts[twice]} times; each may come once")
    return ids
