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
from gwaudit.training.head_choice import choose_head, held_out_log_losses
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
