"""Record while a Hugging Face Trainer trains a text or image classifier.

    with record_alignment(trainer, store):
        trainer.train()

Trainer's callbacks see neither logits nor which samples a batch holds, and it drops columns that the model does not
know. So inside the block every training sample carries its index past that, and `compute_loss` takes it out of the
batch, lets Trainer compute the loss as ever, and observes. Afterwards the Trainer is as it was.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from gwaudit.core.errors import RecordingError
from gwaudit.data.sample_ids import SAMPLE_ID, WithSampleIds
from gwaudit.recording._loop_recorder import LoopRecorder, not_installed, require_one_process
from gwaudit.recording.recorder import AlignmentRecorder
from gwaudit.store.store import TrajectoryStore

try:
    from transformers import Trainer, TrainerCallback, default_data_collator
except ImportError as error:  # transformers without accelerate has no Trainer
    raise not_installed("transformers with accelerate", "transformers") from error


@contextmanager
def record_alignment(
    trainer: Trainer,
    store: TrajectoryStore,
    *,
    head: str | nn.Module | None = None,
    sweep_loader: Iterable[Mapping[str, Any]] | None = None,
) -> Iterator[None]:
    """Record what `trainer.train()` does inside this block, and commit every epoch to a run.

    A sample's id is its row in `trainer.train_dataset`. Works with any collator, workers, gradient accumulation, label
    smoothing, mixed precision, `torch_compile`, gradient checkpointing and evaluation in between. Where the collator
    mixes samples (soft targets), each epoch is recorded by a sweep after it, which is said once.

    Args:
        trainer: built, not yet trained; its training data have a length and hold one label a sample.
        store: the run, open for writing; its given labels are those of the training data, row by row.
        head: as for `gwaudit.AlignmentRecorder`.
        sweep_loader: record by a sweep over these batches after each epoch, rather than the training batches: mappings
            as the model takes them, with labels and `sample_id`.

    Raises:
        DataError: training data that are a stream, or samples that are not mappings.
        RecordingError: no training data, another number of samples than the run's, or several processes.
        ModelError, RecordingError, StoreError: while training, as `gwaudit.AlignmentRecorder` does.
    """
    data = _checked_data(trainer, store)
    recording = _Recording(trainer, store, head, sweep_loader)
    callback = _Epochs(recording)
    inside: Any = trainer  # what follows is no part of its declared interface
    before = inside.train_dataset, inside.data_collator, inside._signature_columns
    inside.train_dataset, inside.data_collator = data, _KeepIds(inside.data_collator)
    inside._set_signature_columns_if_needed()
    inside._signature_columns = [*inside._signature_columns, SAMPLE_ID]
    inside.compute_loss = recording.compute_loss
    inside.add_callback(callback)
    try:
        yield
    finally:
        recording.loop.detach()
        inside.remove_callback(callback)
        del inside.compute_loss
        inside.train_dataset, inside.data_collator, inside._signature_columns = before


class _Recording:
    """What takes the place of a Trainer's `compute_loss`."""

    def __init__(
        self,
        trainer: Trainer,
        store: TrajectoryStore,
        head: str | nn.Module | None,
        sweep_loader: Iterable[Mapping[str, Any]] | None,
    ) -> None:
        self.trainer, self._sweep_loader = trainer, sweep_loader
        self._compute_loss: Callable[..., Any] = trainer.compute_loss
        self.loop = LoopRecorder(store, head=head, sweep=self._sweep, always_sweep=sweep_loader is not None)

    def compute_loss(self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        sample_ids = inputs.pop(SAMPLE_ID, None)
        labels = {name: inputs[name] for name in self.trainer.label_names if name in inputs}  # before it pops them
        loss = self._compute_loss(model, inputs, *args, **kwargs)
        # Evaluation, also on the training data, calls this, too.
        if sample_ids is not None and model.training and not self.loop.sweeps:
            self.loop.observe(sample_ids, _only(labels))
        return loss

    def _sweep(self, recorder: AlignmentRecorder) -> None:
        loader = self._unmixed() if self._sweep_loader is None else self._sweep_loader
        recorder.sweep(self._parts(batch) for batch in loader)

    def _parts(self, batch: Mapping[str, Any]) -> tuple[dict[str, Any], Tensor, Tensor]:
        inputs = dict(batch)
        if SAMPLE_ID not in inputs:
            raise RecordingError(f"a batch of sweep_loader has no {SAMPLE_ID!r}: wrap its data set in WithSampleIds")
        sample_ids = inputs.pop(SAMPLE_ID)
        labels = {name: inputs.pop(name) for name in self.trainer.label_names if name in inputs}
        return inputs, _only(labels), sample_ids

    def _unmixed(self) -> DataLoader[Any]:
        trainer: Any = self.trainer
        collator = trainer._get_collator_with_removed_columns(_KeepIds(default_data_collator))
        return DataLoader(trainer.train_dataset, trainer.args.train_batch_size, collate_fn=collator)


class _Epochs(TrainerCallback):
    """Tells the recording where the Trainer is."""

    def __init__(self, recording: _Recording) -> None:
        self._loop, self._trainer = recording.loop, recording.trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._loop.attach(self._trainer.model_wrapped)
        self._loop.start(int(state.epoch or 0))

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._loop.begin_epoch(int(state.epoch or 0))

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # The epoch's last step: here and not at its end, as a checkpoint of it may be saved in between.
        if float(state.epoch).is_integer():
            self._loop.end_epoch()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._loop.end_epoch()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._loop.detach()


@dataclass(frozen=True)
class _KeepIds:
    """A collator that sees samples without their ids, and puts the ids beside what it makes of them."""

    collate: Callable[[list[Any]], Any]

    def __call__(self, samples: list[Any]) -> Any:
        if not samples or not isinstance(samples[0], Mapping) or SAMPLE_ID not in samples[0]:
            return self.collate(samples)  # evaluation data
        ids = torch.tensor([sample[SAMPLE_ID] for sample in samples])
        batch = self.collate([{k: v for k, v in sample.items() if k != SAMPLE_ID} for sample in samples])
        batch[SAMPLE_ID] = ids
        return batch


def _checked_data(trainer: Trainer, store: TrajectoryStore) -> WithSampleIds:
    if trainer.train_dataset is None:
        raise RecordingError("the Trainer has no train_dataset")
    require_one_process(trainer.args.world_size)
    data = WithSampleIds(cast(Any, trainer.train_dataset))
    if len(data) != store.n_samples:
        raise RecordingError(
            f"train_dataset has {len(data)} samples, the run {store.path} has {store.n_samples}: create the run with "
            "the labels of this data set"
        )
    return data


def _only(labels: Mapping[str, Any]) -> Tensor:
    if len(labels) != 1:
        raise RecordingError(
            f"expected one kind of labels in a batch, found {', '.join(labels) or 'none'}: name it in label_names of "
            "TrainingArguments"
        )
    label: Tensor = next(iter(labels.values()))
    return label
