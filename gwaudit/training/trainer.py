"""The reference trainer: one ordinary training run, recorded, that can be killed and resumed at any moment.

Each epoch trains, saves its checkpoint and only then commits what it recorded. The last committed epoch therefore
always has its checkpoint, and a resumed run goes on from there. All randomness of an epoch is drawn from (seed, epoch),
so on a CPU a resumed run ends bit-equal to an unbroken one with the same number of threads.

Under torchrun each rank trains on its share of every batch, and rank 0 saves and commits. The draws are those of one
process, and so is each step, but for the order of its sums, for what RandAugment and dropout draw, and for batch norm,
which normalises over a rank's share. A run can be resumed with another number of ranks.
"""

import hashlib
import math
import pickle
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Protocol

import torch
from timm.utils import ModelEmaV3
from torch import Tensor, nn

from gwaudit.analysis.early_stopping import SelectedEpoch, recorded_moments, select_epoch, should_stop
from gwaudit.core.errors import DataError, ModelError, RecordingError, SettingsError, StoreDamagedError, StoreError
from gwaudit.core.files import write_atomically
from gwaudit.core.settings import DataSettings, TrainingSettings
from gwaudit.data.dataset import LabeledDataset
from gwaudit.recording.distributed import (
    all_gather,
    average_statistics,
    in_parallel,
    init_process_group,
    is_rank0,
    process_rank,
    raise_on_all_ranks,
    rank_slice,
    run_on_rank0,
    shared_store,
    world_size,
)
from gwaudit.recording.head import find_head
from gwaudit.recording.recorder import AlignmentRecorder
from gwaudit.store.store import FINAL_SWEEP, TrajectoryStore
from gwaudit.training.augmentation import Part, alternating_flips, augment, normalise
from gwaudit.training.device import autocast, device_of
from gwaudit.training.frozen_features import frozen_latents
from gwaudit.training.loss import Objective
from gwaudit.training.models import build_feature_head, build_model
from gwaudit.training.optimizer import build_optimizer, build_schedule
from gwaudit.training.progress import EpochReport, Progress, StepReport
from gwaudit.training.small_networks import WhitenedNet

_WHITENING_SAMPLES = 5000


class EpochProbe(Protocol):
    """Who measures something of the model after each epoch of training: on a test set, say. Rank 0 alone is asked."""

    def measure(self, epoch: int, model: nn.Module, prepared: Callable[[Tensor], Tensor]) -> Mapping[str, float]:
        """Numbers that are committed with the epoch, so that a resumed run does not ask for them again.

        Args:
            epoch: from 0.
            model: in training mode, which it has to be left in; its weights and buffers are not to be touched.
            prepared: makes of inputs, as `LabeledDataset.read` gives them, what the model takes, on its device.
        """


@dataclass(frozen=True)
class TrainingResult:
    """A finished run: its folder, the epochs recorded, the epoch that the rule chose, and the seconds taken."""

    run: Path
    epochs: int
    choice: SelectedEpoch
    seconds: float


def train(
    dataset: LabeledDataset,
    run: Path | str,
    settings: TrainingSettings | None = None,
    *,
    resume: bool = False,
    data: DataSettings | None = None,
    targets: Tensor | None = None,
    progress: Progress | None = None,
    probe: EpochProbe | None = None,
) -> TrainingResult:
    """Train once on a data set and record every sample's alignment every epoch.

    Under torchrun, or in a process group that is initialised, all ranks must call; they share each batch.

    Args:
        dataset: what to train on; its given labels are those that are audited.
        run: the run's folder, which must be new unless `resume`.
        settings: how to train.
        resume: go on after the last committed epoch of the run, or start it.
        data: how the data set was loaded, kept in the run so that later steps find it again.
        targets: [n, C] class distributions to learn in place of the given labels, which stay what is audited.
        progress: told about steps and epochs, on rank 0.
        probe: measures the model after each epoch of training; its time is not in the epoch's `seconds`.

    Raises:
        StoreExistsError: the folder holds a run, and `resume` is not asked for.
        SettingsError: the run was made with other settings or other data.
        ModelError: an unknown model, or one without a linear head.
        RecordingError: the training diverged.
    """
    settings = settings or TrainingSettings()
    init_process_group(settings.device)
    with raise_on_all_ranks():
        training = _Training(
            dataset, settings, progress, targets, probe
        )  # first, as what cannot be built needs no folder
    with shared_store(lambda: _open_store(dataset, Path(run), settings, resume, data, targets)) as store:
        return training.run(store)


