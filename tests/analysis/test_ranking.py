"""From trajectories to an audit: order, cut, suggestion, categories, and what is kept of it."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from gwaudit.analysis.audit import COLUMNS, Audit
from gwaudit.analysis.error_probability import log_odds_wrong, sigmoid
from gwaudit.analysis.evaluation import evaluate
from gwaudit.analysis.noise import class_health
from gwaudit.analysis.ranking import believed_wrong, rank
from gwaudit.core.errors import SettingsError, StoreDamagedError, StoreNotFoundError, StoreVersionError
from gwaudit.core.json import SEAL
from gwaudit.core.settings import RankingSettings
from gwaudit.export.cleaned_data import clean_data
from gwaudit.store.store import TrajectoryStore

N, EPOCHS, WRONG = 400, 12, 60
LATE = range(100, 120)
CLASSES = ("ant", "bee", "cat", "dog")


def write_run(path, *, missing=(), labels=None):
    """Samples 0 to 59 oppose the weights all along; 100 to 119 at first only; `missing` are never recorded."""
    random = np.random.default_rng(1)
    labels = np.arange(N) % 4 if labels is None else labels
    rival = (labels + 1) % 4
    ids = np.setdiff1d(np.arange(N), missing)
    with TrajectoryStore.create(
        path, given_labels=labels, class_names=CLASSES, block_rows=150, fingerprint="f"
    ) as store:
        for epoch in range(EPOCHS):
            level = np.full(N, 0.1)
            level[:WRONG] = -0.045
            if epoch < 5:
                level[LATE] = -0.02
            alignment = level + random.normal(0, 0.01, N)
            signals = {
                "alignment": alignment,
                "alternative_alignment": -alignment * 0.9,
                "margin": 30 * alignment,
                "loss": np.exp(-10 * alignment),
                "given_probability": 1 / (1 + np.exp(-20 * alignment)),
                "el2n": np.sqrt(2) / (1 + np.exp(20 * alignment)),
                "alternative_label": rival,
                "predicted_label": np.where(alignment > 0, labels, rival),
            }
            store.append_epoch(
                epoch,
                ids,
                {k: v[ids].astype(np.int32 if v.dtype.kind == "i" else np.float32) for k, v in signals.items()},
            )
    return TrajectoryStore.open(path)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("ranking") / "run")


def test_samples_that_oppose_the_weights_come_first_with_a_suggestion(store):
    audit = rank(store)
    assert set(audit.suspects["sample_id"]) == set(range(WRONG))
    assert audit.frame["rank"].tolist() == list(range(1, N + 1))
    assert audit.frame["log_odds_wrong"].is_monotonic_decreasing
    worst = audit.frame.iloc[0]
    assert worst["suggested_label"] == (worst["given_label"] + 1) % 4
    assert worst["suggested_name"] == CLASSES[worst["suggested_label"]]
    assert (audit.frame["suggested_label"] != audit.frame["given_label"]).all()


def test_the_columns_are_the_documented_ones(store):
    audit = rank(store)
    assert list(audit.frame.columns) == list(COLUMNS)
    assert all(COLUMNS.values())


def test_categories_follow_their_stated_rules(store):
    audit = rank(store)
    category = audit.by_id("category")
    assert set(np.flatnonzero(category == "late-aligned")) == set(LATE)
    assert (category[:WRONG] == "suspect").all()
    others = N - WRONG - len(LATE)
    assert (category == "hard").sum() == round(others * 0.1)
    assert (
        audit.by_id("log_odds_wrong")[category == "hard"].min()
        >= audit.by_id("log_odds_wrong")[category == "fine"].max()
    )


FEW, ENOUGH = range(4), range(4, 9)


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """Return a run whose class 2 has four samples, `FEW`, and class 3 five, `ENOUGH`; they and others look wrong."""
    labels = np.arange(N) % 2
    labels[FEW], labels[ENOUGH] = 2, 3
    return write_run(tmp_path_factory.mktemp("few") / "run", labels=labels, missing=[399])


class TestClassesWithTooFewSamples:
    """No cut flags a label of a class with fewer than five samples; its odds are kept."""

    @pytest.mark.parametrize(
        "settings",
        [RankingSettings(), RankingSettings(top=200), RankingSettings(budget=30), RankingSettings(precision=0.5)],
    )
    def test_no_cut_flags_them_and_they_stand_behind_all_that_can_be_judged(self, few, settings):
        audit = rank(few, settings)
        assert set(audit.frame["sample_id"].iloc[-5:-1]) == set(FEW)
        assert not audit.frame["suspect"].iloc[-5:].any()
        assert audit.frame["category"].iloc[-5:].tolist() == ["too-few"] * 4 + ["unrecorded"]
        assert audit.frame["log_odds_wrong"].iloc[-5:-1].is_monotonic_decreasing
        assert (audit.frame["probability_wrong"].iloc[-5:-1] > 0.5).all(), "the evidence stays"
        assert len(audit.suspects) == settings.top or not settings.top
        assert audit.by_id("suspect")[ENOUGH].all() or settings.budget

    def test_they_are_counted_apart_and_no_error_is_expected_among_them(self, few):
        audit = rank(few)
        assert audit.summary()["categories"]["too-few"] == 4
        assert audit.expected_wrong()[-1] == pytest.approx(audit.expected_wrong()[-6])
        health = class_health(audit)
        assert np.isnan(health.loc[CLASSES[2], "expected_wrong"]), "nothing is known of it"
        assert health.loc[CLASSES[3], "expected_wrong"] > 4

    def test_an_evaluation_measures_the_order_of_the_ranking(self, few):
        audit = rank(few)
        truth = np.where(audit.by_id("suspect"), audit.by_id("suggested_label"), audit.by_id("given_label"))
        assert (audit.frame["log_odds_wrong"].iloc[-5:-1] > audit.frame["log_odds_wrong"].iloc[WRONG]).all()
        assert evaluate(audit, truth).average_precision == pytest.approx(1)

    def test_cleaned_data_and_the_next_round_keep_their_labels(self, few):
        audit = rank(few)
        assert set(FEW) <= set(clean_data(audit, "drop").ids)
        assert (clean_data(audit, "relabel").labels[FEW] == 2).all()
        for rounds in ([], [few]):
            assert (believed_wrong(few, rounds)[FEW] == 0).all()
            assert (believed_wrong(few, rounds)[ENOUGH] > 0.5).all()


def test_the_default_window_is_the_last_half_and_another_can_be_chosen(store):
    assert rank(store).window == (6, 11)
    early = rank(store, RankingSettings(window=(0, 4)))
    assert early.window == (0, 4)
    with pytest.raises(SettingsError, match=r"TrajectoryStore\.open\('runs/x'\)"):
        rank("runs/x")
    assert set(LATE) <= set(early.frame.head(WRONG + len(LATE))["sample_id"])
    with pytest.raises(SettingsError, match=r"ends 1 after the last epoch of .* which has 12 epochs"):
        rank(store, RankingSettings(window=(0, 12)))


@pytest.mark.parametrize(
    ("detector", "column"), [("alignment", "mean_alignment"), ("margin", "mean_margin"), ("alignment_gap", "mean_gap")]
)
def test_each_detector_falls_with_its_statistic(store, detector, column):
    frame = rank(store, RankingSettings(detector=detector)).frame
    assert frame.sort_values(column)["log_odds_wrong"].is_monotonic_decreasing


def test_the_default_evidence_weighs_gap_and_margin_equally_and_the_score_is_its_log_odds(store):
    frame = rank(store).frame.sort_values("sample_id")
    units = [
        frame[column] / np.sqrt((frame[column].astype(float) ** 2).mean()) for column in ("mean_gap", "mean_margin")
    ]
    evidence = (-(units[0] + units[1]) / 2).to_numpy()
    expected = log_odds_wrong(evidence)
    np.testing.assert_allclose(frame["log_odds_wrong"], expected, rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(frame["probability_wrong"], sigmoid(expected), atol=1e-3)


def test_cut_and_top_decide_how_many_are_flagged(store):
    assert len(rank(store, RankingSettings(top=7)).suspects) == 7
    assert rank(store, RankingSettings(top=0)).suspects.empty
    assert len(rank(store, RankingSettings(top=10_000)).suspects) == N
    fixed = rank(store, RankingSettings(cut=-0.1))
    assert fixed.threshold == -0.1
    assert (fixed.suspects["log_odds_wrong"] > -0.1).all()
    assert (fixed.frame["log_odds_wrong"] > -0.1).sum() == len(fixed.suspects)


def test_a_precision_asks_for_as_many_as_are_expected_to_have_it(store):
    audit = rank(store, RankingSettings(precision=0.9))
    expected, count = audit.expected_wrong(), len(audit.suspects)
    assert expected[count] >= 0.9 * count
    assert expected[count + 1] < 0.9 * (count + 1)
    assert audit.summary()["expected_wrong_suspects"] == pytest.approx(expected[count], abs=0.05)
    assert audit.summary()["expected_wrong"] == pytest.approx(audit.frame["probability_wrong"].sum(), abs=0.05)


def test_a_budget_caps_whatever_else_decides(store):
    everything = rank(store)
    for settings in (RankingSettings(budget=5), RankingSettings(cut=-10.0, budget=5), RankingSettings(top=9, budget=5)):
        capped = rank(store, settings)
        assert capped.suspects["sample_id"].tolist() == everything.frame["sample_id"].head(5).tolist()
        assert (capped.suspects["log_odds_wrong"] > capped.threshold).all()
    assert len(rank(store, RankingSettings(budget=N)).suspects) == len(everything.suspects)


def test_samples_that_were_never_recorded_are_last_and_no_suspects(tmp_path):
    audit = rank(write_run(tmp_path / "run", missing=[3, 200]))
    assert audit.frame.tail(2)["sample_id"].tolist() == [3, 200]
    assert (audit.frame.tail(2)["category"] == "unrecorded").all()
    assert not audit.frame.tail(2)["suspect"].any()
    assert (audit.frame.tail(2)["suggested_name"] == "").all()
    everything = rank(write_run(tmp_path / "again", missing=[3, 200]), RankingSettings(top=N))
    assert len(everything.suspects) == N - 2


def test_an_audit_is_read_back_as_it_was_saved(store, tmp_path):
    audit = rank(store, RankingSettings(window=(3, 8), cut=0.01))
    audit.save(tmp_path)
    again = Audit.load(tmp_path)
    pd.testing.assert_frame_equal(again.frame, audit.frame)
    assert again.settings == audit.settings
    assert (again.window, again.threshold, again.class_names, again.fingerprint) == ((3, 8), 0.01, CLASSES, "f")
    assert json.loads((tmp_path / "audit.json").read_text())["summary"]["samples"] == N


def test_nothing_suspected_is_saved_too(store, tmp_path):
    audit = rank(store, RankingSettings(top=0))
    audit.save(tmp_path)
    assert Audit.load(tmp_path).threshold == float("inf")


def test_no_audit_and_a_broken_one_are_told_apart(store, tmp_path):
    with pytest.raises(StoreNotFoundError, match="rank the run first"):
        Audit.load(store.path)
    with pytest.raises(StoreNotFoundError, match=r"no audit, and no run \(no run\.json\): check the path"):
        Audit.load(tmp_path)
    rank(store).save(tmp_path)
    (tmp_path / "audit.parquet").write_bytes(b"PAR1")
    with pytest.raises(StoreDamagedError, match="rank the run again"):
        Audit.load(tmp_path)


def test_an_audit_of_an_earlier_version_is_refused_with_the_remedy(store, tmp_path):
    rank(store).save(tmp_path)
    facts = json.loads((tmp_path / "audit.json").read_text())
    del facts[SEAL]  # earlier versions wrote none
    del facts["format_version"]  # the table had a column score then, in place of log_odds_wrong
    (tmp_path / "audit.json").write_text(json.dumps(facts))
    with pytest.raises(StoreVersionError, match=f"rank the run again \\(gwaudit rank {re.escape(str(tmp_path))}\\)"):
        Audit.load(tmp_path)


def test_a_run_without_epochs_is_refused(tmp_path):
    with (
        TrajectoryStore.create(tmp_path / "run", given_labels=[0, 1], class_names=("a", "b")) as store,
        pytest.raises(SettingsError, match="no epoch yet"),
    ):
        rank(store)


@pytest.mark.parametrize(
    "values",
    [
        {"top": -1},
        {"cut": "x"},
        {"budget": -1},
        {"precision": 0.0},
        {"precision": 1.1},
        {"top": 3, "precision": 0.9},
        {"cut": 0.0, "top": 3},
    ],
)
def test_impossible_settings_are_refused(values):
    with pytest.raises(SettingsError):
        RankingSettings(**values)
