"""Synthetic label noise: how many labels change, between which classes, and the same for the same seed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix

from gwaudit.core.errors import SettingsError
from gwaudit.data.label_noise import add_label_noise, add_multilabel_noise, centroid_similarity
from gwaudit.data.loading import load_dataset


@given(
    n=st.integers(1, 200),
    n_classes=st.integers(2, 12),
    rate=st.floats(0, 1),
    kind=st.sampled_from(["symmetric", "asymmetric", "confusable"]),
    seed=st.integers(0, 99),
)
def test_exactly_the_share_is_wrong_and_every_label_is_a_class(n, n_classes, rate, kind, seed):
    random = np.random.default_rng(seed)
    truth = random.integers(n_classes, size=n)
    similarity = random.random((n, n_classes)) + 1e-6
    wrong = add_label_noise(truth, n_classes, rate=rate, kind=kind, seed=seed, similarity=similarity)
    assert (wrong != truth).sum() == round(rate * n)
    assert wrong.min() >= 0
    assert wrong.max() < n_classes
    again = add_label_noise(truth, n_classes, rate=rate, kind=kind, seed=seed, similarity=similarity)
    np.testing.assert_array_equal(wrong, again)


def test_pairs_go_to_the_next_class_and_symmetric_errors_everywhere():
    truth = np.repeat(np.arange(10), 500)
    pairs = add_label_noise(truth, 10, rate=0.3, kind="asymmetric")
    moved = pairs != truth
    np.testing.assert_array_equal(pairs[moved], (truth[moved] + 1) % 10)
    counts = confusion_matrix(truth, add_label_noise(truth, 10, rate=0.9))
    off_diagonal = counts[~np.eye(10, dtype=bool)]
    assert off_diagonal.min() > 25
    assert off_diagonal.max() < 85


def test_confusable_errors_of_digits_are_between_digits_that_look_alike():
    digits = load_dataset("digits")
    similarity = centroid_similarity(digits.inputs.values.numpy(), digits.labels, 10)
    wrong = add_label_noise(digits.labels, 10, rate=0.3, kind="confusable", similarity=similarity)
    moved = np.flatnonzero(wrong != digits.labels)
    others = similarity.copy()
    others[np.arange(len(digits)), digits.labels] = -1
    place = (others > others[np.arange(len(digits)), wrong][:, None]).sum(1)  # 0: the most alike of nine others
    assert 0.5 < (place[moved] < 3).mean() < 0.9, "mostly among the three most alike, but not only; by chance a third"
    assert len(np.unique(wrong[moved])) == 10


@pytest.mark.parametrize(
    "options", [{"rate": 1.5}, {"rate": -0.1}, {"rate": 0.1, "kind": "x"}, {"rate": 0.1, "kind": "confusable"}]
)
def test_impossible_wishes_are_refused(options):
    with pytest.raises(SettingsError):
        add_label_noise([0, 1], 2, **options)


@given(st.floats(0, 0.5), st.floats(0, 0.5), st.integers(0, 5))
def test_multilabel_noise_takes_away_and_adds_exactly_the_shares_asked_for(missing, extra, seed):
    truth = (np.random.default_rng(seed).random((200, 5)) < 0.2).astype(int)
    wrong = add_multilabel_noise(truth, missing=missing, extra=extra, seed=seed)
    assert ((truth == 1) & (wrong == 0)).sum() == round(missing * truth.sum())
    assert ((truth == 0) & (wrong == 1)).sum() == round(extra * truth.sum())
