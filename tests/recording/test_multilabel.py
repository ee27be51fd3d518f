"""Samples of any number of classes: what is recorded of each pair, what is found, written and refused."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import norm
from timm.optim import create_optimizer_v2
from torch.nn import functional
from torch.optim.lr_scheduler import OneCycleLR

from gwaudit import AlignmentRecorder, LabeledDataset, TrajectoryStore, load_dataset, train
from gwaudit.analysis.audit import Audit
from gwaudit.analysis.error_probability import sigmoid
from gwaudit.analysis.error_probability_multilabel import multilabel_log_odds_wrong
from gwaudit.analysis.evaluation import evaluate
from gwaudit.analysis.ranking import rank
from gwaudit.core.errors import InvalidEpochError, RecordingError, SettingsError, StoreError
from gwaudit.core.settings import RankingSettings, TrainingSettings
from gwaudit.data.inputs import features
from gwaudit.data.label_noise import add_multilabel_noise
from gwaudit.export.cleaned_data import clean_data
from gwaudit.export.formats import write_cleaned_data
from gwaudit.training.models import build_feature_head
from gwaudit.training.preprocessing import with_scaled_features
from helpers.command import gwaudit

NAMES = ("bird", "cat", "cow", "dog", "fish", "horse")
ONE_HEAD = {"dtype": "float32", "device": "cpu", "folds": 1, "head": "linear", "weight_decay": 5e-4}
SETTINGS = TrainingSettings(epochs=3, batch_size=64, **ONE_HEAD)


def seen(n=600, seed=0):
    """Features in which each class that is there leaves its direction: data set, with truth and planted errors."""
    random = np.random.default_rng(seed)
    directions = random.normal(size=(len(NAMES), 24))
    truth = (random.random((n, len(NAMES))) < np.linspace(0.4, 0.1, len(NAMES))).astype(np.int64)
    x = torch.from_numpy(truth @ directions + 0.8 * random.normal(size=(n, 24))).float()
    wrong = add_multilabel_noise(truth, missing=0.1, extra=0.1, seed=seed)
    return LabeledDataset("seen", features(x), wrong, NAMES, [f"s{i}" for i in range(n)], true_labels=truth)


def initial_head(dataset, settings):
    """As the trainer makes it; and the inputs as the trainer normalises them."""
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        model = build_feature_head(settings.head, n_features=dataset.input_shape[0], n_classes=len(NAMES))
    dataset = with_scaled_features(dataset)
    mean, std = (torch.from_numpy(values) for values in dataset.channel_statistics())
    return model, (dataset.read(torch.arange(len(dataset))) - mean) / std


def test_one_step_of_the_trainer_records_what_autograd_finds(tmp_path):
    dataset = seen(100)
    settings = TrainingSettings(epochs=1, batch_size=200, **ONE_HEAD)
    train(dataset, tmp_path / "run", settings)
    recorded = TrajectoryStore.open(tmp_path / "run").read_epoch(0).to_pandas()
    model, inputs = initial_head(dataset, settings)
    labels = torch.from_numpy(dataset.labels).float()
    weight = next(p for p in model.parameters() if p.ndim == 2)
    bias = next(p for p in model.parameters() if p.ndim == 1)
    for sample in range(0, 100, 7):
        for c in range(len(NAMES)):
            loss = functional.binary_cross_entropy_with_logits(
                model(inputs[sample : sample + 1])[0, c], labels[sample, c]
            )
            gradient = torch.cat([g[c].reshape(-1) for g in torch.autograd.grad(loss, [weight, bias])])
            row = recorded.iloc[sample * len(NAMES) + c]
            own = torch.cat([p[c].detach().reshape(-1) for p in (weight, bias)])
            expected = functional.cosine_similarity(-gradient, own, dim=0)
            assert row["alignment"] == pytest.approx(float(expected), abs=1e-5)
            assert row["alternative_alignment"] == -row["alignment"]
            assert row["loss"] == pytest.approx(float(loss), abs=1e-5)
            assert row["given_probability"] == pytest.approx(float((-loss).exp()), abs=1e-5)
            assert row["alternative_label"] == 1 - dataset.labels[sample, c]


@pytest.mark.parametrize(
    ("changes", "loss_of"),
    [
        ({}, lambda logits, y, w: functional.binary_cross_entropy_with_logits(logits, y, reduction="none")),
        (
            {"label_smoothing": 0.2},
            lambda logits, y, w: functional.binary_cross_entropy_with_logits(logits, 0.1 + 0.8 * y, reduction="none"),
        ),
        ({"balance": "loss"}, lambda logits, y, w: w * -functional.logsigmoid((2 * y - 1) * logits)),
    ],
    ids=["plain", "smoothed", "balanced"],
)
def test_a_plain_loop_of_ones_own_records_the_same(tmp_path, changes, loss_of):
    dataset = seen(200)
    settings = TrainingSettings(**{**SETTINGS.to_dict(), **changes})
    train(dataset, tmp_path / "built-in", settings)
    model, inputs = initial_head(dataset, settings)
    labels = torch.from_numpy(dataset.labels)
    present = labels.double().mean(0)
    weights = torch.where(labels == 1, 0.5 / present, 0.5 / (1 - present)).float()
    optimizer = create_optimizer_v2(model, opt="sgd", lr=0.2, weight_decay=5e-4, momentum=0.9)
    steps = 4 * settings.epochs
    schedule = OneCycleLR(
        optimizer, 0.2, total_steps=steps, pct_start=0.25, anneal_strategy="linear", cycle_momentum=False
    )
    store = TrajectoryStore.create(tmp_path / "own", given_labels=dataset.labels, class_names=NAMES)
    with store, AlignmentRecorder(model, store) as recorder:
        for epoch in range(settings.epochs):
            model.train()
            for ids in torch.randperm(200, generator=torch.Generator().manual_seed(epoch)).split(64):
                logits = model(inputs[ids])
                recorder.observe(ids, labels[ids].float())
                loss = loss_of(logits, labels[ids].float(), weights[ids]).sum(1).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                if schedule.last_epoch < steps:
                    schedule.step()
            recorder.end_epoch()
    for epoch in range(settings.epochs):
        own, built_in = (
            TrajectoryStore.open(tmp_path / name).read_epoch(epoch).to_pandas() for name in ("own", "built-in")
        )
        np.testing.assert_allclose(own["alignment"], built_in["alignment"], atol=2e-4)
        np.testing.assert_allclose(own["margin"], built_in["margin"], atol=2e-3)


class Interrupts:
    """Stops the training after its first epoch."""

    def on_step(self, report):
        pass

    def on_epoch(self, report):
        raise KeyboardInterrupt

    def on_final_pass(self, seconds):
        pass


def test_a_pair_keeps_its_identity_through_shuffling_and_resume(tmp_path):
    """One sample has only the fifth class, and twice as strongly as any; its label for it is missing."""
    dataset = seen(300)
    plain = dataset.labels.copy()
    x = dataset.inputs.values.clone()
    loud = dataset.true_labels[:, 4] == 1
    x[17] = 3 * x[loud].mean(0)
    plain[17] = 0
    dataset = LabeledDataset("seen", features(x), plain, NAMES, dataset.keys)
    train(dataset, tmp_path / "whole", SETTINGS)
    with pytest.raises(KeyboardInterrupt):
        train(dataset, tmp_path / "cut", SETTINGS, progress=Interrupts())
    train(dataset, tmp_path / "cut", SETTINGS, resume=True)
    whole, cut = (TrajectoryStore.open(tmp_path / name) for name in ("whole", "cut"))
    for epoch in range(3):
        assert whole.read_epoch(epoch).equals(cut.read_epoch(epoch))
    course = cut.trajectory(17, "fish")
    assert (course["alignment"] < -0.3).all()
    audit = rank(cut, RankingSettings(force=True))  # three epochs are too few to be trusted
    frame = audit.frame
    found = frame[(frame["sample_id"] == 17) & (frame["class_name"] == "fish")].iloc[0]
    assert list(found[["key", "given_name", "suggested_name"]]) == ["s17", "absent", "present"]
    assert found["suspect"]
    assert found["rank"] <= 20  # of 1,800
    assert audit.by_id("rank")[17 * 6 + 4] == found["rank"]


def test_evaluation_passes_and_blocks_that_cut_a_sample_in_two_keep_the_rows(tmp_path):
    dataset = seen(50)
    model, inputs = initial_head(dataset, SETTINGS)
    ids, labels = torch.arange(50), torch.from_numpy(dataset.labels)
    stores = [
        TrajectoryStore.create(tmp_path / str(rows), given_labels=dataset.labels, class_names=NAMES, block_rows=rows)
        for rows in (7, 1000)
    ]
    for store in stores:
        with store, AlignmentRecorder(model, store) as recorder:
            recorder.record_pass([(inputs[i], labels[i], i) for i in ids.flip(0).split(16)])
    small, large = (TrajectoryStore.open(store.path) for store in stores)
    assert small.n_blocks == 43
    assert small.read_epoch(0).equals(large.read_epoch(0))
    pd.testing.assert_frame_equal(small.trajectories(31), large.trajectories(31))
    course = small.trajectories(31).xs("cow", level="class")
    assert course["margin"].iloc[0] == pytest.approx(small.trajectory(31, "cow")["margin"].iloc[0])
    signs = 2 * labels[31] - 1
    with torch.no_grad():
        expected = (signs * model.eval()(inputs[31:32])[0]).numpy()
    np.testing.assert_allclose(small.trajectories(31)["margin"], expected, rtol=1e-5)
    assert small.keys() == [str(i) for i in range(50)]
    small.verify()


def test_labels_that_are_no_matrix_of_0_and_1_are_refused(tmp_path):
    dataset = seen(50)
    model, inputs = initial_head(dataset, SETTINGS)
    labels = torch.from_numpy(dataset.labels)
    other = dataset.labels.copy()
    other[3, 1] = 2
    with pytest.raises(InvalidEpochError, match="given label 2 of sample 3 and class 1"):
        TrajectoryStore.create(tmp_path / "bad", given_labels=other, class_names=NAMES)
    store = TrajectoryStore.create(tmp_path / "run", given_labels=dataset.labels, class_names=NAMES)
    with store, AlignmentRecorder(model, store) as recorder:
        for wrong, message in ((labels[:5, :3], "one column per class"), (labels[:5] * 0.9, "smoothed or mixed")):
            model(inputs[:5])
            with pytest.raises(RecordingError, match=message):
                recorder.observe(torch.arange(5), wrong)
        model(inputs[:5])
        recorder.observe(torch.arange(5), 1 - labels[:5])
        with pytest.raises(RecordingError, match="not the run's given labels, the first at sample 0"):
            recorder.end_epoch()
    with pytest.raises(StoreError, match="bird, cat"):
        store.trajectory(3)


def test_planted_errors_are_found_far_above_chance(tmp_path):
    dataset = seen(1500)
    train(dataset, tmp_path / "run", TrainingSettings(epochs=12, batch_size=64, device="cpu"))
    audit = rank(TrajectoryStore.open(tmp_path / "run"))
    found = evaluate(audit, dataset.true_labels)
    wrong = (dataset.labels != dataset.true_labels).mean()
    assert found.average_precision > 8 * wrong
    assert found.f1 > 0.9 * found.best_f1
    assert found.missing.average_precision > 0.6
    assert found.extra.average_precision > 0.6
    assert found.missing.n_wrong + found.extra.n_wrong == found.n_wrong
    audit.save(tmp_path)
    pd.testing.assert_frame_equal(Audit.load(tmp_path).frame, audit.frame)
    assert Audit.load(tmp_path).class_names == NAMES
    assert Audit.load(tmp_path).is_multi_label


def test_the_odds_of_pairs_are_those_of_the_mixture_they_were_drawn_from():
    """Rare classes far below zero: 100,000 pairs of four classes, 2 to 40 % present, a tenth of these missing."""
    random = np.random.default_rng(0)
    n, shares = 25_000, np.array([0.4, 0.2, 0.1, 0.02])
    truth = random.random((n, 4)) < shares
    given = truth & (random.random((n, 4)) >= 0.1)
    present, absent = np.array([3.0, 2.0, 1.0, -1.0]), np.array([-3.0, -4.0, -5.0, -6.0])
    presence = np.where(truth, present, absent) + random.normal(size=(n, 4))
    evidence = np.where(given, -presence, presence)
    probability = sigmoid(multilabel_log_odds_wrong(evidence.ravel(), given.ravel().astype(int), 4)).reshape(n, 4)
    missing = shares * 0.1
    exact = missing * norm.pdf(presence - present)
    exact = exact / (exact + (1 - shares) * norm.pdf(presence - absent))
    assert np.abs(probability - exact)[~given].mean() < 0.002
    assert probability[~given].sum() == pytest.approx((truth & ~given).sum(), rel=0.05)
    assert probability[given].sum() < 0.002 * given.sum()


def test_pairs_without_any_error_or_any_evidence_are_left_alone():
    random = np.random.default_rng(0)
    given = random.random(6000) < 0.2
    evidence = -3 + random.normal(size=6000)
    assert sigmoid(multilabel_log_odds_wrong(evidence, given.astype(int), 6)).sum() < 10
    assert (sigmoid(multilabel_log_odds_wrong(np.zeros(60), given[:60].astype(int), 6)) < 0.5).all()
    evidence[7] = np.nan
    log_odds = multilabel_log_odds_wrong(evidence, given.astype(int), 6)
    assert np.flatnonzero(np.isnan(log_odds)).tolist() == [7]


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """A table with separated tags, audited by the command line."""
    folder = tmp_path_factory.mktemp("audited")
    dataset = seen(400)
    frame = pd.DataFrame(dataset.inputs.values.numpy(), columns=[f"f{i}" for i in range(24)])
    frame["tags"] = ["|".join(np.array(NAMES)[row == 1]) for row in dataset.labels]
    frame["id"] = dataset.keys
    frame.to_csv(folder / "table.csv", index=False)
    np.save(folder / "truth.npy", dataset.true_labels)
    source = ["audit", folder / "table.csv", "--label-column", "tags", "--label-separator", "|"]
    done = gwaudit(*source, "--epochs", 8, "--batch-size", 64, "-o", folder / "run")
    assert done.returncode == 0, done.stderr
    return folder, dataset, source, done


def test_the_suspects_name_sample_and_class(audited):
    folder, dataset, _, done = audited
    suspects = pd.read_csv(folder / "run" / "suspects.csv", encoding="utf-8-sig")
    assert {"key", "class_name", "given_name", "suggested_name", "probability_wrong", "log_odds_wrong"} <= set(suspects)
    assert (suspects["given_name"] != suspects["suggested_name"]).all()
    for row in suspects.head(20).to_dict("records"):
        given = dataset.labels[int(row["key"][1:]), NAMES.index(row["class_name"])]
        assert row["given_name"] == ("absent", "present")[given]
    assert "seem to be missing" in done.stdout
    assert "in" in done.stdout


def test_evaluation_against_a_matrix_says_how_many_of_each_kind_are_found(audited):
    folder, dataset, _, _ = audited
    done = gwaudit("evaluate", folder / "run", "--truth", folder / "truth.npy", "--json")
    found = json.loads(done.stdout)[str(folder / "run")]
    assert found["n"] == 400 * 6
    assert found["n_wrong"] == (dataset.labels != dataset.true_labels).sum()
    assert found["average_precision"] > 0.4
    assert found["missing"]["n"] + found["extra"]["n"] == found["n"]


def test_class_health_counts_missing_and_extra_labels(audited):
    folder, dataset, _, _ = audited
    audit = Audit.load(folder / "run")
    done = json.loads(gwaudit("noise", folder / "run", "--json").stdout)
    health = pd.DataFrame(done["classes"]).set_index("class")
    assert health.loc[list(NAMES), "given"].tolist() == dataset.labels.sum(0).tolist()
    frame = audit.frame[audit.frame["class_name"] == "cat"]
    by_given = frame.groupby("given_label")["probability_wrong"].sum()
    assert health.loc["cat", "expected_missing"] == pytest.approx(by_given[0], rel=1e-4)
    assert health.loc["cat", "expected_wrong"] == pytest.approx(by_given[1], rel=1e-4)
    assert "cat" in gwaudit("noise", folder / "run").stdout
    assert not (folder / "run" / "transition_matrix.csv").exists()


def test_a_sample_is_shown_class_by_class_and_one_class_over_the_epochs(audited):
    folder, _, _, _ = audited
    shown = gwaudit("show", folder / "run", "--sample", "s7").stdout
    assert all(name in shown for name in NAMES)
    assert "s7" in shown
    shown = gwaudit("show", folder / "run", "--sample", "s7", "--class", "dog").stdout
    assert "given dog" in shown
    assert "400 samples, 6 classes" in gwaudit("show", folder / "run").stdout
    done = gwaudit("show", folder / "run", "--sample", "s7", "--class", "elk")
    assert done.returncode == 2
    assert "give one of bird" in done.stderr
    every = json.loads(gwaudit("show", folder / "run", "--sample", "s7", "--json").stdout)["trajectory"]
    assert len(every) == 6 * 8


def test_cleaned_label_sets_are_read_back_as_they_were_meant(audited):
    folder, dataset, _, _ = audited
    audit = Audit.load(folder / "run")
    suspect = audit.by_id("suspect").astype(bool).reshape(400, 6)
    relabelled = np.where(suspect, 1 - dataset.labels, dataset.labels)
    kept = np.flatnonzero(~suspect.any(1))
    export = ["export", folder / "run", "--to", "hf", "--output", folder / "p", "--action", "relabel"]
    assert gwaudit(*export).returncode == 0
    again = load_dataset(folder / "p")
    assert again.class_names == NAMES
    np.testing.assert_array_equal(again.labels, relabelled)
    np.testing.assert_array_equal(np.load(folder / "run" / "cleaned" / "drop" / "ids.npy"), kept)
    np.testing.assert_array_equal(np.load(folder / "run" / "cleaned" / "drop" / "labels.npy"), dataset.labels[kept])
    table = pd.read_csv(folder / "run" / "cleaned" / "relabel" / "split.csv", encoding="utf-8-sig", dtype=str)
    sets = [set(text.split("|")) - {""} for text in table["labels"].fillna("")]
    assert sets == [set(np.array(NAMES)[row == 1]) for row in relabelled]
    cleaned = clean_data(audit, "relabel")
    assert cleaned.keys[:3].to_pylist() == ["s0", "s1", "s2"]
    assert write_cleaned_data(cleaned, folder / "ids").is_dir()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--refine", 1), "leave out --refine and --preset"),
        (("--balance", "sampling"), "--balance loss"),
        (("--label-separator", ""), "is empty: give the text between the classes"),
    ],
)
def test_what_has_no_meaning_for_several_labels_is_refused_with_a_remedy(audited, tmp_path, options, message):
    _, _, source, _ = audited
    done = gwaudit(*source, "--epochs", 2, "-o", tmp_path / "run", *options)
    assert done.returncode == 2
    assert re.search(message, done.stderr)
    assert not (tmp_path / "run" / "commits").exists()


def test_folders_a_class_and_detectors_side_by_side_are_refused(audited, tmp_path):
    folder, dataset, _, _ = audited
    done = gwaudit("export", folder / "run", "--to", "imagefolder", "--output", tmp_path / "tree")
    assert done.returncode == 2
    assert "export them as csv, ids, hf" in done.stderr
    from gwaudit.benchmarks.detection.benchmark import detection

    with pytest.raises(SettingsError, match="benchmark multilabel"):
        detection(dataset, tmp_path, ["clean"], SETTINGS)


def test_the_benchmark_finds_what_it_planted(tmp_path):
    from gwaudit.benchmarks.multilabel import audit_under_noise, composed_digits, markdown

    settings = TrainingSettings(epochs=8, batch_size=64, learning_rate=0.1, head="mlp", device="cpu")
    rows = audit_under_noise(composed_digits(800), tmp_path, settings, rates=[(0.1, 0.1)])
    assert rows[0].n_wrong > 200
    assert rows[0].average_precision > 0.3
    assert "| composed digits | 10% | 10% | 0 |" in markdown(rows)


def test_what_takes_one_label_a_sample_refuses_several(tmp_path):
    random = np.random.default_rng(0)
    x = random.normal(size=(120, 6)).astype(np.float32)
    np.savez(tmp_path / "many.npz", x=x, y=(x[:, :3] > 0).astype(int))
    run = tmp_path / "run"
    assert gwaudit("audit", tmp_path / "many.npz", "--output", run, "--epochs", "2").returncode == 0
    assert b"absent" in (run / "report.html").read_bytes()
    done = gwaudit("export", run, "--to", "label-studio", "--output", tmp_path / "tasks")
    assert done.returncode == 2
    assert "multi-label" in done.stderr
