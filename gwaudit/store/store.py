"""One run is one folder of Parquet files that any engine can read.

    RUN/
      run.json                                    what the run is: format version, classes, settings, data fingerprint
      samples/block-000000.parquet                sample_id, key, given_label, split
      epochs/epoch-00007/ATTEMPT/block-000000.parquet   sample_id and that epoch's signals, sorted by sample_id
      commits/epoch-00007.json                    the epoch's only commit point: files, row counts, checksums, metrics
      checkpoints/                                the trainer's
      lock                                        held by the one writer

A sample's id is its index in the data set, 0 to n-1; a block is a fixed range of ids, so what is reduced over epochs
stays inside one block. Every block has a row for each of its ids; a sample that an epoch did not see is null there.

An epoch exists when its commit does. It is written under a fresh attempt folder, brought to the disk, and only then
committed, by creating a file that must not exist yet. Readers follow commits and never look for files, so a
process killed at any moment leaves whole epochs only.

Where a sample has any number of classes, a row is a pair of sample and class, and `sample_id` in the files is
`sample * C + class`; the given label of a pair is 0 ("absent") or 1 ("present"). `class_names` are these two answers,
`label_names` the C classes.

Several processes can write the blocks of one attempt, whose name they have agreed on. The one that holds the lock
commits what all of them wrote.
"""

import json
import shutil
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
from filelock import FileLock
from numpy.typing import ArrayLike, NDArray

from gwaudit.core.errors import InvalidEpochError, StoreError
from gwaudit.core.files import writing
from gwaudit.store.block_files import (
    MISSING_LABEL,
    SIGNAL_SCHEMA,
    SIGNALS,
    Array,
    FileRecord,
    checked_signals,
    damaged,
    read_columns,
    read_signals_of_rows,
    to_numpy,
    verify_file,
)
from gwaudit.store.epoch_writer import EpochCommit, EpochWriter, WrittenBlock, commit_path
from gwaudit.store.manifest import DEFAULT_BLOCK_ROWS, PAIR_NAMES, acquire, make_run, read_manifest

__all__ = [
    "FINAL_SWEEP",
    "MISSING_LABEL",
    "PAIR_NAMES",
    "SIGNALS",
    "EpochCommit",
    "EpochWriter",
    "TrajectoryStore",
    "WrittenBlock",
]

FINAL_SWEEP = "final_sweep"
"""The metric that marks an epoch as a sweep after the training: 0 for inputs as they are, 1 for mirrored images."""


