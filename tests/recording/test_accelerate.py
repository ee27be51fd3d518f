"""A loop prepared by accelerate records what the plain loop does, seen through accelerate's wrapping."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from accelerate.utils import TorchDynamoPlugin
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from gwaudit.recording.recorder import AlignmentRecorder
from gwaudit.store.store import TrajectoryStore
from helpers.loops import (
    CLASSES,
    EPOCHS,
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
def _fresh_accelerator() -> Iterator[None]:
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    torch.compiler.reset()


def record(
    path: Path, *, workers: int = 0, evaluation_pass: bool = False, given: str = "prepared", **options: Any
) -> TrajectoryStore:
    """The loop of accelerate's quick tour, with the recorder."""
    accelerator = Accelerator(cpu=True, **options)
    bare = network()
    model, optimizer, batches = accelerator.prepare(bare, optimizer_of(bare), loader(workers))
    with new_store(path) as store, AlignmentRecorder(model if given == "prepared" else bare, store) as recorder:
        for _ in range(EPOCHS):
            for images, labels, ids in batches:
                with accelerator.accumulate(model):
                    loss = cross_entropy(model(images), labels)
                    recorder.observe(ids, labels)
                    accelerator.backward(loss)
                    optimizer.step()
                    optimizer.zero_grad()
            recorder.end_epoch()
        if evaluation_pass:
            recorder.record_pass(DataLoader(dataset(), 50))
    return store


@pytest.mark.parametrize("given", ["prepared", "bare"])
def test_a_prepared_model_records_as_the_plain_loop(tmp_path: Path, given: str) -> None:
    assert_same(record(tmp_path / "run", given=given), plain_run(tmp_path / "plain"))


def test_a_planted_sample_is_found_under_its_own_id_after_shuffling_and_workers(tmp_path: Path) -> None:
    store = record(tmp_path / "run", workers=2)
    assert_planted_is_found(store)
    assert_same(store, plain_run(tmp_path / "plain", loader(workers=2)))


def test_gradient_accumulation_records_as_the_plain_loop_that_accumulates(tmp_path: Path) -> None:
    store = record(tmp_path / "run", gradient_accumulation_steps=2)
    assert_same(store, plain_run(tmp_path / "plain", accumulate=2))


def test_outputs_converted_to_float32_record_as_the_plain_loop_under_autocast(tmp_path: Path) -> None:
    def loss_of(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(images)
        return cross_entropy(logits.float(), labels)

    store = record(tmp_path / "run", mixed_precision="bf16")
    assert_same(store, plain_run(tmp_path / "plain", loss_of=loss_of))


def test_a_model_that_is_its_own_head_records_although_accelerate_replaces_its_forward(tmp_path: Path) -> None:
    accelerator = Accelerator(cpu=True, mixed_precision="bf16")
    torch.manual_seed(0)
    model = accelerator.prepare(nn.Linear(64, CLASSES))
    with new_store(tmp_path / "run") as store, AlignmentRecorder(model, store) as recorder:
        logits = model(IMAGES.flatten(1))
        recorder.observe(torch.arange(N), LABELS)
        assert recorder.end_epoch().missing == 0
    expected = cross_entropy(logits.detach(), LABELS, reduction="none")
    np.testing.assert_allclose(column(store, 0, "loss"), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_a_model_that_accelerate_compiles_records_as_the_one_it_does_not(tmp_path: Path, precision: str) -> None:
    plain = record(tmp_path / "plain", mixed_precision=precision)
    compiled = record(tmp_path / "run", mixed_precision=precision, dynamo_plugin=TorchDynamoPlugin(backend="eager"))
    assert_same(compiled, plain)


def test_the_state_and_the_model_are_saved_while_the_recorder_is_attached(tmp_path: Path) -> None:
    accelerator = Accelerator(cpu=True)
    model = accelerator.prepare(network())
    with new_store(tmp_path / "run") as store, AlignmentRecorder(model, store):
        accelerator.save_state(tmp_path / "state")
        accelerator.save_model(model, tmp_path / "weights")
        accelerator.save(accelerator.unwrap_model(model), tmp_path / "model.pt")
        accelerator.load_state(tmp_path / "state")
    loaded = torch.load(tmp_path / "model.pt", weights_only=False)
    assert torch.equal(loaded(IMAGES), model(IMAGES))


def test_an_evaluation_pass_through_a_prepared_model_scores_every_sample(tmp_path: Path) -> None:
    store = record(tmp_path / "run", evaluation_pass=True)
    model = network()
    plain_run(tmp_path / "plain", model=model)
    with torch.no_grad():
        expected = cross_entropy(model(IMAGES), LABELS, reduction="none")
    np.testing.assert_allclose(column(store, EPOCHS, "loss"), expected, rtol=1e-4, atol=1e-5)
