"""A run is judged without true labels, and what it offers follows from the verdict."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from gwaudit.analysis.audit import Audit
from gwaudit.analysis.ranking import rank
from gwaudit.analysis.signals import Signals
from gwaudit.analysis.verdict import Verdict
from gwaudit.analysis.verdict_checks import judge
from gwaudit.core.errors import VerdictError
from gwaudit.core.settings import RankingSettings
from gwaudit.export.cleaned_data import clean_data
from gwaudit.export.formats import ExportOptions, write_export
from gwaudit.export.suspects import write_suspects
from gwaudit.pipeline.report import load_report_data
from gwaudit.pipeline.results import write_results
from gwaudit.review.report.page import render_page
from gwaudit.store.store import TrajectoryStore

N, CLASSES = 120, ("ant", "bee", "cat")


def write_run(path, *, last_loss=0.3, class_names=CLASSES):
    """A run of six epochs in which the first twelve samples oppose their labels."""
    random = np.random.default_rng(0)
    labels = np.arange(N) % 3
    with TrajectoryStore.create(path, given_labels=labels, class_names=class_names, fingerprint="f") as store:
        for epoch in range(6):
            alignment = np.where(np.arange(N) < 12, -0.06, 0.1) + random.normal(0, 0.01, N)
            signals = {
                "alignment": alignment,
                "alternative_alignment": -alignment,
                "margin": 30 * alignment,
                "loss": np.exp(-10 * alignment),
                "given_probability": 1 / (1 + np.exp(-20 * alignment)),
                "el2n": np.sqrt(2) / (1 + np.exp(20 * alignment)),
                "alternative_label": (labels + 1) % 3,
                "predicted_label": np.where(alignment > 0, labels, (labels + 1) % 3),
            }
            signals = {k: v.astype(np.int32 if v.dtype.kind == "i" else np.float32) for k, v in signals.items()}
            metrics = {"mean_loss": last_loss if epoch == 5 else 0.5, "accuracy_on_given": 0.9}
            store.append_epoch(epoch, np.arange(N), signals, metrics=metrics)
    return TrajectoryStore.open(path)


@pytest.fixture(scope="module")
def trusted(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("verdict") / "trusted")


@pytest.fixture(scope="module")
def diverged(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("verdict") / "diverged", last_loss=100.0)


def test_a_run_that_learned_is_trusted(trusted):
    audit = rank(trusted)
    assert audit.verdict.level == "trust it", audit.verdict.findings
    assert len(audit.suspects) == audit.summary()["suspects"] == 12
    assert audit.summary()["expected_wrong"] == pytest.approx(12, abs=1)


class TestDoNotUse:
    def test_offers_no_cut_and_no_numbers(self, diverged):
        audit = rank(diverged)
        facts = audit.summary()
        assert facts["verdict"] == "do not use"
        assert "diverged" in facts["reasons"][0]["reason"]
        names = ("suspects", "expected_wrong", "expected_wrong_suspects", "threshold")
        assert [facts[name] for name in names] == [None] * 4
        assert len(audit.suspects) == 0
        assert "suspect" not in set(audit.frame["category"])
        assert audit.frame["rank"].tolist() == list(range(1, N + 1))

    def test_is_saved_with_its_signals(self, diverged, tmp_path):
        audit = rank(diverged)
        audit.save(tmp_path)
        assert Audit.load(tmp_path).verdict == audit.verdict
        assert json.loads((tmp_path / "audit.json").read_text())["verdict"]["signals"]["last_loss"] == 100

    def test_says_so_in_the_table_of_suspects(self, diverged, tmp_path):
        table = pd.read_csv(write_suspects(rank(diverged), tmp_path / "suspects.csv"))
        assert len(table) == N
        assert table["probability_wrong"].isna().all()
        assert table["verdict"].str.startswith("do not use: the training diverged").all()

    @pytest.mark.parametrize("settings", [RankingSettings(), RankingSettings(top=12)])
    def test_cleans_no_data(self, diverged, settings):
        with pytest.raises(VerdictError, match=r"'do not use'.*diverged.*force=True"):
            clean_data(rank(diverged, settings), "drop")

    def test_flags_what_the_user_counts(self, diverged):
        assert rank(diverged, RankingSettings(top=7)).summary()["suspects"] == 7
        assert rank(diverged, RankingSettings(budget=7)).summary()["suspects"] == 7
        assert rank(diverged, RankingSettings(cut=0.0)).summary()["suspects"] == 12
        assert rank(diverged, RankingSettings(precision=0.5)).summary()["suspects"] is None

    def test_force_uses_the_cut_anyway(self, diverged, trusted):
        audit = rank(diverged, RankingSettings(force=True))
        assert audit.verdict.level == "do not use"
        assert audit.suspects["sample_id"].tolist() == rank(trusted).suspects["sample_id"].tolist()
        assert len(clean_data(audit, "drop").ids) == N - 12
        assert audit.summary()["expected_wrong"] is None

    def test_exports_no_suspects_but_a_number_of_samples(self, diverged, tmp_path):
        with pytest.raises(VerdictError, match="set `top`"):
            write_export(rank(diverged), "csv", tmp_path / "none.csv")
        assert len(pd.read_csv(write_export(rank(diverged), "csv", tmp_path / "five.csv", ExportOptions(top=5)))) == 5

    def test_writes_a_report_without_numbers_and_no_cleaned_data(self, diverged):
        result = write_results(rank(diverged), None, diverged)
        assert not {"cleaned", "class_health.csv", "transition_matrix.csv"} & {path.name for path in result.files}
        assert not (diverged.path / "cleaned").exists()
        page = render_page(load_report_data(diverged.path)).decode()
        assert "Do not use this ranking" in page
        assert "the training diverged" in page
        assert "expected to be wrong" not in page
        assert '"sample_id":0' in page


@pytest.mark.parametrize("twin", ["ant ", "Ant", "ａｎｔ"])
def test_two_spellings_of_a_class_are_no_label_errors(twin, tmp_path, trusted):
    audit = rank(write_run(tmp_path / "run", class_names=("ant", twin, "cat")))
    assert audit.verdict.level == "use the order"
    assert audit.verdict.signals.alike_flagged == pytest.approx(4 / 12)
    assert "only in case or white space" in audit.verdict.findings[0].reason
    assert rank(trusted).verdict.signals.alike_flagged == 0
    assert rank(write_run(tmp_path / "versions", class_names=("1.1", "1.10", "2"))).verdict.level == "trust it"


def test_a_multi_label_run_that_has_not_learned_its_classes_is_not_trusted():
    learned = {"classes": 2, "epochs": 30, "steps": 120, "largest_class": 0.53, "halves_overlap": 0.96, "depth": 0.9}
    underfitted = {**learned, "accuracy": 0.905, "flagged": 0.04, "expected_wrong": 0.043, "expected_f1": 0.76}
    assert judge(Signals(rows=5391, **underfitted)).is_trusted
    verdict = judge(Signals(rows=5391, multi_label=True, **underfitted))
    assert verdict.level == "use the order"
    assert "`head`" in verdict.findings[0].remedy
    few_steps = {**underfitted, "steps": 10, "accuracy": 0.79, "flagged": 0.185, "expected_f1": 0.87}
    assert judge(Signals(rows=5391, multi_label=True, **few_steps)).findings[0].signal == "steps"
    few_flagged = {**underfitted, "accuracy": 0.961, "flagged": 0.01, "expected_f1": 0.81}  # .47 of those expected
    assert not judge(Signals(rows=45_000, multi_label=True, **few_flagged)).is_trusted
    assert judge(Signals(rows=45_000, multi_label=True, **few_flagged | {"flagged": 0.025})).is_trusted
    fitted = {**underfitted, "accuracy": 0.968, "flagged": 0.027, "expected_f1": 0.95}
    assert judge(Signals(rows=5391, multi_label=True, **fitted)).is_trusted


def test_no_signal_is_needed():
    assert judge(Signals(rows=9, classes=2, epochs=1)) == Verdict(signals=Signals(9, 2, 1))


def test_labels_of_which_none_can_be_judged_are_not_trusted():
    verdict = judge(Signals(rows=0, classes=0, epochs=1))
    assert verdict.level == "do not use"
    assert "no class has 5 recorded samples or more" in verdict.findings[0].reason


def test_one_judged_class_is_named_as_the_reason_and_not_a_divergence():
    verdict = judge(
        Signals(rows=7, classes=1, epochs=9, accuracy=1.0, last_loss=0.7, prior_loss=-0.0, largest_class=1.0)
    )
    assert verdict.level == "do not use"
    assert "only one class has 5 samples or more" in verdict.findings[0].reason
    assert not any("diverged" in finding.reason for finding in verdict.findings)


def test_a_verdict_has_the_level_of_its_worst_finding():
    signals = Signals(rows=100, classes=2, epochs=9, flagged=0.9, last_loss=100.0, prior_loss=0.7)
    verdict = judge(signals)
    assert verdict.level == "do not use"
    assert verdict.findings[0].level == verdict.level
    assert judge(replace(signals, flagged=0.1, last_loss=0.3)).is_trusted


@pytest.mark.parametrize(
    ("rows", "accuracy", "expected_f1", "reasons"),
    [
        (700, 0.75, 0.8, []),
        (500, 0.75, 0.8, []),
        (499, 0.75, 0.8, ["accuracy"]),
        (300, 0.75, 0.8, ["accuracy"]),
        (700, 0.75, 0.7, ["expected_f1"]),
        (5000, 0.65, 0.9, ["accuracy"]),
    ],
)
def test_overlapping_classes_are_judged_by_the_expected_f1_of_enough_held_out_samples(
    rows, accuracy, expected_f1, reasons
):
    """A tenth of the labels is flagged; the head contradicts 15 or 25 % beyond, as where classes overlap."""
    verdict = judge(
        Signals(
            rows=rows,
            classes=4,
            epochs=30,
            held_out=True,
            kappa=0.7,
            accuracy=accuracy,
            flagged=0.1,
            expected_wrong=0.1,
            expected_f1=expected_f1,
            halves_overlap=0.9,
        )
    )
    assert [finding.signal for finding in verdict.findings] == reasons
    assert verdict.level == ("use the order" if reasons else "trust it")
