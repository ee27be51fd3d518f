"""Train a network and record it: the reference trainer, which can be killed and resumed at any moment.

Each epoch trains, saves its checkpoint and only then commits what it recorded. So the last committed epoch always has
its checkpoint, and a resumed run continues from there. All randomness of an epoch is drawn from (seed, epoch): on a
CPU, a resumed run ends bit-equal to an unbroken one with the same number of threads.

Under torchrun each rank trains on its part of every batch, and rank 0 saves and commits. The random draws are those of
one process, and so is each step, except for the order of its sums, for the draws of dropout, and for batch norm, which
normalises over the part of a rank. A run can be resumed with another number of ranks.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import zip_longest
from pathlib import Path

import torch
from timm.utils import ModelEmaV3
from torch import Tensor, nn

from gwaudit.analysis.monitor import RecordedCurves
from gwaudit.analysis.stopping import PATIENCE, SelectedEpoch, training_rule
from gwaudit.core.allocators import reusing_freed_memory
from gwaudit.core.errors import DataError, SettingsError
from gwaudit.core.settings import DataSettings, ResolvedTrainingSettings, TrainingSettings
from gwaudit.data.dataset import LabeledDataset
from gwaudit.data.workers import naming_dead_workers, read_batches
from gwaudit.recording.distributed import (
    all_gather,
    all_reduce_sum,
    average_batch_norm,
    init_process_group,
    is_rank0,
    process_rank,
    raise_on_all_ranks,
    run_on_rank0,
    shared_store,
    world_size,
    wrap_in_ddp,
)
from gwaudit.recording.head import require_head
from gwaudit.recording.held_out import HeldOutRecorder
from gwaudit.recording.recorder import AlignmentRecorder
from gwaudit.store.latents import MOST_SAMPLES
from gwaudit.store.store import FINAL_PASS, TrajectoryStore
from gwaudit.store.working_copies import run_folder
from gwaudit.training.augmentation import normalise, statistics_of
from gwaudit.training.automatic_settings import as_recorded, resolve_for
from gwaudit.training.checkpoints import (
    TrainingState,
    create_or_resume,
    delete_other_checkpoints,
    keep_best,
    restore_checkpoint,
    save_checkpoint,
)
from gwaudit.training.convergence import require_converging
from gwaudit.training.copies import find_copies
from gwaudit.training.cross_fitting import CrossFitting
from gwaudit.training.device import DtypeChoice, autocast, choose_dtype, measure_dtype, resolve_device
from gwaudit.training.feeding import Batch, BatchFeed
from gwaudit.training.fold_heads import FoldHeads
from gwaudit.training.frozen_features import FrozenBackbone
from gwaudit.training.head_choice import HeadChoice
from gwaudit.training.latents import keep_latents, latents_of, nearly_equal
from gwaudit.training.loss import Loss
from gwaudit.training.models import NETWORKS, build_feature_head
from gwaudit.training.optimizer import build_optimizer, build_schedule
from gwaudit.training.preprocessing import Preprocessing, preprocessing_of, recorded_preprocessing, with_scaled_features
from gwaudit.training.progress import EpochProbe, EpochReport, Progress, StepReport
from gwaudit.training.small_networks import WhitenedNet
from gwaudit.training.starting_weights import build_start

_WHITENING_SAMPLES = 5000
_FEATURES_AT_ONCE = 4096
_SEEDS_OF_A_RANK = 2_654_435_761  # far from those of other ranks in 32 bits, for any seed and epoch in use
_SECONDS_BETWEEN_REPORTS = 0.25


@dataclass(frozen=True)
class TrainingResult:
    """Hold the result of a training.

    Attributes:
        run: Folder of the run.
        epochs: Number of epochs trained and recorded.
        selected: The epoch that the selection rule chose.
        seconds: Duration of this call's training, in seconds.
    """

    run: Path
    epochs: int
    selected: SelectedEpoch
    seconds: float


@reusing_freed_memory()
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
    """Train once on a data set, and record every sample's alignment in every epoch.

    Under torchrun, or in an initialised process group, all ranks must call; they share each batch.

    Args:
        dataset: The data to train on; its given labels are audited.
        run: Folder of the run, which must be new unless `resume` is True.
        settings: Settings of the training; the defaults if None. Each "auto" gets its number from the data, or from the
            run that is continued.
        resume: Whether to continue after the last committed epoch of the run, if the folder holds one.
        data: How the data set was loaded, kept in the run so that later steps can load it again.
        targets: [n, C] class distributions to learn instead of the given labels, which are audited all the same.
        progress: Receives steps and epochs, on rank 0.
        probe: Measures the model after each epoch of training; its time is not part of the epoch's `seconds`. It
            measures one network, so that `folds` is 1 if it is "auto".

    Returns:
        The number of epochs, the selected epoch and the duration.

    Raises:
        StoreExistsError: The folder holds a run, and `resume` is False.
        SettingsError: The run was made with other settings or other data.
        ModelError: The model is unknown, or has no linear head.
        RecordingError: The training diverged.
        WorkerDiedError: A process that reads images died; the run can be resumed.

    Example:
        >>> from gwaudit import load_dataset
        >>> train(load_dataset("digits"), "runs/digits", TrainingSettings(epochs=1)).epochs
        1
    """
    run, given = run_folder(run), settings or TrainingSettings()
    init_process_group(given.device)
    if probe is not None and given.folds == "auto":
        given = replace(given, folds=1)
    if resume:
        given = run_on_rank0(lambda: as_recorded(given, run))
    with raise_on_all_ranks():
        # Before the folder is created, which a model that cannot be built does not need.
        resolved = resolve_for(dataset, given)
        is_new = not (resume and (run / "run.json").exists())
        training = _Training(dataset, resolved, progress, targets, probe, is_new=is_new)

    def open_run() -> TrajectoryStore:
        prepared = training.preprocessing
        return create_or_resume(
            dataset,
            run,
            training.settings,
            resume=resume,
            data=data,
            targets=targets,
            preprocessing=prepared,
            heads=training.choice,
            dtype=training.dtype_choice,
        )

    with shared_store(open_run) as store:
        result = training.run(store)
        run_on_rank0(
            lambda: keep_latents(
                store.path, dataset, training.settings, training.latents, lambda: training.nearly_equal
            )
        )
    return result


@reusing_freed_memory()
def predict(run: Path | str, trained_on: LabeledDataset, dataset: LabeledDataset) -> Tensor:
    """Return the class probabilities of a finished run's model, with the weights of its selected epoch.

    Images are not augmented. Ranks share the samples; all of them must call, and each gets the whole result.

    Args:
        run: Folder of the run.
        trained_on: The data set of the run, for its classes and channel statistics.
        dataset: The samples to predict.

    Returns:
        [n, C] float32 on the CPU, for images the mean of an image as it is and mirrored if the training mirrors images.
        For multi-label samples each number is a probability of its own, and a row need not sum to one.

    Raises:
        StoreDamagedError: The checkpoint is missing or damaged.
    """
    with raise_on_all_ranks(), TrajectoryStore.open(run) as store:
        settings = ResolvedTrainingSettings.from_dict(store.settings["training"])
        training = _Training(trained_on, settings, preprocessing=recorded_preprocessing(store, trained_on))
        restore_checkpoint(store, training.state, training.device)
    return training.predict(dataset)


class _Training:
    """Hold the model, its optimizer and schedule, and the store of the run."""

    store: TrajectoryStore
    dtype_choice: DtypeChoice | None
    features: LabeledDataset | None = None  # of a frozen backbone
    crossed: CrossFitting | None = None

    def __init__(
        self,
        dataset: LabeledDataset,
        settings: ResolvedTrainingSettings,
        progress: Progress | None = None,
        targets: Tensor | None = None,
        probe: EpochProbe | None = None,
        preprocessing: Preprocessing | None = None,
        *,
        is_new: bool = False,
    ) -> None:
        self.rule = training_rule(settings.select, patience=settings.patience or PATIENCE)
        self.probe = probe
        self.progress = progress if is_rank0() else None
        self.fingerprint = dataset.fingerprint
        # The targets of a refinement are corrected already: no weights.
        self.settings = settings if targets is None else replace(settings, reweighting=False)
        self.targets = targets
        self.preprocessing = preprocessing
        if preprocessing is None and dataset.modality == "images":
            self.preprocessing = preprocessing_of(dataset, settings)
        self.device = resolve_device(settings.device)
        self.is_new, self.dtype_choice = is_new, None
        self.source = dataset
        self.dataset = dataset = self._with_model_inputs(dataset)
        self.labels = torch.from_numpy(dataset.labels)
        self.loss = Loss(self.labels, len(dataset.class_names), settings)
        self.mean, self.std = statistics_of(dataset, self.preprocessing)
        if settings.folds > 1:
            self.crossed = CrossFitting(self.labels, settings, find_copies(dataset, self.nearly_equal))
        self.choice = self._choose_head()
        settings, self.latent_source = self.settings, self.features or dataset
        if self.crossed is not None and settings.head == "trees":
            self.dataset = dataset = self.crossed.fit_trees(dataset, self.progress)
            self.mean, self.std = statistics_of(dataset, None)
        self.views = 2 if dataset.modality == "images" else 1  # as it is, and mirrored
        weights = self.loss.class_weights[self.labels] if settings.balance == "sampling" else None
        self.feed = BatchFeed(dataset, settings, weights, device=self.device)
        self.updates_per_epoch = math.ceil(self.feed.n_steps / settings.accumulate)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            model = self._build()
        if self.crossed is None:
            require_head(model, type(model).__name__, len(dataset.class_names))
        self.model: nn.Module = model.to(self.device).to(memory_format=torch.channels_last)
        times_dtypes = dataset.modality == "images" and settings.model not in NETWORKS
        self._choose_dtype(self._measure_dtype if times_dtypes else None)
        self.optimizer = build_optimizer(self.model, settings)
        self.schedule = build_schedule(self.optimizer, settings, self.updates_per_epoch * settings.epochs)
        self.ema = None if settings.ema_decay is None else ModelEmaV3(self.model, decay=settings.ema_decay)
        self.state = TrainingState(self.model, self.optimizer, self.ema)

    @cached_property
    def nearly_equal(self) -> list[list[int]]:
        """Return the groups of nearly equal images by the features of a frozen backbone; none of other inputs.

        None of more images than the latents are kept of, either: each is compared with all others.
        """
        if self.features is None or len(self.features) > MOST_SAMPLES:
            return []
        return nearly_equal(self.source, self.features.read(torch.arange(len(self.features))).numpy())

    def _with_model_inputs(self, dataset: LabeledDataset) -> LabeledDataset:
        """Return the data set with the inputs that the model takes: scaled features, if the backbone is frozen."""
        if dataset.modality == "images" and self.settings.backbone == "frozen":
            backbone = FrozenBackbone(dataset, self.settings, self.preprocessing)
            self._choose_dtype(lambda: backbone.measure_dtype(dataset))
            dataset = self.features = backbone.extract(dataset, self.progress, self.settings.dtype)
        dataset = with_scaled_features(dataset) if dataset.modality == "features" else dataset
        return dataset if self.crossed is None else self.crossed.as_heads_take(dataset)

    def _build(self) -> nn.Module:
        dataset, settings, n_classes = self.dataset, self.settings, len(self.dataset.class_names)
        assert settings.head != "auto"  # it was chosen
        if self.crossed is not None:
            return self.crossed.build_heads(settings.head, dataset)
        if dataset.modality == "features":
            return build_feature_head(settings.head, n_features=dataset.input_shape[0], n_classes=n_classes)
        if dataset.modality != "images":
            raise DataError(
                f"{dataset.name} holds {dataset.modality}: embed them first with "
                "gwaudit.training.frozen_features.embed_texts"
            )
        model = build_start(settings, n_classes, dataset.input_shape)
        if isinstance(model, WhitenedNet) and not settings.pretrained and settings.checkpoint is None:
            drawn = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(0))[:_WHITENING_SAMPLES]
            model.whiten(normalise(dataset.read(drawn), self.mean, self.std))
        return model

    def _choose_head(self) -> HeadChoice | None:
        """Choose the head and the weight decay that the settings leave open, and put them into the settings."""
        if self.crossed is None or "auto" not in (self.settings.head, self.settings.weight_decay):
            return None
        choice = self.crossed.choose_head(self.dataset, self._prepare, self.loss, self.settings, self.progress)
        self.settings = replace(self.settings, head=choice.best.head, weight_decay=choice.best.weight_decay)
        return choice

    def _choose_dtype(self, measure: Callable[[], DtypeChoice] | None) -> None:
        """Put the number format of a new run into the settings, where they leave it open."""
        if not self.is_new or self.settings.dtype != "auto":
            return
        self.dtype_choice = choice = choose_dtype(self.device, measure, in_folds=self.settings.folds > 1)
        self.settings = replace(self.settings, dtype=choice.dtype)
        if self.progress is not None and choice.seconds:
            self.progress.on_dtype(choice)

    def _measure_dtype(self) -> DtypeChoice:
        ids = self.feed.trial_batch(self.device)
        return measure_dtype(self.model, self._prepare(self.dataset.read(ids)), trains=True)

    def run(self, store: TrajectoryStore) -> TrainingResult:
        """Train the epochs that the run lacks, then record its final evaluation passes."""
        start = time.monotonic()
        self.store, settings = store, self.settings
        self.curves = RecordedCurves(store, self.rule.signals)
        with raise_on_all_ranks():
            if store.fingerprint != self.fingerprint:
                raise SettingsError(
                    f"rank {process_rank()} has other data or labels than rank 0: give all ranks the same data"
                )
            if store.next_epoch > 0:
                restore_checkpoint(store, self.state, self.device, epoch=len(store.training_epochs) - 1)
        if store.next_epoch > 0:
            run_on_rank0(lambda: self._clean_checkpoints(len(store.training_epochs) - 1))
        self.ddp_model = wrap_in_ddp(self.model, self.device)
        with naming_dead_workers(), closing(self.feed), self._recorder(store) as recorder:
            while len(store.training_epochs) < settings.epochs and not self._should_stop():
                self._run_epoch(store.next_epoch, recorder)
            while store.next_epoch < len(store.training_epochs) + min(settings.final_passes, self.views):
                self._record_final_pass(store.next_epoch, recorder)
        return TrainingResult(
            store.path, len(store.training_epochs), run_on_rank0(self._selected), time.monotonic() - start
        )

    def latents(self) -> Tensor:
        """Return the latents of all samples, [n, D]: their features, or the inputs of the network's head."""
        if self.dataset.modality == "features":
            return self.latent_source.read(torch.arange(len(self.dataset)))
        batches = torch.split(torch.arange(len(self.dataset)), self._pass_size)
        with self._autocast():
            return latents_of(self.model, map(self._prepare, read_batches(self.dataset, batches)))

    def _recorder(self, store: TrajectoryStore) -> AlignmentRecorder | HeldOutRecorder:
        if self.crossed is not None and isinstance(self.model, FoldHeads):
            return HeldOutRecorder(self.model, self.crossed.left_out, store)
        return AlignmentRecorder(self.model, store)

    def _run_epoch(self, epoch: int, recorder: AlignmentRecorder | HeldOutRecorder) -> None:
        start = time.monotonic()
        # Dropout draws from the global generator: it is seeded for the epoch, and restored after it.
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            # Each rank gets a seed of its own, as otherwise all would drop out the same units. On a CPU only the lower
            # 32 bits count.
            torch.manual_seed(self.settings.seed * 1_000_003 + epoch + process_rank() * _SEEDS_OF_A_RANK)
            self._train_epoch(epoch, recorder)
        for model in (self.model,) if self.ema is None else (self.model, self.ema.module):
            average_batch_norm(model)
        run_on_rank0(lambda: save_checkpoint(self.store, self.state, epoch, self.settings))
        metrics = {"seconds": time.monotonic() - start, **run_on_rank0(lambda: self._probe_metrics(epoch))}
        if self.settings.record == "online" and isinstance(recorder, AlignmentRecorder):
            summary = recorder.end_epoch(metrics)
        else:
            with self._autocast():
                summary = recorder.record_pass(self._evaluation_batches(), metrics=metrics)
        run_on_rank0(lambda: self._clean_checkpoints(epoch))
        if self.progress is not None:
            seconds = time.monotonic() - start
            rate = self.optimizer.param_groups[0]["lr"]
            report = EpochReport(self.settings.epochs, summary, rate, seconds, len(self.dataset) / seconds)
            self.progress.on_epoch(report)

    def _record_final_pass(self, epoch: int, recorder: AlignmentRecorder | HeldOutRecorder) -> None:
        start = time.monotonic()
        mirrored = epoch - len(self.store.training_epochs)
        with self._autocast():
            recorder.record_pass(self._evaluation_batches(mirrored=bool(mirrored)), metrics={FINAL_PASS: mirrored})
        if self.progress is not None:
            self.progress.on_final_pass(time.monotonic() - start)

    def _probe_metrics(self, epoch: int) -> Mapping[str, float]:
        return {} if self.probe is None else self.probe.measure(epoch, self.model, self._prepare)

    def _train_epoch(self, epoch: int, recorder: AlignmentRecorder | HeldOutRecorder) -> None:
        settings = self.settings
        if self.crossed is not None and settings.reweighting:
            self.crossed.begin_epoch(epoch, self.store)
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        update, n_seen, start, last_report = epoch * self.updates_per_epoch, 0, time.monotonic(), 0.0
        total_loss, n_own = torch.zeros((), device=self.device), 0
        sizes, n_heads = self.feed.batch_sizes, 1 if self.crossed is None else self.crossed.n_heads
        for step, batch in enumerate(self.feed.training_batches(epoch)):
            loss = self._forward(batch, recorder)
            total_loss += loss.detach() * batch.n_own
            n_own += batch.n_own
            group = sizes[step - step % settings.accumulate :][: settings.accumulate]
            # DDP averages gradients over ranks: times their number it is the mean over the samples of all ranks.
            share = batch.n_own * world_size() / sum(group)
            (loss * share * n_heads).backward()  # type: ignore[no-untyped-call]  # torch's
            is_last = step + 1 == self.feed.n_steps
            if (step + 1) % settings.accumulate == 0 or is_last:
                self._update(update)
                update += 1
            n_seen += len(batch.ids)
            now = time.monotonic()
            if self.progress is not None and (now - last_report > _SECONDS_BETWEEN_REPORTS or is_last):
                last_report = now
                rate = n_seen / max(now - start, 1e-9)
                self.progress.on_step(StepReport(epoch, settings.epochs, step, len(sizes), float(loss.detach()), rate))
        loss_sum, count = all_reduce_sum(torch.tensor([float(total_loss), n_own], dtype=torch.float64)).tolist()
        require_converging(self.model, loss_sum / count, self.loss.of_equal_probabilities, epoch, settings)

    def _forward(self, batch: Batch, recorder: AlignmentRecorder | HeldOutRecorder) -> Tensor:
        """Return the mean loss of this rank's part of a batch, which the recorder observes."""
        sample_ids, labels = batch.own_ids, self.labels[batch.own_ids]
        with self._autocast():
            outputs = self.ddp_model(self._prepare(batch.inputs))
        targets = labels if self.targets is None else self.targets[sample_ids]
        targets = targets.to(self.device, non_blocking=True)
        if self.crossed is not None:
            return self.crossed.loss(self.loss, outputs[1].float(), targets, batch)
        loss = self.loss(outputs.float(), targets, labels)
        if self.settings.record == "online" and batch.n_own and isinstance(recorder, AlignmentRecorder):
            recorder.observe(sample_ids, labels)
        return loss

    def _update(self, update: int) -> None:
        if self.settings.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip_norm)
        self.optimizer.step()
        # After the step, so that a checkpoint holds the learning rates of the next one.
        self.schedule.step_update(update + 1)
        self.optimizer.zero_grad(set_to_none=True)
        if self.ema is not None:
            self.ema.update(self.model)

    def _prepare(self, raw: Tensor) -> Tensor:
        """Return raw inputs on the device, normalised."""
        # Images travel as uint8, a quarter of their size.
        normal = normalise(raw.to(self.device, non_blocking=True), self.mean.to(self.device), self.std.to(self.device))
        return normal.contiguous(memory_format=torch.channels_last) if normal.ndim == 4 else normal

    def _evaluation_batches(self, *, mirrored: bool = False) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield this rank's batches of an evaluation pass: inputs, labels and sample ids."""
        for ids, raw in self.feed.evaluation_batches(self._pass_size):
            yield self._prepare(raw.flip(3) if mirrored else raw), self.labels[ids], ids

    @property
    def _pass_size(self) -> int:
        """Return the number of samples in a batch of a pass without training."""
        return 2 * self.settings.batch_size if self.crossed is None else _FEATURES_AT_ONCE

    def _autocast(self) -> AbstractContextManager[object]:
        # Heads are small: float32 costs them nothing. The dtype of a frozen backbone is that of its features.
        is_float32 = self.settings.backbone == "frozen" or (self.crossed is not None and self.settings.dtype == "auto")
        return autocast("float32" if is_float32 else self.settings.dtype, self.device)

    def _selected(self) -> SelectedEpoch:
        """Return the epoch that the rule selects so far; on rank 0 only, as rules may read the epochs' rows."""
        return self.rule.choose(self.curves.read(), self.settings.epochs)

    def _should_stop(self) -> bool:
        if self.settings.patience is None or not self.store.training_epochs:
            return False
        return run_on_rank0(lambda: self.rule.stops(self.curves.read(), self.settings.epochs))

    def _clean_checkpoints(self, epoch: int) -> None:
        """Keep the checkpoints of this epoch, the last one committed, and of the selected epoch."""
        keep_best(self.store, self._selected().epoch)
        delete_other_checkpoints(self.store, epoch)

    def predict(self, dataset: LabeledDataset) -> Tensor:
        """Return class probabilities [n, C], the mean over the views of each sample."""
        dataset = self._with_model_inputs(dataset)
        self.model.eval()
        with torch.no_grad(), self._autocast(), closing(BatchFeed(dataset, self.settings, device=self.device)) as feed:
            own = [self._probabilities(raw) for _, raw in feed.evaluation_batches(self._pass_size)]
        turns = zip_longest(*all_gather(own))
        return torch.cat([batch for turn in turns for batch in turn if batch is not None])

    def _probabilities(self, raw: Tensor) -> Tensor:
        views = (raw, raw.flip(3)) if self.dataset.modality == "images" and self.settings.mirrors else (raw,)
        if isinstance(self.model, FoldHeads):
            logits: Tensor = self.model(self._prepare(raw))[1]
        else:
            logits = torch.stack([self.model(self._prepare(view)).float() for view in views])
        probabilities = logits.sigmoid() if self.dataset.is_multi_label else logits.softmax(2)
        return probabilities.mean(0).cpu()
