"""Scaled losses, accumulation, compilation, checkpointing and smoothing leave what is recorded as it is."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from timm.data import Mixup
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader

from gwaudit.core.errors import RecordingError
from gwaudit.recording.recorder import AlignmentRecorder
from gwaudit.store.store import TrajectoryStore
from helpers.loops import (
    CLASSES,
    IMAGES,
    LABELS,
    N,
    assert_planted_is_found,
    assert_same,
    column,
    dataset,
    loader,
    network,
    new_store,
    optimizer_of,
    plain_run,
)


@pytest.fixture(autouse=True)
def _fresh_compiler() -> Iterator[None]:
    yield
    torch.compiler.reset()


def test_a_planted_sample_is_found_under_its_own_id_after_shuffling_and_workers(tmp_path: Path) -> None:
    assert_planted_is_found(plain_run(tmp_path / "run", loader(workers=2)))


@pytest.mark.parametrize("device", ["cpu"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_with_a_gradient_scaler_records_as_without_the_scaler(
    tmp_path: Path, device: str, dtype: torch.dtype
) -> None:
    stores = []
    for scaled in (False, True):
        model = network().to(device)
        optimizer = optimizer_of(model)
        scaler = torch.amp.GradScaler(device, enabled=scaled, init_scale=2.0**10)
        with new_store(tmp_path / str(scaled)) as store, AlignmentRecorder(model, store) as recorder:
            for images, labels, ids in loader():
                with torch.autocast(device, dtype):
                    loss = cross_entropy(model(images.to(device)), labels.to(device))
                recorder.observe(ids, labels)
                optimizer.zero_grad()
                scaler.scale(loss).backward()
                scaler.step(optimizer)
                scaler.update()
            assert recorder.end_epoch().missing == 0
        stores.append(store)
    np.testing.assert_allclose(column(stores[0], 0, "alignment"), column(stores[1], 0, "alignment"), atol=2e-3)


def test_a_step_that_the_scaler_skips_is_recorded_all_the_same(tmp_path: Path) -> None:
    model = network()
    optimizer = optimizer_of(model)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with new_store(tmp_path / "run") as store, AlignmentRecorder(model, store) as recorder:
        loss = cross_entropy(model(IMAGES), LABELS)
        recorder.observe(torch.arange(N), LABELS)
        scaler.scale(1e6 * loss).backward()  # overflows, so that no step is taken
        scaler.step(optimizer)
        assert recorder.end_epoch().missing == 0
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_gradient_accumulation_scores_each_micro_batch_under_the_weights_it_saw(tmp_path: Path) -> None:
    once, thrice = network(), network()
    store = plain_run(tmp_path / "run", model=once, accumulate=3, epochs=1)
    with torch.no_grad():  # three batches make one step, so the whole epoch saw the first weights
        expected = cross_entropy(thrice(IMAGES), LABELS, reduction="none")
    np.testing.assert_allclose(column(store, 0, "loss"), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_compiled_model_records_as_the_plain_one(tmp_path: Path, backend: str) -> None:
    model = torch.compile(network(), backend=backend)
    assert_same(plain_run(tmp_path / "run", model=model), plain_run(tmp_path / "plain"))


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_compiled_training_step_records_as_the_plain_one(tmp_path: Path, backend: str) -> None:
    def loss_of(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        return cross_entropy(model(images), labels)

    compiled = torch.compile(loss_of, backend=backend)
    assert_same(plain_run(tmp_path / "run", loss_of=compiled), plain_run(tmp_path / "plain"))


def test_a_compiled_step_with_its_backward_pass_and_update_records_as_the_plain_one(tmp_path: Path) -> None:
    model = network()
    optimizer = optimizer_of(model)

    def train_step(images: Tensor, labels: Tensor) -> None:
        cross_entropy(model(images), labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    compiled = torch.compile(train_step, backend="eager")
    batches = loader()
    with new_store(tmp_path / "run") as store, AlignmentRecorder(model, store) as recorder:
        for _ in range(2):
            for images, labels, ids in batches:
                compiled(images, labels)
                recorder.observe(ids, labels)
            recorder.end_epoch()
    assert_same(store, plain_run(tmp_path / "plain"))


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("late", [False, True])
def test_a_head_inside_a_checkpointed_segment_records_as_outside(tmp_path: Path, reentrant: bool, late: bool) -> None:
    """The segment runs again in the backward pass, here before or after the observation."""
    model = network()
    optimizer, batches = optimizer_of(model), loader()
    with new_store(tmp_path / "run") as store, AlignmentRecorder(model, store) as recorder:
        for _ in range(2):
            for images, labels, ids in batches:
                loss = cross_entropy(checkpoint(model, images.requires_grad_(), use_reentrant=reentrant), labels)
                if not late:
                    recorder.observe(ids, labels)
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
                if late:
                    recorder.observe(ids, labels)
            recorder.end_epoch()
    assert_same(store, plain_run(tmp_path / "plain"))


def test_a_checkpointed_segment_with_dropout_and_the_head_records_the_pass_that_the_loss_used(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), *network()[1:])
    with new_store(tmp_path / "run") as store, AlignmentRecorder(model, store) as recorder:
        torch.manual_seed(0)
        logits = checkpoint(model, IMAGES, use_reentrant=False)
        losses = cross_entropy(logits, LABELS, reduction="none")
        losses.mean().backward()
        recorder.observe(torch.arange(N), LABELS)
        recorder.end_epoch()
    np.testing.assert_allclose(column(store, 0, "loss"), losses.detach(), rtol=1e-4, atol=1e-5)


def test_timms_gradient_checkpointing_records_as_without(tmp_path: Path) -> None:
    stores = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        model = timm.create_model(
            "vit_tiny_patch16_224", num_classes=CLASSES, img_size=8, patch_size=4, in_chans=1, depth=2, embed_dim=48
        )
        model.set_grad_checkpointing(checkpointing)
        stores.append(plain_run(tmp_path / str(checkpointing), model=model))
    assert_same(stores[1], stores[0])


def test_label_smoothing_in_the_loss_leaves_the_record_to_the_given_label(tmp_path: Path) -> None:
    def loss_of(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        return cross_entropy(model(images), labels, label_smoothing=0.3)

    store = plain_run(tmp_path / "run", loss_of=loss_of, epochs=1)
    first = next(iter(loader()))
    with torch.no_grad():
        expected = cross_entropy(network()(first[0]), first[1], reduction="none")
    np.testing.assert_allclose(column(store, 0, "loss")[first[2]], expected, rtol=1e-4, atol=1e-5)


Mix = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


@pytest.mark.parametrize("options", [{"mixup_alpha": 0.8}, {"mixup_alpha": 0.0, "cutmix_alpha": 1.0}])
def test_mixed_targets_are_refused_with_the_pass_that_records_them(tmp_path: Path, options: dict[str, float]) -> None:
    model, mix = network(), Mixup(num_classes=CLASSES, **options)
    optimizer = optimizer_of(model)
    with new_store(tmp_path / "run") as store, AlignmentRecorder(model, store) as recorder:
        for images, labels, ids in loader():
            mixed, targets = mix(images, labels)
            loss = cross_entropy(model(mixed), targets)
            with pytest.raises(RecordingError, match=r"mixup or CutMix.*call record_pass\(\)"):
                recorder.observe(ids, targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        recorder.record_pass(DataLoader(dataset(), batch_size=50))
    assert_losses_are_of_the_samples_alone(store, model)


def assert_losses_are_of_the_samples_alone(store: TrajectoryStore, model: nn.Module) -> None:
    with torch.no_grad():
        expected = cross_entropy(model.eval()(IMAGES), LABELS, reduction="none")
    np.testing.assert_allclose(column(store, 0, "loss"), expected, rtol=1e-4, atol=1e-5)
