"""Where classes are boxes of columns, a head on the held-out log odds of trees finds what other heads cannot."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from gwaudit import LabeledDataset, TrainingSettings, TrajectoryStore, load_dataset, rank
from gwaudit.core.errors import SettingsError
from gwaudit.data.inputs import features
from gwaudit.training.trainer import predict, train
from gwaudit.training.trees import Trees, can_have_trees
from helpers.interrupting import train_until

N, N_CLASSES = 600, 3


def boxes(n=N, seed=0, n_columns=8):
    """Return features [n, D] and labels [n]: cells of a grid of two columns, with a class each, drawn at random."""
    random = np.random.default_rng(seed)
    x = random.uniform(0, 4, (n, n_columns))
    grid = np.random.default_rng(7).permutation(np.arange(16) % N_CLASSES).reshape(4, 4)
    return x.astype(np.float32), grid[x[:, 0].astype(int), x[:, 1].astype(int)]


def as_data(x, given_labels, truth=None, n_classes=N_CLASSES):
    names, keys = tuple(map(str, range(n_classes))), [f"s{i}" for i in range(len(x))]
    return LabeledDataset("boxes", features(torch.from_numpy(x)), given_labels, names, keys, true_labels=truth)


@pytest.fixture(scope="module")
def data():
    x, truth = boxes()
    wrong = np.random.default_rng(1).permutation(N)[:60]
    labels = truth.copy()
    labels[wrong] = (labels[wrong] + 1) % N_CLASSES
    return as_data(x, labels, truth)


def audit(data, run, **options):
    """Train with a head, and return the ranking, the heads that were tried, and the average precision."""
    train(data, run, TrainingSettings(**{"epochs": 20, "fold_repeats": 1, **options}))
    with TrajectoryStore.open(run) as store:
        audit = rank(store)
        heads, head = store.settings["heads"], store.settings["training"]["head"]
    wrong = data.labels != data.true_labels
    return audit, heads, head, average_precision_score(wrong.ravel(), -audit.by_id("rank"))


def test_the_default_finds_wrong_labels_of_boxes_that_other_heads_do_not(data, tmp_path):
    found, heads, head, precision = audit(data, tmp_path / "auto")
    *_, of_mlp = audit(data, tmp_path / "mlp", head="mlp")
    assert head == "trees"
    assert heads["best"]["head"] == "trees"
    assert {candidate["head"] for candidate in heads["candidates"]} == {"linear", "mlp", "trees"}
    assert precision > 0.9 > of_mlp + 0.1
    assert found.verdict.level == "trust it"
    assert 45 < found.expected_wrong()[-1] < 75


def test_trees_are_not_chosen_where_a_line_divides_the_classes(tmp_path):
    random = np.random.default_rng(0)
    x = random.normal(size=(400, 10)).astype(np.float32)
    labels = (x @ random.normal(size=10) + 0.5 * random.normal(size=400) > 0).astype(np.int64)
    *_, head, _ = audit(as_data(x, labels, labels, n_classes=2), tmp_path / "run")
    assert head != "trees"


@settings(deadline=None, max_examples=5)
@given(st.integers(0, 1000))
def test_log_odds_say_nothing_of_labels_that_the_features_do_not_explain(seed):
    random = np.random.default_rng(seed)
    x, labels = torch.from_numpy(random.normal(size=(300, 5))).float(), torch.from_numpy(random.integers(0, 3, 300))
    odds = Trees(x, labels, 3, seed).fit().held_out
    assert odds.shape == (300, 3)
    assert float((odds.argmax(1) == labels).float().mean()) < 0.5  # trees that learned them are right about nearly all
    torch.testing.assert_close(odds.sum(1), torch.zeros(300), atol=1e-4, rtol=0)


def test_copies_of_a_label_are_held_out_together():
    random = np.random.default_rng(0)
    half, labels = random.normal(size=(150, 5)), random.integers(0, 3, 150)
    x, both = torch.from_numpy(np.tile(half, (2, 1))).float(), torch.from_numpy(np.tile(labels, 2))
    right = [
        float((Trees(x, both, 3, 0, copies).fit().held_out.argmax(1) == both).float().mean())
        for copies in ([], [[i, i + 150] for i in range(150)])
    ]
    assert right[0] > 0.7
    assert right[1] < 0.5


def test_the_number_of_threads_changes_nothing():
    x, labels = boxes(300)
    threads, odds = torch.get_num_threads(), []
    try:
        for n_threads in (1, 3):
            torch.set_num_threads(n_threads)
            odds.append(Trees(torch.from_numpy(x), torch.from_numpy(labels), N_CLASSES, 0).fit().held_out)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*odds)


def test_the_first_fold_has_the_log_odds_of_all_folds():
    x, labels = map(torch.from_numpy, boxes(200))
    trees, done = Trees(x, labels, N_CLASSES, 3), []
    samples, odds = trees.first_fold()
    assert len(samples) == 40
    whole = trees.fit(lambda *progress: done.append(progress))
    torch.testing.assert_close(odds.float(), whole.held_out[samples])
    assert done == [(fold, 5) for fold in range(1, 6)]
    again = Trees(x, labels, N_CLASSES, 3).fit()
    assert torch.equal(whole.held_out, again.held_out)


def test_several_divisions_into_folds_are_averaged():
    """Each of them leaves a sample out once, so that the mean depends less on the division."""
    x, labels = map(torch.from_numpy, boxes(160))
    once, again, mean, other = (
        Trees(x, labels, N_CLASSES, seed, repeats=repeats).fit().held_out
        for seed, repeats in ((0, 1), (1, 1), (0, 3), (1, 3))
    )
    assert float((mean - other).abs().mean()) < 0.8 * float((once - again).abs().mean())
    assert float((mean.argmax(1) == labels).double().mean()) > 0.7


@pytest.mark.parametrize("seed", [-1, 2**32 - 1, 2**40])
def test_trees_take_every_seed_that_heads_take(seed):
    x, labels = map(torch.from_numpy, boxes(60))
    assert bool(Trees(x, labels, N_CLASSES, seed).fit().held_out.isfinite().all())


def test_a_class_that_is_missing_from_all_other_folds_is_improbable():
    x, labels = boxes(100)
    labels[:] = labels % 2
    labels[5] = 2
    odds = Trees(torch.from_numpy(x), torch.from_numpy(labels), N_CLASSES, 0).fit().held_out
    assert bool(odds.isfinite().all())
    assert int(odds[5].argmin()) == 2


def test_a_training_that_is_resumed_ends_bit_equal(data, tmp_path):
    few = data.subset(np.arange(120))
    options = TrainingSettings(head="trees", epochs=4, fold_repeats=2)
    train(few, tmp_path / "whole", options)
    train_until(1, few, tmp_path / "resumed", options)
    train(few, tmp_path / "resumed", options, resume=True)
    whole, resumed = (TrajectoryStore.open(tmp_path / name) for name in ("whole", "resumed"))
    with whole, resumed:
        assert whole.epochs == resumed.epochs
        assert all(whole.read_epoch(epoch).equals(resumed.read_epoch(epoch)) for epoch in whole.epochs)


def test_a_model_predicts_other_data_and_its_own_without_their_labels(data, tmp_path):
    train(data, tmp_path / "run", TrainingSettings(head="trees", epochs=15, fold_repeats=1))
    x, truth = boxes(500, seed=5)
    others = predict(tmp_path / "run", data, as_data(x, truth))
    own = predict(tmp_path / "run", data, data)
    assert float((others.argmax(1).numpy() == truth).mean()) > 0.85
    wrong = data.labels != data.true_labels
    # Trees that learned a wrong label would repeat many.
    assert float((own.argmax(1).numpy() == data.labels)[wrong].mean()) < 0.2
    assert float((own.argmax(1).numpy() == data.labels)[~wrong].mean()) > 0.85


def test_multi_label_samples_can_have_trees(tmp_path):
    x, cells = boxes(400)
    truth = np.stack([cells == 0, x[:, 2] > 3], 1).astype(np.int64)
    labels = truth.copy()
    wrong = np.random.default_rng(0).random(truth.shape) < 0.05
    labels[wrong] = 1 - labels[wrong]
    *_, precision = audit(as_data(x, labels, truth, n_classes=2), tmp_path / "run", head="trees")
    assert precision > 0.8


def test_many_columns_are_not_given_to_trees(data):
    assert can_have_trees(data)
    wide = replace(data, inputs=features(torch.zeros(len(data), 300)))
    assert not can_have_trees(wide)
    of_many_classes = replace(
        data, inputs=features(torch.zeros(len(data), 250)), class_names=tuple(map(str, range(90)))
    )
    assert not can_have_trees(of_many_classes)  # a tree for each class takes minutes
    assert not can_have_trees(load_dataset("digits"))  # images


@pytest.mark.parametrize(("n", "tried"), [(1000, True), (2000, False)])
def test_trees_are_not_tried_on_multi_label_samples_with_a_minute_of_forests(n, tried):
    labels = np.tile(np.eye(20, dtype=np.int64), (n // 20, 1))
    assert can_have_trees(as_data(np.zeros((n, 20), np.float32), labels, n_classes=20)) is tried


def test_trees_without_folds_are_refused_before_the_folder_is_made(data, tmp_path):
    with pytest.raises(SettingsError, match="`head='trees'` is for training with folds"):
        train(data, tmp_path / "run", TrainingSettings(head="trees", folds=1))
    assert not (tmp_path / "run").exists()
