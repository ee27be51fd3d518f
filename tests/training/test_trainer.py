"""The reference trainer: what its settings do, what it keeps, and that a resumed run is the same run."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch

from gwaudit.analysis.monitor import readings
from gwaudit.analysis.ranking import rank
from gwaudit.analysis.stopping import RULES, SelectedEpoch, StoppingRule
from gwaudit.core.errors import SettingsError, StoreDamagedError, StoreExistsError, StoreVersionError
from gwaudit.core.settings import ResolvedTrainingSettings, TrainingSettings
from gwaudit.data.label_noise import add_label_noise
from gwaudit.store.store import TrajectoryStore
from gwaudit.training.automatic_settings import resolve
from gwaudit.training.models import build_model
from gwaudit.training.tensor_files import read_tensors
from gwaudit.training.trainer import predict, train
from helpers.making import few_digits

SETTINGS = TrainingSettings(epochs=3, batch_size=96, learning_rate=0.05, dtype="float32")


@pytest.fixture(scope="module")
def digits():
    dataset = few_digits(768)
    return dataset.with_labels(add_label_noise(dataset.labels, 10, rate=0.1), true_labels=dataset.labels)


class Reports:
    def __init__(self):
        self.steps, self.epochs = [], []

    def on_step(self, report):
        self.steps.append(report)

    def on_epoch(self, report):
        self.epochs.append(report)

    def on_final_pass(self, seconds):
        pass


def weights(run, name="best.safetensors", part="model"):
    return read_tensors(run / "checkpoints" / name)[part]


def logits_of(run, digits):
    """What the model that a run kept says of all images, as it would in use."""
    model = build_model("resnet9_16", n_classes=10, in_chans=1, image_size=8)
    model.load_state_dict(weights(run))
    mean, std = digits.channel_statistics()
    images = (digits.read(torch.arange(len(digits))).float() - mean.item()) / std.item()
    with torch.no_grad():
        return model.eval()(images)


def with_settings(**changes):
    return dataclasses.replace(SETTINGS, **changes)


@pytest.mark.parametrize("changes", [
    {"augment": "randaugment"},
    {"augment": "none", "label_smoothing": 0.1},
    {"accumulate": 3, "clip_norm": 0.5},
    {"optimizer": "adamw", "schedule": "cosine", "learning_rate": 1e-3},
    {"ema_decay": 0.9},
    {"record": "pass"},
    {"model": "resnet20_gn"},
    {"model": "whitened_32", "optimizer": "nmuon", "momentum": 0.6, "weight_decay": 0.5, "augment": "shift-flip"},
    {"dtype": "bfloat16"},
], ids=lambda changes: next(iter(changes)))  # fmt: skip
def test_every_option_trains_and_records_each_sample_each_epoch(digits, tmp_path, changes):
    reports = Reports()
    result = train(digits, tmp_path / "run", with_settings(**changes), progress=reports)
    with TrajectoryStore.open(tmp_path / "run") as store:
        assert store.epochs == (0, 1, 2)
        assert all(store.commit(epoch).missing == store.commit(epoch).repeated == 0 for epoch in store.epochs)
        recorded = ResolvedTrainingSettings.from_dict(store.settings["training"])
        assert recorded == resolve(with_settings(**changes), len(digits), "images")
    losses = [report.summary.mean_loss for report in reports.epochs]
    assert losses[-1] < losses[0]
    assert result.epochs == 3
    assert reports.steps[-1].step + 1 == reports.steps[-1].steps == 8


def test_the_last_checkpoint_holds_the_trained_model(digits, tmp_path):
    train(digits, tmp_path / "run", with_settings(epochs=12, batch_size=48))
    right = logits_of(tmp_path / "run", digits).argmax(1).numpy() == digits.true_labels
    assert right.mean() > 0.9
    assert sorted(p.name for p in (tmp_path / "run" / "checkpoints").iterdir()) == [
        "best.safetensors",
        "epoch-00011.safetensors",
    ]


def test_a_checkpoint_is_a_starting_point_for_another_run(digits, tmp_path):
    train(digits, tmp_path / "first", SETTINGS)
    torch.save(weights(tmp_path / "first"), tmp_path / "weights.pt")
    reports = Reports()
    train(
        digits, tmp_path / "second", with_settings(epochs=1, checkpoint=str(tmp_path / "weights.pt")), progress=reports
    )
    with TrajectoryStore.open(tmp_path / "first") as store:
        from_scratch = store.commit(0).metrics["mean_loss"]
    assert reports.epochs[0].summary.mean_loss < 0.8 * from_scratch


def test_accumulated_batches_make_the_step_of_one_large_batch(digits, tmp_path):
    """With group norm, no augmentation and equal batches, four of 48 are one of 192."""
    clean = digits.with_labels(digits.labels)
    common = {"model": "resnet20_gn", "augment": "none", "epochs": 1, "learning_rate": 0.01}
    train(clean, tmp_path / "large", with_settings(batch_size=192, **common))
    train(clean, tmp_path / "four", with_settings(batch_size=48, accumulate=4, **common))
    for name, value in weights(tmp_path / "large").items():
        torch.testing.assert_close(value, weights(tmp_path / "four")[name], rtol=1e-3, atol=1e-4)


def test_a_seed_repeats_a_run_and_another_changes_it(digits, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        torch.manual_seed(len(name))  # what the caller did before does not matter
        torch.rand(seed)
        train(digits, tmp_path / name, with_settings(epochs=1, seed=seed))
    first, second, other = (TrajectoryStore.open(tmp_path / name).read_epoch(0) for name in "abc")
    assert first.equals(second)
    assert not first.equals(other)


def test_training_leaves_the_callers_random_numbers_alone(digits, tmp_path):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    train(digits, tmp_path / "run", with_settings(epochs=1))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("changes", [{}, {"record": "pass", "ema_decay": 0.9, "accumulate": 2}])
def test_a_run_that_was_stopped_goes_on_to_the_same_end(digits, tmp_path, changes):
    class StopError(Exception):
        pass

    class StopAfter(Reports):
        def on_epoch(self, report):
            super().on_epoch(report)
            if len(self.epochs) == 2:
                raise StopError

    settings = with_settings(epochs=4, **changes)
    train(digits, tmp_path / "whole", settings)
    with pytest.raises(StopError):
        train(digits, tmp_path / "stopped", settings, progress=StopAfter())
    train(digits, tmp_path / "stopped", settings, resume=True)
    frames = [rank(TrajectoryStore.open(tmp_path / name)).frame for name in ("whole", "stopped")]
    pd.testing.assert_frame_equal(*frames, check_exact=True)


def test_a_finished_run_resumed_is_finished(digits, tmp_path):
    train(digits, tmp_path / "run", SETTINGS)
    reports = Reports()
    assert train(digits, tmp_path / "run", SETTINGS, resume=True, progress=reports).epochs == 3
    assert not reports.epochs


@pytest.mark.parametrize("of", ["another run", "epoch 0"])
def test_a_checkpoint_of_another_run_or_epoch_is_refused(digits, tmp_path, monkeypatch, of):
    monkeypatch.setattr("gwaudit.training.trainer.delete_other_checkpoints", lambda *_: None)
    settings = with_settings(epochs=2)
    train(digits, tmp_path / "run", settings)
    last = tmp_path / "run" / "checkpoints" / "epoch-00001.safetensors"
    source = last.with_name("epoch-00000.safetensors")
    if of == "another run":
        train(digits, tmp_path / "other", with_settings(epochs=2, seed=9))
        source = tmp_path / "other" / "checkpoints" / last.name
    last.write_bytes(source.read_bytes())
    with pytest.raises(StoreDamagedError, match=f"it belongs to {of}"):
        train(digits, tmp_path / "run", settings, resume=True)


def test_a_run_with_checkpoints_of_an_earlier_version_is_not_resumed_but_ranked(digits, tmp_path):
    run = tmp_path / "run"
    train(digits, run, with_settings(epochs=1))
    for checkpoint in (run / "checkpoints").iterdir():
        checkpoint.rename(checkpoint.with_suffix(".pt"))
    with pytest.raises(
        StoreVersionError, match=r"epoch-00000\.pt was written by an earlier .*gwaudit rank .*run\), or"
    ):
        train(digits, run, with_settings(epochs=1), resume=True)
    with pytest.raises(StoreVersionError, match=r"best\.pt was written by an earlier version"):
        predict(run, digits, digits)
    assert len(rank(TrajectoryStore.open(run)).frame) == len(digits)


def test_checkpoints_that_a_kill_left_are_deleted(digits, tmp_path):
    train(digits, tmp_path / "run", with_settings(epochs=2))
    folder = tmp_path / "run" / "checkpoints"
    names = sorted(path.name for path in folder.iterdir())
    for left in ("epoch-00000.safetensors", ".epoch-00001.safetensors.0123abcd.partial"):
        (folder / left).write_bytes(b"of a process that was killed")
    train(digits, tmp_path / "run", with_settings(epochs=2), resume=True)
    assert sorted(path.name for path in folder.iterdir()) == names


def test_resume_refuses_other_settings_or_data_and_new_runs_an_old_folder(digits, tmp_path):
    train(digits, tmp_path / "run", SETTINGS)
    with pytest.raises(StoreExistsError):
        train(digits, tmp_path / "run", SETTINGS)
    with pytest.raises(SettingsError, match=r"made with `learning_rate=0\.05`, not 0\.1"):
        train(digits, tmp_path / "run", with_settings(learning_rate=0.1), resume=True)
    with pytest.raises(SettingsError, match="other data or labels"):
        train(digits.with_labels(digits.true_labels), tmp_path / "run", SETTINGS, resume=True)


def test_stopping_early_keeps_the_chosen_epoch(digits, tmp_path):
    result = train(
        digits, tmp_path / "run", with_settings(epochs=40, learning_rate=0.2, select="gwa-scratch", patience=2)
    )
    assert result.epochs < 40
    assert result.epochs - 1 - result.selected.epoch >= 2
    best = read_tensors(tmp_path / "run" / "checkpoints" / "best.safetensors")
    assert best["epoch"] == result.selected.epoch
    with TrajectoryStore.open(tmp_path / "run") as store:
        gwa = [store.commit(epoch).metrics["gwa"] for epoch in store.epochs]
    assert np.nanargmax(gwa[4:]) + 4 == result.selected.epoch


@pytest.mark.parametrize("name", ["labelwave", "quantile-gwa", "toy"])
def test_a_training_selects_its_epoch_by_any_rule_whose_signals_it_records(digits, tmp_path, monkeypatch, name):
    def second(curves, total_epochs):
        """Select the second epoch, once there is one."""
        return SelectedEpoch(min(1, len(curves["bounded_gwa"]) - 1), "the second epoch")

    monkeypatch.setitem(RULES, "toy", StoppingRule("toy", ("bounded_gwa",), second))
    result = train(
        digits, tmp_path / "run", with_settings(epochs=4, select=name, patience=1 if name == "toy" else None)
    )
    with TrajectoryStore.open(tmp_path / "run") as store:
        table = readings(store)
    assert result.selected == RULES[name].choose({signal: table[signal].tolist() for signal in table}, 4)
    assert result.epochs == (3 if name == "toy" else 4)
    best = read_tensors(tmp_path / "run" / "checkpoints" / "best.safetensors")
    assert best["epoch"] == result.selected.epoch


def test_a_rule_whose_signals_a_training_does_not_measure_is_refused_before_it_starts(digits, tmp_path):
    with pytest.raises(SettingsError, match="reads validation_accuracy, which this training does not measure"):
        train(digits, tmp_path / "run", with_settings(select="validation"))
    assert not (tmp_path / "run").exists()


def test_a_single_leftover_sample_is_trained_and_recorded(digits, tmp_path):
    assert 1797 % 449 == 1
    train(digits, tmp_path / "run", with_settings(epochs=1, batch_size=59))
    assert TrajectoryStore.open(tmp_path / "run").commit(0).missing == 0


def test_an_evaluation_pass_records_what_the_kept_model_says_without_augmentation(digits, tmp_path):
    train(digits, tmp_path / "run", with_settings(epochs=2, record="pass"))
    logits = logits_of(tmp_path / "run", digits)
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(digits.labels), reduction="none")
    recorded = TrajectoryStore.open(tmp_path / "run").read_epoch(1).to_pandas()["loss"]
    np.testing.assert_allclose(recorded, loss.numpy(), rtol=1e-3, atol=1e-4)
