"""What the integrations share: a recorder that follows a library's loop, its epochs, its resumes and its mixing."""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from gwaudit.core.errors import RecordingError
from gwaudit.recording.recorder import AlignmentRecorder
from gwaudit.store.store import TrajectoryStore


def require_one_process(processes: int) -> None:
    """Raise a RecordingError where several processes train together."""
    if processes > 1:
        raise RecordingError(
            f"{processes} processes train together, which this integration does not record: run one (devices=1, or "
            "without torchrun)"
        )


class LoopRecorder:
    """An `AlignmentRecorder` driven by the events of a loop.

    Args:
        store: the run, open for writing.
        head: as for `AlignmentRecorder`.
        sweep: calls the recorder's `sweep`. Used after each epoch where training batches cannot be observed, as their
            targets, and so their inputs, are mixed.
        always_sweep: do so from the start.

    Attributes:
        sweeps: whether epochs are recorded by sweeps, and training batches are not observed.
    """

    def __init__(
        self,
        store: TrajectoryStore,
        *,
        head: str | nn.Module | None,
        sweep: Callable[[AlignmentRecorder], object],
        always_sweep: bool,
    ) -> None:
        self._store, self._head, self._sweep, self.sweeps = store, head, sweep, always_sweep
        self._recorder: AlignmentRecorder | None = None
        self._epoch: int | None = None

    def attach(self, model: nn.Module) -> None:
        """Watch a model. Call it before the first forward pass."""
        self.detach()
        self._recorder = AlignmentRecorder(model, self._store, head=self._head)
        self._recorder.__enter__()

    def detach(self) -> None:
        """Let go of the model and of what was not committed."""
        if self._recorder is not None:
            self._recorder.__exit__(None, None, None)
        self._recorder, self._epoch = None, None

    def start(self, epoch: int) -> None:
        """The loop starts, or goes on, at this epoch.

        Raises:
            RecordingError: the run holds other epochs than those that the loop has behind it.
        """
        recorded = self._store.next_epoch
        if epoch > recorded or (epoch == 0 and recorded):
            raise RecordingError(
                f"the training starts at epoch {epoch}, the run {self._store.path} holds {recorded} epochs: "
                "resume the training that the run was recorded from, or record into a new run"
            )

    def begin_epoch(self, epoch: int) -> None:
        """The loop begins this epoch."""
        self._epoch = epoch

    def observe(self, sample_ids: Tensor, labels: Tensor) -> None:
        """Score the last forward pass, as `AlignmentRecorder.observe`; with mixed targets, sweep from now on."""
        assert self._recorder is not None
        mixed = isinstance(labels, Tensor) and labels.is_floating_point() and labels.ndim == 2
        if mixed and self._store.is_multi_label:  # the targets of binary cross entropy are decimal numbers
            mixed = not bool(((labels == 0) | (labels == 1)).all())
        if mixed:
            self.sweep_from_now(f"the batches have soft targets ({list(labels.shape)}), as mixup and CutMix make them")
        if not self.sweeps:
            self._recorder.observe(sample_ids, labels)

    def sweep_from_now(self, reason: str) -> None:
        """Record by sweeps, as the training sees no sample by itself, and say so once."""
        if self.sweeps:
            return
        self.sweeps = True
        if self._recorder is not None:
            self._recorder.discard_epoch()
        warnings.warn(
            f"{reason}, so that no sample is seen by itself: each epoch is recorded by a sweep over the training data "
            "after it, one more forward pass without the mixing; sweep_loader= chooses other batches",
            stacklevel=2,
        )

    def end_epoch(self) -> None:
        """Commit the epoch that was begun, unless that is done, or the run holds it from before a resume."""
        if self._epoch is None or self._recorder is None:
            return
        epoch, self._epoch = self._epoch, None
        if epoch < self._store.next_epoch:
            self._recorder.discard_epoch()
            warnings.warn(
                f"the run {self._store.path} holds epoch {epoch} already, from before the training was resumed: kept "
                "as it is",
                stacklevel=2,
            )
        elif self.sweeps:
            with torch.random.fork_rng(devices=[]):  # the training's random numbers stay as they were
                self._sweep(self._recorder)
        else:
            self._recorder.end_epoch()


def not_installed(library: str, extra: str) -> ImportError:
    """Return the error to raise where a library is missing."""
    return ImportError(f"{library} is not installed: pip install 'gwaudit[{extra}]'")
