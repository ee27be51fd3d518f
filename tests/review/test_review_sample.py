"""A random sample of a run is drawn once, kept, enlarged along its own random order, and stays what it was drawn as."""

from dataclasses import replace

import numpy as np
import pytest

from gwaudit.analysis.ranked_table import RankedTable
from gwaudit.analysis.verdict import Verdict
from gwaudit.core.errors import DataError, SettingsError, StoreDamagedError
from gwaudit.data.label_noise import add_label_noise
from gwaudit.review.decided_samples import read_decided
from gwaudit.review.decisions import write_decisions
from gwaudit.review.review_sample import DECIDED_BEFORE, draw_sample, load_sample, sample_to_review
from helpers.audits import make_audit, make_decisions

N = 600


@pytest.fixture
def audit(tmp_path):
    rng = np.random.default_rng(0)
    wrong = rng.random(N) < 0.1
    log_odds = np.where(wrong, rng.normal(3, 2, N), rng.normal(-5, 2, N))
    audit = make_audit(
        [f"k{i}" for i in range(N)],
        rng.integers(0, 3, N),
        ["a", "b", "c"],
        log_odds=log_odds,
        suspects=np.flatnonzero(log_odds > 0),
        run=tmp_path,
    )
    audit.frame["probability_wrong"] = 1 / (1 + np.exp(-audit.frame["log_odds_wrong"]))
    return audit


def test_a_sample_is_kept_and_is_the_same_when_it_is_asked_for_again(audit):
    sample = sample_to_review(audit, 60)
    again = sample_to_review(audit, 60)
    assert sample.size == 60
    np.testing.assert_array_equal(sample.ids(), again.ids())
    np.testing.assert_array_equal(sample.inclusion_probability, load_sample(audit).inclusion_probability)


def test_suspects_and_others_are_in_different_strata(audit):
    sample = draw_sample(audit, 60, seed=0)
    suspect = audit.by_id("suspect")
    assert not set(sample.stratum[suspect]) & set(sample.stratum[~suspect])


