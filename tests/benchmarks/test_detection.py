"""The detection benchmark on digits: every method on every variant, resumed, extended, refused before training."""

import io
import json
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits as sklearn_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from gwaudit.analysis.detectors import DETECTORS, Detection, Detector
from gwaudit.analysis.latent_scores import nearest_neighbours
from gwaudit.benchmarks.detection import device_neighbours
from gwaudit.benchmarks.detection.benchmark import as_frame, markdown, read_rows
from gwaudit.benchmarks.detection.logistic_regression import cross_validated_probabilities
from gwaudit.benchmarks.label_variants import IMBALANCE, instance_noise, make_label_variant
from gwaudit.core.errors import DataError
from gwaudit.core.json import sealed
from gwaudit.core.presets import PRESETS, RefinementSettings
from gwaudit.core.settings import TrainingSettings
from gwaudit.data.feature_scaling import scale_matrix
from gwaudit.data.loading import load_dataset
from gwaudit.store.store import TrajectoryStore
from gwaudit.training.models import build_model
from helpers.command import FAST, gwaudit
from helpers.making import few_digits_file, make_cifar_n, make_parquet, png

SETS = "clean,symmetric-20,instance-30,long-tail-10,worse_label"


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory):
    folder = tmp_path_factory.mktemp("detection")
    digits = few_digits_file(folder / "digits.npz", 900)
    truth = load_dataset(digits).labels
    noisy = np.where(np.arange(len(truth)) % 4 == 0, (truth + 3) % 10, truth)
    labels = make_cifar_n(folder / "human.pt", truth, worse_label=noisy)
    training = [*FAST, "--batch-size", "64"]
    arguments = ["benchmark", "detection", digits, "--labels", labels, "-o", folder / "out", *training]
    done = gwaudit(*arguments, "--label-variants", SETS)
    assert done.returncode == 0, done.stderr
    return folder / "out", arguments, done


@pytest.fixture
def rows(benchmark):
    return as_frame(read_rows(benchmark[0])).set_index(["label_variant", "method"])


def test_every_method_stands_beside_every_label_variant_with_its_cost(benchmark, rows):
    folder, _, done = benchmark
    own = [f"gwaudit_{name}" for name, detector in DETECTORS.items() if detector.needs == "statistics"]
    others = [name for name, detector in DETECTORS.items() if detector.needs == "trajectories"]
    methods = [*own, *others, "gwaudit_alignment_all_epochs"]
    assert rows.index.tolist() == [(name, method) for name in SETS.split(",") for method in methods]
    assert np.isnan(rows.loc[("clean", "gwaudit_combined"), "auroc"])
    assert rows.loc[("symmetric-20", "gwaudit_combined"), "auroc"] > 0.9
    wrong = rows["n_wrong"] / rows["n"]
    assert wrong["symmetric-20", "aum"] == pytest.approx(0.2, abs=1e-3)
    assert wrong["instance-30", "aum"] == pytest.approx(0.3, abs=0.05)
    assert wrong["worse_label", "aum"] == pytest.approx(0.25, abs=1e-3)
    assert np.isnan(rows.loc[("worse_label", "mean_loss"), "f1"])
    assert rows.loc[("worse_label", "ctrl"), "f1"] > 0.5
    assert (rows["seconds"] > 0).all()
    assert (rows["samples_trained"] == rows["n"] * rows["epochs"]).all()
    # The multiplications and additions of one training step, by hand for a network of this kind: at least the head's.
    assert (rows["training_flops"] > rows["samples_trained"] * 6 * 128 * 10).all()
    assert done.stdout.strip() == (folder / "detection.md").read_text().strip()
    assert {path.name for path in folder.glob("*.png")} == {
        "precision-recall.png",
        "cost-quality.png",
        "published.png",
    }


