"""A class of multi-label data that inputs say nothing about is named, and none of its labels is judged."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from gwaudit import LabeledDataset, RankingSettings, TrainingSettings, TrajectoryStore, rank
from gwaudit.analysis.calibrated_audit import calibrate
from gwaudit.analysis.noise import class_health, transition_matrix
from gwaudit.data.inputs import features
from gwaudit.pipeline.report import write_report
from gwaudit.training.trainer import train
from helpers.command import gwaudit

NAMES = ("apple", "bird", "cat", "random", "rare random", "tiny", "always", "never")
UNLEARNED = ("random", "rare random", "always", "never")


def tags(learnable=3, n=400):
    """Linear classes of Gaussian features with 4 % wrong labels, and classes without a relation to the features."""
    random = np.random.default_rng(1)
    x = random.normal(size=(n, 6))
    linear = x @ random.normal(size=(6, 3)) + random.uniform(-1, 0, 3) > 0
    linear[:, learnable:] = random.random((n, 3 - learnable)) < 0.3
    wrong = random.random(linear.shape) < 0.04
    chance = random.random((n, 2)) < (0.3, 0.05)
    few = np.arange(n)[:, None] < (3, n, 0)
    labels = np.concatenate([linear ^ wrong, chance, few], 1).astype(np.int64)
    return LabeledDataset("tags", features(torch.from_numpy(x).float()), labels, NAMES, [f"s{i}" for i in range(n)]), x


def trained(folder, data, **settings):
    train(data, folder, TrainingSettings(epochs=15, **settings))
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
    assert audit.verdict.signals.unlearned == 4 / 8


def test_no_cut_flags_them_and_no_count_holds_them(run, audit):
    every = rank(run, RankingSettings(top=3200))
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
    assert "not predicted better than by their share: random, rare random, always, never." in page


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
    audit = rank(trained(tmp_path / "run", data, folds=1), RankingSettings(force=True))
    assert audit.unlearned_classes[-2:] == UNLEARNED[-2:]
    assert not set(audit.unlearned_classes) & set(NAMES[:3])


def test_where_no_class_is_learned_the_verdict_says_so(tmp_path):
    audit = rank(trained(tmp_path / "run", tags(learnable=0)[0]))
    assert audit.verdict.level == "do not use"
    assert [f.signal for f in audit.verdict.findings] == ["unlearned"]
    assert "no class better than by its share" in audit.verdict.findings[0].reason
    assert "one class" not in audit.verdict.short_reason


def test_the_command_prints_and_writes_what_cannot_be_judged(tmp_path):
    data, x = tags()
    table = pd.DataFrame(x, columns=[f"f{i}" for i in range(6)]).assign(
        tags=["|".join(np.array(NAMES)[row == 1]) for row in data.labels]
    )
    table.to_csv(tmp_path / "tags.csv", index=False)
    run = tmp_path / "run"
    printed = gwaudit("audit", tmp_path / "tags.csv", "--label-column", "tags", "--label-separator", "|", "-o", run)
    assert "are not predicted better than by their share: always, random, rare random." in printed.stdout
    health = pd.read_csv(run / "class_health.csv", index_col="class")
    assert health["share_wrong"].isna().sum() == 4
    noise = json.loads(gwaudit("noise", run, "--json").stdout)
    assert [row["expected_wrong"] for row in noise["classes"] if row["class"] == "tiny"] == [None]
    assert "tiny" in gwaudit("noise", run).stdout


def test_a_small_class_of_single_labels_is_unknown_too(tmp_path):
    random = np.random.default_rng(2)
    labels = np.repeat([0, 1, 2], [60, 60, 3])
    x = torch.from_numpy(random.normal(size=(123, 3)) + 4 * np.eye(3)[labels]).float()
    data = LabeledDataset("blobs", features(x), labels, ("a", "b", "c"), [f"s{i}" for i in range(123)])
    audit = rank(trained(tmp_path / "run", data))
    assert class_health(audit)["share_wrong"].isna().tolist() == [False, False, True]
    assert transition_matrix(audit).isna().all(axis=1).tolist() == [False, False, True]
