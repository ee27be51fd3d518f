"""Simulated reviews decide by the true labels, and measure what an audit learns from them."""

from dataclasses import replace

import numpy as np
import pytest

from gwaudit.analysis.error_probability import sigmoid
from gwaudit.benchmarks.review.audits import KnownAudit, ReviewSet, ReviewSources, known_audit, select_review_sets
from gwaudit.benchmarks.review.benchmark import read_review, review
from gwaudit.benchmarks.review.checks import measure_checks
from gwaudit.benchmarks.review.concentrated_errors import concentrated_errors
from gwaudit.benchmarks.review.learning import decided_samples_of_review, measure_effort, measure_learning
from gwaudit.benchmarks.review.remaining import measure_remaining
from gwaudit.benchmarks.review.reviewers import answers
from gwaudit.core.errors import SettingsError
from helpers.audits import make_audit

TINY = ReviewSet("tiny, uniform 20%", "chosen", "tiny", "uniform", 0.2)


@pytest.fixture(scope="module")
def known():
    """An audit of 1,000 labels, of which it expects twice as many wrong ones as there are."""
    random = np.random.default_rng(0)
    log_odds = random.normal(-4, 3, 1000)
    given = random.integers(0, 3, 1000)
    truth = np.where(random.random(1000) < sigmoid(log_odds * 1.5 - 1.5), (given + 1) % 3, given)
    audit = make_audit([f"k{i}" for i in range(1000)], given, ["a", "b", "c"], log_odds=log_odds)
    audit.frame["probability_wrong"] = sigmoid(audit.frame["log_odds_wrong"].to_numpy())
    return KnownAudit(ReviewSet("made up", "chosen", "none", "uniform", 0.1), audit, truth, None)


def test_a_reviewer_answers_by_the_true_labels_and_errs_in_a_share(known):
    exact = answers(known, np.arange(1000), error=0.0, seed=0)
    assert ((exact["decision"] == "relabel") == known.is_wrong).all()
    assert (exact["label"] == known.truth).all()
    erring = answers(known, np.arange(1000), error=0.1, seed=0)
    assert (erring["decision"] != exact["decision"]).mean() == pytest.approx(0.1, abs=0.03)
    some = answers(known, [5, 900], error=0.1, seed=0)
    assert some.equals(erring.iloc[[5, 900]].reset_index(drop=True))  # whoever else is asked


def test_half_of_the_decisions_are_random(known):
    ids, is_random = decided_samples_of_review(known, 100, seed=1)
    assert len(set(ids)) == 100
    assert is_random[ids].sum() == is_random.sum() == 50


def test_expected_numbers_are_nearer_after_decisions(known):
    row = measure_learning(known, 300, 0.0, reviews=3)
    assert row.total < row.total_before / 2
    assert row.first < row.first_before
    assert row.gain is None or row.gain > -0.002
    assert measure_learning(known, 600, 0.0, reviews=1) is None


def test_the_vote_of_the_neighbours_is_a_part_of_the_evidence(known):
    noise = np.random.default_rng(1).normal(0, 0.5, 1000)
    voted = replace(known, votes=np.where(known.is_wrong, 1.0, -1.0) + noise)
    row = measure_learning(voted, 300, 0.0, reviews=1)
    assert row.reordered == 1


def test_the_effort_is_counted_in_each_order(known):
    eighty, ninety = measure_effort(known)
    wrong = known.is_wrong[known.audit.frame["sample_id"]]
    assert wrong[: eighty.unsupervised].sum() == np.ceil(0.8 * wrong.sum())
    assert eighty.unsupervised < ninety.unsupervised < ninety.random
    assert ninety.learned <= ninety.unsupervised * 1.1
    assert eighty.cleanlab is None


def test_the_number_that_a_check_asks_for_suffices_in_most_reviews(known):
    near, far = (measure_checks(known, limit, 100, reviews=10) for limit in (1.3, 8.0))
    assert far.asked == 0
    assert far.right == 1
    assert near.asked > 0.5
    assert near.sufficed >= 0.7
    assert near.rounds <= 1.5
    assert 0 < near.number < 900
    unknown = measure_checks(known, 1.3, 0, reviews=2)  # no sample is drawn before the first check
    assert unknown.asked == 1
    assert unknown.number >= 100
    assert measure_checks(known, 1.3, 1000, reviews=1) is None


def test_the_interval_of_what_is_left_is_wide_after_decisions_worst_first(known):
    few, many = (measure_remaining(known, decisions) for decisions in (50, 300))
    assert few.found + few.left == many.found + many.left == known.is_wrong.sum()
    assert few.low <= few.expected <= few.high
    assert few.is_covered
    assert few.high - few.low > 2 * (many.high - many.low)
    assert measure_remaining(known, 600) is None


@pytest.mark.parametrize("kind", ["pairs", "one-way", "region"])
def test_concentrated_errors_lie_in_few_pairs_of_classes(kind):
    random = np.random.default_rng(0)
    labels = random.integers(0, 8, 400)
    features = np.eye(8)[labels] + random.normal(0, 0.3, (400, 8))
    given = concentrated_errors(features, labels, 8, kind=kind, rate=0.1, seed=1)
    wrong = given != labels
    assert wrong.sum() == 40
    pairs = set(zip(labels[wrong], given[wrong], strict=True))
    if kind == "pairs":
        assert len(pairs) == 6
        assert {(b, a) for a, b in pairs} == pairs
    else:
        assert len({b for _, b in pairs}) == 1


def test_a_set_is_audited_once_and_its_rows_are_kept(tmp_path):
    pytest.importorskip("cleanlab", reason="needs the peers extra")
    results = review(tmp_path, [TINY], reviews=1)
    assert [row.found for row in results.effort] == [0.8, 0.9]
    assert results.effort[0].cleanlab > 0
    assert read_review(tmp_path) == results
    assert "| tiny, uniform 20% | chosen | 12 of 60 |" in (tmp_path / "review.md").read_text()
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert review(tmp_path, [TINY], reviews=1) == results
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == files


def test_a_set_without_its_file_is_left_out_with_the_reason(tmp_path):
    with pytest.raises(SettingsError, match="needs `questions`"):
        known_audit(select_review_sets(["questions-77"])[0], tmp_path, ReviewSources())


def test_sets_are_chosen_by_name_data_or_role():
    assert {each.role for each in select_review_sets(["chosen"])} == {"chosen"}
    assert len(select_review_sets(["digits", "composed"])) == 10
    with pytest.raises(SettingsError, match="unknown set 'digit'"):
        select_review_sets(["digit"])
