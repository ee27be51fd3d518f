"""A forgotten end_epoch is noticed, legitimate repeats are not, and notebook cells may run twice."""

import gc
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import BatchSampler, RandomSampler, Sampler, WeightedRandomSampler

from gwaudit.core.errors import RecordingError
from gwaudit.recording.recorder import AlignmentRecorder
from gwaudit.store.store import TrajectoryStore

N, CLASSES, BATCH = 60, 3, 8
LABELS = torch.arange(N) % CLASSES
INPUTS = torch.randn(N, 5, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TrajectoryStore]:
    options = {"class_names": list("abc"), "block_rows": 25}
    with TrajectoryStore.create(tmp_path / "run", given_labels=LABELS.numpy(), **options) as store:  # type: ignore[arg-type]
        yield store


def batches(sampler: Sampler[int] | None = None, *, drop_last: bool = False) -> Iterator[Tensor]:
    for ids in BatchSampler(sampler or RandomSampler(range(N)), BATCH, drop_last):
        yield torch.tensor(ids)


def observe(recorder: AlignmentRecorder, model: nn.Module, ids: Tensor) -> None:
    model(INPUTS[ids])
    recorder.observe(ids, LABELS[ids])


@pytest.mark.parametrize("drop_last", [False, True])
def test_an_epoch_of_several_passes_is_noticed_in_the_second_pass_and_at_its_end(
    store: TrajectoryStore, drop_last: bool
) -> None:
    model, said = nn.Linear(5, CLASSES), []
    with AlignmentRecorder(model, store) as recorder, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for _ in range(10):
            for ids in batches(drop_last=drop_last):
                observe(recorder, model, ids)
            said.append(len(warned))
        assert recorder.end_epoch().epoch == 0
    assert said == [0, *[1] * 9]
    assert "were observed again since the last end_epoch()" in str(warned[0].message)
    assert len(warned) == 2
    assert "epoch 0: " in str(warned[1].message)
    assert f"{store.commit(0).repeated} of {10 * (56 if drop_last else 60)} observations" in str(warned[1].message)
    assert store.commit(0).missing == 0


@pytest.mark.parametrize(
    "kind", ["with replacement", "weighted", "many draws", "two views", "padding", "an epoch each", "resumed"]
)
@pytest.mark.filterwarnings("error")
def test_repeats_that_a_sampler_makes_are_no_forgotten_epoch(store: TrajectoryStore, kind: str) -> None:
    torch.manual_seed(0)
    padded = torch.cat([torch.randperm(N), torch.arange(BATCH)])
    epochs = {
        "with replacement": [batches(RandomSampler(range(N), replacement=True))],
        "weighted": [batches(WeightedRandomSampler([5.0] * 10 + [0.1] * 50, N))],
        "many draws": [batches(WeightedRandomSampler([5.0] * 30 + [1.0] * 30, 10 * N))],
        "two views": [[ids for batch in batches() for ids in (batch, batch)]],
        "padding": [padded.split(BATCH)],
        "an epoch each": [batches(), batches(), batches()],
        "resumed": [[*batches()][4:], batches()],
    }[kind]
    model = nn.Linear(5, CLASSES)
    with AlignmentRecorder(model, store) as recorder:
        for epoch in epochs:
            for ids in epoch:
                observe(recorder, model, ids)
            recorder.end_epoch()


def test_observations_that_no_end_epoch_committed_are_said_when_the_block_ends(store: TrajectoryStore) -> None:
    model = nn.Linear(5, CLASSES)

    def record(error: type[BaseException] | None = None) -> None:
        with AlignmentRecorder(model, store) as recorder:
            observe(recorder, model, torch.arange(N))
            if error:
                raise error

    with pytest.warns(UserWarning, match=r"60 observations since the last end_epoch\(\) are not recorded"):
        record()
    with warnings.catch_warnings(record=True) as warned, pytest.raises(KeyboardInterrupt):
        record(KeyboardInterrupt)
    assert not warned  # an interrupted epoch is not a forgotten one
    assert store.epochs == ()


@pytest.mark.filterwarnings("error")
def test_cells_of_a_notebook_attach_and_detach_and_may_run_twice(store: TrajectoryStore) -> None:
    model = nn.Linear(5, CLASSES)

    def hooks() -> int:
        return len(model._forward_hooks)

    recorder = AlignmentRecorder(model, store).attach()
    before = hooks()
    recorder.attach()  # the cell again
    assert hooks() == before > 0
    observe(recorder, model, torch.arange(20))  # a loop that is interrupted here ...
    recorder.attach()
    observe(recorder, model, torch.arange(N))  # ... and runs again from its start
    assert (recorder.end_epoch().recorded, store.commit(0).repeated) == (N, 0)
    with pytest.raises(RecordingError, match="attached already"), recorder:
        pass
    recorder = AlignmentRecorder(model, store).attach()  # the cell that creates it, again
    gc.collect()
    assert hooks() == before
    recorder.detach()
    recorder.detach()
    assert hooks() == 0
    with pytest.raises(RecordingError, match=r"not attached.*attach\(\)"):
        recorder.observe(torch.arange(N), LABELS)
    with recorder:  # the block works as ever
        assert hooks() > 0
