"""The stopping benchmark on digits: measured, resumed, extended; choices, correlations, verdicts from its JSON."""

import dataclasses
import json
import math
import shutil

import numpy as np
import pytest

from gwaudit.benchmarks.stopping.analysis import as_frame, correlations, stopping_rows, verdicts
from gwaudit.benchmarks.stopping.benchmark import FULL, read_measurements
from gwaudit.benchmarks.stopping.figures import FIGURES
from gwaudit.benchmarks.stopping.memorisation import memorisation
from gwaudit.benchmarks.stopping.trajectory_groups import band, quantiles, rank_correlation, turning, turning_epochs
from gwaudit.core.errors import StoreDamagedError
from gwaudit.store.store import TrajectoryStore
from helpers.command import gwaudit
from helpers.making import make_cifar_n, make_parquet, png

SMALL = ["--epochs", "5", "--samples", "250", "--test-samples", "120", "--batch-size", "50", "--disparity-batch", "20"]
RULES = [
    "gwa-scratch", "gwa-finetune", "dispersion", "floored-gwa", "bounded-gwa", "quantile-gwa", "labelwave",
    "gradient-disparity", "validation-10", "validation-1", "last",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stopping") / "out"
    done = gwaudit(
        "benchmark",
        "stopping",
        "digits",
        "--label-variants",
        "symmetric-40",
        "--memorisation",
        "2",
        *SMALL,
        "-o",
        folder,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == (folder / "stopping.md").read_text().strip()
    return folder


@pytest.fixture
def measured(folder):
    return read_measurements(folder)[0]


def test_every_rule_has_its_choice_and_what_it_costs(measured):
    rows = {row.rule: row for row in stopping_rows(measured)}
    assert list(rows) == RULES
    test = measured.runs[FULL]["test_accuracy"]
    for row in rows.values():
        run = f"held-out-{row.rule.removeprefix('validation-')}" if row.rule.startswith("validation") else FULL
        assert row.test == measured.runs[run]["test_accuracy"][row.epoch - 1]
        assert row.online_test == measured.runs[run]["test_accuracy"][row.online_epoch - 1]
        assert row.corrupted == measured.runs[run]["corrupted_accuracy"][row.epoch - 1]
        assert row.gap == pytest.approx(max(test) - row.test)
        assert row.online_epoch <= row.stopped <= 5
    assert [rows[name].withheld for name in ("gwa-scratch", "validation-10", "validation-1")] == [0, 0.1, 2 / 250]
    assert 0 < rows["gwa-scratch"].overhead < rows["gradient-disparity"].overhead
    assert rows["gradient-disparity"].memory == 5 * 4 * measured.costs["parameters"]
    assert rows["last"].epoch == 5


def test_the_measurement_tells_the_store_and_the_test_sets(folder, measured):
    assert (measured.samples, measured.test_samples, measured.epochs) == (250, 120, 5)
    assert measured.wrong_share == pytest.approx(0.4, abs=0.08)
    assert set(measured.runs) == {FULL, "held-out-10", "held-out-1"}
    assert {f"corrupted_accuracy_{severity}" for severity in range(1, 6)} <= set(measured.runs[FULL])
    assert "imagecorruptions" in measured.corrupted
    with TrajectoryStore.open(folder / "runs" / "symmetric-40" / "resnet9_16" / "seed-0" / FULL) as store:
        assert store.alignment == "weight", "the form of the papers whose claims are checked"
        alignment = store.read_epoch(4, ["alignment"])["alignment"].to_numpy()
        assert measured.runs[FULL]["gwa"][4] == pytest.approx(store.commit(4).metrics["gwa"], abs=1e-5)
    assert measured.phases["last"]["all"][50] == pytest.approx(np.median(alignment), abs=1e-4)
    both = measured.trajectories
    mean = measured.wrong_share * both["mislabelled"]["mean"][4] + (1 - measured.wrong_share) * both["rest"]["mean"][4]
    assert mean == pytest.approx(alignment.mean(), abs=1e-4)
    assert set(measured.classes) == set("0123456789")
    assert [found["signal"] for found in measured.agreement] == ["directional_alignment", "dispersion", "gwa"]


def test_held_out_samples_are_not_trained_on(folder):
    runs = folder / "runs" / "symmetric-40" / "resnet9_16" / "seed-0"
    counts = {}
    for name in (FULL, "held-out-10", "held-out-1"):
        with TrajectoryStore.open(runs / name) as store:
            counts[name] = store.n_samples
    assert counts == {FULL: 250, "held-out-10": 225, "held-out-1": 248}


def test_figures_and_tables_are_made_again_from_the_json_alone(folder, tmp_path):
    assert {path.name for path in folder.glob("*.png")} == set(FIGURES)
    shutil.copy(folder / "stopping.json", tmp_path)
    done = gwaudit("benchmark", "stopping-report", tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "stopping.md").read_text() == (folder / "stopping.md").read_text()
    assert {path.name for path in tmp_path.glob("*.png")} == set(FIGURES)
    rows = json.loads(gwaudit("benchmark", "stopping-report", tmp_path, "--json").stdout)
    assert [row["rule"] for row in rows] == RULES


def test_a_second_call_trains_nothing_again_and_adds_label_variants(folder, measured, tmp_path):
    shutil.copytree(folder, tmp_path / "out")
    runs = tmp_path / "out" / "runs" / "symmetric-40"
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("commits/*.json")}
    done = gwaudit("benchmark", "stopping", "digits", "--label-variants", "symmetric-40", "--held-out", "0.1,0.01",
                   "--memorisation", "2", *SMALL, "-o", tmp_path / "out")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("commits/*.json")} == before
    done = gwaudit("benchmark", "stopping", "digits", "--label-variants", "clean", "--held-out", "", "--corrupted",
                   "none", *SMALL, "-o", tmp_path / "out")  # fmt: skip
    assert done.returncode == 0, done.stderr
    again, clean = read_measurements(tmp_path / "out")
    assert again.runs == measured.runs
    assert (clean.label_variant, clean.wrong_share, set(clean.runs)) == ("clean", 0, {FULL})
    assert "mislabelled" not in clean.trajectories
    assert math.isnan(as_frame([clean])["corrupted"].iloc[0])


