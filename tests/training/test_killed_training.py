"""A training killed at any moment and resumed ends bit-equal to one that ran through."""

import random
import time

import pandas as pd
import pytest
import torch

from gwaudit.analysis.ranking import rank
from gwaudit.core.settings import TrainingSettings
from gwaudit.store.store import TrajectoryStore
from gwaudit.training.tensor_files import read_tensors
from gwaudit.training.trainer import train
from helpers.forking import PROCESSES
from helpers.making import few_digits

EPOCHS = 40
SETTINGS = TrainingSettings(epochs=EPOCHS, batch_size=100, learning_rate=0.05, ema_decay=0.99, select="gwa-scratch")


def audit_digits(run, ready):
    torch.set_num_threads(1)
    ready.set()
    train(few_digits(), run, SETTINGS, resume=True)
    with TrajectoryStore.open(run) as store:
        rank(store).save(run)


def start(run):
    ready = PROCESSES.Event()
    process = PROCESSES.Process(target=audit_digits, args=(run, ready))
    process.start()
    assert ready.wait(300)
    return process


@pytest.mark.slow
def test_twenty_kills_at_random_moments_change_no_bit_of_the_audit(tmp_path):
    unbroken = start(tmp_path / "unbroken")
    unbroken.join()
    assert unbroken.exitcode == 0
    moments = random.Random(0)
    kills = 0
    while kills < 20:
        process = start(tmp_path / "killed")
        time.sleep(moments.uniform(0, 0.4))  # from before the first step to a few epochs on
        kills += process.is_alive()
        process.kill()
        process.join()
    last = start(tmp_path / "killed")
    last.join()
    assert last.exitcode == 0
    first, second = (TrajectoryStore.open(tmp_path / name) for name in ("unbroken", "killed"))
    assert first.epochs == second.epochs == tuple(range(EPOCHS))
    second.verify()
    for epoch in first.epochs:
        assert first.read_epoch(epoch).equals(second.read_epoch(epoch)), f"epoch {epoch} differs"
        metrics = [{k: v for k, v in run.commit(epoch).metrics.items() if k != "seconds"} for run in (first, second)]
        assert metrics[0] == pytest.approx(metrics[1], abs=0, nan_ok=True)
    frames = [pd.read_parquet(tmp_path / name / "audit.parquet") for name in ("unbroken", "killed")]
    pd.testing.assert_frame_equal(*frames, check_exact=True)
    states = [read_tensors(s.checkpoints / f"epoch-{EPOCHS - 1:05d}.safetensors") for s in (first, second)]
    for part in ("model", "ema"):
        for name, value in states[0][part].items():
            assert torch.equal(value, states[1][part][name]), f"{part} {name} differs"
