"""A rank killed in the middle of an epoch leaves whole epochs, from which any number of ranks goes on."""

import dataclasses
import os
import signal

import numpy as np
import pytest
import torch
from torch import Tensor

from gwaudit.core.settings import TrainingSettings
from gwaudit.data.inputs import Inputs
from gwaudit.recording.distributed import process_rank
from gwaudit.store.store import TrajectoryStore
from gwaudit.training.trainer import train
from helpers.making import few_digits
from helpers.ranks import run_ranks

SETTINGS = TrainingSettings(
    model="resnet20_gn", epochs=4, batch_size=100, learning_rate=0.01, dtype="float32", device="cpu"
)
STEPS, SHARE = 6, 50  # of an epoch; what a rank reads in each


@dataclasses.dataclass(frozen=True, eq=False)
class DeadlyImages:
    """Kills this process, if it is a certain rank, at the n-th read of a share of a batch."""

    inputs: Inputs
    victim: int
    reads: list[int]

    @property
    def shape(self):
        return self.inputs.shape

    def __len__(self):
        return len(self.inputs)

    def add_to(self, digest):
        self.inputs.add_to(digest)

    def read(self, sample_ids: Tensor) -> Tensor:
        self.reads[0] -= len(sample_ids) <= SHARE
        if self.reads[0] == 0 and process_rank() == self.victim:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.inputs.read(sample_ids)


def train_until_killed(run, victim, reads):
    dataset = few_digits()
    deadly = dataclasses.replace(dataset, inputs=DeadlyImages(dataset.inputs, victim, [reads]))
    train(deadly, run, SETTINGS, resume=True)


class StopError(Exception):
    pass


class StopAtOnce:
    def on_step(self, report):
        pass

    def on_epoch(self, report):
        raise StopError


def whole_epochs(run):
    store = TrajectoryStore.open(run)
    store.verify()
    assert all(store.commit(epoch).missing == 0 for epoch in store.epochs)
    return len(store.epochs)


@pytest.mark.slow
def test_a_run_goes_on_after_kills_from_one_rank_with_two_and_from_two_with_one(tmp_path):
    run = tmp_path / "run"
    torch.set_num_threads(1)
    with pytest.raises(StopError):
        train(few_digits(), run, SETTINGS, progress=StopAtOnce())
    assert whole_epochs(run) == 1
    for victim, epochs in ((1, 2), (0, 3)):
        died = run_ranks(2, train_until_killed, run, victim, STEPS + 3, check=False)
        assert died[victim].returncode == -signal.SIGKILL
        assert died[1 - victim].returncode != 0
        assert whole_epochs(run) == epochs
    train(few_digits(), run, SETTINGS, resume=True)
    assert whole_epochs(run) == 4

    train(few_digits(), tmp_path / "unbroken", SETTINGS)
    unbroken, killed = (TrajectoryStore.open(path) for path in (tmp_path / "unbroken", run))
    for epoch in unbroken.epochs:
        expected, found = (store.read_epoch(epoch)["alignment"].to_numpy() for store in (unbroken, killed))
        np.testing.assert_allclose(found, expected, atol=5e-3)
        assert np.corrcoef(found, expected)[0, 1] > 0.999