def predict(run: Path | str, trained_on: LabeledDataset, dataset: LabeledDataset) -> Tensor:
    """What a finished run's model says of samples, under the weights of its chosen epoch and without augmentation.

    Ranks share the samples; all of them must call, and get the whole.

    Args:
        run: the run's folder.
        trained_on: its data set, for classes and channel statistics.
        dataset: what to predict.

    Returns:
        [n, C] float32 class probabilities on the CPU, for images the mean of each as it is and mirrored. Where samples
        have any number of classes each is a probability of its own, and a row need not sum to one.

    Raises:
        StoreDamagedError: the checkpoint is missing or broken.
    """
    with raise_on_all_ranks(), TrajectoryStore.open(run) as store:
        training = _Training(trained_on, TrainingSettings.from_dict(store.settings["training"]))
        training.restore(store.checkpoints / "best.pt")
    return training.predict(dataset)


class _Training:
    """The model, its optimizer and schedule, and the store that they are kept in step with."""

    store: TrajectoryStore

    def __init__(
        self,
        dataset: LabeledDataset,
        settings: TrainingSettings,
        progress: Progress | None = None,
        targets: Tensor | None = None,
        probe: EpochProbe | None = None,
    ) -> None:
        self.probe = probe
        self.progress = progress if is_rank0() else None
        self.fingerprint = dataset.fingerprint
        self.settings, self.targets = settings, targets
        self.dataset = dataset = self._as_trained(dataset)
        self.device = device_of(settings.device)
        self.labels = torch.from_numpy(dataset.labels)
        self.objective = Objective(self.labels, len(dataset.class_names), settings)
        mean, std = dataset.channel_statistics()
        self.mean, self.std = torch.as_tensor(mean).float(), torch.as_tensor(std).float()
        self.views = 2 if dataset.modality == "images" else 1  # as they are, and mirrored
        self.steps = len(self._batches(torch.arange(len(dataset))))
        self.updates_per_epoch = math.ceil(self.steps / settings.accumulate)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            model = self._build()
        _require_head(model, type(model).__name__, len(dataset.class_names))
        self.model: nn.Module = model.to(self.device).to(memory_format=torch.channels_last)
        self.optimizer = build_optimizer(self.model, settings)
        self.schedule = build_schedule(self.optimizer, settings, self.updates_per_epoch * settings.epochs)
        self.ema = None if settings.ema_decay is None else ModelEmaV3(self.model, decay=settings.ema_decay)

    def _as_trained(self, dataset: LabeledDataset) -> LabeledDataset:
        """The data as the model takes them: latents, where the backbone is frozen."""
        if dataset.modality == "images" and self.settings.backbone == "frozen":
            return frozen_latents(dataset, self.settings, self.progress)
        return dataset

    def _build(self) -> nn.Module:
        dataset, settings, n_classes = self.dataset, self.settings, len(self.dataset.class_names)
        if dataset.modality == "features":
            return build_feature_head(settings.head, n_features=dataset.input_shape[0], n_classes=n_classes)
        if dataset.modality != "images":
            raise DataError(
                f"{dataset.name} holds {dataset.modality}: embed them first, as gwaudit.training.frozen_features does"
            )
        channels, height, _ = dataset.input_shape
        model = build_model(
            settings.model,
            n_classes=n_classes,
            in_chans=channels,
            image_size=height,
            pretrained=settings.pretrained,
            checkpoint=None if settings.checkpoint is None else Path(settings.checkpoint),
        )
        if isinstance(model, WhitenedNet) and not settings.pretrained and settings.checkpoint is None:
            some = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(0))[:_WHITENING_SAMPLES]
            model.whiten(normalise(dataset.read(some), self.mean, self.std))
        return model

    def run(self, store: TrajectoryStore) -> TrainingResult:
        began = time.monotonic()
        self.store, settings = store, self.settings
        with raise_on_all_ranks():
            if store.fingerprint != self.fingerprint:
                raise SettingsError(
                    f"rank {process_rank()} has other data or labels than rank 0: give all ranks the same"
                )
            if store.next_epoch > 0:
                self.restore(self._checkpoint(len(self.store.training_epochs) - 1))
        if store.next_epoch > 0:
            run_on_rank0(self._keep_best)
        self.parallel = in_parallel(self.model, self.device)
        with AlignmentRecorder(self.model, store) as recorder:
            while len(self.store.training_epochs) < settings.epochs and not self._stops():
                self._run_epoch(store.next_epoch, recorder)
            while store.next_epoch < len(self.store.training_epochs) + min(settings.final_sweeps, self.views):
                self._final_sweep(store.next_epoch, recorder)
        choice = select_epoch(settings.select, recorded_moments(self.store), total_epochs=settings.epochs)
        return TrainingResult(store.path, len(self.store.training_epochs), choice, time.monotonic() - began)

    def _final_sweep(self, epoch: int, recorder: AlignmentRecorder) -> None:
        began = time.monotonic()
        mirrored = epoch - len(self.store.training_epochs)
        with self._autocast():
            recorder.sweep(self._sweep_batches(mirrored=bool(mirrored)), metrics={FINAL_SWEEP: mirrored})
        if self.progress is not None:
            self.progress.on_sweep(time.monotonic() - began)

    def _run_epoch(self, epoch: int, recorder: AlignmentRecorder) -> None:
        began = time.monotonic()
        # Dropout and RandAugment draw from the global generator: seeded for the epoch, and given back after it.
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            # Ranks draw differently, lest they drop out the same units of different samples.
            torch.manual_seed(self.settings.seed * 1_000_003 + epoch + (process_rank() << 40))
            self._train_epoch(epoch, recorder)
        for model in (self.model,) if self.ema is None else (self.model, self.ema.module):
            average_statistics(model)
        run_on_rank0(lambda: self._save(epoch))
        spent = {"seconds": time.monotonic() - began, **run_on_rank0(lambda: self._measured(epoch))}
        if self.settings.record == "online":
            summary = recorder.end_epoch(spent)
        else:
            with self._autocast():
                summary = recorder.sweep(self._sweep_batches(), metrics=spent)
        run_on_rank0(lambda: self._tidy(epoch))
        if self.progress is not None:
            seconds = time.monotonic() - began
            rate = self.optimizer.param_groups[0]["lr"]
            report = EpochReport(self.settings.epochs, summary, rate, seconds, len(self.dataset) / seconds)
            self.progress.on_epoch(report)

    def _measured(self, epoch: int) -> Mapping[str, float]:
        return {} if self.probe is None else self.probe.measure(epoch, self.model, self._inputs)

    def _train_epoch(self, epoch: int, recorder: AlignmentRecorder) -> None:
        settings = self.settings
        generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + epoch)
        batches = self._batches(self._order(generator))
        flipped = alternating_flips(len(self.dataset), epoch, settings.seed)
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        update, seen, began, told = epoch * self.updates_per_epoch, 0, time.monotonic(), 0.0
        for step, ids in enumerate(batches):
            loss, counted = self._forward(ids, flipped, generator, recorder)
            group = batches[step - step % settings.accumulate :][: settings.accumulate]
            # Gradients are averaged over ranks: times their number it is the mean over the samples of all.
            (loss * (counted * world_size() / sum(len(batch) for batch in group))).backward()  # type: ignore[no-untyped-call]  # torch's
            if (step + 1) % settings.accumulate == 0 or step + 1 == self.steps:
                self._update(update)
                update += 1
            seen += len(ids)
            now = time.monotonic()
            if self.progress is not None and (now - told > 0.25 or step + 1 == self.steps):
                told = now
                rate = seen / max(now - began, 1e-9)
                self.progress.on_step(StepReport(epoch, settings.epochs, step, self.steps, float(loss.detach()), rate))
        if not all(bool(torch.isfinite(p).all()) for p in self.model.parameters()):
            raise RecordingError(
                f"epoch {epoch + 1}: the training diverged (weights are NaN or infinite); lower the learning rate "
                f"({settings.learning_rate}) or set a gradient clip, and start a new run"
            )

    def _forward(
        self, ids: Tensor, flipped: Tensor, generator: torch.Generator, recorder: AlignmentRecorder
    ) -> tuple[Tensor, int]:
        """The mean loss of this rank's share of a batch, which is observed, and how many samples that is."""
        mine = rank_slice(len(ids))
        counted = mine.stop - mine.start
        # All ranks must take part in a step: one without a share computes what others have, and it counts nothing.
        places = mine if counted else slice(0, 2)
        part, whole = ids[places], Part(places, len(ids))
        labels = self.labels[part]
        raw = self.dataset.read(part)
        if self.dataset.modality == "images":
            raw = augment(raw, self.settings.augment, generator, flipped=flipped[part], part=whole)
        inputs = self._inputs(raw)
        with self._autocast():
            logits = self.parallel(inputs)
        targets = labels if self.targets is None else self.targets[part]
        targets = targets.to(self.device, non_blocking=True)
        loss = self.objective.loss(logits.float(), targets, labels)
        if self.settings.record == "online" and counted:
            recorder.observe(part, labels)
        return loss, counted

    def _order(self, generator: torch.Generator) -> Tensor:
        """The samples of an epoch, in their order."""
        if self.settings.balance != "sampling":
            return torch.randperm(len(self.dataset), generator=generator)
        weights = self.objective.class_weights[self.labels]
        return torch.multinomial(weights, len(self.dataset), replacement=True, generator=generator)

    def _update(self, update: int) -> None:
        if self.settings.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip_norm)
        self.optimizer.step()
        # After the step, so that a checkpoint holds the rates of the next one.
        self.schedule.step_update(update + 1)
        self.optimizer.zero_grad(set_to_none=True)
        if self.ema is not None:
            self.ema.update(self.model)

    def _batches(self, order: Tensor) -> list[Tensor]:
        """The order cut into batches; a single leftover joins the batch before, as batch norm needs two samples."""
        batches = list(torch.split(order, self.settings.batch_size))
        if len(batches) > 1 and len(batches[-1]) == 1:
            batches[-2:] = [torch.cat(batches[-2:])]
        return batches

    def _inputs(self, raw: Tensor) -> Tensor:
        # Images travel as uint8, a quarter of their size.
        normal = normalise(raw.to(self.device, non_blocking=True), self.mean.to(self.device), self.std.to(self.device))
        return normal.contiguous(memory_format=torch.channels_last) if normal.ndim == 4 else normal

    def _sweep_batches(self, *, mirrored: bool = False) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        for ids in self._shared_out(self.dataset):
            images = self.dataset.read(ids)
            yield self._inputs(images.flip(3) if mirrored else images), self.labels[ids], ids

    def _shared_out(self, dataset: LabeledDataset) -> tuple[Tensor, ...]:
        """This rank's batches of a pass without training."""
        return torch.split(torch.arange(len(dataset)), 2 * self.settings.batch_size)[process_rank() :: world_size()]

    def _autocast(self) -> AbstractContextManager[object]:
        return autocast(self.settings.dtype, self.device)

    def _stops(self) -> bool:
        settings, moments = self.settings, recorded_moments(self.store)
        if settings.patience is None or not moments:
            return False
        return should_stop(settings.select, moments, patience=settings.patience, total_epochs=settings.epochs)

    def _checkpoint(self, epoch: int) -> Path:
        return self.store.checkpoints / f"epoch-{epoch:05d}.pt"

    def _save(self, epoch: int) -> None:
        state = {
            "epoch": epoch,
            "settings": self.settings.to_dict(),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ema": None if self.ema is None else self.ema.module.state_dict(),
        }
        path = self._checkpoint(epoch)
        try:
            write_atomically(path, lambda temporary: torch.save(state, temporary))
        except RuntimeError as error:  # torch reports a full disk as a RuntimeError
            raise StoreError(
                f"cannot write {path}: {str(error).splitlines()[0]}. Make room and go on with --resume; "
                "what was committed is intact"
            ) from error

    def predict(self, dataset: LabeledDataset) -> Tensor:
        dataset = self._as_trained(dataset)
        self.model.eval()
        with torch.no_grad(), self._autocast():
            parts = [self._probabilities(dataset.read(ids)) for ids in self._shared_out(dataset)]
        batches = zip_longest(*all_gather(parts))
        return torch.cat([part for turn in batches for part in turn if part is not None])

    def _probabilities(self, inputs: Tensor) -> Tensor:
        views = (inputs, inputs.flip(3)) if self.views == 2 else (inputs,)
        logits = [self.model(self._inputs(view)).float() for view in views]
        several = self.dataset.is_multi_label
        return torch.stack([each.sigmoid() if several else each.softmax(1) for each in logits]).mean(0).cpu()

    def restore(self, path: Path) -> None:
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            if self.ema is not None:
                self.ema.module.load_state_dict(state["ema"])
        except (OSError, RuntimeError, KeyError, ValueError, EOFError, pickle.UnpicklingError) as error:
            raise StoreDamagedError(
                f"{path} is missing or broken ({str(error).splitlines()[0]}): restore it, or start a new run"
            ) from error

    def _tidy(self, epoch: int) -> None:
        """Keep the checkpoints of this epoch, the last one committed, and of the chosen one."""
        self._keep_best()
        for old in self.store.checkpoints.glob("epoch-*.pt"):
            if old != self._checkpoint(epoch):
                old.unlink()

    def _keep_best(self) -> None:
        choice = select_epoch(self.settings.select, recorded_moments(self.store), total_epochs=self.settings.epochs)
        if choice.epoch == len(self.store.training_epochs) - 1:
            source = self._checkpoint(choice.epoch)
            write_atomically(self.store.checkpoints / "best.pt", lambda temporary: shutil.copyfile(source, temporary))