def test_a_run_that_was_cut_short_goes_on_and_ends_the_same(folder, measured, tmp_path):
    shutil.copytree(folder, tmp_path / "out")
    run = tmp_path / "out" / "runs" / "symmetric-40" / "resnet9_16" / "seed-0" / "held-out-10"
    shutil.rmtree(run)
    done = gwaudit(
        "benchmark", "stopping", "digits", "--label-variants", "symmetric-40", *SMALL, "-o", tmp_path / "out"
    )
    assert done.returncode == 0, done.stderr
    again = read_measurements(tmp_path / "out")[0]
    timed = [name for name in again.runs[FULL] if "seconds" in name]
    for name, signals in measured.runs.items():
        assert {k: v for k, v in again.runs[name].items() if k not in timed and "seconds" not in k} == {
            k: v for k, v in signals.items() if "seconds" not in k
        }


def with_curves(measured, **curves):
    """Ten epochs drawn by hand; the times are the measured ones."""
    times = {name: values for name, values in measured.runs[FULL].items() if "seconds" in name}
    return dataclasses.replace(measured, runs={**measured.runs, FULL: {**times, **curves}}, epochs=10)


def test_correlations_are_told_by_phase(measured):
    up, down = [0.1, 0.2, 0.3, 0.4, 0.5], [0.45, 0.4, 0.35, 0.3, 0.25]
    made = with_curves(
        measured, test_accuracy=up + down, gwa=[5, 4, 3, 2, 6, 5, 4, 3, 2, 1], directional_alignment=list(range(10))
    )
    found = correlations(made)
    assert found["GWA"]["overfitting"] > 0.99
    assert found["E"]["early"] == pytest.approx(1)
    assert found["E"]["overfitting"] < -0.99
    assert found["E"]["whole"] == pytest.approx(np.corrcoef(range(10), up + down)[0, 1])
    flat = with_curves(measured, test_accuracy=list(range(10)), directional_alignment=list(range(10)))
    assert math.isnan(correlations(flat)["E"]["overfitting"]), "one epoch is no phase"


def test_verdicts_say_where_a_claim_does_not_hold(measured):
    low, high = [-0.1] * 10, [0.1] * 10
    bands = {name: {"mean": mean, "low": low, "high": high} for name, mean in (("mislabelled", low), ("rest", high))}
    others = (
        "floored_gwa", "bounded_gwa", "quantile_gwa", "accuracy_on_given", "dispersion", "directional_alignment",
        "prediction_changes", "gradient_norm", "gradient_disparity",
    )  # fmt: skip
    curves = {name: list(range(10)) for name in others}
    peak = [0.1, 0.2, 0.3, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0]
    good = with_curves(measured, **curves, test_accuracy=peak, corrupted_accuracy=peak, gwa=peak)
    good = dataclasses.replace(good, trajectories=bands)
    answers = {found.claim.split(" (")[0]: found.held for found in verdicts(good)}
    assert answers["GWA chooses an epoch within half a point of the best"] is True
    assert answers["GWA rises and falls with test accuracy while overfitting"] is True
    assert answers["The mean alignment of mislabelled samples stays below zero"] is True
    bad = with_curves(good, **curves, test_accuracy=peak, corrupted_accuracy=peak, gwa=peak[::-1])
    answers = {found.claim.split(" (")[0]: found.held for found in verdicts(bad)}
    assert answers["GWA chooses an epoch within half a point of the best"] is False
    assert answers["GWA rises and falls with test accuracy while overfitting"] is False


