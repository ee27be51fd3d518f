"""Record every sample's alignment in anyone's training loop, by watching the model's linear head.

    with AlignmentRecorder(model, store) as recorder:
        for epoch in range(epochs):
            for x, y, sample_id in loader:
                loss = criterion(model(x), y)
                recorder.observe(sample_id, y)        # after the forward pass, before the next one
                ...
            recorder.end_epoch()

A hook keeps what went into and came out of the head at the last forward pass. `observe` turns that into the signals of
`gwaudit.recording.alignment.SampleSignals`, on the device and without waiting for it. `end_epoch` fetches them and
commits them
to the store as one epoch. The model's parameters, buffers, outputs and state-dict keys stay as they are.

Where samples have any number of classes (a store made with a matrix of labels), `observe` takes the batch's 0/1 matrix
and a row is recorded for each sample and class, as `gwaudit.recording.multilabel` says.

Where several processes train together, each observes what it trained on. `end_epoch` brings the rows to the rank that
owns their block, drops what a sampler repeated to make equal shares, and rank 0 commits.
"""

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from gwaudit.core.errors import RecordingError
from gwaudit.recording.alignment import SampleSignals, sample_signals
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
from gwaudit.recording.head import LinearHead, find_head, unwrap
from gwaudit.recording.head_forms import HeadForward, as_matrix, find_form
from gwaudit.recording.hooks import HeadWatch, is_returned, require_whole, whole_batch
from gwaudit.recording.moments import EpochMoments, MovingMoments, epoch_moments
from gwaudit.recording.multilabel import RowSignals, row_signals, rows_of_samples, to_sample_signals
from gwaudit.store.store import SIGNALS, TrajectoryStore


@dataclass(frozen=True)
class EpochSummary:
    """What was committed as one epoch, by all ranks together.

    Attributes:
        epoch: its number in the store, from 0.
        recorded: samples that were seen; pairs of sample and class, where samples have any number of them.
        missing: those of the run that were not.
        repeated: observations dropped because their sample had one already in this epoch.
        moments: E, K and GWA of all recorded alignments.
        moving: the same from mini-batch averages, the cheap streaming estimate, begun anew each epoch; the mean of
            the ranks' own.
        mean_loss: mean cross entropy on the given labels, in nats.
        accuracy_on_given: share of samples whose given label was predicted, in [0, 1].
    """

    epoch: int
    recorded: int
    missing: int
    repeated: int
    moments: EpochMoments
    moving: EpochMoments
    mean_loss: float
    accuracy_on_given: float


