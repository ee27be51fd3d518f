"""Odds from held-out predictions are calibrated where the predictions and the label noise are what the model says."""

import numpy as np
import pytest
from scipy.special import log_softmax, softmax
from sklearn.metrics import average_precision_score

from gwaudit.analysis.error_probability import sigmoid
from gwaudit.analysis.held_out_noise import HeldOutPredictions, fit_noise_model
from gwaudit.analysis.held_out_odds import TRAINING_WEIGHTS, Readings, held_out_readings


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


@pytest.mark.parametrize("temperature", [1.1, 1.55, 1.8, 2.6])
def test_the_number_of_wrong_labels_does_not_depend_on_how_sure_the_head_is(temperature):
    given, _, log_probability = drawn(uniform(0.05, 2), n=20_000)
    counted = [sigmoid(readings_of(given, log_probability, temperature=t).by_class).sum() for t in (1.0, temperature)]
    assert counted[1] == pytest.approx(counted[0], rel=0.01)


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
    assert (readings.pool() > 0).mean() < 0.01


def test_the_pool_is_the_weighted_mean_of_the_probabilities():
    readings = readings_of(*drawn(uniform(0.1, 3))[::2])
    for weights in (TRAINING_WEIGHTS, readings.weights()):
        assert sum(weights) == pytest.approx(1)
        mean = np.average([sigmoid(readings.by_class), sigmoid(readings.by_mode)], axis=0, weights=weights)
        np.testing.assert_allclose(sigmoid(readings.pool(weights)), mean)
    np.testing.assert_array_equal(readings.pool(), readings.pool(readings.weights()))


def two_groups(n_suspicious, n=1000):
    """Return log odds that are sure of some labels being wrong, and of all others being right."""
    return np.where(np.arange(n) < n_suspicious, 6.0, -6.0)


def pair(by_class, by_mode, n_contradicted):
    return Readings(by_class, by_mode, by_class, n_contradicted)


def test_a_reading_that_explains_what_the_head_contradicts_is_believed():
    nothing = np.full(1000, -6.0)
    assert pair(nothing, two_groups(200), 200).weights()[1] > 0.8
    assert pair(nothing, two_groups(60), 200).weights()[1] < 0.3  # sure, but of a part
    assert pair(nothing, nothing, 0).weights() == pytest.approx((0.8, 0.2))
    assert pair(two_groups(200), two_groups(200), 200).weights() == pytest.approx((0.8, 0.2))


def test_errors_among_difficult_samples_are_counted_where_one_reading_alone_sees_them():
    """Of these, the reading by class sees none: the head is as unsure as it would be of right labels."""
    nothing, wrong = np.full(1000, -6.0), two_groups(200)
    readings = pair(nothing, wrong, 205)
    assert sigmoid(readings.pool()).sum() == pytest.approx(200, rel=0.2)
    assert sigmoid(readings.pool(TRAINING_WEIGHTS)).sum() < 100


def predictions_of(given, log_probability):
    rows, others = np.arange(len(given)), log_probability.copy()
    others[rows, given] = -np.inf
    alternative = others.argmax(1)
    return HeldOutPredictions(given, alternative, log_probability[rows, given], others[rows, alternative])


@pytest.mark.parametrize("n_classes", [2, 5])
@pytest.mark.parametrize("seed", range(4))
def test_the_order_of_uniform_errors_does_not_set_classes_apart(n_classes, seed):
    """With few samples, shares that are fitted to each class follow chance."""
    given, _, log_probability = drawn(uniform(0.2, n_classes), n=200, seed=seed)
    predictions = predictions_of(given, log_probability)
    order = readings_of(given, log_probability).order
    as_if_uniform = fit_noise_model(predictions, n_classes, 1e9).log_odds_wrong(predictions)
    assert np.corrcoef(order.argsort().argsort(), as_if_uniform.argsort().argsort())[0, 1] > 0.999


def test_the_order_of_errors_in_one_class_takes_its_share_into_account():
    noise = np.eye(4)
    noise[0, 1], noise[0, 0] = 0.3, 0.7
    given, true, log_probability = drawn(noise)
    readings, predictions = readings_of(given, log_probability), predictions_of(given, log_probability)
    np.testing.assert_array_equal(readings.order, readings.by_class)
    as_if_uniform = fit_noise_model(predictions, 4, 1e9).log_odds_wrong(predictions)
    wrong = given != true
    assert average_precision_score(wrong, readings.order) > average_precision_score(wrong, as_if_uniform) + 0.02


@pytest.mark.parametrize("n_classes", [2, 4])
def test_the_evidence_is_the_likelihood_where_the_prior_leaves_nothing_open(n_classes):
    given, _, log_probability = drawn(uniform(0.2, n_classes), n=400)
    model = fit_noise_model(predictions_of(given, log_probability), n_classes, 1e7)
    rows, tempered = np.arange(len(given)), model.temperature * log_probability
    given_and_best = np.argsort(np.where(np.eye(n_classes)[given] == 1, np.inf, tempered), axis=1)[:, ::-1][:, :2]
    known = np.take_along_axis(log_probability, given_and_best, axis=1)
    others = np.log(np.maximum(1 - np.exp(known).sum(1), 1e-9) / max(n_classes - 2, 1))
    tempered = np.broadcast_to(model.temperature * np.minimum(others, known[:, 1])[:, None], tempered.shape).copy()
    np.put_along_axis(tempered, given_and_best, model.temperature * known, axis=1)
    likelihood = np.log((softmax(tempered, axis=1) @ model.noise)[rows, given]).sum()
    assert model.evidence == pytest.approx(likelihood, abs=0.1)


def test_what_was_not_recorded_has_no_odds():
    given = np.arange(50) % 3
    margin, loss = -np.ones(50), np.ones(50)
    margin[:5] = loss[:5] = np.nan
    alternative = (given + 1) % 3
    alternative[:5] = -1
    readings = held_out_readings(given, alternative, margin, loss, 3)
    assert np.isnan(readings.pool()[:5]).all()
    assert np.isfinite(readings.pool()[5:]).all()


def test_more_samples_than_are_fitted_all_get_odds(monkeypatch):
    monkeypatch.setattr("gwaudit.analysis.held_out_noise._MOST_FITTED", 500)
    given, true, log_probability = drawn(uniform(0.2, 3), n=3000)
    probability = sigmoid(readings_of(given, log_probability).by_class)
    assert probability.sum() == pytest.approx((given != true).sum(), rel=0.2)
