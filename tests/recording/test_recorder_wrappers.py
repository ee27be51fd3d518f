"""The recorder works through the wrappers that people put around models, and in the models people bring."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from gwaudit.core.errors import ModelError, RecordingError
from gwaudit.recording.epoch_commit import EpochSummary
from gwaudit.recording.head_forms import HeadForward
from gwaudit.recording.hooks import join_devices
from gwaudit.recording.recorder import AlignmentRecorder
from gwaudit.store.store import TrajectoryStore
from gwaudit.training.models import build_model
from helpers.ranks import run_ranks

N, CLASSES, FEATURES = 16, 3, 5
LABELS = torch.arange(N) % CLASSES
INPUTS = torch.randn(N, FEATURES, generator=torch.Generator().manual_seed(0))


def mlp() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(FEATURES, 8), nn.ReLU(), nn.Linear(8, CLASSES))


def new_store(path: Path) -> TrajectoryStore:
    return TrajectoryStore.create(path, given_labels=LABELS.numpy(), class_names=list("abc"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TrajectoryStore]:
    with new_store(tmp_path / "run") as store:
        yield store


@pytest.fixture(autouse=True)
def _fresh_compiler() -> Iterator[None]:
    yield
    torch.compiler.reset()


def record(model: nn.Module, store: TrajectoryStore, *, call: nn.Module | None = None, steps: int = 4) -> EpochSummary:
    """Train for one epoch; `call` is what the loop calls, where that is not what the recorder was given."""
    call = call or model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with AlignmentRecorder(model, store) as recorder:
        for ids in torch.arange(N).chunk(steps):
            output = call(INPUTS[ids])
            logits = output if isinstance(output, Tensor) else output["logits"]
            loss = nn.functional.cross_entropy(logits, LABELS[ids])
            recorder.observe(ids, LABELS[ids])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return recorder.end_epoch()


def losses(store: TrajectoryStore) -> np.ndarray:
    return store.read_block(0, 0, ["loss"])["loss"]


WRAPPERS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "DataParallel": nn.DataParallel,
    "torch.compile eager": lambda model: torch.compile(model, backend="eager"),
    "torch.compile aot_eager": lambda model: torch.compile(model, backend="aot_eager"),
    "torch.compile fullgraph": lambda model: torch.compile(model, backend="aot_eager", fullgraph=True),
    "compiled DataParallel": lambda model: nn.DataParallel(torch.compile(model, backend="eager")),
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("given", ["wrapped", "bare"])
def test_a_wrapped_model_records_what_the_bare_one_does(tmp_path: Path, wrapper: str, given: str) -> None:
    with new_store(tmp_path / "bare") as bare, new_store(tmp_path / "wrapped") as wrapped:
        record(mlp(), bare)
        model = mlp()
        outer = WRAPPERS[wrapper](model)
        record(outer if given == "wrapped" else model, wrapped, call=outer)
        np.testing.assert_allclose(losses(wrapped), losses(bare), rtol=1e-5)


@pytest.mark.parametrize("name", ["resnet9_16", "resnet20_gn"])
def test_a_compiled_timm_model_records_in_training_and_evaluation(store: TrajectoryStore, name: str) -> None:
    model = torch.compile(build_model(name, n_classes=CLASSES, in_chans=1), backend="aot_eager")
    images = INPUTS[:, :4].reshape(N, 1, 2, 2)
    with AlignmentRecorder(model, store) as recorder:
        model(images)
        recorder.observe(range(N), LABELS)
        assert recorder.end_epoch().missing == 0
        assert recorder.record_pass([(images, LABELS, torch.arange(N))]).missing == 0


def test_a_model_compiled_in_place_records(store: TrajectoryStore) -> None:
    model = mlp()
    model.compile(backend="eager")
    assert record(model, store).missing == 0


def test_a_model_that_was_compiled_and_ran_before_is_refused_with_the_remedy_or_recorded(
    store: TrajectoryStore,
) -> None:
    model = torch.compile(mlp(), backend="eager")
    model(INPUTS[:4])
    with pytest.raises(RecordingError, match=r"torch\.compiler\.reset\(\)"):
        record(model, store)
    assert store.epochs == ()
    torch.compiler.reset()
    assert record(model, store).missing == 0


def _part(rows: range) -> HeadForward:
    values = torch.tensor([[float(row)] for row in rows])
    return HeadForward(values, values, torch.ones(1, 1), torch.ones(()), None)


def test_the_parts_of_a_batch_are_joined_in_the_order_in_which_data_parallel_dealt_them() -> None:
    model = nn.DataParallel(mlp())
    model.device_ids = [1, 0, 2]
    parts = {torch.device("cuda", 0): _part(range(3, 6)), torch.device("cuda", 1): _part(range(3))}

    assert join_devices(parts, model).logits.flatten().tolist() == [0, 1, 2, 3, 4, 5]
    with pytest.raises(RecordingError, match="give the recorder the DataParallel model"):
        join_devices(parts, model.module)


def _record_distributed(run: Path) -> None:
    torch.distributed.init_process_group("gloo")
    model = nn.parallel.DistributedDataParallel(mlp())
    with new_store(run) as store:
        assert record(model, store).missing == 0
    torch.distributed.destroy_process_group()


def test_a_distributed_model_records(tmp_path: Path) -> None:
    run_ranks(1, _record_distributed, tmp_path / "run")
    with new_store(tmp_path / "bare") as bare:
        record(mlp(), bare)
        np.testing.assert_allclose(losses(TrajectoryStore.open(tmp_path / "run")), losses(bare), rtol=1e-5)


@pytest.mark.parametrize("reentrant", [False, True])
def test_activation_checkpointing_of_the_body_records_each_sample_once(store: TrajectoryStore, reentrant: bool) -> None:
    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = mlp()[:2], mlp()[2]

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.head(checkpoint(self.body, x.requires_grad_(), use_reentrant=reentrant))
            return logits

    summary = record(Checkpointed(), store)
    assert (summary.recorded, summary.repeated) == (N, 0)


@pytest.mark.parametrize("wrap", [lambda model: model, nn.DataParallel, torch.compile])
def test_state_dict_keys_are_the_same_while_recording(
    store: TrajectoryStore, wrap: Callable[[nn.Module], nn.Module]
) -> None:
    model = wrap(mlp())
    keys = list(model.state_dict())
    with AlignmentRecorder(model, store):
        assert list(model.state_dict()) == keys
        model.load_state_dict(model.state_dict())


@dataclass
class Output:
    logits: Tensor

    def __getitem__(self, key: str) -> Tensor:
        tensor: Tensor = getattr(self, key)
        return tensor


class Returning(nn.Module):
    """Returns its head's output in a way of its own; a further linear layer may come before the head."""

    def __init__(self, wrap: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.body, self.head, self.wrap = mlp()[:2], mlp()[2], wrap

    def forward(self, x: Tensor) -> object:
        return self.wrap(self.head(self.body(x)))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda logits: logits,
        lambda logits: logits.float(),
        lambda logits: {"logits": logits},
        lambda logits: OrderedDict(logits=logits, hidden=None),
        Output,
    ],
)
def test_logits_may_be_returned_bare_as_an_attribute_or_under_a_key(
    store: TrajectoryStore, wrap: Callable[[Tensor], object]
) -> None:
    assert record(Returning(wrap), store).missing == 0


