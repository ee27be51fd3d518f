"""The noise as a whole: the transition matrix and each class's health, against errors planted with a pattern."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gwaudit.evaluation import evaluate
from gwaudit.noise import class_health, transition_matrix
from gwaudit.ranking import Audit, RankingSettings

NAMES = ("cat", "dog", "fox")


@pytest.fixture
def audit():
    """Of 12 cats two are dogs, of 6 dogs three are foxes, both known for sure; one fox is a cat with even odds."""
    given = np.array([0] * 12 + [1] * 6 + [2] * 2)
    suggested = np.where(given == 0, 1, np.where(given == 1, 2, 0))
    probability = np.zeros(20)
    probability[[0, 1, 12, 13, 14]] = 1.0
    probability[18] = 0.5
    frame = pd.DataFrame(
        {
            "sample_id": np.arange(20),
            "given_label": given,
            "suggested_label": suggested,
            "score": probability,
            "probability_wrong": probability,
            "suspect": probability > 0.6,
            "mean_loss": probability,
        }
    )
    frame = frame.sort_values("score", ascending=False, ignore_index=True, kind="stable")
    return Audit(frame, NAMES, RankingSettings(), (0, 0), 0.6, Path("run"), "")


def test_the_matrix_says_what_given_labels_truly_are(audit):
    matrix = transition_matrix(audit)
    assert list(matrix.index) == list(matrix.columns) == list(NAMES)
    np.testing.assert_allclose(matrix.to_numpy(), [[10 / 12, 2 / 12, 0], [0, 0.5, 0.5], [0.25, 0, 0.75]])


def test_health_counts_what_is_wrong_and_what_is_missing(audit):
    health = class_health(audit)
    assert health["given"].tolist() == [12, 6, 2]
    assert health["expected_wrong"].tolist() == [2, 3, 0.5]
    assert health["share_wrong"].tolist() == pytest.approx([1 / 6, 0.5, 0.25])
    assert health["expected_missing"].tolist() == [0.5, 2, 3]
    assert health["mistaken_for"].tolist() == ["dog", "fox", "cat"]
    assert health["suspects"].tolist() == [2, 3, 0]


def test_a_class_that_no_sample_has_is_nan_not_an_error(audit):
    audit.frame.loc[audit.frame["given_label"] == 2, "given_label"] = 0
    assert transition_matrix(audit).loc["fox"].isna().all()
    assert np.isnan(class_health(audit).loc["fox", "share_wrong"])


def test_the_error_against_the_truth_is_zero_where_all_is_known_and_counts_expected_beside_found(audit):
    frame = audit.frame.sort_values("sample_id")
    truth = np.where(frame["probability_wrong"] == 1, frame["suggested_label"], frame["given_label"])
    result = evaluate(audit, truth)
    assert result.transition_error == pytest.approx(0.5 / 9, abs=1e-9), "the even odds, of nine cells"
    assert result.expected_wrong == 5.5
    assert [(c.first, c.expected, c.found) for c in result.expected_counts] == [(5, 5.0, 5)]
    assert result.hard_flagged == 0
