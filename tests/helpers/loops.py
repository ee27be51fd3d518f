"""What the tests of the loops share: digits, one of them planted, a network, and the plain loop to compare with."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from gwaudit.data.sample_ids import WithSampleIds
from gwaudit.recording.recorder import AlignmentRecorder
from gwaudit.store.store import TrajectoryStore

N, CLASSES, PLANTED, BATCH, EPOCHS = 90, 10, 41, 32, 2


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, CLASSES))


def _digits() -> tuple[Tensor, Tensor]:
    """[N, 1, 8, 8] in [0, 1] and [N]; one is overexposed and has the label that a new network finds least likely."""
    digits = load_digits()
    images = torch.from_numpy(digits.images[:N]).float()[:, None] / 16
    labels = torch.from_numpy(digits.target[:N]).long()
    images[PLANTED] *= 20
    labels[PLANTED] = network()(images[PLANTED, None]).argmin()
    return images, labels


IMAGES, LABELS = _digits()


def dataset() -> WithSampleIds:
    return WithSampleIds(TensorDataset(IMAGES, LABELS))


def loader(workers: int = 0, **options: Any) -> DataLoader[Any]:
    """Shuffled, and each new loader in the same orders."""
    order = torch.Generator().manual_seed(3)
    return DataLoader(dataset(), BATCH, shuffle=True, generator=order, num_workers=workers, **options)


def new_store(path: Path) -> TrajectoryStore:
    return TrajectoryStore.create(path, given_labels=LABELS.numpy(), class_names=[str(c) for c in range(CLASSES)])


def optimizer_of(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)


def plain_run(
    path: Path,
    batches: DataLoader[Any] | None = None,
    *,
    model: nn.Module | None = None,
    loss_of: Callable[[nn.Module, Tensor, Tensor], Tensor] | None = None,
    accumulate: int = 1,
    epochs: int = EPOCHS,
) -> TrajectoryStore:
    """Record the plain loop that every other one is compared with."""
    model, batches = model or network(), batches or loader()
    optimizer = optimizer_of(model)
    with new_store(path) as store, AlignmentRecorder(model, store) as recorder:
        for _ in range(epochs):
            for step, (images, labels, ids) in enumerate(batches):
                if loss_of is None:
                    loss = nn.functional.cross_entropy(model(images), labels)
                else:
                    loss = loss_of(model, images, labels)
                recorder.observe(ids, labels)
                (loss / accumulate).backward()
                if (step + 1) % accumulate == 0 or step + 1 == len(batches):
                    optimizer.step()
                    optimizer.zero_grad()
            recorder.end_epoch()
    return store


def column(store: TrajectoryStore, epoch: int, signal: str) -> np.ndarray:
    return store.read_block(epoch, 0, [signal])[signal]


def assert_same(store: TrajectoryStore, plain: TrajectoryStore) -> None:
    """Every signal of every sample and epoch is, bit for bit, that of the plain loop."""
    assert store.epochs == plain.epochs
    for epoch in plain.epochs:
        assert store.read_epoch(epoch).equals(plain.read_epoch(epoch)), f"epoch {epoch}"
        assert (store.commit(epoch).missing, store.commit(epoch).repeated) == (0, 0)


def assert_planted_is_found(store: TrajectoryStore) -> None:
    """The planted sample's outstanding loss is at its own id in the first epoch."""
    losses = column(store, 0, "loss")
    assert losses.argmax() == PLANTED
    assert losses[PLANTED] > 2 * np.delete(losses, PLANTED).max()
