"""Record each sample with a head that did not learn it: the held-out samples of a cross-fitted network."""

from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from gwaudit.recording.distributed import meet, raise_on_all_ranks
from gwaudit.recording.epoch_buffer import EpochBuffer
from gwaudit.recording.epoch_commit import EpochCommitter, EpochSummary
from gwaudit.recording.head_forms import HeadForward
from gwaudit.store.store import TrajectoryStore


class FoldedModel(Protocol):
    """Describe a network with a head for each fold, which learns all samples but those of the fold."""

    def __call__(self, inputs: Tensor, /) -> tuple[Tensor, Tensor]:
        """Return latents [H, B, F] and logits [H, B, C] of all heads."""

    def of_head(self, head: int, latent: Tensor, logits: Tensor) -> HeadForward:
        """Return the forward pass of some samples through a head."""


class HeldOutRecorder:
    """Record every sample of a run with a head that did not learn it, in evaluation passes.

    Where samples have several such heads, of several divisions into folds, the epochs are recorded with each in turn.

    It has the part of the interface of `AlignmentRecorder` that an evaluation pass needs.

    Args:
        model: The network, on the device of the training.
        left_out: [n, R] heads that do not learn the sample.
        store: The run, open for writing on rank 0.
    """

    def __init__(self, model: FoldedModel, left_out: Tensor, store: TrajectoryStore) -> None:
        self._model, self._left_out, self._store = model, left_out, store
        self._committer = EpochCommitter(store)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Keep nothing: every pass is committed whole."""

    def record_pass(
        self, batches: Iterable[tuple[Tensor, Tensor, Tensor]], *, metrics: Mapping[str, Any] | None = None
    ) -> EpochSummary:
        """Record one pass over the data with the current weights, and commit it as an epoch. All ranks must call.

        Args:
            batches: (inputs, labels, sample_ids) of this rank, the inputs on the device of the network.
            metrics: Numbers to store with the epoch, those of rank 0.

        Returns:
            The summary of the epoch, the same on every rank. Its accuracy is that on held-out given labels.

        Raises:
            RecordingError: Most signals are not finite, as in a training that diverged.
            StoreError: The store cannot be written.
        """
        run = self._store.path.name
        meet(f"record_pass() of epoch {self._store.next_epoch} of {run}", run)
        buffer = EpochBuffer(self._store.layout, self._store.alignment)
        of_epoch = self._left_out[:, self._store.next_epoch % self._left_out.shape[1]]
        with raise_on_all_ranks(), torch.no_grad():
            for inputs, labels, ids in batches:
                latent, logits = self._model(inputs)
                heads = of_epoch[ids]
                for head in sorted(set(heads.tolist())):
                    held_out = (heads == head).nonzero()[:, 0]
                    rows = held_out.to(logits.device)
                    forward = self._model.of_head(head, latent[head][rows], logits[head][rows])
                    buffer.add(forward, ids[held_out], labels[held_out])
            observed = buffer.fetch()
            self._committer.check(observed)
        return self._committer.commit(observed, buffer.moving_moments(), metrics or {})
