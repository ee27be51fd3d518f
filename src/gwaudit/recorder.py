"""Records every sample's alignment while any training loop runs.

    with AlignmentRecorder(model, store) as recorder:
        for epoch in range(epochs):
            for x, y, sample_id in loader:
                loss = criterion(model(x), y)
                recorder.observe(sample_id, y)        # after forward, before optimizer.step
                ...
            recorder.end_epoch()

A forward hook on the model's linear head catches the latent and the logits that the loss is computed from. `observe`
turns them into the signals of the store on the device, without waiting for it; `end_epoch` transfers them once and
commits the epoch.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from gwaudit.alignment import EpochMoments, MovingMoments, SampleSignals, epoch_moments, sample_signals
from gwaudit.errors import ModelError, RecordingError
from gwaudit.models import LinearHead, find_head, unwrap
from gwaudit.store import SIGNALS, TrajectoryStore


@dataclass(frozen=True)
class EpochSummary:
    """What an epoch's recording amounts to.

    Attributes:
        epoch: its number in the store, from 0.
        recorded: samples with signals.
        missing: samples that the epoch did not see; they are stored as missing.
        repeated: observations beyond the first of a sample; they are dropped.
        moments: E, K and GWA of all recorded samples, each under the weights of its own step.
        moving: the same by the mini-batch estimator.
        mean_loss: cross entropy with the given labels, in nats.
        accuracy: share of samples whose given label was the predicted one.
    """

    epoch: int
    recorded: int
    missing: int
    repeated: int
    moments: EpochMoments
    moving: EpochMoments
    mean_loss: float
    accuracy: float

    def metrics(self) -> dict[str, float]:
        """The numbers that are committed with the epoch."""
        return {
            "directional_alignment": self.moments.directional_alignment,
            "dispersion": self.moments.dispersion,
            "gwa": self.moments.gwa,
            "moving_directional_alignment": self.moving.directional_alignment,
            "moving_dispersion": self.moving.dispersion,
            "moving_gwa": self.moving.gwa,
            "mean_loss": self.mean_loss,
            "accuracy": self.accuracy,
        }


class _Forward(NamedTuple):
    """One pass through the head, and which state of the weights it saw."""

    latent: Tensor
    logits: Tensor
    weight_version: int


class AlignmentRecorder:
    """Watches a model's linear head and records each epoch's signals into a store.

    Args:
        model: a classifier, bare or inside DistributedDataParallel or `torch.compile` (enter the recorder
            before the first forward pass of a compiled model).
        store: open for writing.
        head: the layer that produces the logits, or its name, where it is not found by itself: timm's
            `get_classifier()`, else the last `nn.Linear`, which must then return what the model returns.

    Raises:
        ModelError: no linear head, or one with another number of classes than the store.
    """

    def __init__(self, model: nn.Module, store: TrajectoryStore, *, head: str | nn.Linear | None = None) -> None:
        self._model = model
        self._store = store
        self._head: LinearHead = find_head(model, head)
        if self._head.module.out_features != len(store.class_names):
            raise ModelError(
                f"the head {self._head.name!r} has {self._head.module.out_features} outputs, "
                f"but the run has {len(store.class_names)} classes: give head= the layer that produces the logits"
            )
        self._head_is_given = head is not None
        self._hooks: list[RemovableHandle] = []
        self._forward: _Forward | None = None
        self._model_output: Any = None
        self._given_labels: NDArray[np.int32] | None = None
        self._ids: list[Tensor] = []
        self._labels: list[Tensor] = []
        self._signals: list[SampleSignals] = []

    def __enter__(self) -> Self:
        self._hooks.append(self._head.module.register_forward_hook(self._catch_head))
        if not self._head_is_given:
            self._hooks.append(unwrap(self._model).register_forward_hook(self._catch_output))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        self._forward = self._model_output = None
        self.discard_epoch()

    def observe(self, sample_ids: ArrayLike | Tensor, labels: ArrayLike | Tensor) -> None:
        """Record the batch of the last forward pass; call it before the optimizer steps.

        Args:
            sample_ids: [B] integers, each sample's index in the data set, in the order of the batch.
            labels: [B] the samples' own given labels, whatever target the loss used.

        Raises:
            RecordingError: no forward pass to observe, weights that changed since, or other shapes.
            ModelError: the head found does not produce what the model returns.
        """
        forward = self._take_forward()
        latent, logits = forward.latent, forward.logits
        ids, given = torch.as_tensor(sample_ids), torch.as_tensor(labels)
        n_classes = len(self._store.class_names)
        if latent.ndim != 2 or logits.shape != (len(latent), n_classes):
            raise RecordingError(
                f"the head {self._head.name!r} turned {tuple(latent.shape)} into {tuple(logits.shape)}: "
                f"recording needs one latent [B, D] and {n_classes} logits a sample"
            )
        for what, values in (("sample_ids", ids), ("labels", given)):
            if values.shape != (len(latent),) or values.is_floating_point():
                raise RecordingError(
                    f"{what} must be {len(latent)} integers, one for each sample of the last forward pass, "
                    f"not {values.dtype} {tuple(values.shape)}"
                )
        if given.device.type == "cpu" and len(given) and not 0 <= int(given.min()) <= int(given.max()) < n_classes:
            row = int(((given < 0) | (given >= n_classes)).nonzero()[0])
            raise RecordingError(
                f"label {int(given[row])} of sample {int(ids[row])} is outside the {n_classes} classes"
            )
        head = self._head.module
        with torch.no_grad(), torch.autocast(logits.device.type, enabled=False):
            signals = sample_signals(latent, logits, given.to(logits.device, non_blocking=True), head.weight, head.bias)
        # Clones: a loader may reuse its buffers for the next batch.
        self._ids.append(ids.long().clone())
        self._labels.append(given.long().clone())
        self._signals.append(signals)

    def end_epoch(self, metrics: Mapping[str, float] | None = None) -> EpochSummary:
        """Transfer what was observed since the last epoch, and commit it to the store.

        Args:
            metrics: numbers to keep with the epoch, beside the summary's own.

        Raises:
            RecordingError: nothing was observed; an id that the store does not have; a label that is not the
                sample's given one; NaN or infinite values. Nothing is committed and the observations are kept:
                drop them with `discard_epoch`.
        """
        epoch = self._store.next_epoch
        if not self._ids:
            raise RecordingError(f"epoch {epoch}: nothing was observed; call observe(sample_id, y) after each model(x)")
        steps = [len(ids) for ids in self._ids]
        ids = torch.cat([chunk.cpu() for chunk in self._ids]).numpy()
        labels = torch.cat([chunk.cpu() for chunk in self._labels]).numpy()
        columns = {
            name: torch.cat([getattr(signals, name) for signals in self._signals]).cpu().numpy() for name in SIGNALS
        }
        self._check(epoch, ids, labels, columns)
        _, first = np.unique(ids, return_index=True)
        moving = MovingMoments(len(steps))
        for chunk in torch.split(torch.from_numpy(columns["alignment"]), steps):
            moving.update(chunk)
        kept = {name: column[first] for name, column in columns.items()}
        summary = EpochSummary(
            epoch=epoch,
            recorded=len(first),
            missing=self._store.n_samples - len(first),
            repeated=len(ids) - len(first),
            moments=epoch_moments(torch.from_numpy(kept["alignment"])),
            moving=moving.moments(),
            mean_loss=float(kept["loss"].mean(dtype=np.float64)),
            accuracy=float((kept["predicted_label"] == labels[first]).mean()),
        )
        self._store.append_epoch(
            epoch, ids[first], kept, repeated=summary.repeated, metrics={**summary.metrics(), **(metrics or {})}
        )
        self.discard_epoch()
        return summary

    def discard_epoch(self) -> None:
        """Forget what was observed since the last epoch."""
        self._ids.clear()
        self._labels.clear()
        self._signals.clear()

    def sweep(
        self, batches: Iterable[tuple[Tensor, Tensor, Tensor]], *, metrics: Mapping[str, float] | None = None
    ) -> EpochSummary:
        """Score the whole set under the weights as they are, and commit that as an epoch.

        For a finished model, or at the end of epochs whose training inputs were mixed. The model is in `eval()`
        meanwhile; its modes are restored.

        Args:
            batches: (inputs, given labels, sample ids), without augmentation.
            metrics: as for `end_epoch`.

        Raises:
            RecordingError: as for `end_epoch`, or observations are pending.
        """
        if self._ids:
            raise RecordingError("observations are pending: call end_epoch() or discard_epoch() before a sweep")
        modes = {module: module.training for module in self._model.modules()}
        device = self._head.module.weight.device
        self._model.eval()
        try:
            with torch.no_grad():
                for inputs, labels, ids in batches:
                    self._model(inputs.to(device))
                    self.observe(ids, labels)
        except BaseException:
            self.discard_epoch()
            raise
        finally:
            for module, training in modes.items():
                module.training = training
        return self.end_epoch(metrics)

    def _catch_head(self, head: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        self._forward = _Forward(inputs[0].detach(), output.detach(), self._head.module.weight._version)

    def _catch_output(self, model: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        self._model_output = output

    def _take_forward(self) -> _Forward:
        forward, self._forward = self._forward, None
        if not self._hooks:
            raise RecordingError("the recorder is not watching: write `with AlignmentRecorder(model, store) as ...`")
        if forward is None:
            raise RecordingError(
                "no forward pass to observe: call observe once after each model(x); a model compiled by torch.compile "
                "must be entered before its first forward pass"
            )
        if forward.weight_version != self._head.module.weight._version:
            raise RecordingError("the head's weights changed since model(x): call observe before optimizer.step()")
        if not self._head_is_given:
            self._check_head(forward.logits)
        return forward

    def _check_head(self, logits: Tensor) -> None:
        """Once: the head found is the one whose output the model returns. Waits for the device."""
        output, self._model_output = self._model_output, None
        if isinstance(output, Mapping):
            output = output.get("logits")
        output = getattr(output, "logits", output)
        if not (isinstance(output, Tensor) and output.shape == logits.shape and torch.equal(output.detach(), logits)):
            raise ModelError(
                f"the layer {self._head.name!r} does not produce what {type(unwrap(self._model)).__name__} returns: "
                "give head= the linear layer (or its name) whose output the loss is computed from"
            )
        self._head_is_given = True
        self._hooks.pop().remove()

    def _check(
        self, epoch: int, ids: NDArray[np.int64], labels: NDArray[np.int64], columns: dict[str, NDArray[Any]]
    ) -> None:
        outside = ids[(ids < 0) | (ids >= self._store.n_samples)]
        if len(outside):
            raise RecordingError(
                f"epoch {epoch}: sample id {outside[0]} was observed; the run has ids 0 to {self._store.n_samples - 1}"
            )
        if self._given_labels is None:
            self._given_labels = self._store.given_labels()
        other = np.flatnonzero(self._given_labels[ids] != labels)
        if len(other):
            row = other[0]
            raise RecordingError(
                f"epoch {epoch}: sample {ids[row]} was observed with label {labels[row]}, but in the run its given label "
                f"is {self._given_labels[ids[row]]} ({len(other)} such): pass each sample's own id and given label"
            )
        broken = np.flatnonzero(
            ~np.logical_and.reduce([np.isfinite(columns[name]) for name in ("alignment", "margin", "loss")])
        )
        if len(broken):
            some = ", ".join(str(i) for i in ids[broken[:5]])
            raise RecordingError(
                f"epoch {epoch}: {len(broken)} samples have NaN or infinite logits or latents (ids {some}): "
                "check their inputs, or lower the learning rate; nothing was committed"
            )
