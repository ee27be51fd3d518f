"""Keep the signals of the current epoch on the device, until they are fetched at its end."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gwaudit.core.settings import Alignment
from gwaudit.recording.alignment import SampleSignals, sample_signals
from gwaudit.recording.distributed import world_size
from gwaudit.recording.head_forms import HeadForward
from gwaudit.recording.moments import MovingMoments
from gwaudit.recording.multilabel import RowSignals, row_signals, rows_of_samples, to_sample_signals
from gwaudit.store.block_files import SIGNALS
from gwaudit.store.layout import RunLayout


class ObservedRows(NamedTuple):
    """Hold the rows of an epoch on the host, in the order of observation.

    Attributes:
        ids: [N] row numbers.
        labels: [N] labels that were observed.
        signals: The signals of `SampleSignals` by name, [N] each.
    """

    ids: NDArray[np.int64]
    labels: NDArray[np.int32]
    signals: dict[str, NDArray[Any]]

    def take(self, rows: NDArray[Any]) -> Self:
        """Return some rows, chosen by an index or a mask."""
        return self._replace(
            ids=self.ids[rows],
            labels=self.labels[rows],
            signals={name: values[rows] for name, values in self.signals.items()},
        )


class EpochBuffer:
    """Collect the signals of each batch, without waiting for the device.

    Args:
        layout: The rows of the run.
        alignment: Parameters of the head that the alignment is computed with.
    """

    def __init__(self, layout: RunLayout, alignment: Alignment) -> None:
        self._layout, self._alignment = layout, alignment
        self.clear()

    def __bool__(self) -> bool:
        return bool(self._ids)

    @property
    def n_samples(self) -> int:
        """Return the number of samples that were observed, with repeats."""
        rows_a_sample = len(self._layout.rows_of(0))
        return sum(len(ids) for ids in self._ids) // rows_a_sample

    def clear(self) -> None:
        """Discard everything."""
        self._ids: list[Tensor] = []
        self._packed: list[Tensor] = []
        self._moving: MovingMoments | None = None

    def add(self, forward: HeadForward, sample_ids: Tensor, given: Tensor) -> None:
        """Compute the signals of one batch, and keep them.

        Args:
            forward: The forward pass through the head, of B samples.
            sample_ids: [B] int64.
            given: [B] int64 given labels, or [B, C] of 0 and 1 in a multi-label run.
        """
        if not len(sample_ids):
            return
        latent, logits, weight, norm, bias = forward
        with torch.no_grad(), _one_thread():
            given = given.to(logits.device, torch.int32, non_blocking=True)
            signals: SampleSignals | RowSignals
            if self._layout.is_multi_label:
                # All other signals of a row follow from these two: a quarter of the memory until the epoch ends.
                signals = row_signals(latent, logits, given, weight, bias, alignment=self._alignment)
                sample_ids = rows_of_samples(sample_ids, logits.shape[1])
            else:
                signals = sample_signals(
                    latent, logits, given, weight, bias, weight_norm=norm, alignment=self._alignment
                )
            if self._moving is None:
                self._moving = MovingMoments(-(-self._layout.n_rows // (given.numel() * world_size())))
            self._moving.update(signals.alignment)
            # One int32 tensor per step, with unchanged bits: the epoch is fetched in one transfer.
            self._packed.append(torch.stack([given.reshape(-1), *(signal.view(torch.int32) for signal in signals)]))
        self._ids.append(sample_ids)

    def moving_moments(self) -> MovingMoments:
        """Return the moving moments of the epoch so far."""
        return MovingMoments(1) if self._moving is None else self._moving

    def fetch(self) -> ObservedRows:
        """Return the epoch so far, on the host."""
        names = SampleSignals._fields
        if not self._ids:
            empty = np.empty(0, np.int32)
            return ObservedRows(np.empty(0, np.int64), empty, {name: empty.view(SIGNALS[name]) for name in names})
        ids = torch.cat(self._ids).cpu().numpy()
        packed = torch.cat(self._packed, dim=1).cpu()
        labels, columns = packed[0], packed[1:]
        if self._layout.is_multi_label:
            rows = RowSignals(*(column.view(torch.float32) for column in columns))
            signals = to_sample_signals(rows, labels)._asdict()
            return ObservedRows(ids, labels.numpy(), {name: values.numpy() for name, values in signals.items()})
        views = {name: column.numpy().view(SIGNALS[name]) for name, column in zip(names, columns, strict=True)}
        return ObservedRows(ids, labels.numpy(), views)


def first_occurrences(positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the index at which each position occurs first, ordered by position: [number of distinct positions].

    Args:
        positions: [N] integers from 0; memory grows with the largest.
    """
    first = np.full(positions.max(initial=-1) + 1, -1, dtype=np.int64)
    # Assigned from the back, so that the first occurrence is written last.
    first[positions[::-1]] = np.arange(len(positions) - 1, -1, -1)
    return first[first >= 0]


def finite_rows(signals: Mapping[str, NDArray[Any]]) -> NDArray[np.bool_]:
    """Return whether all signals of each row are finite, [N].

    Args:
        signals: Signals by name, [N] each.
    """
    finite: NDArray[np.bool_] = np.logical_and.reduce([np.isfinite(values) for values in signals.values()])
    return finite


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute on the calling thread only, inside the block.

    The signals of a batch take about a millisecond. If other processes keep the cores busy, waiting for a second thread
    to be scheduled made it 40 to 80 ms.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
