"""Among the forward passes of a step, the one of the samples is recorded, or it is asked which one that is."""

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from gwaudit.core.errors import RecordingError
from gwaudit.recording.hooks import HeadHooks
from gwaudit.recording.lightning import AlignmentCallback
from gwaudit.recording.recorder import AlignmentRecorder
from gwaudit.store.store import TrajectoryStore
from helpers.loops import (
    BATCH,
    IMAGES,
    LABELS,
    assert_same,
    column,
    loader,
    network,
    new_store,
    optimizer_of,
    plain_run,
)

N, CLASSES, FEATURES = 12, 4, 6
GIVEN = torch.arange(N) % CLASSES
INPUTS = torch.randn(N, FEATURES, generator=torch.Generator().manual_seed(0))
OTHERS = torch.randn(N, FEATURES, generator=torch.Generator().manual_seed(1))
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers", "ignore:.*smaller than the logging interval"
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TrajectoryStore]:
    with TrajectoryStore.create(tmp_path / "run", given_labels=GIVEN.numpy(), class_names=list("abcd")) as store:
        yield store


@pytest.fixture
def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(FEATURES, 8), nn.ReLU(), nn.Linear(8, CLASSES))


def without_gradient(model: nn.Module, inputs: Tensor) -> None:
    with torch.no_grad():
        model(inputs)


def in_inference_mode(model: nn.Module, inputs: Tensor) -> None:
    with torch.inference_mode():
        model(inputs)


def in_evaluation_mode(model: nn.Module, inputs: Tensor) -> None:
    model.eval()
    model(inputs)
    model.train()


def of_another_size(model: nn.Module, inputs: Tensor) -> None:
    model(torch.cat([inputs, inputs])).sum().backward()


def of_a_copy(model: nn.Module, inputs: Tensor) -> None:
    copy.deepcopy(model)(inputs)


IGNORED = [without_gradient, in_inference_mode, in_evaluation_mode, of_another_size, of_a_copy]


def losses_under(model: nn.Module, inputs: Tensor = INPUTS) -> Tensor:
    with torch.no_grad():
        return functional.cross_entropy(model(inputs), GIVEN, reduction="none")


@pytest.mark.parametrize("order", ["before", "after"])
@pytest.mark.parametrize("further", IGNORED)
def test_a_further_pass_in_a_step_that_trains_no_labelled_sample_is_ignored(
    store: TrajectoryStore, model: nn.Module, further: Callable[[nn.Module, Tensor], None], order: str
) -> None:
    expected = losses_under(model)
    with AlignmentRecorder(model, store) as recorder:
        if order == "before":
            further(model, OTHERS)
        logits = model(INPUTS)
        if order == "after":
            further(model, OTHERS)
        functional.cross_entropy(logits, GIVEN).backward()
        recorder.observe(range(N), GIVEN)
        recorder.end_epoch()
    np.testing.assert_allclose(column(store, 0, "loss"), expected, rtol=1e-5, atol=1e-6)


def two_views(model: nn.Module) -> Tensor:
    first = model(INPUTS)
    return functional.cross_entropy(first, GIVEN) + (model(OTHERS) - first).square().mean()


def gradient_penalty(model: nn.Module) -> Tensor:
    inputs = INPUTS.clone().requires_grad_()
    loss = functional.cross_entropy(model(INPUTS), GIVEN)
    (gradient,) = torch.autograd.grad(model(inputs).sum(), inputs, create_graph=True)
    return loss + gradient.square().mean()


def sharpness_aware(model: nn.Module) -> Tensor:
    functional.cross_entropy(model(INPUTS), GIVEN).backward()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(parameter.grad, alpha=0.1)
    return functional.cross_entropy(model(INPUTS), GIVEN)


def many(model: nn.Module) -> Tensor:
    return torch.stack([model(INPUTS + i).square().mean() for i in range(9)]).sum()


@pytest.mark.parametrize("step", [two_views, gradient_penalty, sharpness_aware, many])
def test_several_training_passes_of_the_same_size_are_refused_until_the_logits_say_which(
    store: TrajectoryStore, model: nn.Module, step: Callable[[nn.Module], Tensor]
) -> None:
    with AlignmentRecorder(model, store) as recorder:
        step(model)
        with pytest.raises(RecordingError, match=r"training passes.* of 12 samples.*'2'.*right after.*logits=logits"):
            recorder.observe(range(N), GIVEN)
    assert store.epochs == ()
    expected = losses_under(model)
    with AlignmentRecorder(model, store) as recorder:
        logits = model(INPUTS)
        model(OTHERS)
        recorder.observe(range(N), GIVEN, logits=logits.float())
        recorder.end_epoch()
    np.testing.assert_allclose(column(store, 0, "loss"), expected, rtol=1e-5, atol=1e-6)


