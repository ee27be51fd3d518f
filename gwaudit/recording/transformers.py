"""Record the training of a Hugging Face Trainer, of a text or image classifier.

    with record_alignment(trainer, store):
        trainer.train()

Trainer's callbacks get neither the logits nor the ids of the samples, and Trainer drops columns that the model does not
take. So inside the block every training sample carries its index, `compute_loss` removes it from the batch, calls
Trainer's `compute_loss`, and observes. After the block the Trainer is restored.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from gwaudit.core.errors import DataError, RecordingError
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
    evaluation_loader: Iterable[Mapping[str, Any]] | None = None,
) -> Iterator[None]:
    """Record every training batch of `trainer.train()` inside this block, and commit every epoch to a run.

    The id of a sample is its row in `trainer.train_dataset`. Any collator, workers, gradient accumulation, label
    smoothing, mixed precision, `torch_compile`, gradient checkpointing and evaluation during the training are
    supported. If the collator mixes samples (soft targets), each epoch is recorded by an evaluation pass after it, and
    a warning says so once.

    Args:
        trainer: The Trainer, before `train()`; its training data have a length and one label per sample.
        store: The run, open for writing; its given labels are those of the training data, row by row.
        head: As for `gwaudit.AlignmentRecorder`.
        evaluation_loader: Batches for an evaluation pass that records each epoch, instead of the training batches:
            mappings as the model takes them, with labels and `sample_id`.

    Raises:
        DataError: The training data are a stream, or their samples are not mappings.
        RecordingError: There are no training data, the run has another number of samples, or several processes train.
        ModelError, RecordingError, StoreError: While training, as `gwaudit.AlignmentRecorder`.

    Example:
        >>> with record_alignment(trainer, store):  # doctest: +SKIP
        ...     trainer.train()
    """
    data = _data_with_ids(trainer, store)
    recording = _Recording(trainer, store, head, evaluation_loader)
    callback = _EpochCallback(recording)
    patched: Any = trainer  # these attributes are not part of its typed interface
    before = patched.train_dataset, patched.data_collator, patched._signature_columns
    patched.train_dataset, patched.data_collator = data, _KeepIds(patched.data_collator)
    patched._set_signature_columns_if_needed()
    patched._signature_columns = [*patched._signature_columns, SAMPLE_ID]
    patched.compute_loss = recording.compute_loss
    patched.add_callback(callback)
    try:
        yield
    finally:
        recording.loop.detach()
        patched.remove_callback(callback)
        del patched.compute_loss
        patched.train_dataset, patched.data_collator, patched._signature_columns = before


class _Recording:
    """Wrap a Trainer's `compute_loss`."""

    def __init__(
        self,
        trainer: Trainer,
        store: TrajectoryStore,
        head: str | nn.Module | None,
        evaluation_loader: Iterable[Mapping[str, Any]] | None,
    ) -> None:
        self.trainer, self._evaluation_loader = trainer, evaluation_loader
        self._compute_loss: Callable[..., Any] = trainer.compute_loss
        self._carries_ids = False
        self.loop = LoopRecorder(
            store, head=head, record_pass=self._record_pass, use_passes=evaluation_loader is not None
        )

    def compute_loss(self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        sample_ids = inputs.pop(SAMPLE_ID, None)
        labels = {
            name: inputs[name] for name in self.trainer.label_names if name in inputs
        }  # before compute_loss pops them
        self.loop.begin_step()
        loss = self._compute_loss(model, inputs, *args, **kwargs)
        # Evaluation, also on the training data, calls this, too.
        if model.training and not self.loop.uses_passes:
            if sample_ids is not None:
                self._carries_ids = True
                self.loop.observe(sample_ids, _only_labels(labels))
            elif not self._carries_ids:
                raise RecordingError(
                    f"the training batches have no {SAMPLE_ID!r}: a data loader of your own (get_train_dataloader) has "
                    "to load trainer.train_dataset, which has the ids inside the block, or "
                    "gwaudit.WithSampleIds(dataset), and its collator has to keep them"
                )
        return loss

    def _record_pass(self, recorder: AlignmentRecorder) -> None:
        loader = self._unmixed() if self._evaluation_loader is None else self._evaluation_loader
        recorder.record_pass(self._parts(batch) for batch in loader)

    def _parts(self, batch: Mapping[str, Any]) -> tuple[dict[str, Any], Tensor, Tensor]:
        inputs = dict(batch)
        if SAMPLE_ID not in inputs:
            raise RecordingError(
                f"a batch of evaluation_loader has no {SAMPLE_ID!r}: wrap its data set in WithSampleIds"
            )
        sample_ids = inputs.pop(SAMPLE_ID)
        labels = {name: inputs.pop(name) for name in self.trainer.label_names if name in inputs}
        return inputs, _only_labels(labels), sample_ids

    def _unmixed(self) -> DataLoader[Any]:
        trainer: Any = self.trainer
        collator = trainer._get_collator_with_removed_columns(_KeepIds(default_data_collator))
        return DataLoader(trainer.train_dataset, trainer.args.train_batch_size, collate_fn=collator)


class _EpochCallback(TrainerCallback):
    """Pass the Trainer's epochs on to the recorder."""

    def __init__(self, recording: _Recording) -> None:
        self._loop, self._trainer = recording.loop, recording.trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._loop.attach(self._trainer.model_wrapped)
        self._loop.start(int(state.epoch or 0))

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._loop.begin_epoch(int(state.epoch or 0))

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # At the epoch's last step and not at its end, as a checkpoint of it may be saved in between.
        if float(state.epoch).is_integer():
            self._loop.end_epoch()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._loop.end_epoch()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._loop.detach()


@dataclass(frozen=True)
class _KeepIds:
    """Collate samples without their ids, and add the ids to the batch."""

    collate: Callable[[list[Any]], Any]

    def __call__(self, samples: list[Any]) -> Any:
        if not samples or not isinstance(samples[0], Mapping) or SAMPLE_ID not in samples[0]:
            return self.collate(samples)  # evaluation data
        ids = torch.tensor([sample[SAMPLE_ID] for sample in samples])
        batch = self.collate([{k: v for k, v in sample.items() if k != SAMPLE_ID} for sample in samples])
        batch[SAMPLE_ID] = ids
        return batch


def _data_with_ids(trainer: Trainer, store: TrajectoryStore) -> WithSampleIds:
    if trainer.train_dataset is None:
        raise RecordingError("the Trainer has no train_dataset: give it the data that the run was created for")
    require_one_process(trainer.args.world_size)
    given: Any = trainer.train_dataset
    data = given if isinstance(given, WithSampleIds) else WithSampleIds(given)
    if len(data) and not isinstance(first := data[0], Mapping):
        raise DataError(
            f"a sample of train_dataset is a {type(first).__name__}: a Trainer takes mappings, such as {{'input_ids': "
            "..., 'labels': ...}"
        )
    if len(data) != store.n_samples:
        raise RecordingError(
            f"train_dataset has {len(data)} samples, the run {store.path} has {store.n_samples}: create the run with "
            "the labels of this data set"
        )
    return data


def _only_labels(labels: Mapping[str, Any]) -> Tensor:
    if len(labels) != 1:
        raise RecordingError(
            f"expected one kind of labels in a batch, found {', '.join(labels) or 'none'}: name it in label_names of "
            "TrainingArguments"
        )
    label: Tensor = next(iter(labels.values()))
    return label