@pytest.mark.parametrize("wrap", [lambda logits: 2 * logits, lambda logits: logits.softmax(1), lambda logits: None])
def test_a_last_linear_layer_that_does_not_make_the_output_is_refused_with_the_remedy(
    store: TrajectoryStore, wrap: Callable[[Tensor], object]
) -> None:
    model = Returning(wrap)
    with AlignmentRecorder(model, store) as recorder:
        model(INPUTS)
        with pytest.raises(RecordingError, match=r"'head', the last nn\.Linear of Returning.*head="):
            recorder.observe(range(N), LABELS)


def test_a_named_head_is_checked_against_what_the_model_returns_or_against_the_given_logits(
    store: TrajectoryStore,
) -> None:
    model = Returning(lambda logits: (logits.roll(1, dims=0), logits[:3]))
    with AlignmentRecorder(model, store, head="head") as recorder:
        model(INPUTS)
        with pytest.raises(RecordingError, match=r"logits that Returning returns are not.*'head'.*head=.*logits="):
            recorder.observe(range(N), LABELS)
        logits = model(INPUTS)[0].roll(-1, dims=0)
        recorder.observe(range(N), LABELS, logits=logits)
        assert recorder.end_epoch().missing == 0


def test_a_last_linear_layer_of_another_width_is_not_taken_for_the_head(store: TrajectoryStore) -> None:
    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head, self.body = nn.Linear(8, CLASSES), nn.Linear(FEATURES, 8)

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.head(self.body(x))
            return logits

    for head in (None, "head"):
        with AlignmentRecorder(model := Backwards(), store, head=head) as recorder:
            model(INPUTS)
            recorder.observe(range(N), LABELS)
            assert recorder.end_epoch().missing == 0
    with pytest.raises(RecordingError, match=r"'body' has 8 outputs.*3 classes.*head="):
        AlignmentRecorder(Backwards(), store, head="body")


def test_a_head_that_forward_does_not_call_is_refused(store: TrajectoryStore) -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(FEATURES, CLASSES)

        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.linear(x, self.head.weight, self.head.bias)

    with pytest.raises(RecordingError, match="no forward pass through the head 'head'"):
        record(Functional(), store)


def test_a_model_without_a_linear_head_is_refused_before_training(store: TrajectoryStore) -> None:
    with pytest.raises(ModelError, match=r"no nn\.Linear"):
        AlignmentRecorder(nn.Conv1d(1, 3, 1), store)


def test_a_head_without_bias_and_one_called_by_keyword_record(store: TrajectoryStore) -> None:
    class Keyword(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(FEATURES, CLASSES, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.head(input=x)
            return logits

    assert record(Keyword(), store).missing == 0


def test_a_vision_transformer_records_through_timms_classifier(store: TrajectoryStore) -> None:
    model = timm.create_model("vit_tiny_patch16_224", num_classes=CLASSES, img_size=32)
    images = torch.randn(N, 3, 32, 32)
    with AlignmentRecorder(model, store) as recorder:
        assert recorder.record_pass([(images, LABELS, torch.arange(N))]).recorded == N
