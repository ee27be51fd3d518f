"""Keep the trajectories of one run in a folder of Parquet files that any engine can read.

    RUN/
      run.json                                    the run: format version, classes, settings, data fingerprint
      samples/block-000000.parquet                sample_id, key, given_label, split
      epochs/epoch-00007/ATTEMPT/block-000000.parquet   sample_id and that epoch's signals, sorted by sample_id
      commits/epoch-00007.json                    the epoch's only commit point: files, row counts, checksums, metrics
      checkpoints/                                the trainer's
      leftovers/epoch-00008/ATTEMPT/...           what a killed attempt left, until its epoch is recorded
      lock                                        held by the one writer

A sample's id is its index in the data set, 0 to n-1. In a single-label run a row is a sample. In a multi-label run a
row is a (sample, class), its id is `row_id = sample_id * C + class_id`, and its given label is 0 ("absent") or 1
("present"): the samples' files then hold `row_id, sample_id, class_id, key, given_label, split`, and the epochs' files
hold `row_id` in place of `sample_id`. `gwaudit.store.layout.RunLayout` converts between them.

A block is a fixed range of rows, so what is reduced over epochs stays inside one block. Every block has each of its
rows; a row that an epoch did not record is null there.

An epoch exists when its commit does. It is written under a fresh attempt folder, brought to the disk, and only then
committed, by creating a file that must not exist yet. Readers follow commits and never look for files, so a
process killed at any moment leaves whole epochs only.

Several processes can write the blocks of one attempt, whose name they have agreed on. The one that holds the lock
commits what all of them wrote.

These are the files of format version 2. Runs of version 1 are read, and never written to.
"""

import uuid
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from gwaudit.core.errors import InvalidEpochError, StoreError, StoreVersionError
from gwaudit.core.json import SEAL, sealed
from gwaudit.core.locks import Lock
from gwaudit.core.settings import Alignment
from gwaudit.store import version_1
from gwaudit.store.block_files import (
    MISSING_LABEL,
    SIGNALS,
    Array,
    FileRecord,
    checked_signals,
    to_numpy,
)
from gwaudit.store.commits import CommitLog, EpochCommit, committed_epochs
from gwaudit.store.epoch_writer import EpochWriter, checked_row_ids
from gwaudit.store.layout import DEFAULT_BLOCK_ROWS, FORMAT_VERSION, RunLayout
from gwaudit.store.leftovers import clear_leftovers
from gwaudit.store.manifest import acquire, make_run, read_manifest, recorded_alignment, recorded_samples
from gwaudit.store.reopening import reopening
from gwaudit.store.run_files import RunFiles
from gwaudit.store.sample_trajectories import find_sample, read_class_trajectories, read_trajectory
from gwaudit.store.working_copies import run_folder

__all__ = ["FINAL_PASS", "MISSING_LABEL", "SIGNALS", "TrajectoryStore"]

FINAL_PASS = "final_pass"
"""The metric that marks an epoch as a final evaluation pass: 0 for inputs as they are, 1 for mirrored images."""


