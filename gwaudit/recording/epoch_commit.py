"""Commit what the ranks observed as one epoch of the run, and summarise it."""

import uuid
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gwaudit.core.errors import RecordingError
from gwaudit.recording.batch_labels import out_of_range
from gwaudit.recording.distributed import (
    all_gather,
    all_reduce_sum,
    is_rank0,
    process_rank,
    raise_on_all_ranks,
    run_on_rank0,
    send_to_owner,
    world_size,
)
from gwaudit.recording.epoch_buffer import ObservedRows, finite_rows, first_occurrences
from gwaudit.recording.moments import EpochMoments, MovingMoments, epoch_moments
from gwaudit.recording.repeats import are_several_passes, rows_before_first_repeat
from gwaudit.store.store import TrajectoryStore

_SHOWN = 5  # samples that a message names
_LABEL = "given_label"


@dataclass(frozen=True)
class EpochSummary:
    """Hold the summary of a committed epoch, over all ranks.

    Attributes:
        epoch: Number of the epoch in the store, from 0.
        recorded: Number of samples observed; of rows (samples times classes) in a multi-label run.
        missing: Number of the run's samples (or rows) that were not observed.
        repeated: Number of observations that were dropped, as their sample had one already in this epoch.
        moments: E, K and GWA of all recorded alignments.
        moving: The streaming estimate of the same from mini-batches of this epoch; with several ranks, the mean of
            their estimates.
        mean_loss: Mean cross entropy of the given labels, in nats.
        accuracy_on_given: Share of the samples whose given label is the predicted one, in [0, 1].
    """

    epoch: int
    recorded: int
    missing: int
    repeated: int
    moments: EpochMoments
    moving: EpochMoments
    mean_loss: float
    accuracy_on_given: float

    def metrics(self) -> dict[str, float]:
        """Return the numbers that are stored with the epoch, by name."""
        return {
            "directional_alignment": self.moments.directional_alignment,
            "dispersion": self.moments.dispersion,
            "gwa": self.moments.gwa,
            "moving_directional_alignment": self.moving.directional_alignment,
            "moving_dispersion": self.moving.dispersion,
            "moving_gwa": self.moving.gwa,
            "mean_loss": self.mean_loss,
            "accuracy_on_given": self.accuracy_on_given,
        }