def _open_store(
    dataset: LabeledDataset,
    run: Path,
    settings: TrainingSettings,
    resume: bool,
    data: DataSettings | None,
    targets: Tensor | None,
) -> TrajectoryStore:
    digest = None if targets is None else hashlib.sha256(targets.numpy().tobytes()).hexdigest()
    if not (resume and (run / "run.json").exists()):
        return TrajectoryStore.create(
            run,
            given_labels=dataset.labels,
            class_names=dataset.class_names,
            keys=dataset.keys,
            split=dataset.split,
            settings={
                "training": settings.to_dict(),
                "data": None if data is None else data.to_dict(),
                "targets": digest,
                "modality": dataset.modality,
                "has_texts": dataset.texts is not None,
            },
            fingerprint=dataset.fingerprint,
        )
    store = TrajectoryStore.open(run, writable=True)
    try:
        before = {**TrainingSettings().to_dict(), **store.settings.get("training", {})}
        now = settings.to_dict()
        differing = [name for name in now if before.get(name) != now[name]]
        if differing:
            name = differing[0]
            raise SettingsError(
                f"{run} was made with {name}={before.get(name)!r}, not {now[name]!r}: "
                "resume with the same settings, or start a new run"
            )
        if store.fingerprint != dataset.fingerprint:
            raise SettingsError(f"{run} was made from other data or labels: resume with the same, or start a new run")
        if store.settings.get("targets") != digest:
            raise SettingsError(f"{run} learned other targets: resume with the same, or start a new run")
    except BaseException:
        store.close()
        raise
    return store


def _require_head(model: nn.Module, name: str, n_classes: int) -> None:
    head = find_head(model)
    if head.n_outputs != n_classes:
        raise ModelError(f"the linear head of {name} has {head.n_outputs} outputs, the data {n_classes} classes")