def test_curves_fall_and_expected_counts_stand_beside_the_found(benchmark):
    rows = {(row.label_variant, row.method): row for row in read_rows(benchmark[0])}
    row = rows["worse_label", "gwaudit_combined"]
    assert len(row.curve) == 101
    assert (np.diff(row.curve) <= 0).all()
    assert row.curve[-1] >= row.quality["n_wrong"] / row.quality["n"] - 1e-4
    assert [count.first for count in row.expected_counts] == sorted({500, row.quality["n_suspects"]})
    assert all(0 <= count.found <= count.first for count in row.expected_counts)
    assert rows["clean", "aum"].curve == ()


def test_what_is_done_stays_done_also_without_its_runs(benchmark, tmp_path):
    folder, arguments, done = benchmark
    again = gwaudit(*arguments, "--label-variants", SETS)
    assert again.stdout == done.stdout
    assert "epoch" not in again.stderr, "nothing is trained again"
    shutil.copytree(folder, tmp_path / "out", ignore=shutil.ignore_patterns("runs"))
    arguments = [tmp_path / "out" if argument == folder else argument for argument in arguments]
    more = gwaudit(*arguments, "--label-variants", "asymmetric-10", "--seeds", "3")
    rows = read_rows(tmp_path / "out")
    assert rows[: len(read_rows(folder))] == read_rows(folder)
    assert {(row.label_variant, row.seed) for row in rows[len(read_rows(folder)) :]} == {("asymmetric-10", 3)}
    assert "| worse_label | aum |" in more.stdout


def test_an_epoch_during_which_the_machine_slept_is_no_cost(benchmark, tmp_path):
    folder, arguments, _ = benchmark
    shutil.copytree(folder, tmp_path / "out")
    (commit,) = (tmp_path / "out" / "runs" / "symmetric-20").glob("seed-0/plain/commits/epoch-00001.json")
    facts = json.loads(commit.read_text())
    facts["metrics"]["seconds"] = 28_800.0
    commit.write_text(json.dumps(sealed(facts)))
    arguments = [tmp_path / "out" if argument == folder else argument for argument in arguments]
    done = gwaudit(*arguments, "--label-variants", "symmetric-20")
    assert done.returncode == 0, done.stderr
    rows = [row for row in read_rows(tmp_path / "out") if row.label_variant == "symmetric-20"]
    assert all(0 < row.seconds < 600 for row in rows)


def test_what_was_measured_of_a_label_variant_stands_together_whenever_that_was(benchmark):
    first, *rest = read_rows(benchmark[0])
    sets = [line.split(" | ")[0] for line in markdown([*rest, first]).splitlines()[2:]]
    assert sets == sorted(sets, key=sets.index)
    assert len(sets) > 10


def test_a_detector_of_ones_own_is_measured_beside_the_others(benchmark, tmp_path, monkeypatch):
    folder, arguments, _ = benchmark
    shutil.copytree(folder, tmp_path / "out")
    monkeypatch.setitem(DETECTORS, "largest_loss", Detector(lambda run: Detection(run["loss"].max(0))))
    arguments = [tmp_path / "out" if argument == folder else argument for argument in arguments]
    done = gwaudit(*arguments, "--label-variants", "symmetric-20")
    assert done.returncode == 0, done.stderr
    rows = as_frame(read_rows(tmp_path / "out")).set_index(["label_variant", "method"])
    assert rows.loc[("symmetric-20", "largest_loss"), "auroc"] > 0.7


def test_seeds_are_averaged_with_their_spread(benchmark):
    _, arguments, _ = benchmark
    done = gwaudit(*arguments, "--label-variants", "symmetric-20", "--seeds", "0,1")
    line = next(line for line in done.stdout.splitlines() if line.startswith("| symmetric-20 | aum |"))
    assert "±" in line


def test_folds_and_threshold_samples_have_trainings_of_their_own(benchmark):
    _, arguments, _ = benchmark
    done = gwaudit(*arguments, "--label-variants", "worse_label", "--trainings", "folds,threshold")
    assert done.returncode == 0, done.stderr
    rows = as_frame(read_rows(benchmark[0])).set_index(["label_variant", "method"]).loc["worse_label"]
    plain = rows.loc["aum"]
    for method, times in {
        "cleanlab_self_confidence": 4,
        "cleanlab_normalized_margin": 4,
        "aum_threshold_samples": 2,
    }.items():
        row = rows.loc[method]
        assert row["auroc"] > 0.8
        assert row["f1"] > 0.5
        assert row["samples_trained"] == pytest.approx(times * plain["samples_trained"], rel=0.01)
    entropy = rows.loc["signed_entropy_threshold_samples"]
    assert entropy["auroc"] > 0.6
    assert 0 < entropy["n_suspects"] < entropy["n"]


