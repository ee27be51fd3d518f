"""A class that the inputs say nothing about is named, and none of its labels is judged."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gwaudit import LabeledDataset, RankingSettings, TrainingSettings, TrajectoryStore, rank
from gwaudit.analysis.calibrated_audit import calibrate
from gwaudit.analysis.guidelines import guideline_questions
from gwaudit.analysis.learned_classes import single_label_histogram
from gwaudit.analysis.noise import class_health, transition_matrix
from gwaudit.analysis.ranking import held_out_probability_wrong
from gwaudit.data.inputs import features
from gwaudit.pipeline.report import write_report
from gwaudit.training.trainer import train
from helpers.command import gwaudit

NAMES = ("apple", "bird", "cat", "random", "tiny", "always", "never")
UNLEARNED = ("random", "always", "never")


def tags(learnable=3, n=400):
    """Linear classes of Gaussian features with 4 % wrong labels, and classes without a relation to the features."""
    random = np.random.default_rng(1)
    x = random.normal(size=(n, 6))
    linear = x @ random.normal(size=(6, 3)) + random.uniform(-1, 0, 3) > 0
    linear[:, learnable:] = random.random((n, 3 - learnable)) < 0.3
    wrong = random.random(linear.shape) < 0.04
    chance = random.random((n, 1)) < 0.3
    few = np.arange(n)[:, None] < (3, n, 0)
    labels = np.concatenate([linear ^ wrong, chance, few], 1).astype(np.int64)
    return LabeledDataset("tags", features(torch.from_numpy(x).float()), labels, NAMES, [f"s{i}" for i in range(n)]), x


def trained(folder, data, **settings):
    quick = {"epochs": 15, "folds": 5, "fold_repeats": 1, "head": "linear"}
    train(data, folder, TrainingSettings(**{**quick, **settings}))
    return TrajectoryStore.open(folder)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("run") / "run", tags()[0])


@pytest.fixture(scope="module")
def audit(run):
    return rank(run)


def test_labels_of_such_classes_have_a_category_of_their_own_behind_all_that_are_judged(audit):
    assert audit.unlearned_classes == UNLEARNED
    frame = audit.frame
    for name in NAMES:
        expected = {"tiny": "too-few"} | dict.fromkeys(UNLEARNED, "unlearned")
        categories = set(frame["category"][frame["class_name"] == name])
        assert categories == {expected[name]} if name in expected else not categories & {"unlearned", "too-few"}
    judged = frame["class_name"].isin(NAMES[:3])
    assert judged.iloc[: 3 * 400].all(), "what is judged comes first"
    np.testing.assert_array_equal(audit.is_judged, judged)
    assert audit.verdict.signals.rows == 3 * 400
    assert audit.verdict.signals.unlearned == 3 / 6


def test_no_cut_flags_them_and_no_count_holds_them(run, audit):
    every = rank(run, RankingSettings(top=2800))
    assert set(every.suspects["class_name"]) == set(NAMES[:3])
    probability = audit.frame["probability_wrong"].astype(float)[audit.frame["class_name"].isin(NAMES[:3])]
    assert audit.expected_wrong()[-1] == pytest.approx(probability.sum())


def test_their_health_is_unknown_rather_than_perfect(audit):
    health = class_health(audit)
    unknown = health.index.isin(["tiny", *UNLEARNED])
    for column in ("expected_wrong", "share_wrong", "expected_missing", "share_missing"):
        assert health[column].isna().to_numpy().tolist() == unknown.tolist(), column
    assert (health["suspects"][unknown] == 0).all()


def test_the_page_and_the_summary_name_them(run, audit, tmp_path):
    audit.save(run.path)
    assert audit.summary()["unlearned_classes"] == list(UNLEARNED)
    page = write_report(run.path, tmp_path / "report.html").read_text("utf-8")
    assert "not predicted better than by their share: random, always, never." in page
    assert "of the 1,200 labels that can be judged (" in page


def test_decisions_on_them_count_and_leave_the_others_unknown(audit):
    of_class = audit.frame[audit.frame["class_name"] == "random"].head(20)
    decided = pd.DataFrame(
        {"sample_id": of_class["sample_id"], "class_id": of_class["class_id"], "decision": "relabel",
         "label": 1 - of_class["given_label"]}
    )  # fmt: skip
    calibrated = calibrate(audit, decided)
    suspects = calibrated.suspects
    assert (suspects["class_name"] == "random").sum() == 20
    rest = calibrated.frame[(calibrated.frame["class_name"] == "random") & (calibrated.frame["decision"] == "")]
    assert set(rest["category"]) == {"unlearned"}


def test_a_network_that_judges_its_own_labels_is_treated_alike(tmp_path):
    data, _ = tags()
    audit = rank(trained(tmp_path / "run", data, folds=1, fold_repeats="auto"), RankingSettings(force=True))
    assert audit.unlearned_classes[-2:] == UNLEARNED[-2:]
    assert not set(audit.unlearned_classes) & set(NAMES[:3])


def test_where_no_class_is_learned_the_verdict_says_so(tmp_path):
    run = trained(tmp_path / "run", tags(learnable=0)[0])
    audit = rank(run)
    assert audit.verdict.level == "do not use"
    assert "predicts no class better than by its share" in audit.verdict.short_reason
    assert audit.unlearned_classes == ()
    assert len(rank(run, RankingSettings(top=5)).suspects) == 5


def test_a_run_that_learned_few_of_its_classes_is_not_trusted(tmp_path):
    audit = rank(trained(tmp_path / "run", tags(learnable=1)[0]))
    assert audit.verdict.level == "use the order"
    assert "83% of the labels cannot be judged" in audit.verdict.findings[0].reason
    assert len(audit.unlearned_classes) == 5


def test_the_command_prints_and_writes_what_cannot_be_judged(tmp_path):
    data, x = tags()
    table = pd.DataFrame(x, columns=[f"f{i}" for i in range(6)]).assign(
        tags=["|".join(np.array(NAMES)[row == 1]) for row in data.labels]
    )
    table.to_csv(tmp_path / "tags.csv", index=False)
    run = tmp_path / "run"
    printed = gwaudit("audit", tmp_path / "tags.csv", "--label-column", "tags", "--label-separator", "|", "-o", run)
    assert "are not predicted better than by their share: always, random." in printed.stdout
    health = pd.read_csv(run / "class_health.csv", index_col="class")
    assert health["share_wrong"].isna().sum() == 3
    noise = json.loads(gwaudit("noise", run, "--json").stdout)
    assert [row["expected_wrong"] for row in noise["classes"] if row["class"] == "tiny"] == [None]
    assert "tiny" in gwaudit("noise", run).stdout


def blobs_and_others(share, n=500, in_its_place=0.0):
    """Three blobs with 4 % wrong labels, and a share of all samples called "other", some in a place of their own."""
    random = np.random.default_rng(3)
    labels = random.integers(0, 3, n)
    is_other = np.zeros(n, bool)
    for label in range(3):  # the same share of each blob
        of_blob = np.flatnonzero(labels == label)
        is_other[random.choice(of_blob, round(share * len(of_blob)), replace=False)] = True
    has_place = is_other & (random.random(n) < in_its_place)
    x = random.normal(size=(n, 6)) + 4 * np.eye(6)[np.where(has_place, 3, labels)]
    wrong = ~is_other & (random.random(n) < 0.04)
    given = np.where(is_other, 3, np.where(wrong, (labels + 1) % 3, labels))
    names = ("apple", "bird", "cat", "other")
    data = LabeledDataset("fruit", features(torch.from_numpy(x).float()), given, names, [f"s{i}" for i in range(n)])
    return data, wrong, is_other


@pytest.mark.parametrize("share", [0.08, 0.12, 0.2])
def test_a_class_that_looks_like_all_others_is_not_flagged_as_a_whole(tmp_path, share):
    """All its labels are contradicted: they could all be wrong, or none."""
    data, wrong, is_other = blobs_and_others(share)
    audit = rank(trained(tmp_path / "run", data))
    assert audit.unlearned_classes == ("other",)
    assert set(audit.by_id("category")[is_other]) == {"unlearned"}
    suspect = audit.by_id("suspect").astype(bool)
    assert audit.verdict.is_trusted
    assert (suspect & wrong).sum() >= 0.9 * wrong.sum()
    assert (suspect & ~wrong).sum() <= 0.3 * wrong.sum()
    assert audit.expected_wrong()[-1] == pytest.approx(wrong.sum(), rel=0.25)
    health = class_health(audit)["share_wrong"].isna()
    assert health.tolist() == transition_matrix(audit).isna().all(axis=1).tolist() == [False] * 3 + [True]


def test_such_a_class_is_no_reason_to_take_other_labels_for_wrong(tmp_path):
    """The others are judged as if its samples were not there."""
    data, _, is_other = blobs_and_others(0.2)
    audit = rank(trained(tmp_path / "run", data))
    assert audit.unlearned_classes == ("other",)
    alone = rank(trained(tmp_path / "alone", data.subset(np.flatnonzero(~is_other))))
    assert audit.expected_wrong()[-1] == pytest.approx(alone.expected_wrong()[-1], rel=0.15)
    assert len(audit.suspects) == pytest.approx(len(alone.suspects), abs=2)


def test_heads_learn_the_labels_of_such_a_class_with_their_whole_weight(tmp_path):
    data, wrong, is_other = blobs_and_others(0.12)
    run = trained(tmp_path / "run", data)
    probability = held_out_probability_wrong(run, range(len(run.training_epochs)))
    assert (probability[is_other] == 0).all()
    assert probability[wrong].mean() > 0.9


def test_a_class_with_a_place_of_its_own_is_judged(tmp_path):
    data, _, is_other = blobs_and_others(0.12, in_its_place=0.9)
    audit = rank(trained(tmp_path / "run", data))
    assert audit.unlearned_classes == ()
    assert 0.05 < audit.by_id("suspect")[is_other].mean() < 0.3


def test_another_name_of_a_class_is_no_class_without_a_place(tmp_path):
    """It lies where that class does, which one answer settles."""
    data, _, _ = blobs_and_others(0.0)
    labels = data.labels.copy()
    labels[np.flatnonzero(labels == 1)[:40]] = 3
    audit = rank(trained(tmp_path / "run", replace(data, labels=labels)))
    assert audit.unlearned_classes == ()
    assert ("other", "bird") in {(question.given, question.other) for question in guideline_questions(audit)}


def test_rare_classes_that_drown_in_wrong_labels_are_judged(tmp_path):
    """The same wrong labels are in all classes, and explain the few that the rare ones have."""
    random = np.random.default_rng(4)
    truth = np.repeat(np.arange(5), [300, 300, 300, 3, 3])
    x = torch.from_numpy(random.normal(size=(906, 6)) + 5 * np.eye(6)[truth]).float()
    wrong = random.random(906) < 0.3
    labels = np.where(wrong, (truth + random.integers(1, 5, 906)) % 5, truth)
    data = LabeledDataset("rare", features(x), labels, tuple("abcde"), [f"s{i}" for i in range(906)])
    audit = rank(trained(tmp_path / "run", data))
    assert audit.unlearned_classes == ()
    assert audit.by_id("suspect")[wrong & (labels > 2)].mean() > 0.95


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_the_histogram_of_a_row_is_that_of_all_its_classes(data):
    n_classes, n = data.draw(st.integers(2, 6)), data.draw(st.integers(1, 30))
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    logits = random.normal(0, 3, (n, n_classes))
    probability = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = random.integers(0, n_classes, n)
    others = np.where(np.eye(n_classes, dtype=bool)[labels], -1, probability)
    alternative = others.argmax(1)
    rows = np.arange(n)
    p_given, p_alternative = probability[rows, labels], probability[rows, alternative]
    shared = np.repeat(((1 - p_given - p_alternative) / max(n_classes - 2, 1))[:, None], n_classes, 1)
    shared[rows, labels], shared[rows, alternative] = p_given, p_alternative

    found = single_label_histogram(labels, alternative, np.log(p_given), np.log(p_alternative), n_classes)
    assert found.sum(np.ones(len(found.size)), n_classes).tolist() == [n] * n_classes
    assert found.sum(found.given.astype(float), n_classes).tolist() == np.bincount(labels, minlength=n_classes).tolist()
    expected = np.log(np.maximum(shared, 1e-12)) - np.log1p(-shared)
    np.testing.assert_allclose(found.sum(found.logit, n_classes), expected.sum(0), atol=0.06 * n + 1e-9)


def test_a_small_class_of_single_labels_is_unknown_too(tmp_path):
    random = np.random.default_rng(2)
    labels = np.repeat([0, 1, 2], [60, 60, 3])
    x = torch.from_numpy(random.normal(size=(123, 3)) + 4 * np.eye(3)[labels]).float()
    data = LabeledDataset("blobs", features(x), labels, ("a", "b", "c"), [f"s{i}" for i in range(123)])
    audit = rank(trained(tmp_path / "run", data))
    assert class_health(audit)["share_wrong"].isna().tolist() == [False, False, True]
    assert transition_matrix(audit).isna().all(axis=1).tolist() == [False, False, True]


def test_a_class_that_is_flagged_for_the_most_part_is_named(tmp_path):
    """It may be used for what looks like others, though it has a place of its own."""
    data, _, is_other = blobs_and_others(0.12, in_its_place=0.3)
    audit = rank(trained(tmp_path / "run", data))
    suspects = audit.by_id("suspect")[is_other].sum()
    assert suspects > is_other.sum() / 2
    [warning] = audit.warnings
    assert f"are flagged: other ({suspects} of {is_other.sum()})." in warning
    assert rank(trained(tmp_path / "clean", blobs_and_others(0.12, in_its_place=1)[0])).warnings == ()