class TrajectoryStore:
    """The trajectories of every sample over the epochs of one run.

    Make one with `create` or `open`. It is a context manager; leaving it releases the writer's lock. A pickled store
    opens the same run for reading.

    Example:
        >>> store = TrajectoryStore.open("runs/worse")
        >>> store.trajectory(17)["alignment"].index.name
        'epoch'
    """

    def __init__(self, path: Path, manifest: dict[str, Any], lock: FileLock | None) -> None:
        self.path = path
        self._manifest = manifest
        self._lock = lock
        self._commits: dict[int, EpochCommit] = {}

    @classmethod
    def create(
        cls,
        path: Path | str,
        *,
        given_labels: ArrayLike,
        class_names: Sequence[str],
        keys: Sequence[str] | None = None,
        split: str | Sequence[str] = "train",
        settings: Mapping[str, Any] | None = None,
        fingerprint: str = "",
        block_rows: int = DEFAULT_BLOCK_ROWS,
    ) -> Self:
        """Make a new run, open for writing.

        Args:
            path: a folder that does not exist, is empty, or holds what is left of a creation that was cut short.
            given_labels: [n] integers in [0, len(class_names)); or [n, C] of 0 and 1, where each sample has any number
                of classes.
            class_names: C names.
            keys: [n] what a person knows each sample by; by default the ids.
            split: the split that all samples, or each of the n samples, belong to.
            settings: whatever made the run; JSON.
            fingerprint: of the data.
            block_rows: ids a block.

        Raises:
            StoreExistsError: the folder holds a run, or something else.
            InvalidEpochError: labels out of range, or keys or splits of another length.
            StoreError: it cannot be written.
        """
        manifest, lock = make_run(
            Path(path),
            given_labels=given_labels,
            class_names=class_names,
            keys=keys,
            split=split,
            settings=settings or {},
            fingerprint=fingerprint,
            block_rows=block_rows,
        )
        return cls(Path(path), manifest, lock)

    @classmethod
    def open(cls, path: Path | str, *, writable: bool = False) -> Self:
        """Open a run: for reading, beside a writer or not, or as its one writer.

        Opening for writing clears what killed attempts have left.

        Raises:
            StoreNotFoundError: there is no run.
            StoreDamagedError: `run.json` is broken, or not of gwaudit.
            StoreVersionError: written by a later version.
            StoreBusyError: another process is writing.
        """
        path = Path(path)
        manifest = read_manifest(path)
        if not writable:
            return cls(path, manifest, None)
        store = cls(path, manifest, acquire(path))
        try:
            store._clear_leftovers()
        except BaseException:
            store.close()
            raise
        return store

    def close(self) -> None:
        """Let another process write."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).open, (self.path,)

    # What the run is

    @property
    def n_samples(self) -> int:
        """How many rows the run has, samples or pairs of sample and class: ids are 0 to n_samples - 1."""
        return int(self._manifest["n_samples"])

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the C classes; of the two answers, where samples have any number of classes."""
        return tuple(self._manifest["class_names"])

    @property
    def label_names(self) -> tuple[str, ...] | None:
        """The names of the C classes, where samples have any number of them; None where each has one."""
        names = self._manifest.get("label_names")
        return None if names is None else tuple(names)

    @property
    def rows_per_sample(self) -> int:
        """C where samples have any number of classes, else 1."""
        return len(self.label_names or ("",))

    @property
    def settings(self) -> dict[str, Any]:
        """What the run was made with."""
        return dict(self._manifest["settings"])

    @property
    def fingerprint(self) -> str:
        """The data's fingerprint."""
        return str(self._manifest["fingerprint"])

    @property
    def block_rows(self) -> int:
        """Ids a block."""
        return int(self._manifest["block_rows"])

    @property
    def n_blocks(self) -> int:
        """How many blocks the ids make."""
        return -(-self.n_samples // self.block_rows)

    @property
    def writable(self) -> bool:
        """Whether this object holds the writer's lock."""
        return self._lock is not None

    @property
    def checkpoints(self) -> Path:
        """The folder of the trainer's checkpoints."""
        return self.path / "checkpoints"

    def block_range(self, block: int) -> range:
        """The ids of a block."""
        if not 0 <= block < self.n_blocks:
            raise StoreError(f"{self.path} has blocks 0 to {self.n_blocks - 1}, not {block}")
        return range(block * self.block_rows, min((block + 1) * self.block_rows, self.n_samples))

    # Epochs

    @property
    def epochs(self) -> tuple[int, ...]:
        """The committed epochs, 0 to k-1, as they stand on the disk now."""
        return tuple(range(self.next_epoch))

    @property
    def next_epoch(self) -> int:
        """The number of the epoch to be written next."""
        epoch = max(self._commits, default=-1) + 1
        while commit_path(self.path, epoch).exists():
            self.commit(epoch)
            epoch += 1
        return epoch

    @property
    def training_epochs(self) -> range:
        """The committed epochs less the final sweeps, which stand at their end."""
        n = self.next_epoch
        while n and FINAL_SWEEP in self.commit(n - 1).metrics:
            n -= 1
        return range(n)

    @property
    def final_sweeps(self) -> range:
        """The epochs that score the samples after the training, under its final weights."""
        return range(len(self.training_epochs), self.next_epoch)

    def commit(self, epoch: int) -> EpochCommit:
        """What was recorded about an epoch.

        Raises:
            StoreError: it is not committed.
            StoreDamagedError: its commit file is broken.
        """
        if epoch not in self._commits:
            path = commit_path(self.path, epoch)
            try:
                content = json.loads(path.read_text())
                content["files"] = tuple(FileRecord(**record) for record in content["files"])
                content["metrics"] = {k: float("nan") if v is None else v for k, v in content["metrics"].items()}
                commit = EpochCommit(**content)
            except FileNotFoundError:
                raise StoreError(f"{self.path} has no epoch {epoch}: {self.next_epoch} are committed") from None
            except (ValueError, TypeError, KeyError, OSError) as error:
                raise damaged(path, f"cannot be read ({error})") from error
            if commit.epoch != epoch or len(commit.files) != self.n_blocks:
                raise damaged(path, f"is of epoch {commit.epoch} and {len(commit.files)} of {self.n_blocks} blocks")
            self._commits[epoch] = commit
        return self._commits[epoch]

    def remember(self, commit: EpochCommit) -> None:
        """Take it from another process that it has committed an epoch, before the file system shows it here."""
        self._commits[commit.epoch] = commit

    def begin_epoch(self, epoch: int, attempt: str | None = None) -> "EpochWriter":
        """Start writing an epoch block by block.

        Args:
            epoch: `next_epoch`.
            attempt: a name that several processes have agreed on, to write a part of the blocks each. The store may
                then be open for reading only, save in the process that commits.

        Raises:
            InvalidEpochError: it is not the next epoch.
            StoreError: this store is open for reading only.
        """
        if not self.writable and attempt is None:
            raise StoreError(f"{self.path} is open for reading: open it with writable=True")
        if epoch != self.next_epoch:
            raise InvalidEpochError(
                f"epoch {epoch} cannot be written to {self.path}: the next one is {self.next_epoch}"
            )
        return EpochWriter(self, epoch, attempt or uuid.uuid4().hex[:12])

    def append_epoch(
        self,
        epoch: int,
        sample_ids: ArrayLike,
        signals: Mapping[str, ArrayLike],
        *,
        repeated: int = 0,
        metrics: Mapping[str, float] | None = None,
    ) -> EpochCommit:
        """Write and commit a whole epoch.

        Args:
            epoch: `next_epoch`.
            sample_ids: [m] distinct ids, in any order; the ids left out are stored as missing.
            signals: the arrays of `SIGNALS`, [m] each.
            repeated: rows that were dropped because their sample had one already.
            metrics: numbers about the epoch.

        Raises:
            InvalidEpochError: ids out of range or twice, other signals or shapes; nothing is written.
            StoreError: it cannot be written; the committed epochs are as they were.
        """
        ids = np.asarray(sample_ids)
        if ids.ndim != 1 or ids.dtype.kind not in "iu":
            raise InvalidEpochError(f"epoch {epoch}: sample ids must be [m] integers, not {ids.dtype} {ids.shape}")
        outside = ids[(ids < 0) | (ids >= self.n_samples)]
        if len(outside):
            raise InvalidEpochError(
                f"epoch {epoch}: sample id {outside[0]} is out of range (ids are 0 to {self.n_samples - 1})"
            )
        counts = np.bincount(ids, minlength=self.n_samples)
        if len(ids) and counts.max() > 1:
            twice = int(np.argmax(counts > 1))
            raise InvalidEpochError(f"epoch {epoch}: sample id {twice} comes {counts[twice]} times; each may come once")
        columns = checked_signals(epoch, signals, len(ids))
        writer = self.begin_epoch(epoch)
        writer.write_rows(ids, columns, range(self.n_blocks))
        return writer.commit(repeated=repeated, metrics=metrics)

    # Reading

    def read_block(self, epoch: int, block: int, signals: Sequence[str] = tuple(SIGNALS)) -> dict[str, Array]:
        """One block of one epoch as arrays, a place for each id of `block_range(block)`.

        Args:
            epoch: a committed epoch.
            block: of `n_blocks`.
            signals: names out of `SIGNALS`.

        Returns:
            [len(block_range(block))] each; missing samples are NaN, labels `MISSING_LABEL`.
        """
        table = self._read(self.commit(epoch).files[block], list(signals))
        return {name: to_numpy(table[name]) for name in signals}

    def read_epoch(self, epoch: int, signals: Sequence[str] = tuple(SIGNALS)) -> pa.Table:
        """A whole epoch as an Arrow table (`.to_pandas()` for a frame): sample_id and the signals, sorted by id."""
        columns = ["sample_id", *signals]
        return pa.concat_tables(self._read(record, columns) for record in self.commit(epoch).files)

    def read_samples(
        self, columns: Sequence[str] = ("sample_id", "key", "given_label", "split"), *, block: int | None = None
    ) -> pa.Table:
        """What does not change over the epochs, of all samples or of one block, as an Arrow table sorted by id."""
        files = self._sample_files()
        chosen = files if block is None else [files[block]]
        return pa.concat_tables(self._read(record, list(columns)) for record in chosen)

    def given_labels(self, *, block: int | None = None) -> NDArray[np.int32]:
        """The given label of every sample, [n], or of every sample of a block."""
        table = self.read_samples(["given_label"], block=block)
        return to_numpy(table["given_label"]).astype(np.int32, copy=False)

    def keys(self) -> list[str]:
        """What a person knows each sample by: [n], also where each has several rows."""
        table = self.read_samples(["key"])
        if self.rows_per_sample > 1:
            table = table.take(np.arange(0, self.n_samples, self.rows_per_sample))
        keys: list[str] = table["key"].to_pylist()
        return keys

    def find(self, sample: str) -> int:
        """The id of a sample, from its key or from the id as text; a key comes first.

        Raises:
            StoreError: there is no such sample, or the key is not unique.
        """
        keys = np.asarray(self.keys(), object)
        found = np.flatnonzero(keys == sample)
        if len(found) == 1:
            return int(found[0])
        if len(found) > 1:
            raise StoreError(f"{len(found)} samples of {self.path} have the key {sample!r}: give the id")
        if sample.isdecimal() and int(sample) < len(keys):
            return int(sample)
        raise StoreError(f"{self.path} has no sample {sample!r}: give a key, or an id from 0 to {len(keys) - 1}")

    def row(self, sample_id: int, label: str | None = None) -> int:
        """The row of a sample; where samples have any number of classes, that of the sample and the class `label`.

        Raises:
            StoreError: no such class, or one too few or too many.
        """
        if self.label_names is None and label is not None:
            raise StoreError(f"{self.path} has one label a sample: leave out the class {label!r}")
        if self.label_names is None:
            return sample_id
        if label not in self.label_names:
            said = "no class" if label is None else f"class {label!r}"
            raise StoreError(
                f"{self.path} has a row for each sample and class, not for {said}: say one of "
                f"{', '.join(self.label_names[:20])}"
            )
        return sample_id * self.rows_per_sample + self.label_names.index(label)

    def trajectory(self, sample_id: int, label: str | None = None) -> pd.DataFrame:
        """One sample's signals over all epochs: a row an epoch, missing ones NaN.

        Args:
            sample_id: of the sample.
            label: of which class, where samples have any number of them.

        Raises:
            StoreError: no such sample or class.
        """
        n = self.n_samples // self.rows_per_sample
        if not 0 <= sample_id < n:
            raise StoreError(f"{self.path} has no sample {sample_id}: ids are 0 to {n - 1}")
        row = self.row(sample_id, label)
        read = (self._read_rows(epoch, range(row, row + 1)) for epoch in self.epochs)
        frame: pd.DataFrame = pa.concat_tables([SIGNAL_SCHEMA.empty_table(), *read]).to_pandas()
        frame.index.name = "epoch"
        return frame

    def trajectories(self, sample_id: int) -> pd.DataFrame:
        """The signals of all classes of one sample over all epochs, where samples have any number of classes.

        Returns:
            A row a class and epoch, index `class` and `epoch`, the signals and `given_label`, which is 0 or 1.

        Raises:
            StoreError: samples have one label each, or there is no such sample.
        """
        names, n = self.label_names or (), self.n_samples // self.rows_per_sample
        if not names or not 0 <= sample_id < n:
            raise StoreError(f"{self.path} has no sample {sample_id} of several classes: {n} samples")
        rows = range(sample_id * len(names), (sample_id + 1) * len(names))
        read = [self._read_rows(epoch, rows) for epoch in self.epochs]
        frame: pd.DataFrame = pa.concat_tables([SIGNAL_SCHEMA.empty_table(), *read]).to_pandas()
        frame.insert(0, "given_label", np.tile(self.given_labels()[rows.start : rows.stop], len(read)))
        frame.index = pd.MultiIndex.from_product([self.epochs, names], names=["epoch", "class"])
        return frame.swaplevel().sort_index(level="epoch", sort_remaining=False)

    def _read_rows(self, epoch: int, rows: range) -> pa.Table:
        """The signals of some rows that follow each other, which may lie in two blocks."""
        parts = []
        for block in range(rows.start // self.block_rows, (rows.stop - 1) // self.block_rows + 1):
            reach = self.block_range(block)
            within = range(max(rows.start, reach.start) - reach.start, min(rows.stop, reach.stop) - reach.start)
            parts.append(read_signals_of_rows(self.path, self.commit(epoch).files[block], within))
        return pa.concat_tables(parts)

    def verify(self) -> None:
        """Read everything that the run vouches for and compare it.

        Raises:
            StoreDamagedError: the first file that is missing or altered, and what to do.
        """
        files = self._sample_files()
        files += [record for epoch in self.epochs for record in self.commit(epoch).files]
        for record in files:
            verify_file(self.path, record, self.block_range(record.block))

    def _read(self, record: FileRecord, columns: Sequence[str]) -> pa.Table:
        return read_columns(self.path, record, columns, rows=len(self.block_range(record.block)))

    def _sample_files(self) -> list[FileRecord]:
        return [FileRecord(**record) for record in self._manifest["samples"]]

    def _clear_leftovers(self) -> None:
        attempts = {f"epoch-{epoch:05d}": self.commit(epoch).attempt for epoch in self.epochs}
        with writing(self.path):
            for attempt in (self.path / "epochs").glob("*/*"):
                if attempts.get(attempt.parent.name) != attempt.name:
                    shutil.rmtree(attempt)
            for partial in (self.path / "commits").glob(".*"):
                partial.unlink()
