"""Odds from held-out predictions are calibrated where the predictions and the label noise are what the model says."""

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from gwaudit.analysis.error_probability import sigmoid
from gwaudit.analysis.held_out_odds import held_out_readings


def drawn(noise, *, n=6000, sharpness=5.0, seed=0):
    """Return given and true labels, and the log probabilities of the true classes."""
    random, n_classes = np.random.default_rng(seed), len(noise)
    logits = sharpness * random.normal(size=(n, n_classes))
    probability = softmax(logits, axis=1)
    true = (probability.cumsum(1) > random.random(n)[:, None]).argmax(1)
    given = (noise[true].cumsum(1) > random.random(n)[:, None]).argmax(1)
    return given, true, log_softmax(logits, axis=1)


def readings_of(given, log_probability, *, temperature=1.0):
    rows, tempered = np.arange(len(given)), log_softmax(log_probability / temperature, axis=1)
    others = tempered.copy()
    others[rows, given] = -np.inf
    alternative = others.argmax(1)
    loss, margin = -tempered[rows, given], tempered[rows, given] - others[rows, alternative]
    return held_out_readings(given, alternative, margin, loss, log_probability.shape[1])


def uniform(share, n_classes):
    noise = np.full((n_classes, n_classes), share / (n_classes - 1))
    np.fill_diagonal(noise, 1 - share)
    return noise


@pytest.mark.parametrize("n_classes", [2, 5])
@pytest.mark.parametrize("share", [0.05, 0.3])
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_uniform_errors_are_counted_whether_the_head_is_sure_or_not(n_classes, share, temperature):
    given, true, log_probability = drawn(uniform(share, n_classes))
    probability = sigmoid(readings_of(given, log_probability, temperature=temperature).by_class)
    assert probability.sum() == pytest.approx((given != true).sum(), rel=0.15)
    sure = probability > 0.5
    assert (given != true)[sure].mean() == pytest.approx(probability[sure].mean(), abs=0.1)


def test_errors_from_one_class_to_another_are_found_by_class():
    noise = np.eye(4)
    noise[0, 1], noise[0, 0] = 0.3, 0.7
    given, true, log_probability = drawn(noise)
    readings = readings_of(given, log_probability)
    wrong = given != true
    flagged = readings.by_class > 0
    assert wrong[flagged].mean() > 0.85
    assert flagged[wrong].mean() > 0.85


def test_clean_labels_of_overlapping_classes_are_not_taken_for_wrong():
    given, _, log_probability = drawn(np.eye(3), sharpness=1.5)
    readings = readings_of(given, log_probability)
    assert (readings.by_class > 0).mean() < 0.005
    assert (readings.pooled > 0).mean() < 0.01


def test_the_pool_is_the_weighted_mean_of_the_probabilities():
    readings = readings_of(*drawn(uniform(0.1, 3))[::2])
    mean = 2 / 3 * sigmoid(readings.by_class) + 1 / 3 * sigmoid(readings.by_mode)
    np.testing.assert_allclose(sigmoid(readings.pooled), mean)


def test_what_was_not_recorded_has_no_odds():
    given = np.arange(50) % 3
    margin, loss = -np.ones(50), np.ones(50)
    margin[:5] = loss[:5] = np.nan
    alternative = (given + 1) % 3
    alternative[:5] = -1
    readings = held_out_readings(given, alternative, margin, loss, 3)
    assert np.isnan(readings.pooled[:5]).all()
    assert np.isfinite(readings.pooled[5:]).all()


def test_more_samples_than_are_fitted_all_get_odds(monkeypatch):
    monkeypatch.setattr("gwaudit.analysis.held_out_odds._MOST_FITTED", 500)
    given, true, log_probability = drawn(uniform(0.2, 3), n=3000)
    probability = sigmoid(readings_of(given, log_probability).by_class)
    assert probability.sum() == pytest.approx((given != true).sum(), rel=0.2)
