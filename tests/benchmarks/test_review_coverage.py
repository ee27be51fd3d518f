"""The coverage of intervals is measured on many simulated reviews of one audit."""

import numpy as np
import pytest

from gwaudit.benchmarks.review.audits import KnownAudit, ReviewSet
from gwaudit.benchmarks.review.coverage import measure_coverage
from helpers.audits import make_audit


@pytest.fixture(scope="module")
def known():
    random = np.random.default_rng(0)
    given = random.integers(0, 3, 1000)
    wrong = random.random(1000) < 0.1
    log_odds = np.where(wrong, random.normal(2, 2, 1000), random.normal(-4, 2, 1000))
    keys = [f"k{i}" for i in range(1000)]
    audit = make_audit(keys, given, ["a", "b", "c"], log_odds=log_odds, suspects=np.flatnonzero(log_odds > 0))
    source = ReviewSet("made up", "chosen", "none", "uniform", 0.1)
    return KnownAudit(source, audit, np.where(wrong, (given + 1) % 3, given), None)


def test_intervals_hold_the_truth_in_about_95_of_100_reviews(known):
    row = measure_coverage(known, 150, 0.0, 400)
    assert 0.92 <= row.covered == row.covered_truth <= 1
    assert 0.9 <= row.suspects_covered <= 1
    assert 0.85 <= row.recall_covered <= 1  # few errors are missed: their number is found or not
    assert row.classes_covered >= 0.92
    assert abs(row.bias) < 0.01


def test_of_a_reviewer_who_errs_they_hold_what_that_reviewer_would_say(known):
    row = measure_coverage(known, 150, 0.1, 200)
    assert row.covered > 0.9
    assert row.covered_truth < 0.5
    assert row.bias == pytest.approx(0.08, abs=0.03)  # a tenth of the right labels, less one of the wrong ones


def test_an_audit_with_fewer_samples_than_decisions_has_no_coverage(known):
    assert measure_coverage(known, 1000, 0.0, 1) is None
