"""A training whose photos are read by workers ends bit-equal for any number of them, killed and resumed or not."""

import os
import signal
import time
from pathlib import Path

import pytest
import torch

from gwaudit.core.errors import WorkerDiedError
from gwaudit.core.settings import TrainingSettings
from gwaudit.data import images
from gwaudit.data.inputs import InMemory
from gwaudit.data.loading import load_dataset
from gwaudit.store.store import TrajectoryStore
from gwaudit.training.tensor_files import read_tensors
from gwaudit.training.trainer import predict, train
from helpers.forking import PROCESSES
from helpers.making import make_tree

EPOCHS = 6
SETTINGS = TrainingSettings(epochs=EPOCHS, batch_size=8, augment="resized-crop", final_passes=2, dtype="float32")


class Pause:
    """Show every epoch to the process that waits for it."""

    def __init__(self, epochs):
        self._epochs = epochs

    def on_epoch(self, report):
        self._epochs.put(report.summary.epoch)
        time.sleep(0.05)

    def __getattr__(self, name):
        return lambda *_: None


def train_photos(folder, run, workers, epochs=None, resume=False, in_memory=False):
    torch.set_num_threads(1)
    if not in_memory:
        images.IN_MEMORY_BYTES = 0  # as of a source that is too large for it
    dataset = load_dataset(folder, workers=workers)
    assert isinstance(dataset.inputs, InMemory) == in_memory
    assert dataset.workers == workers
    progress = None if epochs is None else Pause(epochs)
    try:
        train(dataset, run, SETTINGS, resume=resume, progress=progress)
    except WorkerDiedError as error:
        assert epochs is not None
        epochs.put(str(error))
        return
    predict(run, dataset, dataset.subset(range(13, 21)))


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    make_tree(folder, per_class=17)
    return folder


@pytest.fixture(scope="module")
def unbroken(photos, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "unbroken"
    process = PROCESSES.Process(target=train_photos, args=(photos, run, 0))
    process.start()
    process.join()
    assert process.exitcode == 0
    return run


def assert_bit_equal(first_run, second_run):
    first, second = TrajectoryStore.open(first_run), TrajectoryStore.open(second_run)
    assert first.epochs == second.epochs == tuple(range(EPOCHS + 2))
    for epoch in first.epochs:
        assert first.read_epoch(epoch).equals(second.read_epoch(epoch)), f"epoch {epoch} differs"
    states = [read_tensors(s.checkpoints / f"epoch-{EPOCHS - 1:05d}.safetensors") for s in (first, second)]
    for name, value in states[0]["model"].items():
        assert torch.equal(value, states[1]["model"][name]), f"{name} differs"


@pytest.mark.parametrize(("workers", "in_memory"), [(1, False), (2, True)])
def test_runs_are_bit_equal_for_any_number_of_workers(photos, unbroken, tmp_path, workers, in_memory):
    process = PROCESSES.Process(
        target=train_photos, args=(photos, tmp_path / "run", workers), kwargs={"in_memory": in_memory}
    )
    process.start()
    process.join()
    assert process.exitcode == 0
    assert_bit_equal(unbroken, tmp_path / "run")


def test_a_run_that_is_killed_with_its_workers_running_is_resumed_at_once(photos, unbroken, tmp_path):
    for last in (1, 3):
        epochs = PROCESSES.Queue()  # a killed process may leave its lock held
        process = PROCESSES.Process(target=train_photos, args=(photos, tmp_path / "run", 2, epochs, last > 1))
        process.start()
        while epochs.get(timeout=300) < last:
            pass
        workers = children(process.pid)
        assert len(workers) >= 2
        process.kill()
        process.join()
    # At once: no worker of the killed process still has the lock of the run.
    process = PROCESSES.Process(target=train_photos, args=(photos, tmp_path / "run", 1, None, True))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert_bit_equal(unbroken, tmp_path / "run")


def test_a_worker_that_is_killed_ends_the_training_with_its_reason_and_the_run_is_resumed(photos, unbroken, tmp_path):
    epochs = PROCESSES.Queue()
    process = PROCESSES.Process(target=train_photos, args=(photos, tmp_path / "run", 2, epochs))
    process.start()
    assert epochs.get(timeout=300) == 0
    os.kill(max(children(process.pid)), signal.SIGKILL)  # as the system does when memory runs out
    while isinstance(message := epochs.get(timeout=300), int):
        pass
    assert "killed by the signal Killed" in message
    assert "`workers`" in message
    process.join()
    assert process.exitcode == 0
    process = PROCESSES.Process(target=train_photos, args=(photos, tmp_path / "run", 0, None, True))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert_bit_equal(unbroken, tmp_path / "run")
