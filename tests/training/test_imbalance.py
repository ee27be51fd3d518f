"""Classes of unlike size, difficulty and share of errors: balanced training, and a cut for each class."""

import numpy as np
import pytest
import torch

from gwaudit import RankingSettings, TrainingSettings, evaluate, load_dataset, rank, train
from gwaudit.store.store import TrajectoryStore
from gwaudit.training.loss import Loss

SETTINGS = {"epochs": 6, "batch_size": 64, "augment": "none", "learning_rate": 0.05}


@pytest.fixture(scope="module")
def long_tail():
    """Digits of which the nines are a tenth as many as the others."""
    digits = load_dataset("digits")
    nines = np.flatnonzero(digits.labels == 9)
    return digits.subset(np.setdiff1d(np.arange(len(digits)), nines[18:]))


def mean_given_probability(dataset, run, **changes):
    """Of the rare class, over the first epochs, as far as they were seen."""
    train(dataset, run, TrainingSettings(**{**SETTINGS, **changes}))
    with TrajectoryStore.open(run) as store:
        rare = np.flatnonzero(dataset.labels == 9)
        seen = [store.trajectory(int(i))["given_probability"].iloc[1:4].mean() for i in rare]
        return np.nanmean(seen), store


@pytest.fixture(scope="module")
def plain(long_tail, tmp_path_factory):
    """The same mean of a training in which each sample counts alike."""
    return mean_given_probability(long_tail, tmp_path_factory.mktemp("plain") / "run")[0]


@pytest.mark.parametrize("balance", ["loss", "sampling"])
def test_a_rare_class_is_learned_sooner_when_classes_count_alike(long_tail, plain, tmp_path, balance):
    balanced, _ = mean_given_probability(long_tail, tmp_path / balance, balance=balance)
    assert balanced > plain + 0.05


def test_balanced_sampling_counts_what_it_repeats_and_misses(long_tail, tmp_path):
    _, store = mean_given_probability(long_tail, tmp_path / "run", balance="sampling", epochs=3)
    for epoch in store.epochs:
        commit = store.commit(epoch)
        assert commit.missing == commit.repeated > 0
    rare = np.flatnonzero(long_tail.labels == 9)
    missed = sum(store.trajectory(int(i))["alignment"].isna().sum() for i in rare)
    assert missed == 0, "each of the few is drawn many times an epoch"


def test_weights_of_the_loss_leave_its_mean_gradient_to_the_classes_alike(long_tail):
    labels = torch.from_numpy(long_tail.labels)
    weights = Loss(labels, 10, TrainingSettings(**SETTINGS, balance="loss")).class_weights[labels]
    assert weights.mean() == pytest.approx(1)
    totals = torch.zeros(10, dtype=torch.float64).index_add(0, labels, weights)
    torch.testing.assert_close(totals, totals.mean().expand(10))


def test_a_cut_for_each_class_ranks_errors_of_one_class_better(tmp_path):
    digits = load_dataset("digits")
    random = np.random.default_rng(0)
    given = digits.labels.copy()
    of_class = digits.labels == 3  # a third of the threes are called five, and nothing else is wrong
    given[of_class & (random.random(len(given)) < 0.33)] = 5
    noisy = digits.with_labels(given, true_labels=digits.labels)
    train(noisy, tmp_path / "run", TrainingSettings(**{**SETTINGS, "epochs": 8}, balance="loss"))
    with TrajectoryStore.open(tmp_path / "run") as store:
        for_all, for_each = (evaluate(rank(store, RankingSettings(per_class=c)), digits.labels) for c in (False, True))
    assert for_each.average_precision > for_all.average_precision
    assert for_each.best_f1 > 0.8  # whether its cut is given depends on the verdict, and that on the dtype