def test_suspects_are_drawn_more_often_than_the_bottom_and_some_of_the_bottom_are_drawn(audit):
    sample = draw_sample(audit, 60, seed=0)
    by_rank = sample.inclusion_probability[np.argsort(sample.rank)]
    assert by_rank[:60].mean() > 2 * by_rank[-60:].mean() > 0
    assert sample.is_drawn[np.argsort(sample.rank)][-N // 3 :].any()


def test_every_sample_is_drawn_as_often_as_its_inclusion_probability_says(audit):
    draws = [draw_sample(audit, 60, seed=seed) for seed in range(300)]
    share = np.mean([sample.is_drawn for sample in draws], axis=0)
    expected = draws[0].inclusion_probability
    z = (share - expected) / np.sqrt(expected * (1 - expected) / len(draws))
    assert abs(z.mean()) < 0.2
    assert 0.8 < z.std() < 1.2


def test_a_sample_is_independent_of_errors_that_were_planted_with_its_seed():
    truth = np.arange(2000) % 10
    planted = np.flatnonzero(add_label_noise(truth, 10, rate=0.1, seed=0) != truth)
    audit = make_audit([f"k{i}" for i in truth], truth, list("abcdefghij"), log_odds=np.linspace(3, -5, 2000))
    assert np.isin(draw_sample(audit, 200, seed=0).ids(), planted).mean() < 0.2


def test_a_larger_sample_holds_the_smaller_one(audit):
    small, large = sample_to_review(audit, 60), sample_to_review(audit, 90)
    assert large.size == 90
    assert set(small.ids()) <= set(large.ids())
    assert sample_to_review(audit, 10).size == 90


def test_no_stratum_loses_samples_when_the_size_grows(audit):
    sample = draw_sample(audit, 40, seed=1)
    before = np.zeros(len(sample.sizes))
    for size in range(41, N + 10, 7):
        after = np.array(sample.enlarged(size).draws[-1])
        assert (after >= before).all()
        assert after.sum() == min(size, N)
        before = after


def test_the_first_of_the_random_order_are_a_random_sample_of_each_stratum(audit):
    sample = draw_sample(audit, 80, seed=2)
    half = sample.ids()[:40]
    counts = np.bincount(sample.stratum[half], minlength=len(sample.sizes))
    assert np.ptp(counts) <= 2
    for stratum, count in enumerate(counts):
        members = half[sample.stratum[half] == stratum]
        assert set(sample.order[members]) == set(range(count))


def test_a_sample_stays_valid_when_the_ranking_changes(audit):
    sample = sample_to_review(audit, 60)
    other = replace(
        audit, table=RankedTable(audit.frame.iloc[::-1].reset_index(drop=True).assign(rank=np.arange(1, N + 1)))
    )
    np.testing.assert_array_equal(load_sample(other).inclusion_probability, sample.inclusion_probability)


def test_a_new_draw_leaves_out_what_is_decided(audit):
    first = sample_to_review(audit, 60)
    second = sample_to_review(audit, 60, redraw=True, decided=set(first.ids().tolist()))
    assert not set(first.ids()) & set(second.ids())
    assert (second.stratum[first.ids()] == DECIDED_BEFORE).all()
    assert load_sample(audit).number == 2


def test_a_sample_of_other_labels_is_refused(audit):
    sample_to_review(audit, 60)
    relabelled = replace(audit, table=RankedTable(audit.frame.assign(given_label=(audit.frame["given_label"] + 1) % 3)))
    with pytest.raises(DataError, match="other data or labels"):
        load_sample(relabelled)


def test_a_damaged_sample_is_refused(audit):
    sample_to_review(audit, 60)
    (audit.run / "review-samples" / "1" / "strata.parquet").write_bytes(b"nothing")
    with pytest.raises(StoreDamagedError, match="broken"):
        load_sample(audit)


def test_without_probabilities_to_trust_the_strata_follow_the_ranks(audit):
    untrusted = replace(audit, verdict=Verdict("use the order"))
    sample = draw_sample(untrusted, 60, seed=0)
    assert (np.diff(sample.stratum[np.argsort(sample.rank)]) >= 0).all()
    assert sample.sizes[0] < sample.sizes[-1]


def test_no_sample_of_nothing(audit):
    with pytest.raises(SettingsError, match="at least 1"):
        draw_sample(audit, 0)


def test_more_than_there_is_draws_all(audit):
    assert draw_sample(audit, 10 * N).is_drawn.all()


def decide(audit, ids, word="keep"):
    write_decisions(make_decisions(audit, *[(int(i), word) for i in ids]), audit.run / "decisions.csv")
    return read_decided(audit)


def test_decisions_on_drawn_samples_are_random_and_stand_for_their_strata(audit):
    sample = sample_to_review(audit, 60)
    decided = decide(audit, sample.ids())
    assert decided.is_random.sum() == 60
    assert decided.weight.sum() == pytest.approx(N)


def test_decisions_on_the_most_suspicious_are_not_random(audit):
    sample_to_review(audit, 60)
    decided = decide(audit, audit.frame["sample_id"][:40])
    assert decided.is_decided.sum() == 40
    # Those that were drawn do not stand for the undecided rest of their stratum.
    np.testing.assert_array_equal(decided.weight, decided.is_decided)


def test_a_review_that_was_broken_off_is_a_smaller_random_sample(audit):
    sample = sample_to_review(audit, 60)
    decided = decide(audit, sample.ids()[:30])
    assert decided.is_random.sum() == 30


def test_unsure_says_neither_right_nor_wrong(audit):
    sample = sample_to_review(audit, 60)
    decided = decide(audit, sample.ids(), "unsure")
    assert decided.is_unsure.sum() == 60
    assert not decided.is_decided.any()
    assert not decided.is_random.any()


def test_without_a_sample_no_decision_is_random(audit):
    decided = decide(audit, range(20))
    assert decided.sample is None
    assert decided.weight.sum() == decided.is_decided.sum() == 20
