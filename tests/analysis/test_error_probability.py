"""The cut needs no ground truth, flags next to nothing in clean labels, and comes near the best F1 otherwise."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import average_precision_score, precision_recall_curve

from gwaudit.analysis.error_probability import (
    count_with_best_f1,
    count_with_precision,
    expected_share_wrong,
    log_odds_wrong,
    sigmoid,
)
from gwaudit.analysis.mixtures import fit_confusable_mixture


def scores_with_errors(share: float, *, n: int = 20_000, pull: float = 0.5, skew: float = 0.0, seed: int = 0):
    """Scores of right labels below zero, of wrong ones mirrored and drawn back to `pull`, as training does."""
    random = np.random.default_rng(seed)
    confidence = stats.skewnorm.rvs(skew, loc=1.5, scale=1.0, size=n, random_state=random)
    wrong = random.random(n) < share
    return np.where(wrong, confidence - (1 - pull) * 1.5, -confidence), wrong


def best_f1(scores, wrong) -> float:
    precision, recall, _ = precision_recall_curve(wrong, scores)
    return float(np.max(2 * precision * recall / np.maximum(precision + recall, 1e-12)))


def probability_wrong(scores, pairs=None, **known):
    return sigmoid(log_odds_wrong(scores, pairs, **known))


def flagged(scores):
    """What the cut with the best expected F1 flags."""
    probability = np.nan_to_num(probability_wrong(scores))
    order = np.argsort(-np.nan_to_num(scores, nan=-np.inf), kind="stable")
    suspects = np.zeros(len(scores), bool)
    suspects[order[: count_with_best_f1(probability[order])]] = True
    return suspects


def f1_of(suspects, wrong) -> float:
    return 2 * int((suspects & wrong).sum()) / int(suspects.sum() + wrong.sum())


@pytest.mark.parametrize("share", [0.05, 0.1, 0.2, 0.4])
@pytest.mark.parametrize("pull", [0.4, 0.45, 0.6, 1.0])
def test_the_cut_comes_near_the_best_f1_at_every_noise_rate(share, pull):
    scores, wrong = scores_with_errors(share, pull=pull)
    assert f1_of(flagged(scores), wrong) >= 0.98 * best_f1(scores, wrong)


def test_errors_of_two_kinds_at_once_are_found_all_the_same():
    uniform, wrong = scores_with_errors(0.2, pull=1.0)
    confusable, also_wrong = scores_with_errors(0.2, pull=0.4, seed=1)
    scores, wrong = np.concatenate([uniform, confusable]), np.concatenate([wrong, also_wrong])
    assert f1_of(flagged(scores), wrong) >= 0.98 * best_f1(scores, wrong)


def scores_with_uniform_errors(share: float, *, n: int = 20_000, seed: int = 0):
    """Wrong labels as far above zero as right ones are below, and a third of the right ones hard, near zero."""
    random = np.random.default_rng(seed)
    wrong, hard = random.random(n) < share, random.random(n) < 0.33
    easy = np.where(wrong, 1.2, -1.2) + 0.35 * random.standard_normal(n)
    return np.where(hard & ~wrong, -0.3 + 0.6 * random.standard_normal(n), easy), wrong


@pytest.mark.parametrize("share", [0.05, 0.1, 0.2, 0.4])
def test_uniform_errors_are_separated_from_samples_that_are_merely_hard(share):
    scores, wrong = scores_with_uniform_errors(share)
    probability = probability_wrong(scores)
    assert f1_of(flagged(scores), wrong) >= 0.97 * best_f1(scores, wrong)
    assert probability.sum() == pytest.approx(wrong.sum(), rel=0.15)
    assert expected_share_wrong(np.append(scores, np.nan)) == pytest.approx(probability.mean(), rel=1e-3)


def scores_with_errors_among_the_hard(share: float, *, n: int = 20_000, seed: int = 0):
    """A third of the samples look like anything, and these alone are mislabelled, as what they look like."""
    random = np.random.default_rng(seed)
    hard = random.random(n) < 0.35
    likeness = np.where(hard, np.abs(0.9 * random.standard_normal(n)), 1 + 0.15 * random.standard_normal(n))
    wrong = hard & (random.random(n) < share / 0.35)
    return np.where(wrong, 0.8 * likeness, -likeness) + 0.1 * random.standard_normal(n), wrong


@pytest.mark.parametrize("share", [0.2, 0.25, 0.3])
def test_errors_among_the_hard_are_not_taken_for_merely_hard(share):
    scores, wrong = scores_with_errors_among_the_hard(share)
    assert f1_of(flagged(scores), wrong) >= 0.95 * best_f1(scores, wrong)


@pytest.mark.parametrize("share", [0.1, 0.15])
def test_half_memorised_errors_are_not_taken_for_merely_hard(share):
    random = np.random.default_rng(0)
    wrong = random.random(20_000) < share
    likeness = np.where(random.random(20_000) < 0.3, 0.6, 1.0)
    scores = np.where(wrong, 0.1, -likeness) + np.where(wrong, 0.15, 0.2) * random.standard_normal(20_000)
    assert f1_of(flagged(scores), wrong) >= 0.98 * best_f1(scores, wrong)


def test_scores_beyond_those_of_wrong_labels_stay_suspicious():
    scores, _ = scores_with_uniform_errors(0.2)
    beyond = np.concatenate([scores, [5.0, 50.0, 500.0]])
    assert (log_odds_wrong(beyond)[-3:] > 0).all()
    assert (np.diff(log_odds_wrong(beyond)[-3:]) > 0).all()


@pytest.mark.parametrize("skew", [-0.5, 0.0, 2.0])
def test_clean_labels_yield_next_to_no_suspects(skew):
    scores, _ = scores_with_errors(0.0, skew=skew)
    assert flagged(scores).mean() <= 0.01


def test_the_estimated_share_is_near_the_planted_one():
    scores, wrong = scores_with_errors(0.2, pull=0.45)
    assert fit_confusable_mixture(scores).share_wrong == pytest.approx(wrong.mean(), abs=0.02)


def test_the_retained_confidence_separates_uniform_errors_from_those_between_similar_classes():
    retained = [fit_confusable_mixture(scores_with_errors(0.2, pull=pull)[0]).retained for pull in (1.0, 0.6, 0.4)]
    assert retained == pytest.approx([1.0, 0.6, 0.4], abs=0.1)


@cache
def scores_with_their_probability(seed):
    scores, _ = scores_with_errors(0.15, n=3000, seed=seed)
    return scores, probability_wrong(scores)


@given(st.floats(1e-3, 1e3), st.integers(0, 2))
@settings(max_examples=10, deadline=None)
def test_the_unit_of_the_scores_does_not_matter(scale, seed):
    scores, probability = scores_with_their_probability(seed)
    np.testing.assert_allclose(probability_wrong(scores * scale), probability, atol=1e-6)


def test_samples_never_recorded_are_left_out():
    scores, _ = scores_with_errors(0.15)
    with_missing = np.concatenate([scores, np.full(500, np.nan)])
    probability = probability_wrong(with_missing)
    np.testing.assert_array_equal(probability[: len(scores)], probability_wrong(scores))
    assert np.isnan(probability[len(scores) :]).all()


@given(st.lists(st.floats(-1, 1), max_size=30))
@settings(deadline=None)
def test_any_scores_have_probabilities_and_a_cut(scores):
    probability = probability_wrong(np.array(scores))
    assert ((probability >= 0) & (probability <= 1)).all()
    assert 0 <= count_with_best_f1(-np.sort(-probability)) <= len(scores)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.floats(0.01, 1))
def test_the_count_with_a_precision_is_the_largest_that_has_it(probability, precision):
    falling = -np.sort(-np.array(probability))
    count = count_with_precision(falling, precision)
    reached = [falling[:k].sum() / k for k in range(1, len(falling) + 1)]
    least, most = (
        max([k for k, share in enumerate(reached, 1) if share >= precision + rounding], default=0)
        for rounding in (1e-12, -1e-12)
    )
    assert least <= count <= most


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60))
def test_the_count_with_the_best_f1_beats_every_other(probability):
    falling = -np.sort(-np.array(probability))
    count = count_with_best_f1(falling)
    if falling.sum() < 1:
        assert count == 0
        return
    f1 = [2 * falling[:k].sum() / (k + falling.sum()) for k in range(1, len(falling) + 1)]
    assert f1[count - 1] == pytest.approx(max(f1))


def test_the_odds_of_being_wrong_rise_with_the_score_within_a_pair():
    scores, _ = scores_with_errors(0.3)
    pairs = np.random.default_rng(1).integers(0, 5, len(scores))
    log_odds = log_odds_wrong(scores, pairs)
    for pair in range(5):
        own = log_odds[pairs == pair][np.argsort(scores[pairs == pair])]
        assert (np.diff(own) >= 0).all()


def test_a_pair_with_many_errors_is_more_suspicious_at_the_same_score():
    many, wrong_many = scores_with_errors(0.4)
    few, wrong_few = scores_with_errors(0.02, seed=1)
    scores, wrong = np.concatenate([many, few]), np.concatenate([wrong_many, wrong_few])
    pairs = np.repeat([7, 3], len(many))
    apart, together = log_odds_wrong(scores, pairs), log_odds_wrong(scores)
    assert average_precision_score(wrong, apart) > average_precision_score(wrong, together)
    for pair, truth in ((7, wrong_many), (3, wrong_few)):
        assert sigmoid(apart[pairs == pair]).mean() == pytest.approx(truth.mean(), abs=0.03)


def test_pairs_of_few_samples_are_read_like_all_others():
    scores, _ = scores_with_errors(0.2)
    pairs = np.arange(len(scores)) // 4
    np.testing.assert_allclose(sigmoid(log_odds_wrong(scores, pairs)), probability_wrong(scores), atol=0.12)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5])
def test_a_known_share_is_what_the_probabilities_come_to(share):
    scores, _ = scores_with_errors(0.2)
    assert probability_wrong(scores, np.zeros(len(scores), int), share_wrong=share).mean() == pytest.approx(
        share, abs=0.5 / len(scores)
    )


def test_without_any_error_samples_are_ranked_all_the_same():
    scores, _ = scores_with_errors(0.0)
    for pairs in (None, np.zeros(len(scores), int)):
        log_odds = log_odds_wrong(scores, pairs, share_wrong=0.0)
        assert (np.argsort(log_odds) == np.argsort(scores)).mean() > 0.99
        assert count_with_best_f1(-np.sort(-sigmoid(log_odds))) == 0
