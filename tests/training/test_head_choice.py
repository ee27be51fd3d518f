"""The head is chosen by held-out given labels: a curved boundary needs a hidden layer, a straight one does not."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax
from sklearn.datasets import make_circles
from sklearn.metrics import log_loss

from gwaudit.core.settings import ResolvedTrainingSettings
from gwaudit.training.head_choice import HeadCandidate, HeadChoice, choose_head, held_out_log_losses
from gwaudit.training.loss import Loss

OPEN = ResolvedTrainingSettings(epochs=10, batch_size=32, learning_rate=0.1, folds=5, head="auto", weight_decay="auto")


@pytest.mark.parametrize(("curved", "head"), [(True, "mlp"), (False, "linear")])
def test_the_head_fits_the_boundary_between_the_classes(curved, head):
    random = np.random.default_rng(2)
    features, labels = make_circles(200, noise=0.05, factor=0.4, random_state=0)
    if not curved:
        features = random.normal(size=(200, 20))
        labels = (features[:, 0] + 0.8 * random.normal(size=200) > 0).astype(int)
    labels = torch.from_numpy(labels).long()
    features = torch.from_numpy((features - features.mean(0)) / features.std(0)).float()
    shown = []

    class Progress:
        def on_heads(self, done, heads):
            shown.append((done, heads))

        def on_head(self, choice):
            shown.append(choice)

    choice = choose_head(features, labels, 2, Loss(labels, 2, OPEN), OPEN, Progress())
    assert shown == [*((done, 7) for done in range(8)), choice]
    assert choice.best.head == head
    assert len(choice.candidates) == 7
    assert choice.describe().startswith(f"head: {head}, ")
    assert choice.best.accuracy > choice.majority + 0.1


def boxes(n, random):
    """Return standardised features [n, 6] and labels [n]: cells of a grid, of which three in ten are drawn anew."""
    x = random.uniform(0, 3, (n, 6))
    grid = np.array([[0, 1, 2], [2, 0, 1], [1, 2, 0]])
    labels = grid[x[:, 0].astype(int), x[:, 1].astype(int)]
    anew = random.random(n) < 0.3
    labels[anew] = random.integers(0, 3, anew.sum())
    return torch.from_numpy((x - x.mean(0)) / x.std(0)).float(), torch.from_numpy(labels)


def test_trees_are_chosen_where_classes_are_boxes_and_only_if_they_may_be():
    features, labels = boxes(1500, np.random.default_rng(1))
    choice = choose_head(features, labels, 3, Loss(labels, 3, OPEN), OPEN, trees=True)
    assert choice.best.head == "trees"
    assert choice.best_of("trees").accuracy > choice.best_of("mlp").accuracy
    assert choose_head(features, labels, 3, Loss(labels, 3, OPEN), OPEN).best.head != "trees"


def test_trees_that_are_better_by_chance_are_named_and_not_chosen():
    tried = 0
    for seed in range(6):
        random = np.random.default_rng(seed)
        labels = torch.from_numpy(random.integers(0, 2, 100))
        features = torch.from_numpy(random.normal(size=(100, 2))).float() + labels[:, None]
        choice = choose_head(features, labels, 2, Loss(labels, 2, OPEN), OPEN, trees=True)
        assert choice.best.head != "trees"
        tried += choice.best_of("trees") is not None
    assert tried > 0
    linear, trees = HeadCandidate("linear", 0.1, 0.4, 0.8), HeadCandidate("trees", 0.1, 0.39, 0.81)
    assert HeadChoice((linear, trees), linear, 0.5).describe().endswith("; trees may be better by chance")
    assert HeadChoice((linear, trees), trees, 0.5).describe().endswith("trees 81.0% (largest class 50.0%)")


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000), st.floats(0.6, 3))
def test_the_log_loss_does_not_depend_on_the_scale_of_the_logits(seed, scale):
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, 60)
    logits = 2 * np.eye(3)[labels] + random.normal(size=(60, 3))
    plain, scaled = (
        float(held_out_log_losses(torch.from_numpy(these), torch.from_numpy(labels)).mean())
        for these in (logits, logits / scale)
    )
    assert plain <= log_loss(labels, np.exp(log_softmax(logits, axis=1)), labels=[0, 1, 2]) + 1e-9
    assert scaled == pytest.approx(plain, rel=0.15, abs=0.05)


def test_a_head_that_diverged_is_not_chosen():
    losses = held_out_log_losses(torch.full((4, 2), torch.nan), torch.zeros(4, dtype=torch.int64))
    assert losses.tolist() == [float("inf")] * 4
