"""Every metric against scikit-learn, and the degenerate cases that it warns about."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from gwaudit.analysis.audit import Audit
from gwaudit.analysis.evaluation import evaluate, pr_curve
from gwaudit.analysis.ranked_table import RankedTable
from gwaudit.core.errors import DataError
from gwaudit.core.settings import RankingSettings


def make_audit(score, given_label, suggested, cut):
    frame = pd.DataFrame(
        {
            "sample_id": np.arange(len(score)),
            "given_label": given_label,
            "suggested_label": suggested,
            "log_odds_wrong": np.asarray(score, np.float32),
            "suspect": np.asarray(score) > cut,
            "probability_wrong": np.linspace(0, 1, len(score))[np.argsort(np.argsort(np.asarray(score, float)))],
            "category": "fine",
            "mean_loss": np.linspace(0, 2, len(score)),
        }
    )
    frame = frame.iloc[np.argsort(-frame["log_odds_wrong"].to_numpy(), kind="stable")].reset_index(drop=True)
    return Audit(RankedTable(frame), ("a", "b", "c"), RankingSettings(), (0, 0), cut, Path("run"), "")


@given(n=st.integers(2, 80), seed=st.integers(0, 10_000), decimals=st.integers(0, 3))
@settings(deadline=None)
def test_metrics_are_scikit_learns(n, seed, decimals):
    random = np.random.default_rng(seed)
    truth = random.integers(0, 3, n)
    given_label = np.where(random.random(n) < 0.3, (truth + 1) % 3, truth)
    given_label[:2] = [(truth[0] + 1) % 3, truth[1]]  # one wrong, one right
    wrong = given_label != truth
    score = np.round(random.normal(wrong, 1), decimals)  # with ties
    suggested = (given_label + random.integers(1, 3, n)) % 3
    cut = float(np.median(score))
    result = evaluate(make_audit(score, given_label, suggested, cut), truth)
    flagged = np.float32(score) > cut
    assert (result.n, result.n_wrong, result.n_suspects) == (n, wrong.sum(), flagged.sum())
    if flagged.any():
        assert result.precision == pytest.approx(metrics.precision_score(wrong, flagged))
    assert result.recall == pytest.approx(metrics.recall_score(wrong, flagged))
    assert result.f1 == pytest.approx(metrics.f1_score(wrong, flagged))
    assert result.average_precision == pytest.approx(metrics.average_precision_score(wrong, np.float32(score)))
    assert result.auroc == pytest.approx(metrics.roc_auc_score(wrong, np.float32(score)))
    f1s = [metrics.f1_score(wrong, np.float32(score) >= t) for t in np.unique(np.float32(score))]
    assert result.best_f1 == pytest.approx(max(f1s))
    assert result.best_f1 >= result.f1 - 1e-12
    assert result.suggested_accuracy == pytest.approx((suggested == truth)[wrong].mean())
    first = np.argsort(-np.float32(score), kind="stable")[: wrong.sum()]
    assert result.precision_at_true_count == pytest.approx(wrong[first].mean())
    curve = pr_curve(make_audit(score, given_label, suggested, cut), truth)
    for row in curve.itertuples():
        assert row.precision == pytest.approx(metrics.precision_score(wrong, np.float32(score) >= row.threshold))
        assert row.recall == pytest.approx(metrics.recall_score(wrong, np.float32(score) >= row.threshold))


def test_without_wrong_labels_what_is_undefined_is_nan_and_null_in_json():
    result = evaluate(make_audit([1, 2, 3], [0, 1, 2], [1, 2, 0], 2.5), [0, 1, 2])
    assert result.precision == 0
    assert np.isnan([result.recall, result.best_f1, result.average_precision, result.auroc]).all()
    assert result.to_dict()["recall"] is None
    assert result.to_dict()["n_suspects"] == 1


def test_without_suspects_or_right_labels():
    result = evaluate(make_audit([1, 2], [0, 1], [1, 0], 5.0), [1, 0])
    assert np.isnan(result.precision)
    assert (result.recall, result.f1, result.average_precision) == (0, 0, 1)
    assert np.isnan(result.auroc)
    assert np.isnan(result.suggested_accuracy_flagged)


def test_what_was_never_recorded_counts_as_the_least_suspicious():
    result = evaluate(make_audit([np.nan, 2, 1], [0, 0, 0], [1, 1, 1], 1.5), [1, 1, 0])
    assert result.auroc == 0.5
    assert result.n_wrong == 2


@pytest.mark.parametrize("labels", [[0, 1], [[0, 1, 2]]])
def test_another_number_of_labels_is_refused(labels):
    with pytest.raises(DataError, match="one each is needed"):
        evaluate(make_audit([1, 2, 3], [0, 1, 2], [1, 2, 0], 2), labels)


def test_true_labels_may_be_names_of_the_classes():
    audit = make_audit([1, 2, 3], [0, 1, 2], [1, 2, 0], 2)
    assert evaluate(audit, ["a", "c", "c"]).to_dict() == evaluate(audit, [0, 2, 2]).to_dict()
    numbered = replace(audit, class_names=("2", "1", "0"))
    for labels in (["2", "0", "0"], np.array([0, 2, 2], object)):  # texts are names, numbers are classes
        assert evaluate(numbered, labels).to_dict() == evaluate(numbered, [0, 2, 2]).to_dict()
    with pytest.raises(DataError, match="sample 1 label 'x' is none of the 3 classes"):
        evaluate(audit, ["a", "x", "c"])


@pytest.mark.parametrize(("labels", "sample"), [([0, -1, 2], 1), ([0, 1, 3], 2), ([float("nan"), 1, 2], 0)])
def test_true_labels_outside_the_classes_are_refused(labels, sample):
    with pytest.raises(DataError, match=rf"sample {sample} .* numbers from 0 to 2 or names"):
        evaluate(make_audit([1, 2, 3], [0, 1, 2], [1, 2, 0], 2), labels)
