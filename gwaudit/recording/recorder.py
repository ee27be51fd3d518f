"""Record the alignment of every sample in a training loop, with hooks on the linear head of the model.

    with AlignmentRecorder(model, store) as recorder:
        for epoch in range(epochs):
            for x, y, sample_id in loader:
                loss = criterion(model(x), y)
                recorder.observe(sample_id, y)        # after the forward pass, before the next one
                ...
            recorder.end_epoch()

A hook keeps the input and the output of the head at the last forward pass. `observe` computes the signals of
`gwaudit.recording.alignment.SampleSignals` from them, on the device and without waiting for it. `end_epoch` fetches the
signals and commits them to the store as one epoch. The model's parameters, buffers, outputs and state-dict keys stay
unchanged.

In a multi-label run (a store created with a matrix of labels), `observe` takes the 0/1 matrix of the batch, and a row
is recorded for each sample and class, as `gwaudit.recording.multilabel` describes.

If several ranks train together, each observes the samples that it trained on. `end_epoch` sends the rows to the rank
that owns their block, drops the samples that a sampler repeated to make equal parts, and rank 0 commits.
"""

import warnings
import weakref
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from types import NoneType, TracebackType
from typing import Any, Self

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from gwaudit.core.errors import RecordingError
from gwaudit.recording.attached_hook import AttachedHook
from gwaudit.recording.batch_labels import read_integers, read_keys, read_label_matrix
from gwaudit.recording.distributed import (
    DETACHED,
    WENT_ON,
    announce,
    is_rank0,
    meet,
    process_rank,
    raise_on_all_ranks,
    world_size,
)
from gwaudit.recording.epoch_buffer import EpochBuffer
from gwaudit.recording.epoch_commit import EpochCommitter, EpochSummary
from gwaudit.recording.head import find_head, unwrap
from gwaudit.recording.head_forms import HeadForward
from gwaudit.recording.head_reader import HeadReader
from gwaudit.recording.hooks import HeadHooks, join_devices, require_whole
from gwaudit.recording.modes import evaluation_mode
from gwaudit.recording.passes import choose_pass
from gwaudit.recording.repeats import RepeatWatch
from gwaudit.store.store import TrajectoryStore


