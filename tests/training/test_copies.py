"""Copies of a sample are held out with it, so that a wrong label that they share is still found."""

import dataclasses

import numpy as np
import pytest
import torch

from gwaudit import TrainingSettings, load_dataset, rank
from gwaudit.data.inputs import features
from gwaudit.store.store import TrajectoryStore
from gwaudit.training.copies import copies_among, find_copies, not_by_chance
from gwaudit.training.fold_heads import assign_folds, assign_heads
from gwaudit.training.trainer import train


@pytest.mark.parametrize("seed", range(8))
def test_copies_of_one_label_are_in_one_fold_and_every_head_can_learn_every_class(seed):
    random = np.random.default_rng(seed)
    labels, n_folds = torch.from_numpy(random.integers(0, 3, 20 + 5 * seed)), int(random.integers(2, 6))
    groups = [[0, 7], [3, 4, 12], list(range(14, 20))]
    folds = assign_folds(labels, n_folds, seed, groups)
    assert set(folds.tolist()) == set(range(n_folds))
    in_all = labels.bincount(minlength=3)
    for group in map(torch.tensor, groups):
        for label in labels[group].unique():
            same = group[labels[group] == label]
            if len(same) * n_folds <= len(labels) and 2 * len(same) <= in_all[label]:
                assert len(folds[same].unique()) == 1
    for label in labels.unique():
        assert all(bool((labels[folds != fold] == label).any()) for fold in range(n_folds))


def test_copies_with_another_label_are_learned_by_the_head_that_judges_a_sample():
    labels = torch.arange(40) % 2
    group = [0, 1, 2, 4]  # of the labels 0, 1, 0, 0
    apart = [assign_folds(labels, 5, seed, [group])[group] for seed in range(10)]
    assert all(len(folds[[0, 2, 3]].unique()) == 1 for folds in apart)
    assert sum(bool(folds[0] != folds[1]) for folds in apart) >= 5, "four of five, by chance"


def test_samples_without_copies_are_divided_as_ever():
    labels = torch.arange(60) % 3
    assert torch.equal(assign_heads(labels, 10, 3, 1, copies=[]), assign_heads(labels, 10, 3, 1))
    # Made by the version before copies were held out together: such folds do not change.
    assert assign_folds(torch.arange(12) % 3, 4, seed=0).tolist() == [0, 3, 2, 2, 1, 1, 3, 0, 0, 1, 2, 3]


def test_a_class_of_copies_alone_is_still_learned():
    labels = torch.tensor([0] * 30 + [1] * 6)
    folds = assign_folds(labels, 5, 0, [list(range(30, 36))])
    assert len(folds[30:].unique()) > 1, "no head would learn class 1 otherwise"
    assert len(assign_folds(labels, 5, 0, [list(range(12))])[:12].unique()) > 1, "it is larger than a fold"


def test_equal_rows_and_texts_of_equal_words_are_copies(tmp_path):
    values = np.random.default_rng(0).normal(size=(8, 9)).astype(np.float32)
    values[4], values[6], values[1, 0], values[7] = values[2], values[2], 0.0, values[1]
    values[7, 0] = -0.0
    np.savez(tmp_path / "rows.npz", X=values, y=np.arange(8) % 2)
    dataset = load_dataset(str(tmp_path / "rows.npz"))
    assert find_copies(dataset) == [[1, 7], [2, 4, 6]]
    assert find_copies(dataset, nearly_equal=[[0, 7]]) == [[0, 1, 7], [2, 4, 6]]
    assert find_copies(dataset.subset([0, 1, 2, 6])) == [[2, 3]]

    (tmp_path / "texts.csv").write_text("text,label\nWhere is it?,a\nwhere is  it,b\nWho is it,a\n?!,b\n!,a\n!,b\n")
    texts = load_dataset(str(tmp_path / "texts.csv"))
    embedded = dataclasses.replace(texts, inputs=features(torch.randn(6, 4)))
    assert find_copies(embedded) == [[0, 1], [4, 5]]


def test_rows_that_are_equal_by_chance_are_no_copies(tmp_path):
    random = np.random.default_rng(0)
    coarse = random.integers(0, 3, (120, 4)).astype(np.float32)
    np.savez(tmp_path / "coarse.npz", X=coarse, y=np.arange(120) % 2)
    lines = [f"v{a},{b},{'xyz'[int(c)]},{i % 2}" for i, (a, b, c, _) in enumerate(coarse)]
    (tmp_path / "coarse.csv").write_text("\n".join(["a,b,c,label", *lines]))
    for name in ("coarse.npz", "coarse.csv"):
        assert find_copies(load_dataset(str(tmp_path / name))) == []


def test_no_more_columns_are_read_than_show_that_rows_are_copies():
    constant, varied, read = np.zeros(2000, np.int64), np.arange(2000), []
    varied[1999], varied[[5, 7]] = varied[3], varied[0]

    def columns():
        for number in range(9):
            read.append(number)
            yield varied if number % 2 else constant

    groups = [(3, 1999), (0, 5, 7)]
    assert not_by_chance(groups, columns(), 2000) == groups
    assert read == [0, 1, 2, 3], "two columns that are never equal by chance"


def test_copies_among_some_samples_have_their_positions():
    assert copies_among([[0, 3, 7], [1, 2]], torch.tensor([7, 2, 0])) == [[0, 2]]


def test_wrong_labels_with_copies_are_suspects(tmp_path):
    random = np.random.default_rng(0)
    truth = np.repeat(np.arange(3), 50)
    rows = random.normal(size=(150, 30)) + 4 * np.eye(30)[truth]
    given, wrong = truth.copy(), np.arange(0, 150, 10)
    given[wrong] = (truth[wrong] + 1) % 3
    rows, given = (np.concatenate([each, each[wrong]]) for each in (rows, given))
    np.savez(tmp_path / "rows.npz", X=rows.astype(np.float32), y=given)
    train(load_dataset(str(tmp_path / "rows.npz")), tmp_path / "run", TrainingSettings(epochs=6, fold_repeats=1))
    with TrajectoryStore.open(tmp_path / "run") as store:
        suspects = set(rank(store).suspects["sample_id"])
    planted = {*wrong.tolist(), *range(150, 165)}
    assert len(suspects & planted) >= 24, "with copies in other folds no label was suspect"
    assert len(suspects - planted) <= 4
