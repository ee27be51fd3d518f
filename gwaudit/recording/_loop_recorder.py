"""Drive a recorder by the events of a library's training loop: its epochs, its resumed runs and its mixed batches."""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from gwaudit.core.errors import RecordingError
from gwaudit.recording.batch_labels import is_one_hot
from gwaudit.recording.recorder import AlignmentRecorder
from gwaudit.store.store import TrajectoryStore


def require_one_process(processes: int) -> None:
    """Raise RecordingError if several processes train together."""
    if processes > 1:
        raise RecordingError(
            f"{processes} processes train together, which this integration does not record: run one (devices=1, or "
            "without torchrun)"
        )


class LoopRecorder:
    """Drive an `AlignmentRecorder` by the events of a loop.

    Args:
        store: The run, open for writing.
        head: As for `AlignmentRecorder`.
        record_pass: Calls the recorder's `record_pass`. It is used after each epoch if the training batches cannot be
            observed, as their targets, and so their inputs, are mixed.
        use_passes: Whether to record by evaluation passes from the start.

    Attributes:
        uses_passes: Whether epochs are recorded by evaluation passes, and training batches are not observed.
    """

    def __init__(
        self,
        store: TrajectoryStore,
        *,
        head: str | nn.Module | None,
        record_pass: Callable[[AlignmentRecorder], object],
        use_passes: bool,
    ) -> None:
        self._store, self._head, self._record_pass, self.uses_passes = store, head, record_pass, use_passes
        self._recorder: AlignmentRecorder | None = None
        self._epoch: int | None = None
        self._observed = self._skipped = 0  # steps of the epoch
        self._has_observed = False

    def attach(self, model: nn.Module) -> None:
        """Attach a recorder to a model. Call it before the first forward pass."""
        self.detach()
        self._recorder = AlignmentRecorder(model, self._store, head=self._head).attach()

    def detach(self) -> None:
        """Detach the recorder, and discard what was not committed."""
        if self._recorder is not None:
            self._recorder.discard_epoch()
            self._recorder.detach()
        self._recorder, self._epoch = None, None

    def start(self, epoch: int) -> None:
        """Check that the run holds the epochs before the one that the loop starts or continues with.

        Args:
            epoch: The first epoch of the loop, from 0.

        Raises:
            RecordingError: The run holds other epochs.
        """
        recorded = self._store.next_epoch
        if epoch > recorded or (epoch == 0 and recorded):
            raise RecordingError(
                f"the training starts at epoch {epoch}, the run {self._store.path} holds {recorded} epochs: "
                "resume the training that the run was recorded from, or record into a new run"
            )

    def begin_epoch(self, epoch: int) -> None:
        """Begin an epoch of the loop, counted from 0."""
        self._epoch = epoch
        self._observed = self._skipped = 0

    def begin_step(self) -> None:
        """Begin a training step: forward passes before it belong to no batch."""
        if self._recorder is not None:
            self._recorder.discard_passes()

    def observe(
        self, sample_ids: Tensor, labels: Tensor, logits: Tensor | None = None, *, may_skip: bool = False
    ) -> None:
        """Observe the forward pass of a step, as `AlignmentRecorder.observe`; use passes if the targets are mixed.

        A step without a forward pass is skipped, as the loop skips it: its samples are missing in the epoch. Until the
        first step is observed, such a step is an error, as of a head that the model does not use.

        Args:
            sample_ids: As for `AlignmentRecorder.observe`.
            labels: As for `AlignmentRecorder.observe`.
            logits: As for `AlignmentRecorder.observe`.
            may_skip: Whether the loop says that it skipped the step.
        """
        assert self._recorder is not None
        if not self._recorder.has_passes and (may_skip or self._has_observed):
            self._skipped += 1
            return
        mixed = isinstance(labels, Tensor) and labels.is_floating_point() and labels.ndim == 2
        if mixed and self._store.is_multi_label:  # binary cross entropy takes its targets of 0 and 1 as floats
            mixed = not bool(((labels == 0) | (labels == 1)).all())
        elif mixed:
            mixed = not is_one_hot(labels)
        if mixed:
            self.switch_to_passes(f"the batches have soft targets ({list(labels.shape)}), as mixup and CutMix make")
        if not self.uses_passes:
            self._recorder.observe(sample_ids, labels, logits=logits)
            self._observed += 1
            self._has_observed = True

    def switch_to_passes(self, reason: str) -> None:
        """Record by evaluation passes from now on, and warn once.

        Args:
            reason: Why the training batches cannot be observed.
        """
        if self.uses_passes:
            return
        self.uses_passes = True
        if self._recorder is not None:
            self._recorder.discard_epoch()
        warnings.warn(
            f"{reason}, so that no training batch holds single samples: each epoch is recorded by an evaluation pass "
            "over the training data after it, one more forward pass without the mixing; evaluation_loader= chooses "
            "other batches",
            stacklevel=2,
        )

    def end_epoch(self) -> None:
        """Commit the current epoch, unless that is done, or the run holds it from before the training was resumed."""
        if self._epoch is None or self._recorder is None:
            return
        epoch, self._epoch = self._epoch, None
        if epoch < self._store.next_epoch:
            self._recorder.discard_epoch()
            warnings.warn(
                f"the run {self._store.path} holds epoch {epoch} already, from before the training was resumed: the "
                "stored epoch is kept",
                stacklevel=2,
            )
        elif self.uses_passes:
            with torch.random.fork_rng(devices=[]):  # the random numbers of the training stay unchanged
                self._record_pass(self._recorder)
        else:
            if self._skipped and not self._observed:
                raise RecordingError(
                    f"epoch {epoch}: none of its {self._skipped} steps made a forward pass through the head, so there "
                    "is nothing to record"
                )
            self._recorder.end_epoch()
            if self._skipped:
                warnings.warn(
                    f"epoch {epoch}: {self._skipped} of {self._skipped + self._observed} steps made no forward pass "
                    "through the head: their samples are missing in this epoch",
                    stacklevel=2,
                )


def not_installed(library: str, extra: str) -> ImportError:
    """Return the error to raise if a library is missing."""
    return ImportError(f"{library} is not installed: pip install 'gwaudit[{extra}]'")
