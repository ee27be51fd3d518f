"""The noise as a whole: the transition matrix and each class's health, against errors planted with a pattern."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gwaudit.analysis.audit import Audit
from gwaudit.analysis.evaluation import evaluate
from gwaudit.analysis.noise import class_health, confusions, transition_matrix
from gwaudit.analysis.ranked_table import RankedTable
from gwaudit.core.settings import RankingSettings
from gwaudit.export.suspects import write_noise
from helpers.command import gwaudit

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
            "predicted_label": given,
            "key": [f"k{i}" for i in range(20)],
            "log_odds_wrong": probability,
            "probability_wrong": probability,
            "suspect": probability > 0.6,
            "mean_loss": probability,
            "category": "fine",
        }
    )
    frame = frame.sort_values("log_odds_wrong", ascending=False, ignore_index=True, kind="stable")
    return Audit(RankedTable(frame), NAMES, RankingSettings(), (0, 0), 0.6, Path("run"), "")


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


def test_pairs_are_the_errors_by_their_number(audit):
    pairs = confusions(audit)
    assert pairs[["given", "true", "expected"]].values.tolist() == [
        ["dog", "fox", 3],
        ["cat", "dog", 2],
        ["fox", "cat", 0.5],
    ]
    assert pairs["share"].sum() == pytest.approx(1)


def test_tables_are_written_for_a_spreadsheet(audit, tmp_path):
    odd = dataclasses.replace(audit, class_names=("=cat", "dog, big", "fox"))
    matrix, health = (pd.read_csv(path, index_col=0) for path in write_noise(odd, tmp_path))
    assert list(matrix.index) == list(matrix.columns) == ["'=cat", "dog, big", "fox"]
    assert health.index[0] == "dog, big"
    assert health.loc["fox", "mistaken_for"] == "'=cat"


def test_the_command_shows_classes_and_pairs(audit, tmp_path):
    audit.save(tmp_path)
    shown = gwaudit("noise", tmp_path).stdout
    assert "Most frequent errors" in shown
    assert "most frequent true class" in shown
    facts = json.loads(gwaudit("noise", tmp_path, "--json").stdout)
    assert facts["classes"][0]["class"] == "dog"
    assert facts["confusions"][0] == {"given": "dog", "true": "fox", "expected": 3.0, "share": pytest.approx(3 / 5.5)}
    assert gwaudit("noise", tmp_path / "nowhere").returncode == 2


def test_a_class_that_no_sample_has_is_nan_not_an_error(audit):
    audit.frame.loc[audit.frame["given_label"] == 2, "given_label"] = 0
    assert transition_matrix(audit).loc["fox"].isna().all()
    assert np.isnan(class_health(audit).loc["fox", "share_wrong"])


def test_the_error_against_the_truth_is_zero_where_all_is_known_and_counts_expected_beside_found(audit):
    frame = audit.frame.sort_values("sample_id")
    truth = np.where(frame["probability_wrong"] == 1, frame["suggested_label"], frame["given_label"])
    result = evaluate(audit, truth)
    assert result.transition_error == pytest.approx(0.5 / 9, abs=1e-9), "the even odds, of nine cells"
    assert result.class_error == pytest.approx(0.25 / 3, abs=1e-9), "of three classes"
    assert result.expected_wrong == 5.5
    assert [(c.first, c.expected, c.found) for c in result.expected_counts] == [(5, 5.0, 5)]
    assert result.hard_flagged == 0
