"""A training killed at any moment and resumed ends bit-equal to one that ran through."""

import random
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
import torch

from gwaudit.store import TrajectoryStore

TRAIN = """
import sys, torch
torch.set_num_threads(1)
from gwaudit.datasets import load_dataset
from gwaudit.ranking import rank
from gwaudit.settings import TrainingSettings
from gwaudit.store import TrajectoryStore
from gwaudit.training import train
import gwaudit.recorder

settings = TrainingSettings(epochs=int(sys.argv[2]), batch_size=128, learning_rate=0.05, ema_decay=0.99,
                            select="gwa-scratch")
print("ready", flush=True)
train(load_dataset("digits"), sys.argv[1], settings, resume=True)
with TrajectoryStore.open(sys.argv[1]) as store:
    rank(store).save(sys.argv[1])
print("done", flush=True)
"""

EPOCHS = 40


def start(run):
    command = [sys.executable, "-c", TRAIN, str(run), str(EPOCHS)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_twenty_kills_at_random_moments_change_no_bit_of_the_audit(tmp_path):
    unbroken = start(tmp_path / "unbroken")
    assert unbroken.wait() == 0
    moments = random.Random(0)
    kills = 0
    while True:
        process = start(tmp_path / "killed")
        assert process.stdout.readline() == "ready\n"
        if kills < 20:
            # From before the first step to a few epochs on.
            time.sleep(moments.uniform(0, 0.8))
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                kills += 1
            process.wait()
            continue
        assert process.wait() == 0
        break
    first, second = (TrajectoryStore.open(tmp_path / name) for name in ("unbroken", "killed"))
    assert first.epochs == second.epochs == tuple(range(EPOCHS))
    second.verify()
    for epoch in first.epochs:
        assert first.read_epoch(epoch).equals(second.read_epoch(epoch)), f"epoch {epoch} differs"
        metrics = [{k: v for k, v in run.commit(epoch).metrics.items() if k != "seconds"} for run in (first, second)]
        assert metrics[0] == pytest.approx(metrics[1], abs=0, nan_ok=True)
    frames = [pd.read_parquet(tmp_path / name / "audit.parquet") for name in ("unbroken", "killed")]
    pd.testing.assert_frame_equal(*frames, check_exact=True)
    states = [torch.load(s.checkpoints / f"epoch-{EPOCHS - 1:05d}.pt", weights_only=True) for s in (first, second)]
    for part in ("model", "ema"):
        for name, value in states[0][part].items():
            assert torch.equal(value, states[1][part][name]), f"{part} {name} differs"
