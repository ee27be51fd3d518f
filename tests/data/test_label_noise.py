"""Synthetic label noise: how many labels change, between which classes, and the same for the same seed."""

import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix

from gwaudit.core.errors import DataError, SettingsError
from gwaudit.data.dataset import LabeledDataset
from gwaudit.data.inputs import InMemory
from gwaudit.data.label_noise import CentroidSimilarity, add_label_noise, add_multilabel_noise, with_label_noise
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
    similarity = CentroidSimilarity(digits.inputs, digits.labels, 10)[np.arange(len(digits))]
    wrong = add_label_noise(digits.labels, 10, rate=0.3, kind="confusable", similarity=similarity)
    moved = np.flatnonzero(wrong != digits.labels)
    others = similarity.copy()
    others[np.arange(len(digits)), digits.labels] = -1
    place = (others > others[np.arange(len(digits)), wrong][:, None]).sum(1)  # 0: the most alike of nine others
    assert 0.5 < (place[moved] < 3).mean() < 0.9, "mostly among the three most alike, but not only; by chance a third"
    assert len(np.unique(wrong[moved])) == 10


@pytest.mark.parametrize(
    "options",
    [
        {"rate": 1.5},
        {"rate": -0.1},
        {"rate": 0.1, "kind": "x"},
        {"rate": 0.1, "kind": "confusable"},
        {"rate": 0.5, "n_classes": 1},
    ],
)
def test_impossible_wishes_are_refused(options):
    with pytest.raises(SettingsError):
        add_label_noise([0, 1], **{"n_classes": 2, **options})


def _dataset(inputs, labels, n_classes):
    inputs = InMemory(torch.tensor(np.asarray(inputs, np.float32)))
    names = tuple(f"c{label}" for label in range(n_classes))
    return LabeledDataset("made", inputs, np.asarray(labels), names, [str(row) for row in range(len(labels))])


@given(
    n=st.integers(20, 60),
    n_classes=st.integers(3, 8),
    rate=st.floats(0.05, 0.4),
    seed=st.integers(0, 99),
    features=st.sampled_from(["random", "constant", "two values", "one of its own"]),
)
def test_noise_is_exact_with_tiny_and_empty_classes_and_constant_features(n, n_classes, rate, seed, features):
    random = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(n - n_classes) % 2, np.arange(n_classes)])  # classes of one from the third on
    labels[labels == n_classes - 1] = 0  # the last class is empty
    inputs = {
        "random": random.normal(size=(n, 3)),
        "constant": np.full((n, 3), 7.0),
        "two values": random.integers(2, size=(n, 1)) * np.ones((1, 3)),
        "one of its own": 1e6 * np.eye(n, 3),
    }[features]
    noisy = with_label_noise(_dataset(inputs, labels, n_classes), rate, seed)
    assert (noisy.labels != labels).sum() == round(rate * n)
    assert noisy.labels.min() >= 0
    assert noisy.labels.max() < n_classes - 1, "no label is of a class without samples"
    np.testing.assert_array_equal(noisy.true_labels, labels)


def test_the_similarity_is_that_of_the_formula():
    random = np.random.default_rng(0)
    inputs, labels = random.normal(size=(50, 4)), random.integers(3, size=50)
    labels[:3] = 0, 1, 2
    centroids = np.stack([inputs[labels == label].mean(0) for label in range(3)])
    distance = np.linalg.norm(inputs[:, None] - centroids, axis=2)
    nearest = np.where(np.eye(3, dtype=bool)[labels], np.inf, distance).min(1, keepdims=True)
    expected = np.minimum(1, np.exp(-3 * ((distance / nearest) ** 2 - 1)))
    of_samples = CentroidSimilarity(_dataset(inputs, labels, 3).inputs, labels, 3)
    np.testing.assert_allclose(of_samples[np.arange(50)], expected, rtol=1e-4)


def test_noise_needs_no_memory_for_samples_times_classes_times_features():
    random = np.random.default_rng(0)
    dataset = _dataset(random.normal(size=(4000, 384)), random.integers(100, size=4000), 100)
    tracemalloc.start()
    try:
        with_label_noise(dataset, 0.2, 0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 150e6, "all at once they take 1.2 GB"


def test_a_share_of_no_label_is_refused_and_so_is_noise_that_leaves_one_class():
    with pytest.raises(
        SettingsError, match=r"`add_noise` 0\.01 changes none of the 6 labels of made: .* at least 0\.17"
    ):
        with_label_noise(_dataset(np.eye(6), [0, 0, 0, 1, 1, 1], 2), 0.01, 0)
    with pytest.raises(DataError, match=r"after `add_noise` 0\.5 its 2 labels are all the same"):
        with_label_noise(_dataset(np.eye(2), [0, 1], 2), 0.5, 0)


@given(st.floats(0, 0.5), st.floats(0, 0.5), st.integers(0, 5))
def test_multilabel_noise_takes_away_and_adds_exactly_the_shares_asked_for(missing, extra, seed):
    shares = [
        0.2,
        0.2,
        0.95,
        1.0,
        0.0,
    ]  # classes that have no room for as many wrong labels, and one that is never given
    truth = (np.random.default_rng(seed).random((200, 5)) < shares).astype(int)
    wrong = add_multilabel_noise(truth, missing=missing, extra=extra, seed=seed)
    assert ((truth == 1) & (wrong == 0)).sum() == round(missing * truth.sum())
    assert ((truth == 0) & (wrong == 1)).sum() == round(extra * truth.sum())


def test_more_multilabel_noise_than_there_is_room_for_is_refused():
    truth = (np.random.default_rng(0).random((50, 4)) < 0.9).astype(int)
    with pytest.raises(SettingsError, match=r"`extra` 0\.5 of .* given labels is .* to add, but only"):
        add_multilabel_noise(truth, missing=0, extra=0.5)
