"""The detectors to compare with, from a small run whose numbers are written out here, and against pandas."""

import numpy as np
import pandas as pd
import pytest

from gwaudit.analysis.detectors import DETECTORS, Trajectories, aum, ctrl, el2n, forgetting
from gwaudit.store.store import TrajectoryStore

N, EPOCHS, CLASSES = 60, 6, 3


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Ten wrong labels: low margin, high loss, never predicted, but for the last epoch of sample 0."""
    random = np.random.default_rng(0)
    given = np.arange(N) % CLASSES
    wrong = np.arange(N) < 10
    path = tmp_path_factory.mktemp("baselines") / "run"
    with TrajectoryStore.create(path, given_labels=given, class_names=("a", "b", "c")) as store:
        for epoch in range(EPOCHS):
            margin = np.where(wrong, -2.0, 2.0) + random.normal(0, 0.1, N)
            predicted = np.where(wrong, (given + 1) % CLASSES, given)
            if epoch == EPOCHS - 1:
                predicted[0] = given[0]
            if epoch in (2, 4):
                predicted[20] = (given[20] + 1) % CLASSES  # forgotten twice
            probability = 1 / (1 + np.exp(-margin))
            signals = {
                "alignment": margin / 30,
                "alternative_alignment": -margin / 30,
                "margin": margin,
                "loss": -np.log(probability),
                "given_probability": probability,
                "el2n": np.sqrt(2) * (1 - probability),
                "alternative_label": (given + 1) % CLASSES,
                "predicted_label": predicted,
            }
            store.append_epoch(
                epoch,
                np.arange(N),
                {k: v.astype(np.int32 if v.dtype.kind == "i" else np.float32) for k, v in signals.items()},
            )
    return TrajectoryStore.open(path)


@pytest.mark.parametrize("name", sorted(set(DETECTORS) - {"cartography_variability", "forgetting"}))
def test_every_detector_ranks_clear_errors_first(store, name):
    score = DETECTORS[name](Trajectories(store)).score
    assert score.shape == (N,)
    assert score[1:10].min() > score[10:].max()


def test_forgetting_counts_turns_and_puts_what_was_never_learned_first(store):
    score = forgetting(Trajectories(store)).score
    assert score[20] == 2
    assert score[0] == 0, "learned in the last epoch"
    assert (score[1:10] == EPOCHS).all()
    assert score[30:].max() == 0


def test_averages_are_pandas_averages(store):
    rows = pd.concat([store.read_epoch(e).to_pandas().assign(epoch=e) for e in store.epochs])
    trajectories = Trajectories(store)
    np.testing.assert_allclose(aum(trajectories).score, -rows.groupby("sample_id")["margin"].mean(), rtol=1e-6)
    early = rows[rows["epoch"] < 2].groupby("sample_id")["el2n"].mean()
    np.testing.assert_allclose(el2n(trajectories).score, early, rtol=1e-6)
    deviation = rows.groupby("sample_id")["given_probability"].std(ddof=0)
    score = DETECTORS["cartography_variability"](trajectories).score
    np.testing.assert_allclose(score, deviation, atol=1e-6)


def test_detectors_with_a_cut_flag_the_errors(store):
    assert np.flatnonzero(ctrl(Trajectories(store)).flagged).tolist() == list(range(10))
    disagreeing = DETECTORS["argmax_disagreement"](Trajectories(store)).flagged
    assert np.flatnonzero(disagreeing).tolist() == list(range(1, 10))