class AlignmentRecorder:
    """Watches a classifier's head and commits one epoch of signals after the other to a store.

    Args:
        model: The classifier as the loop calls it: bare, or inside DataParallel, DistributedDataParallel or
            `torch.compile`. A model that is compiled must not have run before the recorder is attached.
        store: The run, open for writing. Its given labels are what every sample is scored against. Where several
            processes train together, `gwaudit.shared_store` gives each of them the store that it needs.
        head: The layer that makes the logits, or its name: an `nn.Linear`, an `nn.Conv2d` that gives one logit a class,
            or a layer whose logits are linear or a scaled cosine. Without it timm's `get_classifier()` tells, else the
            model's last `nn.Linear` is taken, if the first forward pass shows that the model returns its output.

    Raises:
        ModelError: No linear head was found, or it computes something else.
        RecordingError: The head has not one output a class, or the store is open for reading only, on rank 0.
    """

    def __init__(self, model: nn.Module, store: TrajectoryStore, *, head: str | nn.Module | None = None) -> None:
        self._model = model
        self._store = store
        self._head = find_head(model, head)
        self._head_is_a_guess = self._head.guessed
        n_classes = len(store.class_names)
        if self._head.n_outputs != n_classes:
            raise RecordingError(
                f"the head {self._head.name!r} has {self._head.n_outputs} outputs, but the run {store.path} "
                f"has {n_classes} classes: build the model with {n_classes}, or name the right layer with head="
            )
        if is_rank0() and not store.writable:
            raise RecordingError(f"the run {store.path} is open for reading: open it with writable=True to record")
        if not is_rank0() and store.writable:
            raise RecordingError(
                f"rank {process_rank()} has a run of its own, {store.path}: "
                "all ranks record to one, as shared_store(lambda: "
                "TrajectoryStore.create(...)) opens it"
            )
        self._form = find_form(self._head)
        self._given_labels = store.given_labels()
        self._id_of_key: dict[str, int] = {}
        self._watch = HeadWatch()
        self._handles: list[torch.utils.hooks.RemovableHandle] = []
        self._rows: list[Tensor] = []
        self._ids: list[Tensor] = []
        self._moving: MovingMoments | None = None

    def __enter__(self) -> Self:
        if self._handles:
            raise RecordingError("this recorder is attached already: enter it once, around the whole training loop")
        self._handles = [
            self._head.module.register_forward_hook(self._watch.head_hook(self._head.module), with_kwargs=True)
        ]
        if self._head_is_a_guess:
            base = unwrap(self._model)
            self._handles.append(base.register_forward_hook(self._watch.output_hook(base)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self._watch.clear()

    def observe(self, sample_ids: ArrayLike | Tensor | Sequence[str], labels: ArrayLike | Tensor) -> None:
        """Score the samples of the last forward pass. Call it before the model runs again.

        Args:
            sample_ids: [B] integers, the samples' ids in the run, in the batch's order; those on the CPU stay there.
                Or [B] texts, their keys in the run, as a WebDataset stream has them in `__key__`.
            labels: [B] integers, the samples' own given labels in [0, C), also where the loss mixes or smooths them. Or
                [B, C] of 0 and 1, of any type, where the run's samples have any number of classes.

        Raises:
            RecordingError: No forward pass since the last call, or ids or labels that do not fit it.
        """
        forward = self._last_forward()
        rows = forward.logits.shape[0]
        if isinstance(sample_ids, list | tuple) and sample_ids and isinstance(sample_ids[0], str):
            sample_ids = self._ids_of(sample_ids)
        ids = _integers(sample_ids, "sample_ids", rows, self._store.n_samples)
        if self._store.is_multi_label:
            given = _zeros_and_ones(labels, rows, len(self._store.class_names))
            self._observe_pairs(forward, ids, given)
            return
        given = _integers(labels, "labels", rows, len(self._store.class_names))
        if rows == 0:
            return
        device = forward.logits.device
        with torch.no_grad(), _one_thread():
            given = given.to(device, torch.int32, non_blocking=True)
            signals = sample_signals(
                forward.latent,
                forward.logits,
                given,
                forward.weight,
                forward.bias,
                weight_norm=forward.weight_norm,
            )
            if self._moving is None:
                self._moving = MovingMoments(-(-self._store.n_rows // (rows * world_size())))
            self._moving.update(signals.alignment)
            # One tensor a step, bits kept: int32 and float32 travel together in the epoch's one transfer.
            self._rows.append(torch.stack([given, *(signal.view(torch.int32) for signal in signals)]))
        self._ids.append(ids)

    def _observe_pairs(self, forward: HeadForward, sample_ids: Tensor, given: Tensor) -> None:
        n_classes = forward.logits.shape[1]
        if not len(sample_ids):
            return
        with torch.no_grad(), _one_thread():
            given = given.to(forward.logits.device, torch.int32, non_blocking=True)
            pairs = row_signals(forward.latent, forward.logits, given, forward.weight, forward.bias)
            if self._moving is None:
                self._moving = MovingMoments(-(-self._store.n_rows // (given.numel() * world_size())))
            self._moving.update(pairs.alignment)
            # Two numbers a pair imply the rest, which is a quarter of the memory until the epoch ends.
            self._rows.append(torch.stack([given.reshape(-1), *(signal.view(torch.int32) for signal in pairs)]))
        self._ids.append(rows_of_samples(sample_ids, n_classes))

    def end_epoch(self, metrics: Mapping[str, float] | None = None) -> EpochSummary:
        """Commit what was observed since the last epoch as the store's next epoch.

        A sample observed twice keeps its first observation; one not observed is stored as missing. Both are counted.
        Where several processes train together all of them must call; an error of one is raised on all.

        Args:
            metrics: Numbers to keep with the epoch, those of rank 0. Its moments, mean loss and accuracy are added.

        Returns:
            The same summary on every rank.

        Raises:
            RecordingError: Nothing was observed, or ids, labels or signals are wrong. Nothing is committed, and
                what was observed is kept until `discard_epoch`.
            StoreError: The store cannot be written.
        """
        epoch = self._store.next_epoch
        with raise_on_all_ranks():
            ids, labels, signals = self._fetch()
            self._check_labels(epoch, ids, labels)
        observed = int(all_reduce_sum(torch.tensor([len(ids)])))
        if not observed:
            raise RecordingError(
                f"nothing was observed for epoch {epoch}: call observe(sample_ids, labels) after each forward pass"
            )
        ids, signals = send_to_owner(ids, signals, ids // self._store.layout.block_rows % world_size())
        first = _first_occurrences(ids, self._store.n_rows)
        ids, kept = ids[first], {name: values[first] for name, values in signals.items()}
        with raise_on_all_ranks():
            _check_finite(epoch, ids, kept)
        summary = self._summary(epoch, observed, ids, kept)
        self._commit(ids, kept, summary, {**(metrics or {}), **_metrics(summary)})
        self.discard_epoch()
        return summary

    def discard_epoch(self) -> None:
        """Forget what was observed since the last committed epoch."""
        self._rows, self._ids, self._moving = [], [], None

    def sweep(
        self,
        batches: Iterable[tuple[Tensor | Mapping[str, Any], Tensor, Tensor]],
        *,
        metrics: Mapping[str, float] | None = None,
    ) -> EpochSummary:
        """Score a whole pass over the data with the weights as they are, and commit it as an epoch.

        The model runs in evaluation mode and without gradients; every module's mode is restored. Use
        `torch.autocast` around the call where training uses it. Where several processes train together, all of them
        must call, each with a share of the batches: any under DistributedDataParallel, equally many under FSDP.

        Args:
            batches: (inputs, labels, sample_ids), the inputs as the model takes them, without augmentation; a mapping
                for a model that takes its inputs by name.
            metrics: As for `end_epoch`.

        Raises:
            RecordingError: As for `observe` and `end_epoch`, or an online epoch is under way.
        """
        if self._ids:
            raise RecordingError("an epoch is being observed: call end_epoch() or discard_epoch() before sweep()")
        self._require_attached()
        device = next(self._head.module.parameters()).device
        modes = {module: module.training for module in self._model.modules()}
        # DistributedDataParallel exchanges buffers at each forward pass, which the ranks need not have equally many of.
        distributed = isinstance(self._model, nn.parallel.DistributedDataParallel)
        model: nn.Module = self._model.module if distributed else self._model  # type: ignore[assignment]  # a Tensor to mypy
        model.eval()
        try:
            with raise_on_all_ranks(), torch.no_grad():
                for inputs, labels, sample_ids in batches:
                    if isinstance(inputs, Mapping):
                        model(**{name: _moved(value, device) for name, value in inputs.items()})
                    else:
                        model(_moved(inputs, device))
                    self.observe(sample_ids, labels)
            return self.end_epoch(metrics)
        finally:
            self.discard_epoch()
            for module, training in modes.items():
                module.training = training

    def _require_attached(self) -> None:
        if not self._handles:
            raise RecordingError(
                "the recorder is not attached: use it as `with AlignmentRecorder(model, store) as recorder:` "
                "around the training loop"
            )

    def _ids_of(self, keys: Sequence[str]) -> list[int]:
        if not self._id_of_key:
            self._id_of_key = {key: sample_id for sample_id, key in enumerate(self._store.keys())}
        unknown = [key for key in keys if key not in self._id_of_key]
        if unknown:
            raise RecordingError(
                f"the run {self._store.path} has no sample {unknown[0]!r} ({len(unknown)} of {len(keys)} keys unknown"
                "): create it with the keys of the data (keys=), as its samples are known in the batches"
            )
        return [self._id_of_key[key] for key in keys]

    def _last_forward(self) -> HeadForward:
        """The forward pass not yet observed, checked."""
        self._require_attached()
        parts, returned = self._watch.take()
        name = self._head.name
        if not parts:
            raise RecordingError(
                f"no forward pass through the head {name!r} since the last observe(): call model(inputs), then "
                "observe() once for it, inside the `with` block; if the model was compiled and ran before the recorder "
                "was attached, call torch.compiler.reset() before attaching; if the model does not call that layer, "
                "name another with head="
            )
        averaged = any(part.logits.shape[2:].numel() > 1 for part in parts.values())
        parts = {device: as_matrix(part, self._head) for device, part in parts.items()}
        forward = whole_batch(parts, self._model)
        if forward.logits.ndim != 2:
            raise RecordingError(
                f"the head {name!r} gave logits of shape {tuple(forward.logits.shape)}, expected [batch, classes]: "
                "one prediction a sample is needed, pool before the head"
            )
        if self._head_is_a_guess:
            # Means of the same numbers in another order differ by rounding, in bfloat16 by up to a percent.
            tolerance = 0.02 if averaged else 0.0
            if not any(is_returned(part.logits, returned, tolerance=tolerance) for part in parts.values()):
                raise RecordingError(_not_returned(self._head, type(unwrap(self._model)).__name__, averaged))
            self._head_is_a_guess = False
            self._handles.pop().remove()
        require_whole(forward, self._head)
        return self._form.as_linear(forward)

    def _fetch(self) -> tuple[NDArray[np.int64], NDArray[np.int32], dict[str, NDArray[Any]]]:
        """The epoch so far on the host: ids [N], labels [N] and signals [N] each, in the order of observation."""
        names = SampleSignals._fields
        if not self._ids:
            nothing = np.empty(0, np.int32)
            return np.empty(0, np.int64), nothing, {name: nothing.view(SIGNALS[name]) for name in names}
        ids = torch.cat(self._ids).cpu().numpy()
        packed = torch.cat(self._rows, dim=1).cpu()
        rows = packed.numpy()
        if self._store.is_multi_label:
            pairs = RowSignals(*(column.view(torch.float32) for column in packed[1:]))
            return ids, rows[0], {n: s.numpy() for n, s in to_sample_signals(pairs, packed[0])._asdict().items()}
        return ids, rows[0], {name: rows[1 + i].view(SIGNALS[name]) for i, name in enumerate(names)}

    def _summary(
        self, epoch: int, observed: int, ids: NDArray[np.int64], kept: Mapping[str, NDArray[Any]]
    ) -> EpochSummary:
        right = kept["predicted_label"] == self._given_labels[ids]
        sums = torch.tensor([len(ids), kept["loss"].sum(dtype=np.float64), right.sum()], dtype=torch.float64)
        recorded, loss, n_right = all_reduce_sum(sums).tolist()
        moving = MovingMoments(1) if self._moving is None else self._moving
        return EpochSummary(
            epoch=epoch,
            recorded=int(recorded),
            missing=self._store.n_rows - int(recorded),
            repeated=observed - int(recorded),
            moments=epoch_moments(torch.from_numpy(kept["alignment"]), all_reduce_sum=all_reduce_sum),
            moving=moving.moments(all_reduce_sum),
            mean_loss=loss / recorded,
            accuracy_on_given=n_right / recorded,
        )

    def _commit(
        self,
        ids: NDArray[np.int64],
        kept: Mapping[str, NDArray[Any]],
        summary: EpochSummary,
        metrics: Mapping[str, float],
    ) -> None:
        attempt = run_on_rank0(lambda: uuid.uuid4().hex[:12])
        with raise_on_all_ranks():
            writer = self._store.begin_epoch(summary.epoch, attempt)
            writer.write_rows(ids, kept, range(process_rank(), self._store.n_blocks, world_size()))
        for written in all_gather(writer.written):
            writer.written |= written
        self._store.remember(run_on_rank0(lambda: writer.commit(repeated=summary.repeated, metrics=metrics)))

    def _check_labels(self, epoch: int, ids: NDArray[np.int64], labels: NDArray[np.int32]) -> None:
        # Here rather than at each step, where ids on a device would have to be waited for.
        outside = np.flatnonzero((ids < 0) | (ids >= self._store.n_rows))
        if len(outside):
            sample = self._store.layout.sample_of(int(ids[outside[0]]))
            raise RecordingError(_out_of_range("sample_ids", sample, self._store.n_samples))
        differing = np.flatnonzero(self._given_labels[ids] != labels)
        if len(differing):
            sample = self._store.layout.sample_of(int(ids[differing[0]]))
            raise RecordingError(
                f"epoch {epoch}: {len(differing)} observed labels are not the run's given labels, the first at sample "
                f"{sample} (observed {labels[differing[0]]}, given {self._given_labels[ids[differing[0]]]}): pass "
                "sample_ids and given labels of the same batch, in the same order; nothing was committed"
            )


def _not_returned(head: LinearHead, model: str, averaged: bool) -> str:
    if averaged:
        return (
            f"the head {head.name!r} of {model} gives logits for every position, and their mean is not what the model "
            "returns (another pooling, an activation in between?): pool before the head"
        )
    kind = "nn.Conv2d" if isinstance(head.module, nn.Conv2d) else "nn.Linear"
    return (
        f"{head.name!r}, the last {kind} of {model}, does not make what the model returns: name the layer whose output "
        "the loss uses as logits with head="
    )


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch compute on the calling thread alone.

    A batch's signals are a millisecond of work. Where other processes keep the cores busy, waiting for a second thread
    to be scheduled made it 40 to 80 ms.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _moved(value: Any, device: torch.device) -> Any:
    return value.to(device, non_blocking=True) if isinstance(value, Tensor) else value


def _integers(values: ArrayLike | Tensor, what: str, rows: int, limit: int) -> Tensor:
    """A copy of ids or labels as int64 [rows], on the device they are on; in range where that can be seen at once."""
    try:
        tensor = torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise RecordingError(f"{what} must be [B] integers: {error}") from error
    if tensor.ndim != 1 or tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
        hint = "the samples' dense ids"
        if what == "labels":
            hint = (
                "the given labels, not one-hot or mixed targets; where mixup or CutMix mixes the inputs, leave out "
                "observe() and call sweep() over unmixed batches after each epoch"
            )
        raise RecordingError(f"{what} must be [B] integers ({hint}), not {tensor.dtype} {list(tensor.shape)}")
    if len(tensor) != rows:
        raise RecordingError(
            f"{len(tensor)} {what} for a forward pass of {rows} samples: call observe() right after the forward pass "
            "that the loss used, with the same batch"
        )
    if rows and tensor.device.type == "cpu":
        low, high = (int(bound) for bound in tensor.aminmax())
        if low < 0 or high >= limit:
            raise RecordingError(_out_of_range(what, low if low < 0 else high, limit))
    return tensor.to(torch.int64, copy=True)


def _zeros_and_ones(values: ArrayLike | Tensor, rows: int, n_classes: int) -> Tensor:
    """A copy of labels [rows, C] as int64, on the device they are on; 0 and 1 alone where that can be seen at once."""
    try:
        tensor = torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise RecordingError(f"labels must be [B, {n_classes}] of 0 and 1: {error}") from error
    if tensor.shape != (rows, n_classes) or tensor.is_complex():
        raise RecordingError(
            f"labels must be [{rows}, {n_classes}] of 0 and 1, a place for each class, not {tensor.dtype} "
            f"{list(tensor.shape)}: call observe() right after the forward pass that the loss used, with the same batch"
        )
    valid = (tensor == 0) | (tensor == 1)
    if tensor.device.type != "cpu":
        tensor = torch.where(valid, tensor, -torch.ones_like(tensor))  # told when the epoch ends, without waiting here
    elif not bool(valid.all()):
        raise RecordingError(
            "labels hold other values than 0 and 1, as smoothed or mixed targets do: pass the samples' own given "
            "labels; where mixup or CutMix mixes the inputs, call sweep() over unmixed batches after each epoch"
        )
    return tensor.to(torch.int64, copy=True)


def _out_of_range(what: str, value: int, limit: int) -> str:
    source = "class numbers" if what == "labels" else "row numbers of the run"
    return f"{what} hold {value}, expected {source} from 0 to {limit - 1}"


def _first_occurrences(ids: NDArray[np.int64], n_rows: int) -> NDArray[np.int64]:
    """Where each id occurs first, by id: [distinct ids]."""
    position = np.full(n_rows, -1, dtype=np.int64)
    # Assigned from the back, so that the first occurrence is written last.
    position[ids[::-1]] = np.arange(len(ids) - 1, -1, -1)
    return position[position >= 0]


def _check_finite(epoch: int, ids: NDArray[np.int64], signals: Mapping[str, NDArray[Any]]) -> None:
    bad = np.zeros(len(ids), dtype=bool)
    for values in signals.values():
        bad |= ~np.isfinite(values)
    if bad.any():
        shown = ", ".join(str(sample) for sample in ids[bad][:5])
        raise RecordingError(
            f"epoch {epoch}: the signals of {bad.sum()} samples are NaN or infinite (sample ids {shown}"
            f"{', ...' if bad.sum() > 5 else ''}): the model diverged or these inputs hold NaN; look at these samples, "
            "or train with a lower learning rate or without float16; nothing was committed, discard_epoch() forgets it"
        )


def _metrics(summary: EpochSummary) -> dict[str, float]:
    return {
        "directional_alignment": summary.moments.directional_alignment,
        "dispersion": summary.moments.dispersion,
        "gwa": summary.moments.gwa,
        "moving_directional_alignment": summary.moving.directional_alignment,
        "moving_dispersion": summary.moving.dispersion,
        "moving_gwa": summary.moving.gwa,
        "mean_loss": summary.mean_loss,
        "accuracy_on_given": summary.accuracy_on_given,
    }