class EpochCommitter:
    """Commit what the ranks observed as one epoch.

    Args:
        store: The run.
    """

    def __init__(self, store: TrajectoryStore) -> None:
        self._store = store

    def check(self, observed: ObservedRows) -> None:
        """Raise RecordingError if ids are not of the run, or labels are not its given labels.

        Here and not for each batch, where ids on a GPU would have to be waited for. The given labels are read block by
        block.

        Args:
            observed: The rows that this rank observed.
        """
        store, ids = self._store, observed.ids
        outside = np.flatnonzero((ids < 0) | (ids >= store.n_rows))
        if len(outside):
            sample = store.layout.sample_of(int(ids[outside[0]]))
            raise RecordingError(out_of_range("sample_ids", sample, store.n_samples))
        given = self._given_labels(ids)
        differing = np.flatnonzero(given != observed.labels)
        if len(differing):
            first = differing[0]
            sample = store.layout.sample_of(int(ids[first]))
            raise RecordingError(
                f"epoch {store.next_epoch}: {len(differing)} observed labels are not the run's given labels, the first "
                f"at sample {sample} (observed {observed.labels[first]}, given {given[first]}): pass sample_ids and "
                "given labels of the same batch, in the same order; nothing was committed"
            )

    def commit(self, observed: ObservedRows, moving: MovingMoments, metrics: Mapping[str, Any]) -> EpochSummary:
        """Commit the next epoch. All ranks must call.

        Args:
            observed: The rows that this rank observed, checked.
            moving: The moving moments of this rank.
            metrics: Numbers to store with the epoch, those of rank 0.

        Raises:
            RecordingError: Nothing was observed, or most signals are not finite.
            StoreError: The store cannot be written.
        """
        epoch = self._store.next_epoch
        n_observed = int(all_reduce_sum(torch.tensor([len(observed.ids)])))
        if not n_observed:
            raise RecordingError(
                f"nothing was observed for epoch {epoch}: call observe(sample_ids, labels) after each forward pass"
            )
        finite = finite_rows(observed.signals)
        n_finite = n_observed - self._report_not_finite(epoch, n_observed, observed.ids[~finite])
        observed = observed if finite.all() else observed.take(finite)
        owners = observed.ids // self._store.layout.block_rows % world_size()
        ids, columns = send_to_owner(observed.ids, {**observed.signals, _LABEL: observed.labels}, owners)
        first = first_occurrences(self._position_in_own_blocks(ids))
        ids, signals = ids[first], {name: values[first] for name, values in columns.items()}
        labels = signals.pop(_LABEL)
        summary = self._summarise(epoch, n_finite, labels, signals, moving)
        self._report_repeats(summary, first)
        self._write(ids, signals, summary, {**metrics, **summary.metrics()})
        return summary

    def _given_labels(self, row_ids: NDArray[np.int64]) -> NDArray[np.int32]:
        """Return the given label of each of some rows, [N]; those of one block at a time are in memory."""
        blocks = row_ids // self._store.layout.block_rows
        given = np.empty(len(row_ids), np.int32)
        for block in np.flatnonzero(np.bincount(blocks)).tolist():
            rows = blocks == block
            given[rows] = self._store.given_labels(block=block)[row_ids[rows] - self._store.block_range(block).start]
        return given

    def _position_in_own_blocks(self, row_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the position of rows of this rank's blocks, as if there were no others: it has the rows' order."""
        block, row = np.divmod(row_ids, self._store.layout.block_rows)
        return np.asarray(block // world_size() * self._store.layout.block_rows + row)

    def _report_not_finite(self, epoch: int, n_observed: int, row_ids: NDArray[np.int64]) -> int:
        """Warn of the rows whose signals are not finite, on rank 0, and return their number over all ranks.

        Raises:
            RecordingError: They are more than half of the observed rows.
        """
        samples = np.unique(self._store.layout.sample_of(row_ids))
        of_ranks = all_gather((len(row_ids), len(samples), samples[:_SHOWN].tolist()))
        n_rows, n_samples = sum(rank[0] for rank in of_ranks), sum(rank[1] for rank in of_ranks)
        if not n_rows:
            return 0
        shown = sorted({sample for rank in of_ranks for sample in rank[2]})[:_SHOWN]
        found = f"epoch {epoch}: the signals of {n_samples} samples are NaN or infinite (sample ids {self._name(shown)}"
        found += ", ...)" if n_samples > len(shown) else ")"
        if 2 * n_rows > n_observed:
            raise RecordingError(
                f"{found}, which are {n_rows} of the {n_observed} observed rows, more than half: the model diverged; "
                "train with a lower learning rate, with gradient clipping or without float16; nothing was committed, "
                "and the next epoch can be recorded"
            )
        if is_rank0():
            warnings.warn(f"{found}: left out of this epoch; look at these inputs", stacklevel=4)
        return n_rows

    def _report_repeats(self, summary: EpochSummary, first: NDArray[np.int64]) -> None:
        """Warn if the epoch holds several passes over the data, on rank 0.

        Args:
            summary: The summary of the epoch.
            first: Positions of the first observation of each row of this rank.
        """
        distinct_at_first = int(all_reduce_sum(torch.tensor([rows_before_first_repeat(first)])))
        if is_rank0() and are_several_passes(distinct_at_first, summary.recorded, summary.repeated):
            warnings.warn(
                f"epoch {summary.epoch}: {summary.repeated} of {summary.recorded + summary.repeated} observations are "
                "dropped, as they came after a whole pass over the same samples: call end_epoch() after each pass, "
                "which makes it an epoch of its own",
                stacklevel=4,
            )

    def _name(self, sample_ids: Sequence[int]) -> str:
        """Return ids of samples as text, with their keys where these are not the ids."""
        names = []
        for sample in sample_ids:
            block, row = divmod(self._store.layout.rows_of(sample).start, self._store.layout.block_rows)
            key = self._store.read_samples(["key"], block=block)["key"][row].as_py()
            names.append(str(sample) if key == str(sample) else f"{sample} {key!r}")
        return ", ".join(names)

    def _summarise(
        self,
        epoch: int,
        n_finite: int,
        labels: NDArray[np.int32],
        signals: Mapping[str, NDArray[Any]],
        moving: MovingMoments,
    ) -> EpochSummary:
        """Return the summary of the epoch over all ranks.

        Args:
            epoch: Its number.
            n_finite: Number of observations with finite signals, over all ranks.
            labels: [M] given label of each row of this rank's blocks that was observed.
            signals: [M] each, of the same rows.
            moving: The moving moments of this rank.
        """
        right = signals["predicted_label"] == labels
        sums = torch.tensor([len(labels), signals["loss"].sum(dtype=np.float64), right.sum()], dtype=torch.float64)
        recorded, loss, n_right = all_reduce_sum(sums).tolist()
        return EpochSummary(
            epoch=epoch,
            recorded=int(recorded),
            missing=self._store.n_rows - int(recorded),
            repeated=n_finite - int(recorded),
            moments=epoch_moments(torch.from_numpy(signals["alignment"]), all_reduce_sum=all_reduce_sum),
            moving=moving.moments(all_reduce_sum),
            mean_loss=loss / recorded,
            accuracy_on_given=n_right / recorded,
        )

    def _write(
        self,
        ids: NDArray[np.int64],
        signals: Mapping[str, NDArray[Any]],
        summary: EpochSummary,
        metrics: Mapping[str, Any],
    ) -> None:
        attempt = run_on_rank0(lambda: uuid.uuid4().hex[:12])
        with raise_on_all_ranks():
            writer = self._store.begin_epoch(summary.epoch, attempt)
            writer.write_rows(ids, signals, range(process_rank(), self._store.n_blocks, world_size()))
        for written in all_gather(writer.written):
            writer.written |= written
        self._store.remember(run_on_rank0(lambda: writer.commit(repeated=summary.repeated, metrics=metrics)))