def second_view(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    model(OTHERS[:6]).square().mean().backward()
    optimizer.step()


def ascent_then_descent(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01)
    second_view(model, optimizer)


def closure_of_many_passes(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    for _ in range(20):
        second_view(model, optimizer)


@pytest.mark.parametrize("further", [second_view, ascent_then_descent, closure_of_many_passes])
def test_passes_that_a_loop_makes_after_it_observed_belong_to_the_step_before(
    store: TrajectoryStore, model: nn.Module, further: Callable[[nn.Module, torch.optim.Optimizer], None]
) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    expected = []
    with AlignmentRecorder(model, store) as recorder:
        for half in (slice(0, 6), slice(6, 12)):
            logits = model(INPUTS[half])
            recorder.observe(range(N)[half], GIVEN[half])
            expected.append(functional.cross_entropy(logits, GIVEN[half], reduction="none").detach())
            further(model, optimizer)
        recorder.end_epoch()
    np.testing.assert_allclose(column(store, 0, "loss"), torch.cat(expected), rtol=1e-5, atol=1e-6)


def test_two_passes_under_the_same_weights_are_refused_also_after_a_step_with_one(
    store: TrajectoryStore, model: nn.Module
) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with AlignmentRecorder(model, store) as recorder:
        model(INPUTS[:6])
        recorder.observe(range(6), GIVEN[:6])
        second_view(model, optimizer)
        model(INPUTS[6:])
        model(OTHERS[6:])
        with pytest.raises(RecordingError, match="3 training passes of 6 samples"):
            recorder.observe(range(6, N), GIVEN[6:])


def test_per_sample_gradients_by_a_function_transform_are_no_passes_of_the_batch(
    store: TrajectoryStore, model: nn.Module
) -> None:
    def loss_of(parameters: dict[str, Tensor], inputs: Tensor, label: Tensor) -> Tensor:
        logits = torch.func.functional_call(model, parameters, (inputs[None],))
        return functional.cross_entropy(logits, label[None])

    expected = losses_under(model)
    parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}
    with AlignmentRecorder(model, store) as recorder:
        torch.func.vmap(torch.func.grad(loss_of), (None, 0, 0))(parameters, INPUTS, GIVEN)
        with pytest.raises(RecordingError, match="no forward pass"):
            recorder.observe(range(N), GIVEN)
        model(INPUTS)
        recorder.observe(range(N), GIVEN)
        recorder.end_epoch()
    np.testing.assert_allclose(column(store, 0, "loss"), expected, rtol=1e-5, atol=1e-6)


CHOICES: dict[str, Callable[[Tensor], Tensor]] = {
    "a slice": lambda logits: logits[N : 2 * N],
    "a chunk": lambda logits: logits.chunk(3)[1],
    "a cast slice": lambda logits: logits.double()[N : 2 * N],
    "log_softmax of a slice": lambda logits: logits[N : 2 * N].log_softmax(1),
    "a detached copy": lambda logits: logits.detach().clone()[N : 2 * N],
}


@pytest.mark.parametrize("choice", CHOICES)
def test_the_logits_choose_the_labelled_rows_of_a_concatenated_batch(
    store: TrajectoryStore, model: nn.Module, choice: str
) -> None:
    expected = losses_under(model)
    with AlignmentRecorder(model, store) as recorder:
        logits = model(torch.cat([OTHERS, INPUTS, OTHERS]))
        with pytest.raises(RecordingError, match=r"12 sample_ids for a forward pass of 36"):
            recorder.observe(range(N), GIVEN)
        logits = model(torch.cat([OTHERS, INPUTS, OTHERS]))
        model(OTHERS)
        recorder.observe(range(N), GIVEN, logits=CHOICES[choice](logits))
        recorder.end_epoch()
    np.testing.assert_allclose(column(store, 0, "loss"), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        (torch.randn(N, CLASSES), "not the output of the head '2'"),
        (torch.randn(N, CLASSES + 1), r"must be a tensor \[B, 4\]"),
        ([[0.0] * CLASSES] * N, r"must be a tensor \[B, 4\].*not list"),
    ],
)
def test_logits_that_the_head_did_not_make_are_refused(
    store: TrajectoryStore, model: nn.Module, logits: Any, message: str
) -> None:
    with AlignmentRecorder(model, store) as recorder:
        model(INPUTS)
        with pytest.raises(RecordingError, match=message):
            recorder.observe(range(N), GIVEN, logits=logits)


