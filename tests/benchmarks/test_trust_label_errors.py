"""Label errors of the trust benchmark have exact counts and the structure that their names promise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gwaudit.benchmarks.trust.label_errors import RATES, class_distances, standardised, wrong_labels
from gwaudit.core.errors import SettingsError

KINDS = ("uniform", "class", "feature")


@given(
    kind=st.sampled_from(KINDS),
    rate=st.sampled_from(RATES),
    sizes=st.lists(st.integers(1, 30), min_size=2, max_size=6),
    seed=st.integers(0, 5),
)
def test_exactly_the_promised_number_of_labels_is_wrong(kind, rate, sizes, seed):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    features = np.random.default_rng(0).normal(size=(len(labels), 3))
    given_labels = wrong_labels(features, labels, len(sizes), kind=kind, rate=rate, seed=seed)
    assert (given_labels != labels).sum() == round(rate * len(labels))
    assert given_labels.min() >= 0
    assert given_labels.max() < len(sizes)


@pytest.mark.parametrize("kind", KINDS)
def test_repeated_and_constant_rows_are_no_obstacle(kind):
    labels = np.tile([0, 1], 20)
    features = np.repeat(np.arange(5.0), 8)[:, None] * [1.0, 0.0]
    assert (wrong_labels(features, labels, 2, kind=kind, rate=0.2, seed=0) != labels).sum() == 8


def test_class_dependent_errors_differ_between_classes_and_go_to_the_next_one():
    labels = np.tile(np.arange(4), 500)
    wrong = wrong_labels(None, labels, 4, kind="class", rate=0.2, seed=0)
    changed = wrong != labels
    assert (wrong[changed] == (labels[changed] + 1) % 4).all()
    shares = [changed[labels == label].mean() for label in range(4)]
    assert shares == pytest.approx([0.3, 0.233, 0.167, 0.1], abs=0.05)


def test_feature_dependent_errors_lie_where_classes_meet():
    features = np.linspace(-1, 1, 400)[:, None]
    labels = (features[:, 0] > 0).astype(int)
    wrong = wrong_labels(features, labels, 2, kind="feature", rate=0.1, seed=0) != labels
    assert np.abs(features[wrong]).mean() < 0.35 < np.abs(features[~wrong]).mean()


def test_distances_leave_out_the_sample_itself_and_classes_without_others():
    distance = class_distances([[0.0], [1.0], [3.0]], [0, 0, 1], 2)
    scale = np.std([0, 1, 3])
    assert distance == pytest.approx(np.array([[1, 3], [1, 2], [2.5, np.inf]]) / scale)


def test_missing_values_and_constant_columns_are_standardised_to_the_mean():
    values = standardised([[1.0, 1e9], [np.nan, 1e9], [3.0, 1e9]])
    assert values == pytest.approx(np.array([[-1, 0], [0, 0], [1, 0]]))


def test_impossible_errors_are_refused():
    with pytest.raises(SettingsError, match="unknown kind of label errors 'human'"):
        wrong_labels(None, [0, 1], 2, kind="human", rate=0.1, seed=0)
    with pytest.raises(SettingsError, match=r"must be in \[0, 0.5\]"):
        wrong_labels(None, [0, 1], 2, kind="uniform", rate=0.6, seed=0)
