"""Record while a Lightning Trainer trains.

callback = AlignmentCallback(store)
Trainer(max_epochs=10, callbacks=[callback]).fit(module, loader)   # the loader gives (inputs, labels, sample_ids)
"""

from collections.abc import Callable, Iterable
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
    """Records every training batch of `Trainer.fit`, and commits every epoch to a run.

    Batches are (inputs, labels, sample_ids); `gwaudit.WithSampleIds` adds the ids to any data set, and
    `training_step` has to expect them. Validation and sanity checks are not recorded. Where batches come with soft
    targets, or the module holds timm's or torchvision's mixup or CutMix, each epoch is recorded by a sweep after it,
    which is said once.

    Args:
        store: the run, open for writing; its given labels are those of the training data.
        head: the layer that makes the logits, or its name in the LightningModule, where it is not the last linear
            layer, or where `training_step` calls parts of the module and not `self(inputs)` or one network in it.
        unpack: (inputs, labels, sample_ids) of a batch that is not this tuple.
        sweep_loader: record by a sweep over these batches after each epoch, rather than the training batches: needed
            where `training_step` mixes samples by means of its own, which nobody sees from outside.

    Raises:
        ModelError, RecordingError, StoreError: while fitting, as `gwaudit.AlignmentRecorder` does.
    """

    def __init__(
        self,
        store: TrajectoryStore,
        *,
        head: str | nn.Module | None = None,
        unpack: Callable[[Any], tuple[Any, Tensor, Tensor]] | None = None,
        sweep_loader: Iterable[Any] | None = None,
    ) -> None:
        self._head, self._unpack, self._sweep_loader = head, unpack or _unpack, sweep_loader
        self._trainer: Trainer | None = None
        self._loop = LoopRecorder(store, head=head, sweep=self._sweep, always_sweep=sweep_loader is not None)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Attach, before the sanity check runs a model that may be compiled."""
        require_one_process(trainer.world_size)
        self._trainer = trainer
        self._loop.attach(pl_module if self._head is not None else _network(pl_module))
        if (mixing := _mixing(pl_module)) is not None:
            self._loop.sweep_from_now(f"the module holds {mixing}, which mixes samples")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare the epoch that training goes on from with the run's."""
        self._loop.start(trainer.current_epoch)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin an epoch."""
        self._loop.begin_epoch(trainer.current_epoch)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Observe. The last batch ends the epoch here, as validation may save a checkpoint of it."""
        if not self._loop.sweeps:
            _, labels, sample_ids = self._unpack(batch)
            self._loop.observe(sample_ids, labels)
        if trainer.is_last_batch:
            self._loop.end_epoch()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End an epoch that was cut short."""
        self._loop.end_epoch()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Detach."""
        self._loop.detach()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Detach."""
        self._loop.detach()
        self._trainer = None

    def _sweep(self, recorder: AlignmentRecorder) -> None:
        assert self._trainer is not None
        loader = self._sweep_loader
        if loader is None:
            loader = _unmixed(self._trainer.train_dataloader)
        with self._trainer.precision_plugin.forward_context():
            recorder.sweep(self._unpack(batch) for batch in loader)


def _unpack(batch: Any) -> tuple[Any, Tensor, Tensor]:
    if isinstance(batch, tuple | list) and len(batch) == 3:
        return batch[0], batch[1], batch[2]
    what = f"{len(batch)} parts" if isinstance(batch, tuple | list) else type(batch).__name__
    raise RecordingError(
        f"a training batch must be (inputs, labels, sample_ids), not {what}: add the ids with "
        "gwaudit.WithSampleIds(dataset), or give unpack="
    )


def _network(module: LightningModule) -> nn.Module:
    """The network that a LightningModule wraps, where it is one child, else the module itself."""
    networks = [
        child for child in module.children() if any(isinstance(part, nn.Linear | nn.Conv2d) for part in child.modules())
    ]
    return networks[0] if len(networks) == 1 else module


def _mixing(module: LightningModule) -> str | None:
    """The mixup or CutMix of timm or torchvision that a LightningModule holds to mix in its `training_step`."""
    held: list[Any] = [*module.modules(), *vars(module).values()]
    for part in held:
        if isinstance(part, timm.data.Mixup | v2.MixUp | v2.CutMix):
            return type(part).__name__
        if isinstance(part, v2.RandomChoice | v2.RandomApply | v2.Compose):
            held.extend(part.transforms)  # and so looked at in their turn
    return None


def _unmixed(loader: Any) -> DataLoader[Any]:
    """A loader of the same samples without the collation that mixes them."""
    if not isinstance(loader, DataLoader):
        raise RecordingError(
            f"the training batches are mixed and come from a {type(loader).__name__}, so unmixed ones cannot be had: "
            "give sweep_loader="
        )
    return DataLoader(loader.dataset, batch_size=loader.batch_size or 64, num_workers=loader.num_workers)
