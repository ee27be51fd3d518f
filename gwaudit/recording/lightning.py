"""Record the training of a Lightning Trainer.

callback = AlignmentCallback(store)
Trainer(max_epochs=10, callbacks=[callback]).fit(module, loader)   # batches of (inputs, labels, sample_ids)
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import timm.data
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from gwaudit.core.errors import RecordingError
from gwaudit.recording._loop_recorder import LoopRecorder, not_installed, require_one_process
from gwaudit.recording.recorder import AlignmentRecorder
from gwaudit.store.store import TrajectoryStore

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
except ModuleNotFoundError as error:
    raise not_installed("Lightning", "lightning") from error


class AlignmentCallback(Callback):
    """Record every training batch of `Trainer.fit`, and commit every epoch to a run.

    Batches are (inputs, labels, sample_ids); `gwaudit.WithSampleIds` adds the ids to any data set, and `training_step`
    has to take them. Validation and sanity checks are not recorded. If batches have soft targets, or the module holds
    timm's or torchvision's mixup or CutMix, each epoch is recorded by an evaluation pass after it, and a warning says
    so once. A batch that `training_step` skips by returning None is recorded if its forward pass was made, and is
    missing otherwise. Passes without gradient are ignored. If several training passes in a step have the batch's number
    of samples, let `training_step` return {"loss": loss, "logits": logits} with the logits of the batch.

    Args:
        store: The run, open for writing; its given labels are those of the training data.
        head: The layer that computes the logits, or its name in the LightningModule. It is needed if it is not the last
            linear layer, or if `training_step` calls parts of the module and not `self(inputs)` or one network in it.
        unpack: Returns (inputs, labels, sample_ids) for a batch that is not such a tuple.
        evaluation_loader: Batches for an evaluation pass that records each epoch, instead of the training batches. It
            is needed if `training_step` mixes samples with code of its own, which is not visible from outside.

    Raises:
        ModelError, RecordingError, StoreError: While fitting, as `gwaudit.AlignmentRecorder`.

    Example:
        >>> from lightning.pytorch import Trainer  # doctest: +SKIP
        >>> Trainer(max_epochs=10, callbacks=[AlignmentCallback(store)]).fit(module, loader)  # doctest: +SKIP
    """

    def __init__(
        self,
        store: TrajectoryStore,
        *,
        head: str | nn.Module | None = None,
        unpack: Callable[[Any], tuple[Any, Tensor, Tensor]] | None = None,
        evaluation_loader: Iterable[Any] | None = None,
    ) -> None:
        self._head, self._unpack, self._evaluation_loader = head, unpack or _unpack, evaluation_loader
        self._trainer: Trainer | None = None
        self._loop = LoopRecorder(
            store, head=head, record_pass=self._record_pass, use_passes=evaluation_loader is not None
        )

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Attach the recorder, before the sanity check runs a model that may be compiled."""
        require_one_process(trainer.world_size)
        self._trainer = trainer
        self._loop.attach(pl_module if self._head is not None else _network(pl_module))
        if (mixing := _find_mixing(pl_module)) is not None:
            self._loop.switch_to_passes(f"the module holds {mixing}, which mixes samples")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check that the run holds the epochs before the first one of this training."""
        self._loop.start(trainer.current_epoch)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin an epoch."""
        self._loop.begin_epoch(trainer.current_epoch)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Begin a step."""
        self._loop.begin_step()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Observe a batch. The last one ends the epoch, before validation, which may save a checkpoint of it."""
        if not self._loop.uses_passes:
            _, labels, sample_ids = self._unpack(batch)
            logits = outputs.get("logits") if isinstance(outputs, Mapping) else None
            is_of_batch = isinstance(logits, Tensor) and logits.ndim == 2 and len(logits) == len(labels)
            # Lightning gives no outputs if `training_step` returned None, to skip the batch.
            self._loop.observe(sample_ids, labels, logits if is_of_batch else None, may_skip=not outputs)
        if trainer.is_last_batch:
            self._loop.end_epoch()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End an epoch that was stopped before its last batch."""
        self._loop.end_epoch()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Detach the recorder."""
        self._loop.detach()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Detach the recorder."""
        self._loop.detach()
        self._trainer = None

    def _record_pass(self, recorder: AlignmentRecorder) -> None:
        assert self._trainer is not None
        loader = self._evaluation_loader
        if loader is None:
            loader = _unmixed(self._trainer.train_dataloader)
        with self._trainer.precision_plugin.forward_context():
            recorder.record_pass(self._unpack(batch) for batch in loader)


def _unpack(batch: Any) -> tuple[Any, Tensor, Tensor]:
    if isinstance(batch, tuple | list) and len(batch) == 3:
        return batch[0], batch[1], batch[2]
    kind = f"{len(batch)} parts" if isinstance(batch, tuple | list) else type(batch).__name__
    raise RecordingError(
        f"a training batch must be (inputs, labels, sample_ids), not {kind}: add the ids with "
        "gwaudit.WithSampleIds(dataset), or give unpack="
    )


def _network(module: LightningModule) -> nn.Module:
    """Return the network that a LightningModule wraps, if it is one child, else the module itself."""
    networks = [
        child for child in module.children() if any(isinstance(part, nn.Linear | nn.Conv2d) for part in child.modules())
    ]
    return networks[0] if len(networks) == 1 else module


def _find_mixing(module: LightningModule) -> str | None:
    """Return the name of the mixup or CutMix of timm or torchvision that a LightningModule holds, or None."""
    held: list[Any] = [*module.modules(), *vars(module).values()]
    for part in held:
        if isinstance(part, timm.data.Mixup | v2.MixUp | v2.CutMix):
            return type(part).__name__
        if isinstance(part, v2.RandomChoice | v2.RandomApply | v2.Compose):
            held.extend(part.transforms)  # which the loop reaches later
    return None


def _unmixed(loader: Any) -> DataLoader[Any]:
    """Return a loader of the same samples without the collation that mixes them."""
    if not isinstance(loader, DataLoader):
        raise RecordingError(
            f"the training batches are mixed and come from a {type(loader).__name__}, so no unmixed ones can be made: "
            "give evaluation_loader="
        )
    return DataLoader(loader.dataset, batch_size=loader.batch_size or 64, num_workers=loader.num_workers)