class TrajectoryStore:
    """Hold the trajectories of every row over the epochs of one run.

    Make one with `create` or `open`. It is a context manager; leaving it releases the writer's lock. A pickled store
    opens the same run for reading.

    Attributes:
        path: The run's folder.
        layout: The rows and blocks of the run.
        files: The reader of its files.

    Example:
        >>> store = TrajectoryStore.open("runs/worse")
        >>> store.trajectory(17)["alignment"].index.name
        'epoch'
    """

    def __init__(self, path: Path, manifest: dict[str, Any], lock: Lock | None, *, verify: bool = True) -> None:
        self.path = path
        self.layout = RunLayout(
            path,
            manifest["n_samples"],
            tuple(manifest["class_names"]),
            manifest["is_multi_label"],
            manifest["block_rows"],
            manifest["format_version"],
        )
        self._manifest = manifest
        self._lock = lock
        self.files = RunFiles(self.layout, verify=verify)
        self._commits = CommitLog(self.layout, self.run_id)

    @classmethod
    def create(
        cls,
        path: Path | str,
        *,
        given_labels: ArrayLike,
        class_names: Sequence[str],
        keys: Sequence[str | PathLike[str]] | None = None,
        split: str | Sequence[str] = "train",
        settings: Mapping[str, Any] | None = None,
        fingerprint: str = "",
        alignment: Alignment = "head",
        block_rows: int = DEFAULT_BLOCK_ROWS,
    ) -> Self:
        """Make a new run, open for writing.

        Args:
            path: A folder, or its URL, that does not exist, is empty, or holds a run without epochs or the rest of a
                creation that was cut short; these are replaced.
            given_labels: [n] integers in [0, len(class_names)); or [n, C] of 0 and 1 for a multi-label run.
            class_names: The names of the C classes.
            keys: The key of each sample in its source, [n] texts or paths, all different; by default the ids.
            split: The split of all samples, or of each of the n samples.
            settings: The settings that made the run; JSON.
            fingerprint: The fingerprint of the data.
            alignment: Parameters of the model's head that the recorder computes the alignment with, in all epochs:
                its weight and bias (`head`), or its weight only (`weight`), as in arXiv 2510.25480.
            block_rows: Number of rows a block.

        Raises:
            StoreExistsError: The folder holds a run, or something else.
            SettingsError: `alignment` has another value.
            InvalidEpochError: Labels are out of range, keys are repeated or no texts, or keys or splits have another
                length.
            StoreBusyError: Another process, or another store of this process, has the run open for writing.
            StoreError: The folder cannot be written.
        """
        path = run_folder(path)
        manifest, lock = make_run(
            path,
            given_labels=given_labels,
            class_names=class_names,
            keys=keys,
            split=split,
            settings=settings or {},
            fingerprint=fingerprint,
            alignment=alignment,
            block_rows=block_rows,
        )
        return cls(path, manifest, lock)

    @classmethod
    def open(cls, path: Path | str, *, writable: bool = False, verify: bool = True) -> Self:
        """Open a run: for reading, beside a writer or not, or as its one writer.

        Opening for writing moves what killed attempts have left out of the way, to `leftovers/`.

        Args:
            path: The run's folder, or its URL.
            writable: Whether to write, which one process at a time can do.
            verify: Whether each file is compared with its checksum before it is read for the first time. That takes
                about as long as the reading.

        Raises:
            StoreNotFoundError: There is no run.
            StoreDamagedError: `run.json` is broken, or not of gwaudit.
            StoreVersionError: The run was written by a later version, or is to be written and of an earlier one.
            StoreBusyError: Another process is writing.
        """
        path = run_folder(path)
        manifest = read_manifest(path)
        if not writable:
            return cls(path, manifest, None, verify=verify)
        if manifest["format_version"] != FORMAT_VERSION:
            raise StoreVersionError(
                f"{path} has format version {manifest['format_version']}, which this gwaudit reads but does not go on "
                f"writing (it writes version {FORMAT_VERSION}): rank the run as it is, or record a new run in another "
                "folder"
            )
        store = cls(path, manifest, acquire(path), verify=verify)
        try:
            clear_leftovers(path, {epoch: store.commit(epoch).attempt for epoch in store.epochs})
        except BaseException:
            store.close()
            raise
        return store

    def close(self) -> None:
        """Release the writer's lock, so that another process can write."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __repr__(self) -> str:
        size = f"{self.n_samples:,} samples, {len(self.class_names):,} classes"
        epochs = f"{len(committed_epochs(self.path)):,} epochs"  # as the disk shows them: nothing is read
        return f"<TrajectoryStore {self.path}: {size}, {epochs}{', open for writing' * self.writable}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return reopening(type(self).open, self.path, self.run_id, verify=self.files.verifies)

    # The run

    @property
    def n_samples(self) -> int:
        """Return the number of samples; their ids are 0 to n_samples - 1."""
        return self.layout.n_samples

    @property
    def n_rows(self) -> int:
        """Return the number of rows: of samples, or of (sample, class) in a multi-label run."""
        return self.layout.n_rows

    @property
    def class_names(self) -> tuple[str, ...]:
        """Return the names of the C classes."""
        return self.layout.class_names

    @property
    def is_multi_label(self) -> bool:
        """Return whether a sample has any number of the classes, rather than exactly one."""
        return self.layout.is_multi_label

    @property
    def n_blocks(self) -> int:
        """Return the number of blocks."""
        return self.layout.n_blocks

    def block_range(self, block: int) -> range:
        """Return the rows of a block."""
        return self.layout.block_range(block)

    @property
    def settings(self) -> dict[str, Any]:
        """Return the settings that made the run."""
        return dict(self._manifest["settings"])

    @property
    def fingerprint(self) -> str:
        """Return the fingerprint of the data."""
        return str(self._manifest["fingerprint"])

    @property
    def alignment(self) -> Alignment:
        """Return the parameters of the head that all alignments of the run were computed with.

        `head`, its weight and bias; or `weight`, its weight only, as in every run of before there was a choice.
        """
        return recorded_alignment(self._manifest)

    @property
    def run_id(self) -> str:
        """Return the id of the run, which its commits and checkpoints hold too: the checksum of `run.json`."""
        return str(sealed(self._manifest)[SEAL])

    @property
    def writable(self) -> bool:
        """Return whether this object holds the writer's lock."""
        return self._lock is not None

    @property
    def unverified_files(self) -> int:
        """Return the number of files that were read without being compared with their checksums (`verify=False`)."""
        return self.files.unverified

    @property
    def checkpoints(self) -> Path:
        """Return the folder of the trainer's checkpoints."""
        return self.path / "checkpoints"

    # Epochs

    @property
    def epochs(self) -> tuple[int, ...]:
        """Return the committed epochs, 0 to k-1, as the disk shows them now."""
        return tuple(range(self.next_epoch))

    @property
    def next_epoch(self) -> int:
        """Return the number of the epoch to be written next."""
        return self._commits.next_epoch

    @property
    def training_epochs(self) -> range:
        """Return the committed epochs without the final evaluation passes, which are the last ones."""
        n = self.next_epoch
        while n and not {FINAL_PASS, version_1.FINAL_PASS}.isdisjoint(self.commit(n - 1).metrics):
            n -= 1
        return range(n)

    @property
    def final_passes(self) -> range:
        """Return the epochs that score the samples after the training, under its final weights."""
        return range(len(self.training_epochs), self.next_epoch)

    def commit(self, epoch: int) -> EpochCommit:
        """Return what was recorded about an epoch.

        Raises:
            StoreError: The epoch is not committed.
            StoreDamagedError: Its commit file is broken.
        """
        return self._commits.read(epoch)

    def remember(self, commit: EpochCommit) -> None:
        """Keep a commit of another process before the file system shows it here."""
        self._commits.remember(commit)

    def begin_epoch(self, epoch: int, attempt: str | None = None) -> EpochWriter:
        """Start writing an epoch block by block.

        Args:
            epoch: The value of `next_epoch`.
            attempt: A name that several processes have agreed on, to write some of the blocks each. The store may then
                be open for reading only, except in the process that commits.

        Raises:
            InvalidEpochError: It is not the next epoch.
            StoreError: This store is open for reading only.
        """
        if not self.writable and attempt is None:
            raise StoreError(f"{self.path} is open for reading: open it with writable=True")
        if epoch != self.next_epoch:
            raise InvalidEpochError(
                f"epoch {epoch} cannot be written to {self.path}: the next one is {self.next_epoch}"
            )
        attempt = attempt or uuid.uuid4().hex[:12]
        return EpochWriter(self.layout, epoch, attempt, run_id=self.run_id, may_commit=lambda: self.writable)

    def append_epoch(
        self,
        epoch: int,
        row_ids: ArrayLike,
        signals: Mapping[str, ArrayLike],
        *,
        repeated: int = 0,
        metrics: Mapping[str, float] | None = None,
    ) -> EpochCommit:
        """Write and commit a whole epoch.

        Args:
            epoch: The value of `next_epoch`.
            row_ids: Distinct ids of rows (of samples, in a single-label run), [m], in any order; the rows that are left
                out are stored as missing.
            signals: The arrays of `SIGNALS`, [m] each.
            repeated: Number of observations that were dropped because their row had one already.
            metrics: Numbers about the epoch.

        Raises:
            InvalidEpochError: Ids are out of range or given twice, or signals or shapes are other ones; nothing is
                written.
            StoreError: The epoch cannot be written; the committed epochs are as they were.
        """
        ids = checked_row_ids(self.layout, epoch, row_ids)
        columns = checked_signals(epoch, signals, len(ids))
        writer = self.begin_epoch(epoch)
        writer.write_rows(ids, columns, range(self.n_blocks))
        return writer.commit(repeated=repeated, metrics=metrics)

    # Reading

    def read_block(
        self, epoch: int, block: int, signals: Sequence[str] = tuple(SIGNALS), *, part: range | None = None
    ) -> dict[str, Array]:
        """Read one block of one epoch.

        Args:
            epoch: A committed epoch.
            block: The number of the block.
            signals: Names out of `SIGNALS`.
            part: Positions in the block of the rows to read; by default all.

        Returns:
            An array a signal, [rows that are read]; missing rows are NaN, labels `MISSING_LABEL`.
        """
        table = self.files.read(self.commit(epoch).files[block], signals, part)
        return {name: to_numpy(table[name]) for name in signals}

    def read_epoch(self, epoch: int, signals: Sequence[str] = tuple(SIGNALS)) -> pa.Table:
        """Read a whole epoch as an Arrow table (`.to_pandas()` gives a frame): the row ids and the signals.

        The ids are the first column, `sample_id`, or `row_id` in a multi-label run; the table is sorted by them.
        """
        columns = [self.layout.id_column, *signals]
        return pa.concat_tables(self.files.read(file, columns) for file in self.commit(epoch).files)

    def read_samples(
        self, columns: Sequence[str] = ("sample_id", "key", "given_label", "split"), *, block: int | None = None
    ) -> pa.Table:
        """Read the columns that do not change over the epochs, of all rows or of one block, as an Arrow table.

        Args:
            columns: Names out of `sample_id, key, given_label, split`, and `row_id, class_id` in a multi-label run.
            block: The number of the block, or None for all.

        Returns:
            A row for each row of the run, in their order.
        """
        wanted = self.sample_files if block is None else [self.sample_files[block]]
        return pa.concat_tables(self.files.read(file, columns) for file in wanted)

    def given_labels(self, *, block: int | None = None) -> NDArray[np.int32]:
        """Return the given label of each row, [n_rows], or of each row of a block."""
        return to_numpy(self.read_samples(["given_label"], block=block)["given_label"]).astype(np.int32, copy=False)

    def keys(self) -> list[str]:
        """Return the key of each sample, [n_samples]."""
        column = self.read_samples(["key"])["key"]
        if self.is_multi_label:
            column = column.take(self.layout.row_of(np.arange(self.n_samples), np.zeros(1, np.int64)))
        keys: list[str] = column.to_pylist()
        return keys

    def find(self, sample: str) -> int:
        """Return the id of a sample, from its key or from the id as text; a key comes first.

        Raises:
            StoreError: There is no such sample, or several have the key.
        """
        return find_sample(self.layout, self.keys(), sample)

    def trajectory(self, sample_id: int, class_name: str | None = None) -> pd.DataFrame:
        """Read the signals of one sample over all epochs.

        Args:
            sample_id: The id of the sample.
            class_name: The name of the class, in a multi-label run.

        Returns:
            A row an epoch, index `epoch`, missing ones NaN.

        Raises:
            StoreError: There is no such sample or class.
        """
        row = self.layout.find_row(sample_id, class_name)
        return read_trajectory(self.layout, self._commits_to_read_rows_of(), row)

    def trajectories(self, sample_id: int) -> pd.DataFrame:
        """Read the signals of all classes of one sample over all epochs, in a multi-label run.

        Returns:
            A row a class and epoch, index `class` and `epoch`, the signals and `given_label`, which is 0 or 1.

        Raises:
            StoreError: The run is a single-label run, or there is no such sample.
        """
        if not self.is_multi_label:
            raise StoreError(f"{self.path} has one label a sample: trajectory({sample_id}) reads it")
        self.layout.check_sample(sample_id)
        rows = self.layout.rows_of(sample_id)
        given = self.given_labels()[rows.start : rows.stop]
        return read_class_trajectories(self.layout, self._commits_to_read_rows_of(), sample_id, given)

    def verify(self) -> None:
        """Read everything that the run vouches for and compare it with its record.

        Raises:
            StoreDamagedError: The first file that is missing or altered, and the remedy.
        """
        self.files.verify([*self.sample_files, *(file for epoch in self.epochs for file in self.commit(epoch).files)])

    def _commits_to_read_rows_of(self) -> list[EpochCommit]:
        """Return all commits, their files verified as a whole: a part of a file has no checksum of its own."""
        commits = [self.commit(epoch) for epoch in self.epochs]
        for file in (file for commit in commits for file in commit.files):
            self.files.intact(file)
        return commits

    @property
    def sample_files(self) -> list[FileRecord]:
        """Return the files of the columns that do not change over the epochs, one a block."""
        return recorded_samples(self._manifest, self.layout)