def test_memorised_is_who_is_right_only_when_trained_on():
    trained = np.array([[1, 0, 1, 1], [0, 1, 1, 0], [1, 1, 1, 0]], bool)
    right = np.array([[1, 1, 1, 1], [0, 1, 1, 1], [1, 1, 0, 0]], bool)
    scores = memorisation(trained, right)
    assert scores[:2].tolist() == [1.0, 0.0]
    assert math.isnan(scores[2])
    assert scores[3] == 0.5


def test_groups_are_reduced_to_bands_quantiles_and_turns():
    alignment = np.array([[-1, 1, np.nan], [1, -1, 1], [1, -1, 1]], np.float32)
    assert turning_epochs(alignment).tolist() == [1, 3, 1]
    assert turning(alignment) == {"epoch": 1.0, "share": pytest.approx(2 / 3)}
    assert turning(-np.ones((2, 4), np.float32)) == {"epoch": None, "share": 0.0}
    assert band(alignment)["mean"] == [0, pytest.approx(1 / 3, abs=1e-4), pytest.approx(1 / 3, abs=1e-4)]
    assert quantiles(alignment[0])[::50] == [-1, 0, 1]
    assert rank_correlation(np.array([1.0, 2, 9]), np.array([3.0, 4, 5])) == pytest.approx(1)
    assert rank_correlation(np.array([1.0, 1, 1]), np.array([3.0, 4, 5])) is None


def test_a_split_of_its_own_several_models_and_cifar_10_c_are_taken(tmp_path):
    truth = np.arange(120) % 3
    names = ["a", "b", "c"]
    contents = [png(int(label), (32, 32)) for label in truth]
    make_parquet(tmp_path / "data" / "train-0.parquet", contents, truth, names)
    make_parquet(tmp_path / "data" / "test-0.parquet", contents[:15], truth[:15], names)
    labels = make_cifar_n(
        tmp_path / "human.pt", truth, worse_label=np.where(np.arange(120) % 5 == 0, (truth + 1) % 3, truth)
    )
    from gwaudit.benchmarks.stopping.corrupted import CORRUPTIONS

    (tmp_path / "c").mkdir()
    np.save(tmp_path / "c" / "labels.npy", np.tile(truth[:15], 5))
    for name in CORRUPTIONS:
        np.save(tmp_path / "c" / f"{name}.npy", np.zeros((75, 32, 32, 3), np.uint8))
    done = gwaudit("benchmark", "stopping", tmp_path / "data", "--labels", labels, "--label-variants", "worse_label",
                   "--models", "resnet9_16,vit_mini_patch4_32", "--optimizer", "adamw", "--learning-rate", "0.001",
                   "--corrupted", tmp_path / "c", "--held-out", "0.2", "--epochs", "3", "--samples", "0",
                   "--batch-size", "40", "--disparity-batch", "0", "-o", tmp_path / "out")  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = read_measurements(tmp_path / "out")
    assert [(m.label_variant, m.model, m.test_samples, m.corrupted) for m in found] == [
        ("worse_label", "resnet9_16", 15, "CIFAR-10-C"),
        ("worse_label", "vit_mini_patch4_32", 15, "CIFAR-10-C"),
    ]
    assert found[0].wrong_share == pytest.approx(0.2)
    assert "gradient-disparity" not in as_frame(found)["rule"].tolist()


@pytest.mark.parametrize(("options", "message"), [
    (["--label-variants", "best_label"], "unknown label variant"),
    (["--label-variants", "instance-20"], "needs a training of its own"),
    (["--models", "resnet9_15"], "unknown model"),
    (["--held-out", "0.9"], "above 0 and at most 0.5"),
    (["--held-out", "a"], "shares separated by commas"),
    (["--memorisation", "1"], "at least 2, or 0"),
    (["--epochs", "2"], "at least 3"),
    (["--patience", "0"], "at least 1 epoch"),
    (["--checkpoint", "x.pt", "--models", "resnet9_16,resnet20_gn"], "of one network"),
    (["--samples", "-1"], "must not be negative"),
    (["--models", ","], "names nothing"),
    (["--test", "digits"], "no split 'test'"),
    (["--corrupted", "nowhere"], "labels.npy cannot be read"),
])  # fmt: skip
def test_what_cannot_work_is_refused_before_anything_is_trained(options, message, tmp_path):
    done = gwaudit("benchmark", "stopping", "digits", "-o", tmp_path / "out", *options)
    assert done.returncode == 2
    assert message in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_broken_or_missing_json_is_told(tmp_path):
    assert "holds no stopping.json" in gwaudit("benchmark", "stopping-report", tmp_path).stderr
    (tmp_path / "stopping.json").write_text('{"measurements": [{"label_variant": 1}]}')
    with pytest.raises(StoreDamagedError, match="is broken"):
        read_measurements(tmp_path)
