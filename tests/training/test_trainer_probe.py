"""A probe measures after each epoch: its numbers are committed, and it leaves no trace in the training."""

import pytest
import torch

from gwaudit import TrainingSettings, TrajectoryStore, train
from gwaudit.benchmarks.stopping.probe import StoppingProbe, TestSet
from gwaudit.core.errors import SettingsError
from gwaudit.training.tensor_files import read_tensors
from helpers.making import few_digits

SETTINGS = TrainingSettings(
    epochs=3, batch_size=64, augment="none", learning_rate=0.05, label_smoothing=0.0, clip_norm=None, dtype="float32"
)


class Counting:
    """Measures accuracy and disparity, and counts how often it is asked; stops at an epoch where told to."""

    def __init__(self, dataset, stop_at=None):
        images, labels = dataset.read(torch.arange(100)), torch.from_numpy(dataset.labels[:100])
        self.probe = StoppingProbe({"test": TestSet(images, labels)}, SETTINGS, dataset, 16)
        self.epochs, self.stop_at = [], stop_at

    def measure(self, epoch, model, prepared):
        if epoch == self.stop_at:
            raise SettingsError("stopped here")
        self.epochs.append(epoch)
        torch.rand(7)  # draws of the probe's own are not the training's
        return self.probe.measure(epoch, model, prepared)


def signals(run):
    with TrajectoryStore.open(run) as store:
        return [store.read_epoch(epoch) for epoch in store.epochs], [store.commit(e).metrics for e in store.epochs]


def test_numbers_are_committed_and_the_training_is_the_same_bit_for_bit(tmp_path):
    digits = few_digits(300)
    probe = Counting(digits)
    train(digits, tmp_path / "probed", SETTINGS, probe=probe)
    train(digits, tmp_path / "plain", SETTINGS)
    (probed, metrics), (plain, _) = signals(tmp_path / "probed"), signals(tmp_path / "plain")
    assert all(a.equals(b) for a, b in zip(probed, plain, strict=True))
    assert probe.epochs == [0, 1, 2]
    assert metrics[2]["test_accuracy"] > metrics[0]["test_accuracy"]
    assert all(metrics[epoch]["gradient_disparity"] > 0 < metrics[epoch]["gradient_norm"] for epoch in range(3))
    weights = [read_tensors(tmp_path / run / "checkpoints" / "best.safetensors") for run in ("probed", "plain")]
    assert all(torch.equal(a, b) for a, b in zip(*(state["model"].values() for state in weights), strict=True))


def test_a_resumed_run_is_not_measured_again_and_ends_the_same(tmp_path):
    digits = few_digits(300)
    train(digits, tmp_path / "whole", SETTINGS, probe=Counting(digits))
    with pytest.raises(SettingsError, match="stopped here"):
        train(digits, tmp_path / "broken", SETTINGS, probe=Counting(digits, stop_at=1))
    again = Counting(digits)
    train(digits, tmp_path / "broken", SETTINGS, resume=True, probe=again)
    assert again.epochs == [1, 2]
    for whole, broken in zip(signals(tmp_path / "whole")[1], signals(tmp_path / "broken")[1], strict=True):
        timeless = {name: value for name, value in whole.items() if "seconds" not in name}
        assert timeless == {name: value for name, value in broken.items() if "seconds" not in name}
