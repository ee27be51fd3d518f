"""The recorder stores what a training step computed, each sample once an epoch, and changes nothing else."""

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from gwaudit.core.errors import RecordingError
from gwaudit.recording.recorder import AlignmentRecorder
from gwaudit.store.store import SIGNALS, TrajectoryStore
from helpers.gradients import head_cosines

N, CLASSES, FEATURES = 24, 4, 6


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(FEATURES, 8), nn.BatchNorm1d(8), nn.ReLU())
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(x))
        return logits


LABELS = torch.arange(N) % CLASSES
INPUTS = torch.randn(N, FEATURES, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def store(tmp_path: Path) -> TrajectoryStore:
    return new_store(tmp_path / "run")


def new_store(path: Path) -> TrajectoryStore:
    return TrajectoryStore.create(path, given_labels=LABELS.numpy(), class_names=list("abcd"), block_rows=10)


def epoch_column(store: TrajectoryStore, epoch: int, signal: str) -> np.ndarray:
    return np.concatenate([store.read_block(epoch, block, [signal])[signal] for block in range(store.n_blocks)])


def test_each_sample_gets_the_alignment_under_the_weights_of_its_own_step(store: TrajectoryStore) -> None:
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    order = torch.randperm(N)
    expected = torch.full((N,), torch.nan)
    with AlignmentRecorder(model, store) as recorder:
        for ids in order.split(8):
            loss = nn.functional.cross_entropy(model(INPUTS[ids]), LABELS[ids])
            latent, head = copy.deepcopy(model).body(INPUTS[ids]), model.head
            expected[ids] = head_cosines(latent, LABELS[ids], head.weight, head.bias).float()
            recorder.observe(ids, LABELS[ids])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        summary = recorder.end_epoch()

    np.testing.assert_allclose(epoch_column(store, 0, "alignment"), expected, atol=1e-5)
    assert (summary.recorded, summary.missing, summary.repeated) == (N, 0, 0)
    assert summary.moments.directional_alignment == pytest.approx(float(expected.mean()), abs=1e-5)


def test_observing_after_the_optimizer_step_and_a_loss_that_changes_logits_in_place_alters_nothing(
    tmp_path: Path,
) -> None:
    stored = []
    for late in (False, True):
        torch.manual_seed(0)
        model = Net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        with new_store(tmp_path / str(late)) as store, AlignmentRecorder(model, store, head="head") as recorder:
            logits = model(INPUTS)
            if not late:
                recorder.observe(torch.arange(N), LABELS)
            nn.functional.cross_entropy(logits, LABELS).backward()
            optimizer.step()
            if late:
                logits.detach().mul_(3)
                recorder.observe(torch.arange(N), LABELS)
            recorder.end_epoch()
            stored.append(store.read_epoch(0))
    assert stored[0].equals(stored[1])


def test_loss_margin_probability_and_labels_are_those_of_the_logits(store: TrajectoryStore) -> None:
    model = Net().eval()
    with AlignmentRecorder(model, store) as recorder:
        logits = model(INPUTS).detach().double()
        recorder.observe(np.arange(N), LABELS.tolist())
        summary = recorder.end_epoch()

    others = logits.clone()
    others[torch.arange(N), LABELS] = -torch.inf
    own = logits[torch.arange(N), LABELS]
    losses = nn.functional.cross_entropy(logits, LABELS, reduction="none")
    np.testing.assert_allclose(epoch_column(store, 0, "margin"), own - others.amax(1), atol=1e-5)
    np.testing.assert_allclose(epoch_column(store, 0, "loss"), losses, atol=1e-5)
    np.testing.assert_allclose(epoch_column(store, 0, "given_probability"), (-losses).exp(), atol=1e-5)
    error = logits.softmax(1) - nn.functional.one_hot(LABELS, logits.shape[1])
    np.testing.assert_allclose(epoch_column(store, 0, "el2n"), error.norm(dim=1), atol=1e-5)
    np.testing.assert_array_equal(epoch_column(store, 0, "predicted_label"), logits.argmax(1))
    assert summary.mean_loss == pytest.approx(float(losses.mean()), abs=1e-5)
    assert summary.accuracy_on_given == pytest.approx(float((logits.argmax(1) == LABELS).double().mean()))


@settings(max_examples=25, deadline=None)
@given(seen=st.lists(st.lists(st.integers(0, N - 1), max_size=9), min_size=1, max_size=5).filter(any))
def test_the_first_of_repeated_ids_is_kept_and_repeats_and_missing_are_counted(
    tmp_path_factory: pytest.TempPathFactory, seen: list[list[int]]
) -> None:
    model = Net().eval()
    first: dict[int, float] = {}
    with new_store(tmp_path_factory.mktemp("run")) as store, AlignmentRecorder(model, store) as recorder:
        for step, ids in enumerate(seen):
            # The loss of a sample differs with every step, and so tells which observation was kept.
            with torch.no_grad():
                model.head.bias[0] = 0.1 * step
                logits = model(INPUTS[ids] + torch.arange(len(ids))[:, None])
            for row, sample in enumerate(ids):
                first.setdefault(sample, float(nn.functional.cross_entropy(logits[row], LABELS[sample])))
            recorder.observe(ids if ids else torch.empty(0, dtype=torch.long), LABELS[ids])
        summary = recorder.end_epoch()
        losses = epoch_column(store, 0, "loss")
        commit = store.commit(0)

    total = sum(len(ids) for ids in seen)
    assert (summary.recorded, summary.missing, summary.repeated) == (len(first), N - len(first), total - len(first))
    assert (commit.missing, commit.repeated) == (summary.missing, summary.repeated)
    np.testing.assert_allclose(losses, [first.get(sample, np.nan) for sample in range(N)], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", [list, np.asarray, torch.as_tensor, lambda v: torch.as_tensor(v, dtype=torch.int32)])
def test_ids_and_labels_may_be_lists_arrays_or_tensors(store: TrajectoryStore, kind: Callable[..., object]) -> None:
    model = Net()
    with AlignmentRecorder(model, store) as recorder:
        model(INPUTS)
        recorder.observe(kind(list(range(N))), kind(LABELS.tolist()))  # type: ignore[arg-type]  # any of the kinds
        assert recorder.end_epoch().missing == 0


def test_an_id_buffer_that_the_loop_reuses_does_not_change_what_was_observed(store: TrajectoryStore) -> None:
    model, ids, labels = Net(), torch.empty(12, dtype=torch.long), torch.empty(12, dtype=torch.long)
    with AlignmentRecorder(model, store) as recorder:
        for start in (0, 12):
            ids.copy_(torch.arange(start, start + 12))
            labels.copy_(LABELS[start : start + 12])
            model(INPUTS[ids])
            recorder.observe(ids, labels)
        assert recorder.end_epoch().missing == 0


def test_epochs_follow_the_store_and_carry_the_loops_metrics(store: TrajectoryStore) -> None:
    model = Net()
    with AlignmentRecorder(model, store) as recorder:
        for epoch in range(3):
            model(INPUTS)
            recorder.observe(range(N), LABELS)
            summary = recorder.end_epoch({"learning_rate": 0.1})
            assert summary.epoch == epoch
    metrics = store.commit(2).metrics
    assert metrics["learning_rate"] == 0.1
    assert metrics["directional_alignment"] == pytest.approx(summary.moments.directional_alignment)
    assert metrics["mean_loss"] == pytest.approx(summary.mean_loss)
    assert store.epochs == (0, 1, 2)


def test_forward_passes_that_are_not_observed_are_not_recorded(store: TrajectoryStore) -> None:
    model = Net()
    with AlignmentRecorder(model, store) as recorder:
        model(INPUTS[:12])
        recorder.observe(range(12), LABELS[:12])
        model(INPUTS)
        model.eval()(INPUTS[12:])
        recorder.observe(range(12, N), LABELS[12:])
        summary = recorder.end_epoch()
    assert (summary.missing, summary.repeated) == (0, 0)


def test_a_discarded_epoch_leaves_nothing(store: TrajectoryStore) -> None:
    model = Net()
    with AlignmentRecorder(model, store) as recorder:
        model(INPUTS)
        recorder.observe(range(N), LABELS)
        recorder.discard_epoch()
        model(INPUTS[:5])
        recorder.observe(range(5), LABELS[:5])
        summary = recorder.end_epoch()
    assert (summary.epoch, summary.recorded, summary.repeated) == (0, 5, 0)


def test_training_is_bit_for_bit_the_same_with_and_without_recording(tmp_path: Path) -> None:
    def trained(store: TrajectoryStore | None) -> dict[str, Tensor]:
        torch.manual_seed(0)
        model = Net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
        recorder = AlignmentRecorder(model, store) if store else None
        if recorder:
            recorder.__enter__()
        for ids in torch.arange(N).split(6):
            loss = nn.functional.cross_entropy(model(INPUTS[ids]), LABELS[ids])
            if recorder:
                recorder.observe(ids, LABELS[ids])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return model.state_dict()

    plain, recorded = trained(None), trained(new_store(tmp_path / "run"))

    assert list(plain) == list(recorded)
    assert all(torch.equal(plain[name], recorded[name]) for name in plain)


def test_observing_leaves_the_number_of_threads_as_it_was(store: TrajectoryStore) -> None:
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            with AlignmentRecorder(model := Net(), store) as recorder:
                model(INPUTS)
                recorder.observe(range(N), LABELS)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_leaving_the_block_removes_every_hook_and_the_recorder_may_be_attached_again(store: TrajectoryStore) -> None:
    model = Net()
    for _ in range(2):
        with AlignmentRecorder(model, store) as recorder:
            model(INPUTS)
            recorder.observe(range(N), LABELS)
            recorder.end_epoch()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_a_copy_of_the_watched_model_is_free_of_recorder_and_store(store: TrajectoryStore) -> None:
    model = Net()
    with AlignmentRecorder(model, store) as recorder:
        average = copy.deepcopy(model)
        model(INPUTS)
        average(INPUTS[:3])
        recorder.observe(range(N), LABELS)
        assert recorder.end_epoch().missing == 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_under_autocast_the_mathematics_is_float32(store: TrajectoryStore, dtype: torch.dtype) -> None:
    model = Net().eval()
    with AlignmentRecorder(model, store) as recorder, torch.autocast("cpu", dtype):
        logits = model(INPUTS)
        assert logits.dtype == dtype
        recorder.observe(range(N), LABELS)
        recorder.end_epoch()

    losses = nn.functional.cross_entropy(logits.detach().double(), LABELS, reduction="none")
    np.testing.assert_allclose(epoch_column(store, 0, "loss"), losses, rtol=1e-6, atol=1e-6)
    assert epoch_column(store, 0, "alignment").dtype == np.float32


def test_a_step_never_waits_for_the_device(store: TrajectoryStore) -> None:
    # On the meta device there is nothing to wait for: whatever asks for a value raises.
    model = Net().to("meta")
    with AlignmentRecorder(model, store, head="head") as recorder:
        for ids in torch.arange(N).split(8):
            loss = nn.functional.cross_entropy(model(INPUTS[ids].to("meta")), LABELS[ids].to("meta"))
            recorder.observe(ids, LABELS[ids])
            loss.backward()
            model(INPUTS[ids].to("meta"))
            recorder.observe(ids.to("meta"), LABELS[ids].to("meta"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("ids_device", ["cpu", "cuda"])
def test_on_a_cuda_device_a_step_does_not_synchronise_and_the_values_are_those_of_the_cpu(
    tmp_path: Path, ids_device: str
) -> None:
    recorded = []
    for device in ("cpu", "cuda"):
        torch.manual_seed(0)
        model = Net().eval().to(device)
        with new_store(tmp_path / device) as store, AlignmentRecorder(model, store, head="head") as recorder:
            inputs, labels = INPUTS.to(device), LABELS.to(device)
            ids = torch.arange(N).to(ids_device)
            if device == "cuda":
                torch.cuda.set_sync_debug_mode("error")
            try:
                model(inputs)
                recorder.observe(ids, labels)
            finally:
                torch.cuda.set_sync_debug_mode("default")
            recorder.end_epoch()
            recorded.append(epoch_column(store, 0, "alignment"))
    np.testing.assert_allclose(recorded[0], recorded[1], atol=1e-3)  # TF32 may be on


def test_gradient_accumulation_records_each_micro_batch(store: TrajectoryStore) -> None:
    model = Net()
    with AlignmentRecorder(model, store) as recorder:
        for ids in torch.arange(N).split(4):
            nn.functional.cross_entropy(model(INPUTS[ids]), LABELS[ids]).backward()
            recorder.observe(ids, LABELS[ids])
        assert recorder.end_epoch().recorded == N


def test_an_evaluation_pass_scores_all_samples_with_fixed_weights_and_restores_the_modes(
    store: TrajectoryStore,
) -> None:
    model = Net()
    model.body[1].eval()
    modes = {name: module.training for name, module in model.named_modules()}
    before = copy.deepcopy(model.state_dict())
    batches = [(INPUTS[ids], LABELS[ids], ids) for ids in torch.randperm(N).split(7)]
    with AlignmentRecorder(model, store) as recorder:
        summary = recorder.record_pass(batches, metrics={"step": 5})

    with torch.no_grad():
        logits = copy.deepcopy(model).eval()(INPUTS)
    losses = nn.functional.cross_entropy(logits, LABELS, reduction="none")
    np.testing.assert_allclose(epoch_column(store, 0, "loss"), losses, rtol=1e-5, atol=1e-6)
    assert (summary.recorded, store.commit(0).metrics["step"]) == (N, 5)
    assert {name: module.training for name, module in model.named_modules()} == modes
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_an_evaluation_pass_that_fails_restores_the_modes_and_leaves_nothing_behind(store: TrajectoryStore) -> None:
    def batches():  # type: ignore[no-untyped-def]  # breaks on purpose
        yield INPUTS[:4], LABELS[:4], torch.arange(4)
        raise OSError("the disk is gone")

    model = Net()
    with AlignmentRecorder(model, store) as recorder:
        with pytest.raises(OSError, match="disk"):
            recorder.record_pass(batches())
        assert model.training
        assert recorder.record_pass([(INPUTS, LABELS, torch.arange(N))]).repeated == 0
    assert store.epochs == (0,)


def test_every_signal_of_the_store_is_recorded_and_the_moving_estimate_is_near_the_exact_one(
    store: TrajectoryStore,
) -> None:
    model = Net().eval()
    with AlignmentRecorder(model, store) as recorder:
        for ids in torch.arange(N).split(12):
            model(INPUTS[ids])
            recorder.observe(ids, LABELS[ids])
        summary = recorder.end_epoch()
    assert set(store.read_epoch(0).column_names) == {"sample_id", *SIGNALS}
    assert summary.moving.directional_alignment == pytest.approx(summary.moments.directional_alignment, abs=0.1)


def test_samples_may_be_observed_by_their_keys(tmp_path: Path) -> None:
    keys = ["a/1", "b/2", "c/3", "d/4"]
    labels = torch.tensor([0, 1, 2, 0])
    inputs = torch.randn(4, 5)
    model = nn.Linear(5, 3)
    runs = {}
    texts = ["c/3", "a/1", "d/4", "b/2"]
    kinds = {"ids": [2, 0, 3, 1], "keys": texts, "array": np.array(texts), "paths": [Path(text) for text in texts]}
    for name, ids in kinds.items():
        store = TrajectoryStore.create(
            tmp_path / name, given_labels=labels.numpy(), class_names=["x", "y", "z"], keys=keys
        )
        with store, AlignmentRecorder(model, store) as recorder:
            model(inputs[[2, 0, 3, 1]])
            recorder.observe(ids, labels[[2, 0, 3, 1], None])  # labels may be [B, 1]
            recorder.end_epoch()
            model(inputs[:1])
            with pytest.raises(RecordingError, match=r"no sample 'e/5' \(1 of 1 keys unknown\)"):
                recorder.observe(["e/5"], labels[:1])
        runs[name] = [store.trajectory(i)["alignment"].iloc[0] for i in range(4)]
    assert runs["ids"] == runs["keys"] == runs["array"] == runs["paths"]


@pytest.mark.parametrize("labels", [torch.tensor([0.0, 1, 1, 0]), torch.tensor([[0], [1], [1], [0]])])
def test_one_logit_of_a_binary_cross_entropy_is_recorded_under_one_class_name(tmp_path: Path, labels: Tensor) -> None:
    inputs, model = torch.randn(4, 5), nn.Linear(5, 1)
    given = labels.reshape(4, 1).numpy()
    store = TrajectoryStore.create(tmp_path / "run", given_labels=given, class_names=["ill"])
    with store, AlignmentRecorder(model, store) as recorder:
        loss = nn.functional.binary_cross_entropy_with_logits(model(inputs), labels.reshape(4, 1).float())
        recorder.observe(range(4), labels)
        summary = recorder.end_epoch()
    assert summary.missing == 0
    assert summary.mean_loss == pytest.approx(float(loss.detach()), abs=1e-6)
