"""Measure `--balance` and `--per-class` on classes of unequal size, and right labels of classes with few samples.

    OMP_NUM_THREADS=1 python docs/measure_imbalance.py

It prints the tables of docs/benchmarks/small-data.md. All other settings are the defaults. It takes some minutes.
"""

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import make_blobs

from gwaudit import DataSettings, RankingSettings, TrainingSettings, TrajectoryStore, audit, evaluate, rank

SEEDS = 3
SHARE_WRONG = 0.05
Sample = tuple[NDArray[np.float64], NDArray[np.int64]]


def two_clusters(seed: int) -> Sample:
    """Return 1,000 points of two overlapping clusters, 950 and 50."""
    return make_blobs([950, 50], n_features=20, centers=None, cluster_std=8.0, random_state=seed)


def ten_clusters(seed: int) -> Sample:
    """Return 1,145 points of ten overlapping clusters, from 400 to 8."""
    sizes = [round(400 * 50 ** (-k / 9)) for k in range(10)]
    return make_blobs(sizes, n_features=20, centers=None, cluster_std=8.0, random_state=seed)


SETS = {
    "two clusters, 95/5": two_clusters,
    "ten clusters, 400 to 8": ten_clusters,
}


def measure(sample: Sample, seed: int, folder: Path) -> dict[tuple[str, bool], tuple[float, float]]:
    """Return average precision and F1 at the cut, by `balance` and `per_class`."""
    inputs, truth = sample
    random = np.random.default_rng(seed)
    wrong = random.permutation(len(truth))[: round(SHARE_WRONG * len(truth))]
    n_classes, given = truth.max() + 1, truth.copy()
    given[wrong] = (given[wrong] + random.integers(1, n_classes, len(wrong))) % n_classes
    np.savez(folder / "data.npz", x=inputs, y=given)
    measured = {}
    for balance in ("none", "loss", "sampling"):
        run = folder / balance
        audit(DataSettings(str(folder / "data.npz")), run, TrainingSettings(balance=balance, seed=seed))
        for per_class in (False, True):
            # The cut is measured at any verdict.
            ranked = rank(TrajectoryStore.open(run), RankingSettings(per_class=per_class, force=True))
            score = evaluate(ranked, truth)
            measured[balance, per_class] = score.average_precision, score.f1
    return measured


def print_right_labels_that_look_wrong() -> None:
    """Print by size of the class the share of right labels with a probability of being wrong above one half."""
    few = (1, 2, 3, 4, 5, 6, 8, 10)
    sizes = np.array([150] * 5 + [size for size in few for _ in range(4)])
    look_wrong: dict[int, list[bool]] = {size: [] for size in few}
    for seed in range(SEEDS):
        random = np.random.default_rng(seed)
        truth = np.repeat(np.arange(len(sizes)), sizes)
        inputs = 1.6 * random.normal(size=(len(sizes), 20))[truth] + random.normal(size=(len(truth), 20))
        given = truth.copy()
        wrong = random.permutation(5 * 150)[:40]  # between the five large classes
        given[wrong] = (given[wrong] + random.integers(1, 5, len(wrong))) % 5
        with tempfile.TemporaryDirectory() as folder:
            np.savez(f"{folder}/data.npz", x=inputs, y=given)
            ranked = audit(DataSettings(f"{folder}/data.npz"), f"{folder}/run", TrainingSettings(seed=seed)).audit
        for size in few:
            look_wrong[size] += list(ranked.by_id("probability_wrong")[sizes[truth] == size] > 0.5)
    print("\n| samples of the class | " + " | ".join(map(str, few)) + " |\n|---" + "|---" * len(few) + "|")
    print("| right labels that look wrong | " + " | ".join(f"{np.mean(look_wrong[size]):.0%}" for size in few) + " |")


def print_balance() -> None:
    """Print a row for each set, a column for each setting: average precision, and F1 at the cut."""
    columns = [(balance, per_class) for per_class in (False, True) for balance in ("none", "loss", "sampling")]
    titles = [f"`{balance}`{', `--per-class`' * per_class}" for balance, per_class in columns]
    print("\n| AP, F1 at the cut | " + " | ".join(titles) + " |\n|---" + "|---" * len(columns) + "|")
    for name, make in SETS.items():
        scores = []
        for seed in range(SEEDS):
            with tempfile.TemporaryDirectory() as folder:
                scores.append(measure(make(seed), seed, Path(folder)))
        cells = [np.nan_to_num([score[column] for score in scores]).mean(0) for column in columns]
        print(f"| {name} | " + " | ".join(f"{ap:.2f}, {f1:.2f}" for ap, f1 in cells) + " |", flush=True)


if __name__ == "__main__":
    print_right_labels_that_look_wrong()
    print_balance()
