"""Every detector of the registry, on a small run whose numbers are written out here, and against pandas."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from gwaudit.analysis.detectors import (
    DETECTORS,
    Detection,
    Detector,
    RecordedRun,
    aum,
    ctrl,
    el2n,
    forgetting,
    select_detector,
    wrong_predictions,
)
from gwaudit.analysis.ranking import rank
from gwaudit.core.errors import SettingsError
from gwaudit.core.settings import DataSettings, RankingSettings, TrainingSettings
from gwaudit.pipeline.audit import audit
from gwaudit.store.latents import write_latents
from gwaudit.store.store import SIGNALS, TrajectoryStore

N, EPOCHS, CLASSES = 60, 6, 3
OF_LATENTS = {name for name, detector in DETECTORS.items() if detector.needs == "latents"}
SCORED = sorted(set(DETECTORS) - OF_LATENTS - {"probability"})


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


@pytest.mark.parametrize("name", sorted(set(SCORED) - {"cartography_variability", "forgetting", "signed_entropy"}))
def test_every_detector_ranks_clear_errors_first(store, name):
    score = DETECTORS[name].detect(RecordedRun(store)).score
    assert score.shape == (N,)
    assert score[1:10].min() > score[10:].max()


def test_forgetting_counts_turns_and_puts_what_was_never_learned_first(store):
    score = forgetting(RecordedRun(store)).score
    assert score[20] == 2
    assert score[0] == 0, "learned in the last epoch"
    assert (score[1:10] == EPOCHS).all()
    assert score[30:].max() == 0


def test_averages_are_pandas_averages(store):
    rows = pd.concat([store.read_epoch(e).to_pandas().assign(epoch=e) for e in store.epochs])
    trajectories = RecordedRun(store)
    np.testing.assert_allclose(aum(trajectories).score, -rows.groupby("sample_id")["margin"].mean(), rtol=1e-6)
    early = rows[rows["epoch"] < 2].groupby("sample_id")["el2n"].mean()
    np.testing.assert_allclose(el2n(trajectories).score, early, rtol=1e-6)
    deviation = rows.groupby("sample_id")["given_probability"].std(ddof=0)
    score = DETECTORS["cartography_variability"].detect(trajectories).score
    np.testing.assert_allclose(score, deviation, atol=1e-6)


def test_detectors_with_a_cut_flag_the_errors(store):
    assert np.flatnonzero(ctrl(RecordedRun(store)).flagged).tolist() == list(range(10))
    disagreeing = DETECTORS["argmax_disagreement"].detect(RecordedRun(store)).flagged
    assert np.flatnonzero(disagreeing).tolist() == list(range(1, 10))


@pytest.mark.parametrize("name", SCORED)
def test_a_run_can_be_ranked_by_every_detector(store, name):
    audit = rank(store, RankingSettings(detector=name))
    score = DETECTORS[name].detect(RecordedRun(store)).score
    order = audit.frame["sample_id"].to_numpy()
    if DETECTORS[name].signed:  # the odds may fall again beyond the centre of the wrong labels
        assert set(order[:9]) <= set(range(10))
    else:
        assert (np.diff(score[order]) <= 0).all()
    assert audit.settings.detector == name
    assert len(audit.suspects) >= 1


@pytest.mark.parametrize("name", sorted(name for name in SCORED if not DETECTORS[name].signed))
def test_a_score_without_a_sign_gives_the_order_and_combined_gives_the_odds(store, name):
    audit, combined = rank(store, RankingSettings(detector=name)), rank(store)
    for column in ("log_odds_wrong", "probability_wrong"):
        np.testing.assert_array_equal(audit.frame[column], combined.frame[column])
    assert len(audit.suspects) == len(combined.suspects), "the cut is the one of combined, also for ctrl"


def test_samples_of_equal_scores_are_ordered_by_combined(store):
    odds = rank(store).by_id("log_odds_wrong")
    order = rank(store, RankingSettings(detector="forgetting")).frame["sample_id"].to_numpy()
    score = forgetting(RecordedRun(store)).score[order]
    ties = score[1:] == score[:-1]
    assert ties.sum() > N / 2
    assert (np.diff(odds[order])[ties] <= 0).all()


def test_epochs_that_did_not_record_a_sample_are_left_out(store, tmp_path):
    """Of 60 samples, the second epoch misses number 20, which the third forgets; no epoch has number 59."""
    given = store.given_labels()
    with TrajectoryStore.create(tmp_path / "run", given_labels=given, class_names=("a", "b", "c")) as partial:
        for epoch in range(EPOCHS):
            ids = np.setdiff1d(np.arange(N), [20, 59] if epoch == 1 else [59])
            signals = store.read_epoch(epoch).to_pandas().set_index("sample_id").loc[ids]
            partial.append_epoch(epoch, ids, {name: signals[name].to_numpy() for name in signals})
        run = RecordedRun(partial)
        assert forgetting(run).score[20] == 2
        assert wrong_predictions(run).score[20] == pytest.approx(2 / 5)
        for name in SCORED:
            score = DETECTORS[name].detect(run).score
            assert np.flatnonzero(np.isnan(score)).tolist() == [59], name
            assert rank(partial, RankingSettings(detector=name)).by_id("category")[59] == "unrecorded"


def test_a_detector_of_ones_own_is_one_function_and_one_line(store, tmp_path, monkeypatch):
    def largest_loss(run):
        """Score by the largest loss of any epoch."""
        return Detection(run["loss"].max(0))

    monkeypatch.setitem(DETECTORS, "largest_loss", Detector(largest_loss))
    audit = rank(store, RankingSettings(detector="largest_loss"))
    shutil.copytree(store.path, tmp_path / "run")
    registered = (
        "from gwaudit.analysis.detectors import DETECTORS, Detection, Detector\n"
        "DETECTORS['largest_loss'] = Detector(lambda run: Detection(run['loss'].max(0)))\n"
        "from gwaudit.cli.app import main\n"
        "main()"
    )
    command = [sys.executable, "-c", registered, "rank", tmp_path / "run", "--detector", "largest_loss", "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["detector"] == "largest_loss"
    assert set(audit.frame["sample_id"].head(9)) <= set(range(10))


@pytest.mark.parametrize(
    ("name", "final_passes", "multi_label", "message"),
    [
        ("beauty", 0, False, "unknown detector 'beauty': choose from auto, combined"),
        ("probability", 0, False, "no final evaluation passes"),
        ("mean_loss", 0, True, "multi-label run: .* choose from combined"),
    ],
)
def test_a_detector_that_cannot_rank_the_run_is_refused(name, final_passes, multi_label, message):
    with pytest.raises(SettingsError, match=message):
        select_detector(name, final_passes=final_passes, multi_label=multi_label)


def test_the_default_detector_depends_on_final_passes_and_on_the_labels():
    assert select_detector("auto", final_passes=0, multi_label=False) == "combined"
    assert select_detector("auto", final_passes=2, multi_label=False) == "probability"
    assert select_detector("auto", final_passes=2, multi_label=True) == "combined"


def test_every_detector_says_what_it_computes():
    for name, detector in DETECTORS.items():
        assert detector.detect.__name__ == name
        assert detector.detect.__doc__, name


def test_the_names_are_read_without_torch_and_pandas():
    code = "import sys, gwaudit.analysis.detectors; sys.exit(bool({'torch', 'pandas', 'sklearn'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_multi_label_run_is_ranked_by_scores_with_a_sign_alone(tmp_path):
    random = np.random.default_rng(0)
    truth = random.random((400, 2)) < 0.5
    given = np.where(random.random((400, 2)) < 0.1, ~truth, truth)
    wrong = (given != truth).ravel()
    with TrajectoryStore.create(tmp_path / "run", given_labels=given.astype(int), class_names=("sun", "rain")) as store:
        for epoch in range(2):
            margin = (np.where(wrong, -2.0, 2.0) + random.normal(0, 0.3, 800)).astype(np.float32)
            signals = {name: np.zeros(800, kind) for name, kind in SIGNALS.items()}
            store.append_epoch(epoch, np.arange(800), signals | {"margin": margin, "alignment": margin / 30})
        for name in ("aum", "argmax_disagreement", "margin"):
            audit = rank(store, RankingSettings(detector=name))
            assert wrong[audit.rows[: wrong.sum()]].mean() > 0.95, name
        with pytest.raises(SettingsError, match=r"'mean_loss' cannot rank .*run, a multi-label run"):
            rank(store, RankingSettings(detector="mean_loss"))


def record(path, probabilities, given, latents=None):
    """Make a run of class probabilities [epochs, n, C], with the latents [n, D] that it keeps."""
    n, classes = probabilities.shape[1:]
    rows = np.arange(n)
    with TrajectoryStore.create(path, given_labels=given, class_names=tuple("abcdefgh"[:classes])) as store:
        for epoch, p in enumerate(probabilities):
            others = p.copy()
            others[rows, given] = 0
            own = p[rows, given]
            store.append_epoch(epoch, rows, {
                "alignment": own.astype(np.float32),
                "alternative_alignment": others.max(1).astype(np.float32),
                "margin": np.log(own / others.max(1)).astype(np.float32),
                "loss": -np.log(own).astype(np.float32),
                "given_probability": own.astype(np.float32),
                "el2n": np.linalg.norm(p - np.eye(classes)[given], axis=1).astype(np.float32),
                "alternative_label": others.argmax(1).astype(np.int32),
                "predicted_label": p.argmax(1).astype(np.int32),
            })  # fmt: skip
    if latents is not None:
        write_latents(path, latents, {})
    return TrajectoryStore.open(path)


def signed_entropies(probabilities, given):
    entropy = -(probabilities * np.log(probabilities)).sum(2)
    return -(np.where(probabilities.argmax(2) == given, 1, -1) * entropy).mean(0)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_signed_entropy_of_few_classes_is_exact(tmp_path, classes):
    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.full(classes, 0.5), (5, 40)).clip(1e-6)
    probabilities /= probabilities.sum(2, keepdims=True)
    given = random.integers(0, classes, 40)
    with record(tmp_path / "run", probabilities, given) as store:
        score = DETECTORS["signed_entropy"].detect(RecordedRun(store)).score
    np.testing.assert_allclose(score, signed_entropies(probabilities, given), atol=2e-4)


def test_the_signed_entropy_of_many_classes_is_close(tmp_path):
    random = np.random.default_rng(0)
    logits = 3 * random.normal(size=(5, 200, 8))
    probabilities = np.exp(logits) / np.exp(logits).sum(2, keepdims=True)
    given = random.integers(0, 8, 200)
    with record(tmp_path / "run", probabilities, given) as store:
        score = DETECTORS["signed_entropy"].detect(RecordedRun(store)).score
    expected = signed_entropies(probabilities, given)
    assert np.abs(score - expected).max() < 0.1
    assert np.corrcoef(score, expected)[0, 1] > 0.999


@pytest.fixture(scope="module")
def with_latents(tmp_path_factory):
    """120 samples of three classes in latent space, ten of them under another label."""
    random = np.random.default_rng(0)
    truth = np.arange(120) % 3
    given = np.where(np.arange(120) < 10, (truth + 1) % 3, truth)
    latents = 3 * np.eye(3, 5)[truth] + random.normal(size=(120, 5))
    probabilities = np.broadcast_to(0.05 + 0.85 * np.eye(3)[truth], (2, 120, 3))
    return record(tmp_path_factory.mktemp("latents") / "run", probabilities, given, latents)


@pytest.mark.parametrize("name", sorted(OF_LATENTS))
def test_a_detector_of_latents_ranks_wrong_labels_first(with_latents, name):
    result = DETECTORS[name].detect(RecordedRun(with_latents))
    assert result.score.shape == (120,)
    assert set(np.argsort(-result.score)[:8]) <= set(range(10))
    if name == "self_influence":
        assert result.flagged is None
    else:
        assert result.flagged[:10].sum() >= 8
        assert result.flagged[10:].mean() < 0.1
    ranked = rank(with_latents, RankingSettings(detector=name))
    assert set(ranked.frame["sample_id"][:8]) <= set(range(10))


@pytest.mark.parametrize("name", sorted(OF_LATENTS))
def test_a_run_without_latents_is_not_ranked_by_them(store, name):
    with pytest.raises(SettingsError, match=r"keeps no latents.*`latents='keep'`"):
        rank(store, RankingSettings(detector=name))
    with pytest.raises(SettingsError, match="keeps no latents"):
        DETECTORS[name].detect(RecordedRun(store))
    with pytest.raises(SettingsError, match="multi-label run"):
        select_detector(name, final_passes=0, multi_label=True, keeps_latents=False)


def test_latents_that_will_be_missing_are_named_before_the_training(tmp_path):
    training = TrainingSettings(epochs=1)
    with pytest.raises(SettingsError, match="keeps no latents"):
        audit(DataSettings("digits"), tmp_path / "run", training, RankingSettings(detector="simifeat_vote"))
    assert not (tmp_path / "run").exists()
