"""Label noise of multi-label samples is found from held-out predictions, class by class."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, logit

from gwaudit.analysis.error_probability import sigmoid
from gwaudit.analysis.held_out_noise_multilabel import fit_multilabel_noise

N_CLASSES = 6


def predicted(seed=0, n=1500, missing=0.1, extra=0.02, temperature=3.0, shift=-0.5):
    """Held-out logits [n, C] of classes with 10 to 50 % of the samples, given labels, and which are wrong."""
    random = np.random.default_rng(seed)
    calibrated = random.normal(logit(np.linspace(0.1, 0.5, N_CLASSES)), 4, (n, N_CLASSES))
    truth = (random.random((n, N_CLASSES)) < expit(calibrated)).astype(int)
    wrong = random.random((n, N_CLASSES)) < np.where(truth == 1, missing, extra)
    return (calibrated - shift) / temperature, np.where(wrong, 1 - truth, truth), wrong


@pytest.mark.parametrize(
    ("missing", "extra", "shift"), [(0.1, 0.02, -0.5), (0.02, 0.05, 0.0), (0.2, 0.0, 1.0), (0.05, 0.05, 0.0)]
)
def test_missing_and_extra_labels_are_counted_whatever_the_temperature(missing, extra, shift):
    logits, given, wrong = predicted(1, missing=missing, extra=extra, shift=shift)
    probability = sigmoid(fit_multilabel_noise(logits, given).log_odds_wrong(logits, given))
    for answer in (0, 1):
        assert probability[given == answer].sum() == pytest.approx(wrong[given == answer].sum(), rel=0.25, abs=20)


def test_clean_labels_are_not_taken_for_wrong_ones():
    logits, given, _ = predicted(2, missing=0, extra=0)
    probability = sigmoid(fit_multilabel_noise(logits, given).log_odds_wrong(logits, given))
    assert probability.sum() < 0.005 * probability.size
    assert (probability > 0.5).sum() < 0.002 * probability.size


def test_the_noise_of_one_class_is_that_of_the_highest_likelihood():
    """With many samples the prior counts little: another optimiser on the samples themselves finds the same."""
    logits, given, _ = predicted(3, n=40_000)
    logits, given = logits[:, 3:4], given[:, 3:4]
    found = fit_multilabel_noise(logits, given)

    def loss(parameters):
        present = expit(np.exp(parameters[0]) * logits + parameters[1])
        extra, missing = expit(parameters[2:])
        given_with = present * (1 - missing) + (1 - present) * extra
        return -np.log(np.where(given == 1, given_with, 1 - given_with)).sum()

    best = minimize(loss, [0.5, 0, -3, -3], method="Nelder-Mead", options={"maxiter": 2000, "xatol": 1e-4}).x
    assert found.temperature[0] == pytest.approx(np.exp(best[0]), rel=0.05)
    assert found.shift[0] == pytest.approx(best[1], abs=0.05)
    np.testing.assert_allclose(found.shares[0], expit(best[2:]), rtol=0.05, atol=0.002)


def test_the_odds_are_those_of_bayes():
    logits, given, _ = predicted(4)
    noise = fit_multilabel_noise(logits, given)
    present = expit(noise.temperature * logits + noise.shift)
    extra, missing = noise.shares.T
    wrong = np.where(given == 1, (1 - present) * extra, present * missing)
    right = np.where(given == 1, present * (1 - missing), (1 - present) * (1 - extra))
    np.testing.assert_allclose(sigmoid(noise.log_odds_wrong(logits, given)), wrong / (wrong + right), atol=1e-6)


def test_a_class_that_is_not_predicted_is_not_taken_for_wrong():
    """A share of 10 % fits extra labels as well as no noise: all samples that have the class could be wrong."""
    logits, given, _ = predicted(5)
    random = np.random.default_rng(5)
    given[:, 0] = random.random(len(given)) < 0.1
    logits[:, 0] = logit(0.1) + 0.2 * random.normal(size=len(given))
    noise = fit_multilabel_noise(logits, given)
    assert noise.learned.tolist() == [False] + [True] * (N_CLASSES - 1)
    probability = sigmoid(noise.log_odds_wrong(logits, given))
    assert not (probability[:, 0] > 0.5).any()
    others = fit_multilabel_noise(logits[:, 1:], given[:, 1:]).log_odds_wrong(logits[:, 1:], given[:, 1:])
    np.testing.assert_allclose(probability[:, 1:], sigmoid(others), atol=0.02)


def test_where_no_class_is_predicted_few_labels_are_taken_for_wrong():
    random = np.random.default_rng(6)
    given = (random.random((500, 3)) < 0.3).astype(int)
    logits = random.normal(-0.85, 0.1, (500, 3))
    noise = fit_multilabel_noise(logits, given)
    assert not noise.learned.any()
    assert not (noise.log_odds_wrong(logits, given) > 0).any()


def test_the_order_of_the_classes_changes_nothing():
    logits, given, _ = predicted(7)
    names = np.random.default_rng(7).permutation(N_CLASSES)
    odds = fit_multilabel_noise(logits, given).log_odds_wrong(logits, given)
    permuted = fit_multilabel_noise(logits[:, names], given[:, names]).log_odds_wrong(logits[:, names], given[:, names])
    np.testing.assert_allclose(sigmoid(permuted), sigmoid(odds)[:, names], atol=0.02)


def test_what_was_not_recorded_changes_nothing_and_stays_unknown():
    logits, given, _ = predicted(8)
    padded = np.concatenate([logits, np.full((50, N_CLASSES), np.nan)])
    padded_given = np.concatenate([given, np.ones((50, N_CLASSES), int)])
    odds = fit_multilabel_noise(padded, padded_given).log_odds_wrong(padded, padded_given)
    assert np.isnan(odds[1500:]).all()
    np.testing.assert_array_equal(odds[:1500], fit_multilabel_noise(logits, given).log_odds_wrong(logits, given))
    nothing = np.full((4, 2), np.nan)
    assert np.isnan(fit_multilabel_noise(nothing, np.ones((4, 2), int)).log_odds_wrong(nothing, np.ones((4, 2)))).all()


def test_a_class_that_all_or_no_sample_has_is_not_judged_by_itself():
    logits, given, _ = predicted(9)
    given[:, 0], given[:, 1] = 1, 0
    noise = fit_multilabel_noise(logits, given)
    assert not noise.learned[:2].any()
    assert np.isfinite(noise.log_odds_wrong(logits, given)).all()
