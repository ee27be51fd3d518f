"""A loop in the style of timm's train.py records what the plain loop does, and mixing by evaluation passes."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from timm.data import Mixup, create_loader
from timm.loss import LabelSmoothingCrossEntropy, SoftTargetCrossEntropy
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.utils import ModelEmaV3, NativeScaler
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gwaudit.core.errors import RecordingError
from gwaudit.data.sample_ids import WithSampleIds
from gwaudit.recording.recorder import AlignmentRecorder
from gwaudit.store.store import TrajectoryStore
from helpers.loops import CLASSES, assert_same, column, network

N, BATCH, EPOCHS, PLANTED = 90, 30, 2, 41


class Digits(torch.utils.data.Dataset[Any]):
    """Dark pictures, which timm's loader gives their transform; one is white, and has the least likely label."""

    transform: Any = None

    def __init__(self) -> None:
        images, labels = load_digits(return_X_y=True)
        self.images, self.labels = images[:N].reshape(N, 8, 8).astype(np.uint8), labels[:N].copy()
        self.images[PLANTED] = 255
        with torch.no_grad():
            self.labels[PLANTED] = int(network()(torch.full((1, 64), 20.0)).argmin())

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), int(self.labels[index])


def loader(workers: int = 0, *, training: bool = True) -> Any:
    torch.manual_seed(5)  # timm's loader draws the order from torch's generator
    return create_loader(
        WithSampleIds(Digits()),
        input_size=(1, 8, 8),
        batch_size=BATCH,
        is_training=training,
        no_aug=True,
        mean=(0.0,),
        std=(0.05,),
        use_prefetcher=False,
        num_workers=workers,
        persistent_workers=False,
        device=torch.device("cpu"),
    )


def new_store(path: Path) -> TrajectoryStore:
    return TrajectoryStore.create(path, given_labels=Digits().labels, class_names=[str(c) for c in range(CLASSES)])


def train(
    path: Path, *, workers: int = 0, half: bool = False, smoothing: float = 0.0, mixup: Mixup | None = None
) -> tuple[TrajectoryStore, nn.Module]:
    """timm's train_one_epoch, shortened, with the recorder."""
    model, batches = network(), loader(workers)
    optimizer = create_optimizer_v2(model, opt="sgd", lr=0.01, momentum=0.9)
    schedule, _ = create_scheduler_v2(optimizer, sched="cosine", num_epochs=EPOCHS, updates_per_epoch=len(batches))
    autocast: AbstractContextManager[Any] = torch.autocast("cpu", torch.float16) if half else nullcontext()
    scaler = NativeScaler("cpu") if half else None
    ema = ModelEmaV3(model, decay=0.9)
    hard = LabelSmoothingCrossEntropy(smoothing=smoothing) if smoothing else nn.CrossEntropyLoss()
    loss_of = SoftTargetCrossEntropy() if mixup else hard
    with new_store(path) as store, AlignmentRecorder(model, store) as recorder:
        for epoch in range(EPOCHS):
            model.train()
            for step, (images, labels, ids) in enumerate(batches):
                inputs, targets = mixup(images, labels) if mixup else (images, labels)
                with autocast:
                    output = model(inputs)
                    loss = loss_of(output, targets)
                if mixup is None:
                    recorder.observe(ids, labels)
                else:
                    with pytest.raises(RecordingError, match="mixup or CutMix"):
                        recorder.observe(ids, targets)
                optimizer.zero_grad()
                if scaler is None:
                    loss.backward()
                    optimizer.step()
                else:
                    scaler(loss, optimizer, clip_grad=1.0, parameters=model.parameters())
                ema.update(model)
                schedule.step_update(num_updates=epoch * len(batches) + step + 1)
            if mixup is None:
                recorder.end_epoch()
            else:
                recorder.record_pass(loader(training=False))
            schedule.step(epoch + 1)
    return store, model


def plain(path: Path, *, half: bool = False, smoothing: float = 0.0) -> TrajectoryStore:
    """The same training without timm's parts."""
    model, batches = network(), loader()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, nesterov=True)
    scaler = torch.amp.GradScaler("cpu", enabled=half)
    with new_store(path) as store, AlignmentRecorder(model, store) as recorder:
        for epoch in range(EPOCHS):
            optimizer.param_groups[0]["lr"] = 0.01 * (1 + np.cos(np.pi * epoch / EPOCHS)) / 2
            for images, labels, ids in batches:
                with torch.autocast("cpu", torch.float16, enabled=half):
                    loss = cross_entropy(model(images), labels, label_smoothing=smoothing)
                recorder.observe(ids, labels)
                optimizer.zero_grad()
                scaler.scale(loss).backward()
                if half:
                    scaler.unscale_(optimizer)
                    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                scaler.step(optimizer)
                scaler.update()
            recorder.end_epoch()
    return store


def test_timms_loader_optimizer_schedule_and_average_record_as_the_plain_loop(tmp_path: Path) -> None:
    assert_close(train(tmp_path / "run")[0], plain(tmp_path / "plain"))


def test_a_planted_sample_is_found_under_its_own_id_after_shuffling_and_workers(tmp_path: Path) -> None:
    store, _ = train(tmp_path / "run", workers=2)
    losses = column(store, 0, "loss")
    assert losses.argmax() == PLANTED
    assert losses[PLANTED] > 2 * np.delete(losses, PLANTED).max()
    assert_same(store, train(tmp_path / "again")[0])


def test_the_native_scaler_with_clipping_records_as_the_plain_loop(tmp_path: Path) -> None:
    assert_close(train(tmp_path / "run", half=True)[0], plain(tmp_path / "plain", half=True))


def test_label_smoothing_records_as_the_plain_loop(tmp_path: Path) -> None:
    assert_close(train(tmp_path / "run", smoothing=0.1)[0], plain(tmp_path / "plain", smoothing=0.1))


@pytest.mark.parametrize("options", [{"mixup_alpha": 0.8}, {"mixup_alpha": 0.0, "cutmix_alpha": 1.0}])
def test_mixup_and_cutmix_are_recorded_by_evaluation_passes_on_the_samples_own_labels(
    tmp_path: Path, options: dict[str, float]
) -> None:
    store, model = train(tmp_path / "run", mixup=Mixup(num_classes=CLASSES, **options))
    with torch.no_grad():
        expected = {
            int(sample): float(cross_entropy(model.eval()(image[None]), label[None]))
            for images, labels, ids in loader(training=False)
            for image, label, sample in zip(images, labels, ids, strict=True)
        }
    np.testing.assert_allclose(column(store, EPOCHS - 1, "loss"), [expected[i] for i in range(N)], rtol=1e-4, atol=1e-5)


def assert_close(store: TrajectoryStore, other: TrajectoryStore) -> None:
    assert store.epochs == other.epochs == tuple(range(EPOCHS))
    for epoch in store.epochs:
        assert (store.commit(epoch).missing, store.commit(epoch).repeated) == (0, 0)
        for signal in ("alignment", "loss", "margin"):
            np.testing.assert_allclose(column(store, epoch, signal), column(other, epoch, signal), rtol=1e-3, atol=1e-4)
