"""Settings that depend on the number of images: 50,000 keep theirs, few get their own, and a run keeps what it has."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from gwaudit.analysis.ranking import rank
from gwaudit.analysis.signals import Signals
from gwaudit.analysis.verdict_checks import judge
from gwaudit.core.errors import RecordingError, SettingsError
from gwaudit.core.settings import DataSettings, ResolvedTrainingSettings, TrainingSettings
from gwaudit.data.dataset import LabeledDataset
from gwaudit.data.inputs import InMemory
from gwaudit.pipeline.audit import load_and_train
from gwaudit.store.store import TrajectoryStore
from gwaudit.training.automatic_settings import AUTOMATIC, advise_against_scratch, resolve
from gwaudit.training.trainer import train

LARGE = ResolvedTrainingSettings()


def images(n=48, classes=2, side=8):
    random = np.random.default_rng(0)
    labels = np.arange(n) % classes
    values = random.integers(0, 120, (n, 3, side, side)) + 100 * labels[:, None, None, None]
    names = tuple("abcdefghij"[:classes])
    return LabeledDataset("squares", InMemory(torch.tensor(values, dtype=torch.uint8)), labels, names, list(range(n)))


def recorded(run):
    return json.loads((run / "run.json").read_text())["settings"]["training"]


@pytest.mark.parametrize("n", [30_000, 40_000, 50_000, 1_000_000])
def test_large_data_sets_are_trained_as_the_benchmarks(n):
    assert resolve(TrainingSettings(), n, "images") == LARGE
    assert (LARGE.epochs, LARGE.batch_size, LARGE.learning_rate) == (30, 512, 0.2)


def test_heads_on_features_are_neither_smoothed_nor_clipped():
    for each in (
        resolve(TrainingSettings(), 600, "features"),
        resolve(TrainingSettings(backbone="frozen", pretrained=True), 600, "images"),
    ):
        assert (each.label_smoothing, each.clip_norm) == (0, None)


def test_fewer_images_get_smaller_batches_and_rates_and_enough_updates():
    settings = [resolve(TrainingSettings(), n, "images") for n in (4, 20, 120, 300, 600, 2000, 10_000, 50_000)]
    for name in ("batch_size", "learning_rate"):
        values = [getattr(each, name) for each in settings]
        assert values == sorted(values)
    for n, each in zip((4, 20, 120, 300, 600, 2000, 10_000, 50_000), settings, strict=True):
        assert each.epochs * np.ceil(n / each.batch_size) >= 400
    assert [each.batch_size for each in settings] == [16, 16, 16, 16, 32, 64, 128, 512]


def test_what_the_user_sets_stays():
    given = {"epochs": 6, "batch_size": 500, "learning_rate": 1.5, "label_smoothing": 0.0, "clip_norm": None}
    assert resolve(TrainingSettings(**given), 120, "images") == ResolvedTrainingSettings(**given)
    for name, value in given.items():
        assert getattr(resolve(TrainingSettings(**{name: value}), 120, "images"), name) == value


@pytest.mark.parametrize(("n", "epochs"), [(60, 60), (5120, 60), (7680, 40), (10_240, 30), (50_000, 30)])
def test_heads_in_folds_learn_few_samples_for_more_epochs(n, epochs):
    assert resolve(TrainingSettings(), n, "features").epochs == epochs
    assert resolve(TrainingSettings(backbone="frozen", checkpoint="weights.pth"), n, "images").epochs == 30


def test_a_number_of_epochs_that_is_left_out_gives_a_large_batch_its_updates():
    assert resolve(TrainingSettings(batch_size=512), 600, "images").epochs == 200
    assert resolve(TrainingSettings(accumulate=4), 600, "images").epochs == 80


def test_the_learning_rate_suits_the_optimizer_and_trained_weights():
    rates = {name: resolve(TrainingSettings(optimizer=name), 50_000, "images").learning_rate for name in
             ("sgd", "momentum", "adamw", "nadamw", "nmuon")}  # fmt: skip
    assert rates == {"sgd": 0.2, "momentum": 0.2, "adamw": 1e-3, "nadamw": 1e-3, "nmuon": 0.02}
    assert resolve(TrainingSettings(pretrained=True), 50_000, "images").learning_rate == 0.02
    with pytest.raises(SettingsError, match="no default learning rate: set `learning_rate`"):
        resolve(TrainingSettings(optimizer="lars"), 50_000, "images")
    assert resolve(TrainingSettings(optimizer="lars", learning_rate=1.0), 50_000, "images").learning_rate == 1


def test_labels_of_multi_label_images_are_not_smoothed():
    assert resolve(TrainingSettings(), 600, "images").label_smoothing == 0.2
    assert resolve(TrainingSettings(), 600, "images", multi_label=True).label_smoothing == 0


@pytest.mark.parametrize(
    "change", [{"epochs": "ten"}, {"batch_size": 0}, {"clip_norm": 0.0}, {"learning_rate": -1.0}], ids=str
)
def test_values_that_cannot_be_are_refused(change):
    with pytest.raises(SettingsError, match=f"`{next(iter(change))}` must be"):
        TrainingSettings(**change)


def test_batch_normalization_needs_two_images():
    one = TrainingSettings(batch_size=1, pretrained=False)
    with pytest.raises(SettingsError, match="at least 2 images in a batch"):
        resolve(one, 600, "images")
    assert resolve(one, 600, "features", multi_label=True).batch_size == 1
    assert resolve(TrainingSettings(batch_size=1, pretrained=True), 600, "images", photos=True).batch_size == 1


def test_a_run_holds_numbers_and_a_resumed_run_keeps_them(tmp_path):
    dataset = images()
    first = TrainingSettings(epochs=1, learning_rate=0.03)
    train(dataset, tmp_path / "run", first)
    assert recorded(tmp_path / "run")["batch_size"] == 16
    assert "auto" not in [recorded(tmp_path / "run")[name] for name in AUTOMATIC]
    with TrajectoryStore.open(tmp_path / "run") as store:
        before = store.training_epochs
    assert train(dataset, tmp_path / "run", resume=True).epochs == len(before) == 1
    with pytest.raises(SettingsError, match="made with `epochs=1`, not 2"):
        train(dataset, tmp_path / "run", TrainingSettings(epochs=2), resume=True)


def test_a_training_that_diverges_stops_with_the_reason_and_commits_nothing(tmp_path):
    settings = TrainingSettings(epochs=2, learning_rate=1e4, clip_norm=None, dtype="float32")
    with pytest.raises(RecordingError, match=r"epoch 1: the training diverged .*lower `learning_rate` \(1e\+04\)"):
        train(images(), tmp_path / "run", settings)
    with TrajectoryStore.open(tmp_path / "run") as store:
        assert store.epochs == ()


def test_few_epochs_on_few_images_do_not_diverge(tmp_path):
    train(images(120, 10), tmp_path / "run", TrainingSettings(epochs=3))
    with TrajectoryStore.open(tmp_path / "run") as store:
        assert max(store.commit(epoch).metrics["mean_loss"] for epoch in store.epochs) < 2 * np.log(10)


def test_the_user_reads_which_numbers_were_chosen_and_is_advised_to_use_trained_weights(tmp_path):
    source = tmp_path / "squares.npz"
    values = np.random.default_rng(0).integers(0, 255, (24, 32, 32, 3), dtype=np.uint8)
    np.savez(source, images=values, labels=np.arange(24) % 2)
    dataset, _ = load_and_train(DataSettings(str(source)), tmp_path / "run", TrainingSettings(epochs=1))
    with TrajectoryStore.open(tmp_path / "run") as store:
        verdict = rank(store).verdict
    assert verdict.level != "trust it"
    assert "24 photos are too few to learn from random weights" in [finding.reason for finding in verdict.findings]
    chosen = (
        "the training of 24 images has `batch_size=16`, `learning_rate=0.012`, `label_smoothing=0.2`, `clip_norm=1`"
    )
    assert chosen in dataset.notes.remarks
    assert [warning for warning in dataset.notes.warnings if "Use pretrained weights: `preset='pretrained'`" in warning]


def test_only_a_network_that_learns_few_photos_from_random_weights_is_advised_against():
    settings = ResolvedTrainingSettings()
    assert advise_against_scratch(settings, 600, (3, 224, 224))
    assert not advise_against_scratch(settings, 1797, (1, 8, 8))
    assert not advise_against_scratch(settings, 50_000, (3, 32, 32))
    assert not advise_against_scratch(dataclasses.replace(settings, pretrained=True), 600, (3, 224, 224))


@pytest.mark.parametrize(("photos", "level"), [(600, "use the order"), (5000, "trust it"), (float("nan"), "trust it")])
def test_few_photos_learned_from_random_weights_give_an_order_only(photos, level):
    assert judge(Signals(rows=600, classes=10, epochs=20, scratch_photos=photos)).level == level
