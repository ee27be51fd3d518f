"""Odds are refitted to decisions: drawn to the unsupervised reading, and in its order while decisions are few."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from gwaudit.analysis import calibration
from gwaudit.analysis.calibration import Calibration, Evidence, normal_scores, refit_log_odds
from gwaudit.analysis.error_probability import sigmoid


def made_up(n=3000, *, level=-1.0, slope=0.5, pair_offset=0.0, seed=0):
    """Return evidence, and wrong labels by a line of the unsupervised log odds, another one for one class pair."""
    random = np.random.default_rng(seed)
    log_odds = random.normal(-4, 3, n)
    given, suggested = random.integers(0, 4, (2, n))
    true = level + slope * log_odds + np.where((given == 0) & (suggested == 1), pair_offset, 0.0)
    parts = np.stack([log_odds + random.normal(0, 2, n), random.normal(size=n)], 1)
    return Evidence(log_odds, parts, given, given * 4 + suggested), random.random(n) < sigmoid(true)


def drawn(evidence, m, seed=0):
    """Return m samples, half of them drawn at random and half the most suspicious others."""
    random = np.random.default_rng(seed).permutation(len(evidence.log_odds))[: m // 2]
    worst = np.argsort(-evidence.log_odds)
    return np.concatenate([random, worst[~np.isin(worst, random)][: m - m // 2]])


def test_without_decisions_nothing_changes():
    evidence, _ = made_up(200)
    refit = refit_log_odds(evidence, np.array([], int), np.array([], bool))
    assert refit.scale == 0
    assert refit.log_odds == pytest.approx(evidence.log_odds, abs=1e-9)


def test_decisions_correct_the_number_of_wrong_labels():
    errors_before, errors_after = [], []
    for seed in range(4):
        evidence, wrong = made_up(1500, level=1.0, slope=1.5, seed=seed)
        decided = drawn(evidence, 300, seed)
        refit = refit_log_odds(evidence, decided, wrong[decided])
        errors_before.append(abs(sigmoid(evidence.log_odds).sum() / wrong.sum() - 1))
        errors_after.append(abs(sigmoid(refit.log_odds).sum() / wrong.sum() - 1))
    assert np.mean(errors_after) < np.mean(errors_before) / 2


def test_the_number_left_is_within_its_limits_in_most_cases_and_these_are_wide_after_decisions_worst_first():
    held = []
    for seed in range(3):
        evidence, wrong = made_up(600, level=1.0 - seed / 2, slope=0.7 + seed / 4, seed=seed)
        worst = np.argsort(-evidence.log_odds)
        for decided in (worst[:40], worst[:100], drawn(evidence, 100, seed)):
            low, high = refit_log_odds(evidence, decided, wrong[decided]).left
            held.append(low - 0.5 <= np.delete(wrong, decided).sum() <= high + 0.5)
            assert 0 <= low <= high <= len(wrong) - len(decided)
    assert np.mean(held) > 0.8
    evidence, wrong = made_up(600)
    worst = np.argsort(-evidence.log_odds)
    by_worst, by_random = (
        refit_log_odds(evidence, decided, wrong[decided]).left for decided in (worst[:100], drawn(evidence, 100))
    )
    assert by_worst[1] - by_worst[0] > by_random[1] - by_random[0]


def test_samples_that_do_not_count_are_not_left():
    evidence, wrong = made_up(400)
    decided = drawn(evidence, 50)
    assert refit_log_odds(evidence, decided, wrong[decided], np.zeros(400, bool)).left == (0, 0)
    assert refit_log_odds(evidence, np.arange(400), wrong).left == (0, 0)


def test_the_number_left_is_open_where_few_decisions_are_random_and_its_limits_are_far_apart():
    assert Calibration(148, 148, 0, 0.0, 0.0, "", (40.0, 300.0)).is_left_open
    assert not Calibration(148, 148, 0, 0.0, 0.0, "", (40.0, 50.0)).is_left_open
    assert not Calibration(148, 148, 0, 0.0, 0.0, "", (0.0, 8.0)).is_left_open
    assert not Calibration(300, 148, 100, 0.0, 0.0, "", (40.0, 300.0)).is_left_open
    assert not Calibration(148, 148, 0, 0.0, 0.0, "").is_left_open


def test_few_decisions_keep_the_order():
    evidence, wrong = made_up(pair_offset=4.0)
    decided = drawn(evidence, 18)
    refit = refit_log_odds(evidence, decided, wrong[decided])
    assert refit.scale == 0
    assert (np.argsort(refit.log_odds, kind="stable") == np.argsort(evidence.log_odds, kind="stable")).all()


def test_a_pair_of_classes_that_is_wrong_far_more_often_moves_up():
    evidence, wrong = made_up(level=-2.0, pair_offset=5.0)
    decided = drawn(evidence, 400)
    refit = refit_log_odds(evidence, decided, wrong[decided])
    rest = np.setdiff1d(np.arange(len(wrong)), decided)
    precision = [average_precision_score(wrong[rest], score[rest]) for score in (evidence.log_odds, refit.log_odds)]
    assert refit.scale > 0
    assert precision[1] > precision[0] + 0.05


def test_noise_does_not_change_the_order():
    scales = []
    for seed in range(3):
        evidence, wrong = made_up(1500, slope=1.0, level=0.0, seed=seed)
        decided = drawn(evidence, 100, seed)
        scales.append(refit_log_odds(evidence, decided, wrong[decided]).scale)
    assert scales == [0] * 3


@pytest.mark.parametrize("order_of_refitted", ["same as the truth", "worse"])
def test_a_likelier_fit_with_a_worse_order_is_noticed(order_of_refitted):
    wrong = np.arange(100) % 2 == 0
    unsupervised = np.where(wrong, 6.0, 5.0) + np.random.default_rng(0).normal(0, 0.5, 100)  # in order, far too high
    refitted = np.where(wrong, 2.0, -2.0)
    if order_of_refitted == "worse":
        refitted[:20] = -refitted[:20]

    class Fits:  # each scale but 0 is the refitted odds
        def __init__(self):
            self.unsupervised = unsupervised

        def fit(self, rows, target, error, scale):
            odds = refitted if scale else unsupervised
            return type("Fit", (), {"log_odds": lambda _, of: odds[of]})()

    chosen, is_better = calibration._cross_validated_scale(Fits(), np.arange(100), wrong.astype(float), 0.0)
    assert chosen > 0
    assert is_better == (order_of_refitted == "same as the truth")


def test_a_worse_order_is_not_taken_but_the_number_of_wrong_labels_is(monkeypatch):
    evidence, wrong = made_up(1500, pair_offset=4.0)
    decided = drawn(evidence, 300)
    reordered = refit_log_odds(evidence, decided, wrong[decided])
    monkeypatch.setattr(calibration, "_cross_validated_scale", lambda *_: (reordered.scale, False))
    kept = refit_log_odds(evidence, decided, wrong[decided])
    assert reordered.scale > 0
    assert kept.scale == 0
    assert np.all(np.diff(kept.log_odds[np.argsort(evidence.log_odds)]) >= 0)
    assert sigmoid(kept.log_odds).sum() == pytest.approx(sigmoid(reordered.log_odds).sum())


@pytest.mark.parametrize("answer", [True, False])
def test_decisions_that_all_agree_leave_finite_odds(answer):
    evidence, _ = made_up(500)
    decided = drawn(evidence, 60)
    refit = refit_log_odds(evidence, decided, np.full(60, answer))
    assert np.isfinite(refit.log_odds).all()
    assert (sigmoid(refit.log_odds).sum() > sigmoid(evidence.log_odds).sum()) == answer


def test_samples_that_were_not_recorded_have_no_odds_and_change_none():
    evidence, wrong = made_up(400)
    decided = drawn(evidence, 60)
    expected = refit_log_odds(evidence, decided, wrong[decided]).log_odds
    with_gap = Evidence(
        np.append(evidence.log_odds, np.nan), np.vstack([evidence.parts, [np.nan, np.nan]]),
        np.append(evidence.given, 0), np.append(evidence.pair, 1),
    )  # fmt: skip
    refit = refit_log_odds(with_gap, np.append(decided, 400), np.append(wrong[decided], True))
    assert np.isnan(refit.log_odds[-1])
    assert refit.log_odds[:-1] == pytest.approx(expected, abs=1e-6)


def test_huge_log_odds_stay_finite_and_in_their_order():
    evidence, wrong = made_up(300)
    huge = Evidence(evidence.log_odds * 1e3, evidence.parts, evidence.given, evidence.pair)
    decided = drawn(huge, 40)
    refit = refit_log_odds(huge, decided, wrong[decided])
    assert np.isfinite(refit.log_odds).all()
    assert (np.diff(refit.log_odds[np.argsort(huge.log_odds)]) > 0).all()


def test_normal_scores_follow_the_ranks():
    assert normal_scores(np.array([3.0, np.nan, -100.0, 3.0])) == pytest.approx([0.431, 0, -0.967, 0.431], abs=1e-3)


def test_a_hundred_random_decisions_are_enough():
    assert Calibration(300, 20, 100, 0.0, 0.0, "").has_enough_random
    assert not Calibration(300, 20, 99, 0.0, 0.0, "").has_enough_random


def test_wrong_answers_are_noticed_and_change_little():
    evidence, wrong = made_up(level=0.0, slope=1.5)
    decided = drawn(evidence, 400)
    erring = np.random.default_rng(0).random(400) < 0.1
    honest = refit_log_odds(evidence, decided, wrong[decided])
    refit = refit_log_odds(evidence, decided, wrong[decided] ^ erring)
    assert honest.answer_error <= 0.01
    assert 0.04 <= refit.answer_error <= 0.15
    assert sigmoid(refit.log_odds).sum() == pytest.approx(wrong.sum(), rel=0.25)
