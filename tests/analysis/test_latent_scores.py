"""Scores of labels by latents, against what they are defined as, computed the long way."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.covariance import LedoitWolf
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score

from gwaudit.analysis import latent_scores
from gwaudit.analysis.latent_scores import (
    class_likelihood_ratio,
    nearest_neighbours,
    neighbour_ranking,
    self_influence,
    soft_labels,
    vote,
)

CLASSES = 3


@pytest.fixture(scope="module")
def samples():
    """240 samples of three classes, and 30 wrong labels: latents of length 1, given and true labels."""
    random = np.random.default_rng(0)
    truth = random.integers(0, CLASSES, 240)
    latents = 2 * random.normal(size=(CLASSES, 6))[truth] + random.normal(size=(240, 6))
    given = np.where(np.arange(240) < 30, (truth + 1) % CLASSES, truth)
    return (latents / np.linalg.norm(latents, axis=1, keepdims=True)).astype(np.float32), given, truth


def test_neighbours_are_the_nearest_others_by_cosine(samples):
    latents, _, _ = samples
    similarity = latents @ latents.T
    np.fill_diagonal(similarity, -2)
    np.testing.assert_array_equal(nearest_neighbours(latents, 4), np.argsort(-similarity, axis=1)[:, :4])
    assert nearest_neighbours(latents[:3]).shape == (3, 2), "all others, where there are few"


def test_a_label_with_fewer_votes_than_another_is_flagged():
    labels, neighbours = np.array([0, 1, 1, 2]), np.array([[1, 2], [0, 3], [1, 1], [0, 1]])
    np.testing.assert_allclose(soft_labels(labels, neighbours, 3)[0], [0, 1, 0])
    score, flagged = vote(labels, neighbours, 3)
    np.testing.assert_allclose(score, [1, 0.5, -1, 0.5])
    assert flagged.tolist() == [True, True, False, True]
    assert not vote(np.array([0, 1, 0]), np.array([[1, 2], [0, 2], [0, 1]]), 2)[1][0], "a tie is no majority"


def test_the_ranking_is_the_cosine_with_the_soft_label(samples):
    latents, given, truth = samples
    neighbours = nearest_neighbours(latents)
    score, flagged = neighbour_ranking(given, neighbours, CLASSES)
    shares = np.stack([np.bincount(given[ids], minlength=CLASSES) / 10 for ids in neighbours])
    np.testing.assert_allclose(score, [-s[y] / np.sqrt((s**2).sum()) for s, y in zip(shares, given, strict=True)])
    assert flagged.sum() == pytest.approx(30, abs=8), "as many as are wrong by the labels of neighbours"
    assert (given != truth)[flagged].mean() > 0.8
    for label in range(CLASSES):
        of_class = given == label
        assert score[of_class & flagged].min() >= score[of_class & ~flagged].max()


def test_with_too_many_classes_for_the_transition_nothing_is_flagged(samples, monkeypatch):
    latents, given, _ = samples
    monkeypatch.setattr(latent_scores, "MOST_CLASSES", 2)
    assert neighbour_ranking(given, nearest_neighbours(latents), CLASSES)[1] is None


def test_the_likelihood_ratio_is_that_of_gaussians_without_the_flagged(samples):
    latents, given, truth = samples
    score, flagged = class_likelihood_ratio(latents, given, CLASSES)
    assert roc_auc_score(given != truth, score) > 0.95
    assert (given != truth)[flagged].mean() > 0.8

    kept = np.ones(len(given), bool)  # as many principal components as latent features only rotate
    for _ in range(3):
        density = np.empty((len(given), CLASSES))
        for label in range(CLASSES):
            fitted = LedoitWolf().fit(latents[(given == label) & kept].astype(np.float64))
            density[:, label] = multivariate_normal(fitted.location_, fitted.covariance_).logpdf(latents)
        own = np.take_along_axis(density, given[:, None], 1)[:, 0]
        np.put_along_axis(density, given[:, None], -np.inf, 1)
        expected = density.max(1) - own
        kept = expected <= 0
    np.testing.assert_allclose(score, expected, rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(flagged, expected > 0)


def test_a_class_of_one_sample_has_no_density(samples):
    latents, given, _ = samples
    alone = given.copy()
    alone[0] = CLASSES
    score, flagged = class_likelihood_ratio(latents, alone, CLASSES + 1)
    assert np.flatnonzero(np.isnan(score)).tolist() == [0]
    assert not flagged[0]


def test_self_influence_is_what_refitting_without_the_sample_changes(samples, monkeypatch):
    latents, given, truth = samples
    monkeypatch.setattr(latent_scores, "_PENALTIES", np.array([0.3]))
    score = self_influence(latents, given, CLASSES)
    centred = latents - latents.mean(0)
    penalty = 0.3 * np.linalg.eigvalsh(centred.T.astype(np.float64) @ centred).mean()
    targets, ridge = np.eye(CLASSES)[given], Ridge(penalty)
    with_all = ((targets - ridge.fit(latents, targets).predict(latents)) ** 2).sum(1)
    for sample in (0, 5, 100, 200):
        others = np.arange(len(given)) != sample
        without = ridge.fit(latents[others], targets[others]).predict(latents[[sample]])
        assert score[sample] == pytest.approx(((targets[sample] - without) ** 2).sum() - with_all[sample], rel=1e-3)
    assert roc_auc_score(given != truth, score) > 0.9


def test_the_penalty_is_the_one_with_the_least_error_of_samples_left_out(samples, monkeypatch):
    latents, given, _ = samples
    chosen, press = self_influence(latents, given, CLASSES), {}
    every = latent_scores._PENALTIES
    targets = np.eye(CLASSES)[given]
    centred = latents - latents.mean(0)
    unit = np.linalg.eigvalsh(centred.T.astype(np.float64) @ centred).mean()
    hat = {}
    for penalty in every:
        inverse = np.linalg.inv(centred.T @ centred + penalty * unit * np.eye(latents.shape[1]))
        hat[penalty] = centred @ inverse @ centred.T + 1 / len(given)
        error = (targets - hat[penalty] @ targets) / (1 - np.diag(hat[penalty]))[:, None]
        press[penalty] = (error**2).sum()
    monkeypatch.setattr(latent_scores, "_PENALTIES", np.array([min(press, key=press.get)]))
    np.testing.assert_allclose(chosen, self_influence(latents, given, CLASSES), rtol=1e-6)