def test_a_sample_is_scored_by_when_it_is_forgotten_while_the_other_half_is_learned(small_images, tmp_path):
    done = gwaudit(
        "benchmark", "detection", small_images / "images", "--label-variants", "symmetric-10",
        "--trainings", "second-split", "--epochs", "4", "--batch-size", "16", "-o", tmp_path / "out",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (row,) = read_rows(tmp_path / "out")
    assert row.method == "second_split_forgetting"
    assert row.samples_trained == 2 * 120 * 4
    folder, order = tmp_path / "out/runs/symmetric-10/seed-0", np.random.default_rng(0).permutation(120)
    score, wrong = [], []
    for half, ids in enumerate((np.sort(order[:60]), np.sort(order[60:]))):
        with TrajectoryStore.open(folder / f"second-split-{half}-first") as store:
            given = store.given_labels()
        predictions = [np.load(path) for path in sorted(folder.glob(f"second-split-{half}-predictions/epoch-*.npy"))]
        for sample, label in enumerate(given):
            right = [epoch for epoch in range(4) if predictions[epoch][sample] == label]
            score.append(-(max(right) + 1 if right else 0))
        wrong.extend(given != ids % 2)
    assert sum(wrong) == 12
    assert row.quality["auroc"] == pytest.approx(roc_auc_score(wrong, score))


def test_a_peer_that_is_not_installed_says_so_in_its_row(benchmark, monkeypatch):
    folder, arguments, _ = benchmark
    monkeypatch.setitem(sys.modules, "cleanlab.filter", None)
    done = gwaudit(*arguments, "--label-variants", "clean", "--trainings", "folds,plain")
    assert done.returncode == 0, done.stderr
    row = next(row for row in read_rows(folder) if row.training == "folds" and row.label_variant == "clean")
    assert row.quality is None
    assert "not installed: pip install" in row.note
    assert f"| clean | cleanlab | {row.note} |" in done.stdout


def test_a_broken_table_of_results_is_not_overwritten(benchmark, tmp_path):
    _, arguments, _ = benchmark
    (tmp_path / "detection.json").write_text('{"rows": [{}]}')
    folder = arguments[arguments.index("-o") + 1]
    arguments = [tmp_path if argument == folder else argument for argument in arguments]
    done = gwaudit(*arguments, "--label-variants", "clean")
    assert done.returncode == 2
    assert "move it away" in done.stderr
    assert json.loads((tmp_path / "detection.json").read_text()) == {"rows": [{}]}


def test_instance_noise_fall_on_what_the_clean_run_was_unsure_of(benchmark):
    folder, _, _ = benchmark
    with TrajectoryStore.open(folder / "runs" / "clean" / "seed-0" / "plain") as store:
        labels = instance_noise(store, rate=0.2, seed=1)
        truth = store.given_labels()
        wrong = labels != truth
        sure = store.read_epoch(3, ["given_probability"])["given_probability"].to_numpy()
        np.testing.assert_array_equal(labels, instance_noise(store, rate=0.2, seed=1))
    assert wrong.mean() == pytest.approx(0.2, abs=0.05)
    assert sure[wrong].mean() < sure[~wrong].mean()


def test_a_long_tail_falls_to_its_fiftieth():
    chosen = make_label_variant("long-tail-10", load_dataset("digits"), None).dataset
    sizes = np.bincount(chosen.true_labels, minlength=10)
    assert (np.diff(sizes) < 0).all()
    assert sizes[0] / sizes[-1] == pytest.approx(IMBALANCE, rel=0.2)
    assert (chosen.labels != chosen.true_labels).mean() == pytest.approx(0.1, abs=2e-3)


def test_a_class_without_samples_is_refused(tmp_path):
    digits = load_dataset("digits")
    without = digits.subset(np.flatnonzero(digits.labels != 4))
    with pytest.raises(DataError, match="no sample of class 4"):
        make_label_variant("symmetric-20", without, None)
    given = np.where(digits.labels == 7, 1, digits.labels)
    labels = make_cifar_n(tmp_path / "human.pt", digits.labels, worse_label=given)
    with pytest.raises(DataError, match="gives no sample the class 7"):
        make_label_variant("worse_label", digits, labels)


def test_cifar_100_n_goes_the_same_way(tmp_path):
    fine = np.arange(400) % 100
    noisy = fine.copy()
    noisy[np.random.default_rng(0).permutation(400)[:80]] += 1
    noisy %= 100
    names = [f"class {i}" for i in range(100)]
    contents = [png(int(label), (8, 8)) for label in fine]
    make_parquet(tmp_path / "cifar100" / "train-0.parquet", contents, fine, names, label="fine_label")
    labels = make_cifar_n(tmp_path / "human.pt", fine, noisy_label=noisy)
    done = gwaudit(
        "benchmark", "detection", tmp_path / "cifar100", "--labels", labels, "--label-variants", "noisy_label",
        "-o", tmp_path / "out", "--epochs", "2", "--batch-size", "64", "--augment", "none",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    row = next(row for row in read_rows(tmp_path / "out") if row.method == "gwaudit_combined")
    assert (row.quality["n"], row.quality["n_wrong"]) == (400, 80)


def test_a_preset_has_a_row_after_each_round_and_its_costs_add_up(benchmark, monkeypatch):
    folder, arguments, _ = benchmark
    small = TrainingSettings(epochs=3, batch_size=128, augment="none", learning_rate=0.05)
    monkeypatch.setitem(PRESETS, "fast", (small, RefinementSettings(refine=1)))
    monkeypatch.setitem(PRESETS, "scratch-5min", (replace(small, epochs=1), RefinementSettings()))
    done = gwaudit(*arguments, "--label-variants", "worse_label", "--trainings", "fast,scratch-5min")
    assert done.returncode == 0, done.stderr
    rows = as_frame(read_rows(folder)).set_index(["label_variant", "method"]).loc["worse_label"]
    first, refined = rows.loc["gwaudit_fast_0"], rows.loc["gwaudit_fast_1"]
    assert refined["samples_trained"] == 2 * first["samples_trained"] == 6 * first["n"]
    assert refined["training_flops"] == pytest.approx(2 * first["training_flops"])
    assert refined["seconds"] > first["seconds"] > 0
    assert refined["auroc"] > 0.7
    shortest = rows.loc["gwaudit_scratch-5min_0"]
    assert (shortest["epochs"], shortest["training"]) == (1, "scratch-5min")
    assert shortest["samples_trained"] == shortest["n"]


@pytest.mark.parametrize(("options", "message"), [
    (["--label-variants", "clean,best_label"], "no 'best_label': it has"),
    (["--label-variants", "clean,instance"], "no 'instance'"),
    (["--label-variants", "symmetric-100"], "between 1 and 99"),
    (["--trainings", "plain,bagging"], "unknown training 'bagging'"),
    (["--seeds", "0,x"], "--seeds takes whole numbers"),
])  # fmt: skip
def test_what_is_unknown_is_refused_before_anything_is_trained(benchmark, tmp_path, options, message):
    _, arguments, _ = benchmark
    digits, labels = arguments[2], arguments[arguments.index("--labels") + 1]
    done = gwaudit("benchmark", "detection", digits, "--labels", labels, *options, "-o", tmp_path / "out")
    assert done.returncode == 2
    assert message in done.stderr
    assert not (tmp_path / "out").exists()


def test_without_a_label_file_its_keys_are_unknown(tmp_path):
    done = gwaudit("benchmark", "detection", "digits", "--label-variants", "worse_label", "-o", tmp_path / "out")
    assert done.returncode == 2
    assert "unknown label variant" in done.stderr


def test_without_its_data_the_benchmark_says_so(tmp_path):
    done = gwaudit("benchmark", "detection", tmp_path / "nowhere", "-o", tmp_path / "out")
    assert done.returncode == 2
    assert "nowhere" in done.stderr


@pytest.fixture(scope="module")
def small_images(tmp_path_factory):
    """120 images of 8x8 pixels in two classes, as a source, and weights of a network for them."""
    folder = tmp_path_factory.mktemp("pretrained")
    labels = np.arange(120) % 2
    random, contents = np.random.default_rng(0), []
    for label in labels:
        pixels, file = random.integers(0, 100, (8, 8, 3)) + 150 * label, io.BytesIO()
        Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
        contents.append(file.getvalue())
    make_parquet(folder / "images" / "train-0.parquet", contents, labels, ["dark", "light"])
    torch.manual_seed(0)
    torch.save(build_model("resnet9_16", n_classes=2).state_dict(), folder / "weights.pt")
    return folder


def test_trainings_from_pretrained_weights_stand_beside_cleanlab_on_their_features(small_images, tmp_path):
    done = gwaudit(
        "benchmark", "detection", small_images / "images", "--label-variants", "symmetric-10",
        "--trainings", "frozen,fine-tune", "--model", "resnet9_16", "--checkpoint", small_images / "weights.pt",
        "--image-size", "16", "--epochs", "2", "--batch-size", "32", "-o", tmp_path / "out",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = {row.method: row for row in read_rows(tmp_path / "out")}
    compared = ["gwaudit_margin", "aum", "cartography_confidence", "simifeat_vote", "simifeat_rank", "class_densities"]
    for method in [*compared, "self_influence", "cleanlab_self_confidence", "cleanlab_normalized_margin"]:
        assert rows[f"{method}_frozen"].training == "frozen"
        assert rows[f"{method}_fine_tune"].training == "fine-tune"
        assert (rows[f"{method}_fine_tune"].model, rows[f"{method}_fine_tune"].epochs) == ("resnet9_16", 2)
    own, cleanlab = rows["gwaudit_margin_frozen"], rows["cleanlab_self_confidence_frozen"]
    assert own.quality["auroc"] > 0.6
    assert cleanlab.quality["auroc"] > 0.6
    assert cleanlab.seconds > own.seconds > 0
    assert own.training_flops > 120 * own.epochs * 128 * 2
    with TrajectoryStore.open(tmp_path / "out/runs/symmetric-10/seed-0/fine-tune") as store:
        assert store.settings["training"]["optimizer"] == "adamw", "of the preset"
        assert store.settings["training"]["batch_size"] == 32, "as typed"
        assert store.settings["input_shape"] == [3, 16, 16]


def test_features_are_of_images_alone(small_images, tmp_path):
    np.savez(tmp_path / "table.npz", x=np.random.default_rng(0).normal(size=(40, 3)), y=np.arange(40) % 2)
    done = gwaudit(
        "benchmark", "detection", tmp_path / "table.npz", "--label-variants", "clean", "--trainings", "frozen",
        "--checkpoint", small_images / "weights.pt", "-o", tmp_path / "out",
    )  # fmt: skip
    assert done.returncode == 2
    assert "images" in done.stderr


def test_the_logistic_regression_is_that_of_scikit_learn():
    digits = sklearn_digits()
    inputs, labels = digits.data[:400].astype(np.float32), digits.target[:400]
    ours = cross_validated_probabilities(inputs, labels, 10, seed=0, device=torch.device("cpu"))
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    theirs = cross_val_predict(LogisticRegression(), scale_matrix(inputs), labels, cv=folds, method="predict_proba")
    np.testing.assert_allclose(ours, theirs, atol=0.02)


def test_neighbours_on_a_device_are_those_of_the_search_on_the_processor(monkeypatch):
    latents = np.random.default_rng(0).normal(size=(90, 5)).astype(np.float32)
    latents /= np.linalg.norm(latents, axis=1, keepdims=True)
    monkeypatch.setattr(device_neighbours, "_BLOCK", 40)
    found = device_neighbours.nearest_on_device(latents, torch.device("cpu"))
    np.testing.assert_array_equal(found, nearest_neighbours(latents))