class AlignmentRecorder:
    """Record the alignment of every sample with the head of a classifier, epoch by epoch, in a store.

    The alignment of a sample is γ = cos(-∇_θ loss, θ), the cosine between the descent direction of its loss and the
    parameters θ of the linear head (`gwaudit.recording.alignment`): its weight and bias, or its weight only in a run
    that is created with `alignment="weight"`, as in arXiv 2510.25480. Use the recorder as a context manager around the
    training loop: inside the block its hooks are on the model. In a notebook, `attach` and `detach` do the same in
    cells of their own.

    Args:
        model: The classifier that the loop calls, with or without DataParallel, DistributedDataParallel or
            `torch.compile` around it. A compiled model must not have run before the recorder is attached.
        store: The run, open for writing. Its given labels are the labels that are audited. If several ranks train
            together, `gwaudit.shared_store` opens the store for each of them.
        head: The layer that computes the logits, or its name in the model: an `nn.Linear`, an `nn.Conv2d` with one
            logit per class, or a layer whose logits are linear in its input or a scaled cosine. Without it, the layer
            is timm's `get_classifier()`, or else the last `nn.Linear` of the model with one output per class. Every
            observed batch is checked: what the model returns must be the output of the head.

    Raises:
        ModelError: No linear head was found, or the head computes something else.
        RecordingError: The head does not have one output per class, or the store of rank 0 is open for reading only.

    Example:
        >>> import tempfile
        >>> model = nn.Linear(5, 3)
        >>> labels = [0, 1, 2, 0]
        >>> folder = tempfile.mkdtemp()
        >>> store = TrajectoryStore.create(f"{folder}/run", given_labels=labels, class_names=["a", "b", "c"])
        >>> with store, AlignmentRecorder(model, store) as recorder:
        ...     logits = model(torch.randn(4, 5))
        ...     recorder.observe([0, 1, 2, 3], labels)
        ...     recorder.end_epoch().recorded
        4
    """

    def __init__(self, model: nn.Module, store: TrajectoryStore, *, head: str | nn.Module | None = None) -> None:
        self._model = model
        self._store = store
        n_classes = len(store.class_names)
        self._head = find_head(model, head, n_outputs=n_classes)
        if self._head.n_outputs != n_classes:
            way = f"build the model with {n_classes}, or name the right layer with head="
            if self._head.n_outputs == 1 and n_classes == 2:
                way = (
                    "if the loss is a binary cross entropy on one logit, create the run with one class name, the one "
                    f"that 1 stands for, and given labels [n, 1] of 0 and 1; otherwise {way}"
                )
            raise RecordingError(
                f"the head {self._head.name!r} has {self._head.n_outputs} outputs, but the run {store.path} "
                f"has {n_classes} classes: {way}"
            )
        if is_rank0() and not store.writable:
            raise RecordingError(f"the run {store.path} is open for reading: open it with writable=True to record")
        if not is_rank0() and store.writable:
            raise RecordingError(
                f"rank {process_rank()} has opened a run of its own for writing, {store.path}: all ranks record to one "
                "run, opened with shared_store(lambda: TrajectoryStore.create(...))"
            )
        self._reader = HeadReader(self._head, unwrap(model), multi_label=store.is_multi_label)
        self._committer = EpochCommitter(store)
        self._id_of_key: dict[str, int] = {}
        self._hooks = HeadHooks()
        self._handles: list[torch.utils.hooks.RemovableHandle] = []
        self._finalizer = weakref.finalize(self, _remove_all, self._handles)
        self._finalizer.atexit = False
        self._buffer = EpochBuffer(store.layout, store.alignment)
        self._passes_may_be_stale = True
        self._repeats = RepeatWatch(store.n_samples, store.n_samples // world_size())

    def attach(self) -> Self:
        """Attach the hooks to the model, until `detach`, as in a notebook whose loop is spread over cells.

        Attaching again, as when a cell runs twice, begins the epoch anew: it discards the observations that are not
        committed. If the recorder is deleted or replaced, its hooks are removed.

        Returns:
            The recorder.
        """
        if not self._handles:
            head = self._head.module
            keep_forward = AttachedHook(head, self._hooks.head_hook(head))
            self._handles.append(head.register_forward_hook(keep_forward, with_kwargs=True))
            unwrapped = unwrap(self._model)
            keep_output = AttachedHook(unwrapped, self._hooks.output_hook(head))
            self._handles.append(unwrapped.register_forward_hook(keep_output))
        self.discard_epoch()
        return self

    def detach(self) -> None:
        """Detach the hooks from the model. Detaching again does nothing.

        A warning says so if observations are left that no `end_epoch` committed; they are discarded.
        """
        if self._handles:
            announce(self._store.path.name, DETACHED)
        _remove_all(self._handles)
        self._hooks.clear()
        if self._buffer:
            warnings.warn(
                f"{self._buffer.n_samples} observations since the last end_epoch() are not recorded: call end_epoch() "
                "after each pass over the data, also after the last one, or discard_epoch()",
                stacklevel=2,
            )
        self.discard_epoch()

    def __enter__(self) -> Self:
        if self._handles:
            raise RecordingError("this recorder is attached already: enter it once, around the whole training loop")
        return self.attach()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.discard_epoch()
        self.detach()

    def observe(
        self,
        sample_ids: ArrayLike | Tensor | Sequence[str | PathLike[str]],
        labels: ArrayLike | Tensor,
        *,
        logits: Tensor | None = None,
    ) -> None:
        """Compute the signals of the samples of the last forward pass. Call it before the model runs again.

        Forward passes without gradient are ignored if one with gradient has that number of samples. If several training
        passes have, give the logits that belong to the samples.

        Args:
            sample_ids: [B] integers, the ids of the samples in the run, in the order of the batch; keep ids that are
                on the CPU there. Or [B] texts or paths, the keys of the samples in the run, as a WebDataset has in
                `__key__`.
            labels: [B] or [B, 1] integers, or one-hot rows [B, C]: the given labels of the samples in [0, C), also if
                the loss mixes or smooths them. Or [B, C] of 0 and 1, of any dtype, in a multi-label run; [B] too, if
                that has one class.
            logits: [B, C] logits that the loss uses for these samples: the output of the head, or consecutive rows of
                it. Needed if several passes can be meant, or if a pass holds further samples.

        Raises:
            RecordingError: There was no forward pass since the last call, it is not clear which one is meant, the ids
                or labels do not fit it, or the head does not make the logits that the model returns.
        """
        keys = read_keys(sample_ids)
        numbers: Any = sample_ids if keys is None else self._ids_of(keys)
        forward = self._last_forward(_length(numbers), logits)
        batch_size, n_classes = forward.logits.shape[0], len(self._store.class_names)
        ids = read_integers(numbers, "sample_ids", batch_size, self._store.n_samples)
        if self._store.is_multi_label:
            given = read_label_matrix(labels, batch_size, n_classes)
        else:
            given = read_integers(labels, "labels", batch_size, n_classes)
        self._buffer.add(forward, ids, given)
        if self._repeats.see(ids):
            announce(self._store.path.name, WENT_ON)

    def end_epoch(self, metrics: Mapping[str, Any] | None = None) -> EpochSummary:
        """Commit what was observed since the last epoch as the next epoch of the store.

        If a sample was observed twice, the first observation is kept; a sample that was not observed is stored as
        missing. Both are counted. So is a sample whose signals are NaN or infinite; a warning names such samples. If
        several ranks train together, all of them must call; an error of one is raised on all.

        Args:
            metrics: Numbers to store with the epoch, those of rank 0. None is stored as a missing number; values that
                are not numbers are left out, with a warning. The epoch's moments, mean loss and accuracy are added.

        Returns:
            The summary of the epoch, the same on every rank.

        Raises:
            RecordingError: Nothing was observed, or ids or labels are wrong, or more than half of the observed signals
                are not finite, as in a training that diverged. Nothing is committed, and the observations are
                discarded, so that the next epoch can be recorded. Or a rank does not call: at once where it has
                detached its recorder, after half a minute where it observes its samples again, else after ten minutes.
            StoreError: The store cannot be written. The observations are kept, to call `end_epoch` again, until
                `discard_epoch`.
        """
        if not isinstance(metrics, Mapping | NoneType):
            raise RecordingError(
                f"end_epoch() takes numbers by name to store with the epoch, as {{'loss': 0.5}}, not {metrics!r}: the "
                "run counts its epochs itself. What was observed is kept"
            )
        try:
            meet(f"end_epoch() of epoch {self._store.next_epoch} of {self._store.path.name}", self._store.path.name)
            with raise_on_all_ranks():
                self._reader.check()
                observed = self._buffer.fetch()
                self._committer.check(observed)
            summary = self._committer.commit(observed, self._buffer.moving_moments(), metrics or {})
        except RecordingError:
            self.discard_epoch()
            raise
        self.discard_epoch()
        return summary

    def discard_epoch(self) -> None:
        """Discard what was observed since the last committed epoch, and the forward passes that were not observed."""
        if self._handles:
            announce(self._store.path.name, None)
        self._buffer.clear()
        self._repeats.clear()
        self._reader.discard()
        self._hooks.clear()
        self._passes_may_be_stale = True

    def discard_passes(self) -> None:
        """Discard the forward passes that were not observed, so that they are not taken for a later step."""
        self._hooks.clear()
        self._passes_may_be_stale = False

    @property
    def has_passes(self) -> bool:
        """Return whether there was a forward pass through the head that was not observed."""
        return bool(self._hooks)

    def record_pass(
        self,
        batches: Iterable[tuple[Tensor | Mapping[str, Any], Tensor, Tensor]],
        *,
        metrics: Mapping[str, Any] | None = None,
    ) -> EpochSummary:
        """Record one evaluation pass over the data with the current weights, and commit it as an epoch.

        The model runs in evaluation mode and without gradients; the mode of every module is restored. Use
        `torch.autocast` around the call if the training uses it. If several ranks train together, all of them must
        call, each with a part of the batches: any number under DistributedDataParallel, equally many under FSDP.

        Args:
            batches: (inputs, labels, sample_ids), with inputs as the model takes them, without augmentation; a mapping
                for a model that takes its inputs by name.
            metrics: As for `end_epoch`.

        Returns:
            The summary of the epoch, the same on every rank.

        Raises:
            RecordingError: As for `observe` and `end_epoch`, or an epoch is being observed.
        """
        if self._buffer:
            raise RecordingError("an epoch is being observed: call end_epoch() or discard_epoch() before record_pass()")
        self._require_attached()
        meet(f"record_pass() of epoch {self._store.next_epoch} of {self._store.path.name}", self._store.path.name)
        device = next(self._head.module.parameters()).device
        # DistributedDataParallel synchronises buffers in each forward pass, of which ranks can have different numbers.
        distributed = isinstance(self._model, nn.parallel.DistributedDataParallel)
        model: nn.Module = self._model.module if distributed else self._model  # type: ignore[assignment]  # a Tensor to mypy
        try:
            with evaluation_mode(model), raise_on_all_ranks(), torch.no_grad():
                for inputs, labels, sample_ids in batches:
                    self.discard_passes()
                    if isinstance(inputs, Mapping):
                        model(**{name: _to_device(value, device) for name, value in inputs.items()})
                    else:
                        model(_to_device(inputs, device))
                    self.observe(sample_ids, labels)
            return self.end_epoch(metrics)
        finally:
            self.discard_epoch()

    def _require_attached(self) -> None:
        if not self._handles:
            raise RecordingError(
                "the recorder is not attached: use it as `with AlignmentRecorder(model, store) as recorder:` "
                "around the training loop, or call attach() before it"
            )

    def _ids_of(self, keys: Sequence[str]) -> list[int]:
        if not self._id_of_key:
            self._id_of_key = {key: sample_id for sample_id, key in enumerate(self._store.keys())}
            if len(self._id_of_key) < self._store.n_samples:  # in a run that an earlier version created
                self._id_of_key = {}
                raise RecordingError(
                    f"several samples of the run {self._store.path} have one key: observe by sample ids, from 0"
                )
        unknown = [key for key in keys if key not in self._id_of_key]
        if unknown:
            raise RecordingError(
                f"the run {self._store.path} has no sample {unknown[0]!r} ({len(unknown)} of {len(keys)} keys unknown"
                "): create it with the keys that the batches have (keys=)"
            )
        return [self._id_of_key[key] for key in keys]

    def _last_forward(self, n_samples: int, logits: Tensor | None) -> HeadForward:
        """Return the forward pass of the samples that are observed, checked, as that of a linear layer."""
        self._require_attached()
        passes, may_be_stale = self._hooks.take(), self._passes_may_be_stale
        self._passes_may_be_stale = True
        if not passes and all(module is not self._head.module for module in unwrap(self._model).modules()):
            raise RecordingError(
                f"the head {self._head.name!r} is no longer a layer of the model, as it was replaced after the "
                "recorder was made: make a new recorder"
            )
        if not passes:
            raise RecordingError(
                f"no forward pass through the head {self._head.name!r} since the last observe(): call model(inputs), "
                "then observe() once for it, inside the `with` block; if the model was compiled and ran before the "
                "recorder was attached, call torch.compiler.reset() before attaching; if the model does not call that "
                f"layer, name another with head={self._reader.choices()}"
            )
        if logits is None:
            chosen = choose_pass(
                passes,
                n_samples,
                self._head.name,
                may_be_stale=may_be_stale,
                observes_at_once=may_be_stale and bool(self._buffer),
            )
            parts = {device: self._reader.read(call, chosen.returned) for device, call in chosen.parts.items()}
        else:
            forward = self._reader.read_rows(passes, logits)
            parts = {forward.logits.device: forward}
        forward = join_devices(parts, self._model)
        require_whole(forward, self._head)
        return forward


def _length(values: object) -> int:
    """Return the length of ids; -1 if they have none, which `read_integers` refuses."""
    try:
        return len(values)  # type: ignore[arg-type]  # whether it has one is the question
    except TypeError:
        return -1


def _remove_all(handles: list[torch.utils.hooks.RemovableHandle]) -> None:
    while handles:
        handles.pop().remove()


def _to_device(value: Any, device: torch.device) -> Any:
    return value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
