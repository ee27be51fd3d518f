"""Rounds of refinement: what they learn, how they are ranked, that they resume, and what a preset sets."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import rankdata

from gwaudit.analysis.error_probability import expected_share_wrong, log_odds_wrong, sigmoid
from gwaudit.analysis.evaluation import evaluate
from gwaudit.analysis.ranking import believed_wrong, rank
from gwaudit.core.errors import SettingsError, StoreDamagedError
from gwaudit.core.presets import PRESETS, RECIPES, RefinementSettings
from gwaudit.core.settings import RankingSettings, ResolvedTrainingSettings, TrainingSettings
from gwaudit.data.label_noise import add_label_noise
from gwaudit.data.loading import load_dataset
from gwaudit.store.store import TrajectoryStore
from gwaudit.training.automatic_settings import resolve
from gwaudit.training.refinement import rank_run, refine, refined_targets
from gwaudit.training.rounds import rounds_of
from gwaudit.training.trainer import predict, train
from helpers.command import FAST, gwaudit

SETTINGS = TrainingSettings(epochs=6, batch_size=128, learning_rate=0.05, augment="none", dtype="float32")
ROUNDS = RefinementSettings(refine=2, refine_epochs=3)


@pytest.fixture(scope="module")
def digits():
    dataset = load_dataset("digits")
    return dataset.with_labels(add_label_noise(dataset.labels, 10, rate=0.2), true_labels=dataset.labels)


@pytest.fixture(scope="module")
def run(digits, tmp_path_factory):
    path = tmp_path_factory.mktemp("refinement") / "run"
    train(digits, path, SETTINGS)
    refine(digits, path, SETTINGS, ROUNDS)
    return path


def test_targets_are_the_given_label_where_it_is_believed_and_the_networks_opinion_where_not(digits, run):
    targets = refined_targets(digits, [run]).numpy()
    np.testing.assert_allclose(targets.sum(1), 1, atol=1e-5)
    probability = rank_run([run]).by_id("probability_wrong")
    opinion = predict(run, digits, digits).numpy()
    believed, doubted = probability < 1e-4, probability > 1 - 1e-4
    assert believed.sum() > 500
    assert doubted.sum() > 100
    np.testing.assert_allclose(targets[believed], np.eye(10)[digits.labels[believed]], atol=1e-3)
    assert (targets[doubted].argmax(1) == opinion[doubted].argmax(1)).all()
    assert (targets[doubted].max(1) >= opinion[doubted].max(1) - 1e-3).all(), "sharper than the opinion"


def test_rounds_audit_the_given_labels_with_other_weights_and_data_order(digits, run):
    assert rounds_of(run) == [run, run / "rounds" / "1", run / "rounds" / "2"]
    for number, path in enumerate(rounds_of(run)):
        with TrajectoryStore.open(path) as store:
            assert (store.given_labels() == digits.labels).all()
            assert len(store.epochs) == (6 if number == 0 else 3)
            assert store.settings["training"]["seed"] == number


def combined(audit):
    """The evidence of a round, from the columns of its audit."""
    values = [audit.by_id(name).astype(float) for name in ("mean_gap", "mean_margin")]
    return -np.mean([value / np.sqrt((value**2).mean()) for value in values], axis=0)


def test_rounds_give_the_order_and_the_first_training_the_odds(run):
    stores = [TrajectoryStore.open(path) for path in rounds_of(run)]
    alone = [rank(store) for store in stores]
    together = rank(stores[0], rounds=stores[1:])
    evidence = np.mean([combined(audit) for audit in alone[1:]], axis=0)
    share = expected_share_wrong(combined(alone[0]))
    expected = log_odds_wrong(evidence, share_wrong=share)
    np.testing.assert_allclose(believed_wrong(stores[0], stores[1:]), sigmoid(expected), atol=1e-3)
    ranks = [rankdata(-values) for values in (expected, together.by_id("log_odds_wrong"))]
    np.testing.assert_allclose(*ranks, atol=2)  # the columns of an audit are rounded to float32
    np.testing.assert_array_equal(np.sort(together.by_id("log_odds_wrong")), np.sort(alone[0].by_id("log_odds_wrong")))
    assert (together.by_id("suggested_label") == alone[-1].by_id("suggested_label")).all()
    assert (together.by_id("mean_alignment") == alone[0].by_id("mean_alignment")).all()
    assert together.expected_wrong()[-1] == pytest.approx(share * len(together.frame), rel=0.1)


def test_a_round_counts_as_often_as_it_has_epochs(run):
    first, short, _ = [TrajectoryStore.open(path) for path in rounds_of(run)]
    assert (len(short.training_epochs), len(first.training_epochs)) == (3, 6)
    evidence = np.average([combined(rank(each)) for each in (short, first)], axis=0, weights=[1, 2])
    expected = log_odds_wrong(evidence, share_wrong=expected_share_wrong(combined(rank(first))))
    np.testing.assert_allclose(believed_wrong(first, [short, first]), sigmoid(expected), atol=1e-3)


def test_refinement_finds_no_less_and_suggests_no_worse(digits, run):
    first, refined = (evaluate(rank_run(runs), digits.true_labels) for runs in ([run], rounds_of(run)))
    assert refined.average_precision > first.average_precision - 0.01
    # Two standard errors of the difference, for 359 wrong labels of which .97 are suggested right.
    assert refined.suggested_accuracy > first.suggested_accuracy - 0.026
    assert refined.f1 > 0.93


def test_rounds_that_are_done_stay_and_an_interrupted_one_ends_the_same(digits, run, tmp_path):
    class StopError(Exception):
        pass

    class StopInRound:
        def __init__(self):
            self.epochs = 0

        def on_step(self, report):
            pass

        def on_round(self, number, rounds, model):
            assert (rounds, model) == (2, "resnet9_16")

        def on_final_pass(self, seconds):
            pass

        def on_epoch(self, report):
            self.epochs += 1
            if self.epochs == 2:
                raise StopError

    train(digits, tmp_path / "run", SETTINGS)
    with pytest.raises(StopError):
        refine(digits, tmp_path / "run", SETTINGS, ROUNDS, progress=StopInRound())
    assert rounds_of(tmp_path / "run") == [tmp_path / "run"], "an unfinished round does not count"
    refine(digits, tmp_path / "run", SETTINGS, ROUNDS)
    frames = [rank_run(rounds_of(path)).frame for path in (run, tmp_path / "run")]
    pd.testing.assert_frame_equal(*frames, check_exact=True)


def test_a_round_refuses_other_targets(digits, run):
    settings = dataclasses.replace(SETTINGS, seed=1, epochs=3, latents="none")
    with pytest.raises(SettingsError, match="learned other targets"):
        train(digits, run / "rounds" / "1", settings, resume=True, targets=torch.full((len(digits), 10), 0.1))


def test_a_round_whose_creation_was_cut_short_does_not_count_and_a_lost_round_is_damage(run, tmp_path):
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    half = copy / "rounds" / "3"
    half.mkdir()
    (half / ".run.json.0123abcd.partial").write_text("{")
    assert len(rounds_of(copy)) == 3
    half.rename(copy / "rounds" / "4")
    assert len(rounds_of(copy / "rounds" / "1")) == 1
    with pytest.raises(StoreDamagedError, match="rounds/3 is missing"):
        rounds_of(copy)
    shutil.rmtree(copy / "rounds" / "1")
    with pytest.raises(StoreDamagedError, match="rounds/1 is missing"):
        rounds_of(copy)


def test_refining_once_more_adds_a_round(digits, run):
    refine(digits, run, SETTINGS, dataclasses.replace(ROUNDS, refine=3))
    assert len(rounds_of(run)) == 4


def test_final_passes_come_after_the_training_and_stay_out_of_its_statistics(digits, tmp_path):
    train(digits, tmp_path / "run", dataclasses.replace(SETTINGS, final_passes=2))
    with TrajectoryStore.open(tmp_path / "run") as store:
        assert (store.training_epochs, store.final_passes) == (range(6), range(6, 8))
        frame = rank(store).frame.set_index("sample_id").sort_index()
        rows = pd.concat([store.read_epoch(epoch).to_pandas().assign(epoch=epoch) for epoch in store.epochs])
    assert rank(TrajectoryStore.open(tmp_path / "run")).settings.detector == "probability"
    rows["other"] = np.exp(-(rows["loss"] + rows["margin"]))
    rows["difference"] = rows["given_probability"] - rows["other"]
    means = rows.groupby(["sample_id", pd.cut(rows["epoch"], [-1, 2, 5, 7], labels=["early", "window", "final"])])
    difference = means["difference"].mean().unstack()
    np.testing.assert_allclose(frame["mean_probability_margin"], difference["window"], atol=1e-5)
    np.testing.assert_allclose(frame["final_probability_margin"], difference["final"], atol=1e-5)
    negative = (rows[rows["epoch"] < 6].set_index("sample_id")["alignment"] < 0).groupby("sample_id").mean()
    np.testing.assert_allclose(frame["share_negative"], negative, atol=1e-6)


def test_an_interrupted_final_pass_is_made_up_for(digits, tmp_path):
    class StopError(Exception):
        pass

    class StopAtFinalPass:
        def on_step(self, report):
            pass

        def on_epoch(self, report):
            pass

        def on_final_pass(self, seconds):
            raise StopError

    settings = dataclasses.replace(SETTINGS, epochs=2, final_passes=2)
    train(digits, tmp_path / "whole", settings)
    with pytest.raises(StopError):
        train(digits, tmp_path / "stopped", settings, progress=StopAtFinalPass())
    train(digits, tmp_path / "stopped", settings, resume=True)
    frames = [rank(TrajectoryStore.open(tmp_path / name)).frame for name in ("whole", "stopped")]
    pd.testing.assert_frame_equal(*frames, check_exact=True)


def test_the_probability_score_needs_final_passes(run):
    with pytest.raises(SettingsError, match="no final evaluation passes"):
        rank_run([run], RankingSettings(detector="probability"))


@pytest.mark.parametrize("preset", ["fast", "quality"])
def test_a_preset_sets_what_was_not_typed(tmp_path, preset):
    done = gwaudit(
        "audit", "digits", "--add-noise", "0.1", "-o", tmp_path / "run", "--preset", preset, "--model", "resnet9_16",
        "--epochs", "2", "--batch-size", "128", "--refine", "1", "--refine-epochs", "2",
        "--refine-model", "whitened_32", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with TrajectoryStore.open(tmp_path / "run") as store:
        settings = ResolvedTrainingSettings.from_dict(store.settings["training"])
    first = dataclasses.replace(PRESETS[preset][0], model="resnet9_16", epochs=2, batch_size=128)
    assert settings == resolve(dataclasses.replace(first, dtype=settings.dtype), 1797, "images")
    second = rounds_of(tmp_path / "run")[1]
    with TrajectoryStore.open(second) as store:
        settings = ResolvedTrainingSettings.from_dict(store.settings["training"])
    recipe = RECIPES[PRESETS[preset][1].refine_as][0]
    changed = {"model": "whitened_32", "epochs": 2, "batch_size": 128, "seed": 1, "latents": "none"}
    further = dataclasses.replace(recipe, dtype=settings.dtype, **changed)
    assert settings == resolve(further, 1797, "images")
    again = gwaudit("rank", tmp_path / "run", "--json")
    assert json.loads(again.stdout)["detector"] == "probability"
    ranked, audited = json.loads(again.stdout), json.loads(done.stdout)
    for facts in (ranked, audited):
        del facts["reading"]["notes"]["remarks"]  # only an audit remarks on the settings of its training
    assert ranked == audited


def test_later_rounds_of_small_images_train_longer_on_stronger_changes():
    refinement = RefinementSettings(refine=3, refine_as="whitened")
    rounds = [refinement.training(TrainingSettings(seed=4), number) for number in (1, 2, 3)]
    assert [each.seed for each in rounds] == [5, 6, 7]
    assert [each.augment for each in rounds] == ["shift-flip", "strong", "strong"]
    assert rounds[0].epochs < rounds[1].epochs == rounds[2].epochs
    same = dataclasses.replace(refinement, refine_epochs=2)
    assert {same.training(TrainingSettings(), number).epochs for number in (1, 2, 3)} == {2}
    upright = refinement.training(TrainingSettings(augment="crop"), 2)
    assert (upright.augment, upright.final_passes) == ("crop", 1), "no mirrored image where left and right matter"


def test_rounds_are_announced(tmp_path):
    done = gwaudit("audit", "digits", "-o", tmp_path / "run", *FAST, "--refine", "1", "--refine-epochs", "1")
    assert "refinement 1 of 1: resnet9_16" in done.stderr
    assert "Use the order, not the count" in done.stdout, "two epochs are not enough to trust a cut"


def test_rounds_are_left_out_where_the_first_training_learned_nothing(tmp_path):
    random = np.random.default_rng(0)
    np.savez(tmp_path / "noise.npz", x=random.normal(size=(300, 5)).astype(np.float32), y=random.integers(0, 3, 300))
    options = ("audit", tmp_path / "noise.npz", "--epochs", "3", "--folds", "1", "--head", "linear", "--refine", "2")
    done = gwaudit(*options, "-o", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert "the 2 rounds of refinement are left out: " in done.stderr
    assert "it has learned nothing" in done.stderr
    assert not (tmp_path / "run" / "rounds").exists()
    assert "Do not use this ranking" in done.stdout
    forced = gwaudit(*options, "--force", "-o", tmp_path / "forced")
    assert forced.returncode == 0, forced.stderr
    assert len(rounds_of(tmp_path / "forced")) == 3


@pytest.mark.parametrize(("options", "message"), [
    (["--preset", "best"], "'best' is not one of 'pretrained'"),
    (["--refine", "-1"], "--refine must be at least 0, not -1"),
    (["--refine-epochs", "0"], "--refine-epochs must be at least 1"),
    (["--refine-as", "x"], "'x' is not one of 'whitened', 'resnet18'"),
    (["--final-passes", "3"], "must be 0, 1 or 2"),
    (["--momentum", "1"], r"must be in [0, 1)"),
])  # fmt: skip
def test_impossible_refinement_is_refused(tmp_path, options, message):
    done = gwaudit("audit", "digits", "-o", tmp_path / "run", *options)
    assert done.returncode == 2
    assert message in done.stderr
    assert not (tmp_path / "run").exists()
