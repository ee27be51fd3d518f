"""What goes wrong while recording is said at once, on one line, with the remedy, and nothing is committed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from gwaudit.core.errors import RecordingError
from gwaudit.recording.recorder import AlignmentRecorder
from gwaudit.store.store import TrajectoryStore

N, CLASSES = 12, 3
LABELS = torch.arange(N) % CLASSES
INPUTS = torch.randn(N, 5, generator=torch.Generator().manual_seed(0))
IDS = torch.arange(N)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TrajectoryStore]:
    with TrajectoryStore.create(tmp_path / "run", given_labels=LABELS.numpy(), class_names=list("abc")) as store:
        yield store


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(5, CLASSES)


def test_observing_outside_the_with_block(store: TrajectoryStore, model: nn.Module) -> None:
    recorder = AlignmentRecorder(model, store)
    model(INPUTS)
    with pytest.raises(RecordingError, match="with AlignmentRecorder"):
        recorder.observe(IDS, LABELS)
    with pytest.raises(RecordingError, match="with AlignmentRecorder"):
        recorder.record_pass([])


def test_entering_twice(store: TrajectoryStore, model: nn.Module) -> None:
    with AlignmentRecorder(model, store) as recorder, pytest.raises(RecordingError, match="attached already"):
        recorder.__enter__()


def test_observing_before_the_forward_pass_or_twice_for_one(store: TrajectoryStore, model: nn.Module) -> None:
    with AlignmentRecorder(model, store) as recorder:
        with pytest.raises(RecordingError, match=r"call model\(inputs\)"):
            recorder.observe(IDS, LABELS)
        model(INPUTS)
        recorder.observe(IDS, LABELS)
        with pytest.raises(RecordingError, match="once for it"):
            recorder.observe(IDS, LABELS)


def test_ending_an_epoch_in_which_nothing_was_observed(store: TrajectoryStore, model: nn.Module) -> None:
    with AlignmentRecorder(model, store) as recorder, pytest.raises(RecordingError, match=r"nothing.*epoch 0.*observe"):
        recorder.end_epoch()


def test_an_evaluation_pass_while_an_epoch_is_under_way(store: TrajectoryStore, model: nn.Module) -> None:
    with AlignmentRecorder(model, store) as recorder:
        model(INPUTS)
        recorder.observe(IDS, LABELS)
        with pytest.raises(RecordingError, match=r"end_epoch\(\) or discard_epoch\(\)"):
            recorder.record_pass([(INPUTS, LABELS, IDS)])
        assert recorder.end_epoch().recorded == N


@pytest.mark.parametrize(
    ("ids", "labels", "message"),
    [
        (IDS[:4], LABELS, r"4 sample_ids for a forward pass of 12 samples"),
        (IDS, LABELS[:4], r"4 labels for a forward pass of 12 samples"),
        (IDS + 1, LABELS, r"sample_ids hold 12, expected sample ids of the run from 0 to 11"),
        (IDS - 1, LABELS, r"sample_ids hold -1"),
        (IDS, LABELS + 1, r"labels hold 3, expected class numbers from 0 to 2"),
        (IDS, LABELS - 100, r"labels hold -100"),
        (IDS, 0.9 * torch.eye(CLASSES)[LABELS], r"labels must be \[B\] integers \(the given labels, not one-hot"),
        (IDS.float(), LABELS, r"sample_ids must be \[B\] integers.*float32"),
        ([f"img{i}.png" for i in range(N)], LABELS, r"has no sample .img0\.png. \(12 of 12 keys unknown\)"),
        (IDS, LABELS.roll(1), r"epoch 0: 12 observed labels.*sample 0 \(observed 2, given 0\).*same order"),
    ],
)
def test_ids_and_labels_that_do_not_fit(
    store: TrajectoryStore, model: nn.Module, ids: object, labels: torch.Tensor, message: str
) -> None:
    def record() -> None:
        with AlignmentRecorder(model, store) as recorder:
            model(INPUTS)
            recorder.observe(ids, labels)  # type: ignore[arg-type]  # wrong on purpose
            recorder.end_epoch()

    with pytest.raises(RecordingError, match=message) as refusal:
        record()
    assert "\n" not in str(refusal.value)
    assert store.epochs == ()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_training_that_diverged_is_refused_and_the_next_epoch_is_recorded(
    store: TrajectoryStore, model: nn.Module, value: float
) -> None:
    inputs = INPUTS.clone()
    inputs[5:] = value
    with AlignmentRecorder(model, store) as recorder:
        model(inputs)
        recorder.observe(IDS, LABELS)
        with pytest.raises(
            RecordingError, match=r"epoch 0: the signals of 7 samples are NaN.*5, 6.*7 of the 12 observed"
        ):
            recorder.end_epoch()
        assert store.epochs == ()
        model(INPUTS)
        recorder.observe(IDS, LABELS)
        assert recorder.end_epoch().missing == 0


def test_wrong_labels_in_one_epoch_do_not_refuse_the_next(store: TrajectoryStore, model: nn.Module) -> None:
    with AlignmentRecorder(model, store) as recorder:
        for labels, right in ((LABELS.roll(1), False), (LABELS, True)):
            model(INPUTS)
            recorder.observe(IDS, labels)
            if right:
                assert recorder.end_epoch().epoch == 0
            else:
                with pytest.raises(RecordingError, match="12 observed labels"):
                    recorder.end_epoch()


def test_huge_finite_logits_are_recorded(store: TrajectoryStore, model: nn.Module) -> None:
    with AlignmentRecorder(model, store) as recorder:
        model(INPUTS * 1e4)
        recorder.observe(IDS, LABELS)
        assert recorder.end_epoch().recorded == N


def test_logits_for_every_token_instead_of_one_prediction_a_sample(store: TrajectoryStore, model: nn.Module) -> None:
    with AlignmentRecorder(model, store) as recorder:
        model(INPUTS[:, None].expand(N, 2, 5))
        with pytest.raises(RecordingError, match=r"shape \(12, 2, 3\), expected \[batch, classes\].*pool before"):
            recorder.observe(IDS, LABELS)


def test_a_head_with_other_outputs_than_the_run_has_classes(store: TrajectoryStore) -> None:
    with pytest.raises(RecordingError, match=r"has 1000 outputs.*has 3 classes"):
        AlignmentRecorder(nn.Linear(5, 1000), store)


def test_one_logit_for_two_classes_is_refused_with_the_way_to_record_it(tmp_path: Path) -> None:
    store = TrajectoryStore.create(tmp_path / "run", given_labels=[0, 1], class_names=["well", "ill"])
    with store, pytest.raises(RecordingError, match=r"one class name.*labels \[n, 1\] of 0 and 1; otherwise build"):
        AlignmentRecorder(nn.Linear(5, 1), store)


def test_a_run_that_is_open_for_reading(store: TrajectoryStore, model: nn.Module) -> None:
    with pytest.raises(RecordingError, match="writable=True"):
        AlignmentRecorder(model, TrajectoryStore.open(store.path))


def test_an_epoch_number_is_no_metric_and_loses_nothing(store: TrajectoryStore, model: nn.Module) -> None:
    with AlignmentRecorder(model, store) as recorder:
        model(INPUTS)
        recorder.observe(IDS, LABELS)
        with pytest.raises(RecordingError, match="not 3: the run counts its epochs itself"):
            recorder.end_epoch(3)  # type: ignore[arg-type]  # the mistake that the test is about
        recorder.end_epoch({"loss": 0.5})
    assert len(store.epochs) == 1
