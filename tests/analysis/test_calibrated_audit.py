"""An audit is calibrated on decisions: both orders are kept, and decided samples are what people said."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from gwaudit import rank
from gwaudit.analysis.audit import CALIBRATED_COLUMNS, COLUMNS, Audit
from gwaudit.analysis.calibrated_audit import calibrate, votes_of_neighbours
from gwaudit.analysis.verdict import Verdict
from gwaudit.core.settings import RankingSettings
from gwaudit.export.cleaned_data import clean_data
from gwaudit.store.latents import write_latents
from helpers.audits import make_audit
from helpers.making import few_digits
from helpers.recorded_runs import make_run


@pytest.fixture(scope="module")
def audit(tmp_path_factory):
    """The audit of 200 samples, of which the first fifth look wrong."""
    with make_run(tmp_path_factory.mktemp("runs") / "run", few_digits(200), epochs=3) as store:
        return replace(rank(store, RankingSettings(force=True)), settings=RankingSettings())


def decisions_on(audit, ids, wrong):
    given = audit.by_id("given_label")[ids]
    answers = np.where(wrong, "relabel", "keep")
    labels = np.where(wrong, (given + 1) % len(audit.class_names), given)
    return pd.DataFrame({"sample_id": ids, "decision": answers, "label": labels})


def test_decided_samples_are_certain_and_the_undecided_follow_in_between(audit):
    ids = np.arange(0, 80, 2)
    calibrated = calibrate(audit, decisions_on(audit, ids, ids < 60))
    decided = calibrated.frame[calibrated.frame["decision"] != ""]
    assert (decided["probability_wrong"] == (decided["decision"] == "relabel")).all()
    assert (calibrated.frame["decision"].iloc[:30] == "relabel").all()
    assert (calibrated.frame["decision"].iloc[-10:] == "keep").all()
    assert len(calibrated.undecided) == 160
    assert not calibrated.to_review()["sample_id"].isin(ids).any()
    assert calibrated.calibration.decided == 40
    assert calibrated.calibration.wrong == 30


def test_an_answer_that_contradicts_the_evidence_is_followed_but_not_certain():
    """Of 300 answers 30 contradict odds of more than 100 to 1: about 30 are mistakes, as the count says."""
    log_odds = np.concatenate([np.full(100, 5.0), np.full(400, -6.0)]) + np.linspace(0.1, -0.1, 500)
    audit = make_audit([f"{i}" for i in range(500)], [0, 1] * 250, ["a", "b"], log_odds=log_odds)
    audit = replace(audit, verdict=Verdict("trust it"))
    ids = np.arange(0, 500, 2)
    wrong = (log_odds[ids] > 0) ^ (np.arange(250) % 10 == 0)
    calibrated = calibrate(audit, decisions_on(audit, ids, wrong))
    assert 0.07 <= calibrated.calibration.answer_error <= 0.15
    probability, answer = calibrated.by_id("probability_wrong")[ids], calibrated.by_id("decision")[ids]
    contradicts = (answer == "relabel") ^ (log_odds[ids] > 0)
    doubt = np.where(answer == "relabel", 1 - probability, probability)
    assert doubt[contradicts].min() > 0.5 > 0.05 > doubt[~contradicts].max()
    assert calibrated.expected_mistakes == pytest.approx(25, abs=5)
    assert calibrated.expected_wrong()[-1] == pytest.approx(100, abs=5)
    first = calibrated.frame.head(wrong.sum())
    assert (first["decision"] == "relabel").all()
    assert first["suspect"].all()
    assert not calibrated.frame.loc[calibrated.frame["decision"] == "keep", "suspect"].any()


def test_both_orders_are_kept(audit):
    calibrated = calibrate(audit, decisions_on(audit, np.arange(0, 80, 2), np.arange(0, 80, 2) < 30))
    assert list(calibrated.frame) == [*COLUMNS, *CALIBRATED_COLUMNS]
    before = calibrated.frame.sort_values("unsupervised_rank", ignore_index=True)
    assert (before["sample_id"] == audit.frame["sample_id"]).all()
    assert (before["unsupervised_log_odds"] == audit.frame["log_odds_wrong"]).all()
    assert (calibrated.frame["rank"] == np.arange(1, 201)).all()


def test_decisions_come_in_any_order_and_number_of_steps(audit):
    every = decisions_on(audit, np.arange(60), np.arange(60) < 35)
    once = calibrate(audit, every)
    in_steps = calibrate(calibrate(audit, every.head(25)), every.sample(frac=1, random_state=0))
    pd.testing.assert_frame_equal(once.frame, in_steps.frame)
    assert once.calibration == in_steps.calibration


def test_decisions_that_were_taken_back_leave_the_unsupervised_audit(audit):
    calibrated = calibrate(audit, decisions_on(audit, np.arange(60), np.arange(60) < 35))
    restored = calibrate(calibrated, decisions_on(audit, np.arange(0), np.arange(0) < 0))
    pd.testing.assert_frame_equal(restored.frame, audit.frame)
    assert restored.calibration is None


def test_without_a_decision_it_is_the_same_audit(audit):
    unsure = pd.DataFrame({"sample_id": [3], "decision": ["unsure"], "label": [0]})
    assert calibrate(audit, unsure) is audit


def test_suggestions_follow_what_people_chose_for_like_samples(audit):
    given, suggested = audit.by_id("given_label"), audit.by_id("suggested_label")
    alike = np.flatnonzero((given == given[0]) & (suggested == suggested[0]))
    other = (suggested[0] + 3) % 10
    for count, expected in ((2, suggested[0]), (3, other)):  # two decisions do not outweigh the suggestion
        chosen = pd.DataFrame({"sample_id": alike[:count], "decision": "relabel", "label": other})
        calibrated = calibrate(audit, chosen)
        learned = calibrated.by_id("suggested_label")
        assert (learned[alike[:count]] == other).all()
        assert (learned[alike[count:]] == expected).all()
        assert calibrated.by_id("suggested_name")[alike[-1]] == audit.class_names[expected]
    pd.testing.assert_frame_equal(calibrate(calibrated, chosen.head(0)).frame, audit.frame)


def test_a_calibrated_audit_is_read_as_it_was_written(audit, tmp_path):
    calibrated = calibrate(audit, decisions_on(audit, np.arange(60), np.arange(60) < 35), np.arange(200) < 20)
    calibrated.save(tmp_path)
    loaded = Audit.load(tmp_path)
    pd.testing.assert_frame_equal(loaded.frame, calibrated.frame)
    assert loaded.calibration == calibrated.calibration
    assert loaded.calibration.random == 20
    assert loaded.summary()["calibration"]["decided"] == 60


def test_a_hundred_random_decisions_give_a_withheld_count_again(audit):
    decisions = decisions_on(audit, np.arange(120), np.arange(120) < 35)
    for level, numbers in (("use the order", True), ("do not use", False)):
        withheld = replace(audit, verdict=Verdict(level))
        assert not calibrate(withheld, decisions).has_probabilities
        calibrated = calibrate(withheld, decisions, np.arange(200) < 100)
        assert calibrated.has_probabilities == calibrated.has_cut == numbers
        assert withheld.headline == withheld.verdict.headline
        assert ("rest on decisions" in calibrated.headline) == numbers
        assert calibrated.frame["suspect"].any() == numbers


def test_a_cut_counts_decided_samples_as_what_they_are(audit):
    precise = replace(audit, settings=RankingSettings(precision=1.0))
    calibrated = calibrate(precise, decisions_on(audit, np.arange(10), np.arange(10) < 6))
    assert calibrated.suspects["sample_id"].head(6).isin(range(6)).all()
    assert not calibrated.suspects["sample_id"].isin(range(6, 10)).any()


def test_cleaned_data_follow_the_decisions(audit):
    decisions = decisions_on(audit, np.arange(12), np.arange(12) < 6)
    decisions.loc[0, "decision"] = "drop"
    cleaned = clean_data(calibrate(replace(audit, settings=RankingSettings(force=True)), decisions), "relabel")
    assert 0 not in cleaned.ids
    label = dict(zip(cleaned.ids, cleaned.labels, strict=True))
    assert [label[i] for i in range(1, 12)] == decisions["label"].tolist()[1:]


def test_the_votes_of_neighbours_reorder_where_they_know_more_than_the_odds(tmp_path):
    """The odds say nothing here; the latents are those of the true classes."""
    rng = np.random.default_rng(0)
    truth, wrong = rng.integers(0, 3, 300), rng.random(300) < 0.2
    given = np.where(wrong, (truth + 1) % 3, truth)
    audit = make_audit([f"{i}" for i in range(300)], given, ["a", "b", "c"], log_odds=rng.normal(-1, 1, 300))
    audit = replace(audit, run=tmp_path)
    assert votes_of_neighbours(audit) is None
    write_latents(tmp_path, np.eye(3)[truth] + rng.normal(0, 0.1, (300, 3)), {})
    votes = votes_of_neighbours(audit)
    assert ((votes > 0) == wrong).mean() > 0.95
    ids = rng.permutation(300)[:120]
    decisions = decisions_on(audit, ids, wrong[ids])
    without, with_votes = calibrate(audit, decisions), calibrate(audit, decisions, votes=votes)
    assert without.calibration.scale == 0 < with_votes.calibration.scale
    left = with_votes.undecided["sample_id"].to_numpy()
    assert wrong[left[: wrong[left].sum()]].mean() > 0.7
    assert wrong[without.undecided["sample_id"].to_numpy()[: wrong[left].sum()]].mean() < 0.5


def test_an_audit_of_odds_alone_is_calibrated_too():
    audit = make_audit([f"{i}" for i in range(60)], [0, 1, 2] * 20, ["a", "b", "c"], log_odds=np.linspace(-3, 3, 60))
    calibrated = calibrate(audit, decisions_on(audit, np.arange(30, 60), np.arange(30, 60) > 55))
    assert calibrated.expected_wrong(of_undecided=True)[-1] < audit.expected_wrong()[-1]


@pytest.mark.parametrize("count", ["top", "budget"])
@pytest.mark.parametrize("number", [3, 190])
def test_a_number_of_samples_to_review_is_of_the_undecided(audit, count, number):
    """What people decided is followed all the same, and takes no part of the number."""
    ids = np.arange(0, 80, 2)
    counted = replace(audit, settings=RankingSettings(**{count: number}), verdict=Verdict("trust it"))
    calibrated = calibrate(counted, decisions_on(counted, ids, ids < 60))
    suspects = calibrated.frame[calibrated.frame["suspect"]]
    undecided = suspects[suspects["decision"] == ""]
    assert (suspects["decision"] == "relabel").sum() == 30
    assert not (suspects["decision"] == "keep").any()
    if count == "top":
        assert len(undecided) == min(number, 160)
    else:
        assert 0 < len(undecided) <= min(number, 160)
    assert calibrated.settings == counted.settings
    labels = clean_data(calibrated, "relabel").labels
    np.testing.assert_array_equal(labels[ids[ids < 60]], (audit.by_id("given_label")[ids[ids < 60]] + 1) % 10)
