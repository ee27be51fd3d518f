"""What a training skips does not end it: such samples are missing in their epoch, and named."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from gwaudit.recording.recorder import AlignmentRecorder
from gwaudit.store.store import TrajectoryStore

N, CLASSES = 60, 3
LABELS = torch.arange(N) % CLASSES
KEYS = [f"img{i}.png" for i in range(N)]


def inputs(*bad: int, value: float = float("nan")) -> torch.Tensor:
    made = torch.randn(N, 5, generator=torch.Generator().manual_seed(0))
    made[list(bad)] = value
    return made


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TrajectoryStore]:
    options = {"class_names": list("abc"), "block_rows": 25, "keys": KEYS}
    with TrajectoryStore.create(tmp_path / "run", given_labels=LABELS.numpy(), **options) as store:  # type: ignore[arg-type]
        yield store


def train(model: nn.Module, store: TrajectoryStore, images: torch.Tensor, epochs: int = 2) -> list[int]:
    """The loop of one who skips the steps whose loss is not finite."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    missing = []
    with AlignmentRecorder(model, store) as recorder:
        for _ in range(epochs):
            for ids in torch.arange(N).split(4):
                loss = nn.functional.cross_entropy(model(images[ids]), LABELS[ids])
                recorder.observe(ids, LABELS[ids])
                if not loss.isfinite():
                    continue
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            missing.append(recorder.end_epoch().missing)
    return missing


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_samples_with_nan_or_infinity_are_missing_and_named_once_an_epoch(store: TrajectoryStore, value: float) -> None:
    with pytest.warns(UserWarning, match="NaN or infinite") as warned:
        assert train(nn.Linear(5, CLASSES), store, inputs(7, 41, value=value)) == [2, 2]
    for epoch, warning in enumerate(warned):
        assert f"epoch {epoch}: the signals of 2 samples" in str(warning.message)
        assert "(sample ids 7 'img7.png', 41 'img41.png'): left out of this epoch" in str(warning.message)
    assert len(warned) == 2
    store.verify()
    lost = np.flatnonzero(np.isnan(store.read_epoch(1).to_pandas()["alignment"]))
    assert lost.tolist() == [7, 41]


def test_a_batch_norm_that_spreads_the_nan_loses_its_batch_and_the_moving_estimate_stays_finite(
    store: TrajectoryStore,
) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8, track_running_stats=False), nn.Linear(8, CLASSES))
    with pytest.warns(UserWarning, match=r"signals of 4 samples .*sample ids 4 'img4.png', 5 'img5.png'"):
        assert train(model, store, inputs(7)) == [4, 4]
    exact, moving = (store.commit(1).metrics[f"{kind}directional_alignment"] for kind in ("", "moving_"))
    assert moving == pytest.approx(exact, abs=0.1)


def test_a_sample_that_is_seen_again_with_finite_signals_keeps_these(store: TrajectoryStore) -> None:
    model = nn.Linear(5, CLASSES)
    with AlignmentRecorder(model, store) as recorder:
        for images in (inputs(7), inputs()):
            model(images)
            recorder.observe(range(N), LABELS)
        with pytest.warns(UserWarning, match="1 samples"):
            summary = recorder.end_epoch()
    assert (summary.recorded, summary.missing, summary.repeated) == (N, 0, N - 1)


def test_metrics_may_be_any_numbers_and_what_is_none_does_not_end_the_training(store: TrajectoryStore) -> None:
    model = nn.Linear(5, CLASSES)
    with AlignmentRecorder(model, store) as recorder:
        model(inputs())
        recorder.observe(range(N), LABELS)
        with pytest.warns(UserWarning, match="not a number") as warned:
            recorder.end_epoch(
                {
                    "none": None,
                    "nan": float("nan"),
                    "tensor": torch.tensor([0.25], requires_grad=True),
                    "numpy": np.float32(0.5),
                    "array": np.array([0.75]),
                    "flag": True,
                    "text": "good",
                    "matrix": torch.zeros(2, 2),
                }
            )
    assert [str(warning.message).split()[2] for warning in warned] == ["'text'", "'matrix'"]
    metrics = TrajectoryStore.open(store.path).commit(0).metrics
    assert np.isnan([metrics["none"], metrics["nan"]]).all()
    assert [metrics[name] for name in ("tensor", "numpy", "array", "flag")] == [0.25, 0.5, 0.75, 1.0]
    assert not {"text", "matrix"} & set(metrics)