def test_an_evaluation_after_training_steps_that_were_not_observed_is_not_taken_for_one_of_them(
    store: TrajectoryStore, model: nn.Module
) -> None:
    with AlignmentRecorder(model, store) as recorder:
        functional.cross_entropy(model(OTHERS), GIVEN).backward()
        torch.optim.SGD(model.parameters(), lr=0.1).step()
        without_gradient(model, INPUTS)
        with pytest.raises(RecordingError, match=r"weights changed.*record_pass.*discard_passes\(\)"):
            recorder.observe(range(N), GIVEN)
        model(OTHERS)
        recorder.discard_passes()
        expected = losses_under(model)
        recorder.observe(range(N), GIVEN)
        recorder.end_epoch()
    np.testing.assert_allclose(column(store, 0, "loss"), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_pass_that_checkpointing_repeats_in_the_backward_pass_is_not_a_second_one(
    store: TrajectoryStore, model: nn.Module, reentrant: bool
) -> None:
    expected = losses_under(model)
    with AlignmentRecorder(model, store) as recorder:
        for half in (slice(0, 6), slice(6, 12)):
            logits = checkpoint(model, INPUTS[half].clone().requires_grad_(), use_reentrant=reentrant)
            recorder.observe(range(N)[half], GIVEN[half])
            functional.cross_entropy(logits, GIVEN[half]).backward()
        recorder.end_epoch()
    np.testing.assert_allclose(column(store, 0, "loss"), expected, rtol=1e-5, atol=1e-6)


def test_a_compiled_model_is_compiled_a_few_times_only_and_its_passes_are_counted(
    store: TrajectoryStore, model: nn.Module
) -> None:
    compiles: list[int] = []

    def backend(graph: Any, inputs: Any) -> Any:
        compiles.append(1)
        return graph

    compiled = torch.compile(model, backend=backend, dynamic=True)
    expected = losses_under(model)
    with AlignmentRecorder(compiled, store) as recorder:
        for _ in range(12):
            compiled(INPUTS)
            without_gradient(compiled.eval(), INPUTS)
            compiled.train()
        assert len(compiles) <= 6
        with pytest.raises(RecordingError, match="several training passes, at least one of 12"):
            recorder.observe(range(N), GIVEN)
        without_gradient(compiled.eval(), OTHERS)
        compiled.train()(INPUTS)
        recorder.observe(range(N), GIVEN)
        recorder.end_epoch()
    torch.compiler.reset()
    np.testing.assert_allclose(column(store, 0, "loss"), expected, rtol=1e-5, atol=1e-6)


def test_what_many_replicas_return_is_kept_for_each_device() -> None:
    hooks = HeadHooks()
    head = nn.Linear(FEATURES, CLASSES)
    keep_forward, keep_output = hooks.head_hook(head), hooks.output_hook(head)
    for device in ("cpu", "meta"):
        for _ in range(4):
            latent = torch.zeros(N, FEATURES, device=device)
            output = torch.zeros(N, CLASSES, device=device)
            if device == "cpu":
                keep_forward(head, (latent,), {}, output)
            keep_output(head, (latent,), output)
    (*_, last) = hooks.take()
    assert [tensor.device.type for (tensor,) in last.returned] == ["cpu"] * 4 + ["meta"] * 4


class SemiSupervised(lightning.LightningModule):
    """Trains on labelled batches, with further passes of other images in each step."""

    def __init__(self, further: str) -> None:
        super().__init__()
        self.model, self.further = network(), further

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        images, labels, _ = batch
        logits = self.model(images)
        loss = functional.cross_entropy(logits, labels)
        others = IMAGES[: len(images)].flip(0)
        if self.further == "without gradient":
            with torch.no_grad():
                self.model(others)
        elif self.further == "of another size":
            loss = loss + 0 * self.model(IMAGES[: 2 * BATCH + 1]).sum()
        else:
            loss = loss + 0 * self.model(others).sum()
        return {"loss": loss, "logits": logits} if self.further == "with logits" else loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return optimizer_of(self)


def fit(tmp_path: Path, further: str) -> TrajectoryStore:
    with new_store(tmp_path / "run") as store:
        trainer = lightning.Trainer(
            accelerator="cpu",
            devices=1,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
            max_epochs=2,
            callbacks=[AlignmentCallback(store)],
        )
        trainer.fit(SemiSupervised(further), loader())
    return store


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> TrajectoryStore:
    return plain_run(tmp_path_factory.mktemp("plain") / "run")


@pytest.mark.parametrize("further", ["without gradient", "of another size", "with logits"])
def test_in_lightning_only_the_pass_of_the_batch_is_recorded(
    tmp_path: Path, plain: TrajectoryStore, further: str
) -> None:
    assert_same(fit(tmp_path, further), plain)


def test_in_lightning_a_second_training_pass_of_the_same_size_is_refused_with_the_way_on(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"2 training passes of 32.*return \{'loss': loss, 'logits': logits\}"):
        fit(tmp_path, "of the same size")
    assert len(LABELS) > BATCH
