"""The detection benchmark on digits: every score on every label set, resumed, and refused before it trains."""

import json

import numpy as np
import pytest

from command import FAST, gwaudit
from gwaudit.benchmarks.detection import PEERS, instance_errors
from gwaudit.datasets import load_dataset
from gwaudit.ranking import SCORES
from gwaudit.store import TrajectoryStore
from making import make_cifar_n

SETS = "clean,symmetric-20,instance-30,worse_label"


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory):
    folder = tmp_path_factory.mktemp("detection")
    truth = load_dataset("digits").labels
    noisy = np.where(np.arange(len(truth)) % 4 == 0, (truth + 3) % 10, truth)
    labels = make_cifar_n(folder / "human.pt", truth, worse_label=noisy)
    arguments = ["benchmark", "detection", "digits", "--labels", labels, "--sets", SETS, "-o", folder / "out", *FAST]
    done = gwaudit(*arguments)
    assert done.returncode == 0, done.stderr
    return folder / "out", arguments, done


def test_every_score_stands_beside_every_label_set(benchmark):
    folder, _, done = benchmark
    rows = json.loads((folder / "detection.json").read_text())
    assert [(row["label_set"], row["score"]) for row in rows] == [
        (label_set, score) for label_set in SETS.split(",") for score in [*SCORES, *PEERS]
    ]
    by_name = {(row["label_set"], row["score"]): row for row in rows}
    assert by_name["clean", "combined"]["auroc"] is None
    assert by_name["symmetric-20", "combined"]["auroc"] > 0.9
    assert by_name["symmetric-20", "combined"]["wrong"] == pytest.approx(0.2, abs=1e-3)
    assert by_name["instance-30", "combined"]["wrong"] == pytest.approx(0.3, abs=0.03)
    assert by_name["worse_label", "combined"]["wrong"] == pytest.approx(0.25, abs=1e-3)
    assert by_name["worse_label", "mean_loss"]["f1"] is None
    assert by_name["worse_label", "mean_loss"]["best_f1"] > 0.5
    assert done.stdout.strip() == (folder / "detection.md").read_text().strip()


def test_a_label_set_done_stays_done(benchmark):
    _, arguments, done = benchmark
    again = gwaudit(*arguments)
    assert again.stdout == done.stdout
    assert "epoch" not in again.stderr, "nothing is trained again"


def test_instance_errors_fall_on_what_the_clean_run_was_unsure_of(benchmark):
    folder, _, _ = benchmark
    with TrajectoryStore.open(folder / "clean") as store:
        labels = instance_errors(store, rate=0.2, seed=1)
        truth = store.given_labels()
        wrong = labels != truth
        sure = store.read_epoch(3, ["given_probability"])["given_probability"].to_numpy()
        np.testing.assert_array_equal(labels, instance_errors(store, rate=0.2, seed=1))
    assert wrong.mean() == pytest.approx(0.2, abs=0.03)
    assert sure[wrong].mean() < sure[~wrong].mean()


@pytest.mark.parametrize(("sets", "message"), [
    ("clean,best_label", "no 'best_label': there are"),
    ("clean,instance", "no 'instance'"),
])  # fmt: skip
def test_an_unknown_label_set_is_refused_before_anything_is_trained(benchmark, tmp_path, sets, message):
    _, arguments, _ = benchmark
    labels = arguments[arguments.index("--labels") + 1]
    done = gwaudit("benchmark", "detection", "digits", "--labels", labels, "--sets", sets, "-o", tmp_path / "out")
    assert done.returncode == 2
    assert message in done.stderr
    assert not (tmp_path / "out").exists()
    without = gwaudit("benchmark", "detection", "digits", "--sets", sets, "-o", tmp_path / "out")
    assert "unknown label set" in without.stderr
