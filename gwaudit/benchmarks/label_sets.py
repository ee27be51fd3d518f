"""The label sets that detectors are compared on: right labels, human ones from a file, and errors planted on purpose.

| name | labels |
|---|---|
| `clean` | the right ones |
| `symmetric-20` | 20 % wrong, any other class by equal chance |
| `pair-30` | 30 % wrong, each class becoming the next |
| `instance-40` | 40 % wrong where a run on the right labels was unsure, in the direction it was unsure in |
| `long-tail-10` | class sizes falling geometrically to a fiftieth of the largest, and then 10 % symmetric errors |
| `worse_label` | a key of the label file |
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gwaudit.analysis.sample_statistics import sample_statistics
from gwaudit.core.errors import DataError, SettingsError
from gwaudit.data.dataset import LabeledDataset
from gwaudit.data.label_files import read_label_file
from gwaudit.data.label_noise import add_label_noise
from gwaudit.store.store import MISSING_LABEL, TrajectoryStore

IMBALANCE = 50
"""How many times larger a long tail's largest class is than its smallest."""

_PLANTED = re.compile(r"(symmetric|pair|instance|long-tail)-(\d+)")
_LARGEST_FLIP = 0.9


@dataclass(frozen=True, eq=False)
class LabelSet:
    """A data set under given labels and with the true ones beside them.

    Attributes:
        name: as the module says.
        dataset: with given labels; None where they need the run on the right labels (`instance_errors`).
        rate: share of planted errors, 0 for labels that were not planted.
    """

    name: str
    dataset: LabeledDataset | None
    rate: float


def label_set(name: str, dataset: LabeledDataset, file: Path | None, *, seed: int = 0) -> LabelSet:
    """A label set by its name.

    Args:
        name: as the module says; percentages at will.
        dataset: with its right labels.
        file: the label file that keys are of.
        seed: of what is planted.

    Raises:
        SettingsError: an unknown name.
        DataError: the label file does not fit, or a class is missing.
    """
    truth, n_classes = dataset.labels, len(dataset.class_names)
    missing = np.flatnonzero(np.bincount(truth, minlength=n_classes) == 0)
    if len(missing):
        raise DataError(
            f"{dataset.name} has no sample of class {dataset.class_names[missing[0]]}: nothing to compare on"
        )
    if name == "clean":
        return LabelSet(name, dataset.with_labels(truth, true_labels=truth), 0.0)
    if planted := _PLANTED.fullmatch(name):
        kind, rate = planted[1], int(planted[2]) / 100
        if not 0 < rate < 1:
            raise SettingsError(f"{name}: between 1 and 99 percent of the labels can be wrong")
        if kind == "instance":
            return LabelSet(name, None, rate)
        if kind == "long-tail":
            dataset = dataset.subset(long_tail(truth, n_classes, seed=seed))
            truth = dataset.labels
        noisy = add_label_noise(truth, n_classes, rate=rate, kind="pair" if kind == "pair" else "symmetric", seed=seed)
        return LabelSet(name, dataset.with_labels(noisy, true_labels=truth), rate)
    if file is None:
        raise SettingsError(
            f"unknown label set {name!r}: clean, symmetric-20, pair-30, instance-40, long-tail-10 (any percentage), "
            "or a key of the label file (--labels)"
        )
    given, clean = read_label_file(file, name)
    if given.shape != truth.shape or (clean is not None and (clean != truth).any()):
        raise DataError(f"{file} is of other data than {dataset.name}, or in another order")
    absent = np.flatnonzero(np.bincount(given, minlength=n_classes) == 0)
    if len(absent):
        raise DataError(f"{name} in {file} gives no sample the class {dataset.class_names[absent[0]]}")
    return LabelSet(name, dataset.with_labels(given, true_labels=truth), 0.0)


def long_tail(labels: NDArray[np.int64], n_classes: int, *, seed: int) -> NDArray[np.int64]:
    """Ids of a long-tailed choice: class k keeps 50^(-k / (C - 1)) of the smallest class's size, drawn at random.

    Returns:
        [m] int64, rising.
    """
    random = np.random.default_rng(seed)
    largest = np.bincount(labels, minlength=n_classes).min()
    kept = [
        random.permutation(np.flatnonzero(labels == k))[: max(1, round(largest * IMBALANCE ** (-k / (n_classes - 1))))]
        for k in range(n_classes)
    ]
    return np.sort(np.concatenate(kept))


def instance_errors(clean_run: TrajectoryStore, *, rate: float, seed: int) -> NDArray[np.int64]:
    """Labels wrong where a run on the right ones was unsure, in the direction it was unsure in.

    The chance of a wrong label rises linearly with one less the mean probability of the right label, up to 0.9, and
    is `rate` on average. The wrong label is the best other label at a random epoch of the last four fifths of the run.

    Args:
        clean_run: a finished run on the right labels.
        rate: share of wrong labels, expected.
        seed: of the choices.

    Returns:
        [n] int64.
    """
    random = np.random.default_rng(seed)
    labels = clean_run.given_labels().astype(np.int64)
    n_epochs = len(clean_run.training_epochs)
    late = range(n_epochs // 5, n_epochs)
    unsure = 1 - sample_statistics(clean_run, late)["mean_given_probability"].to_numpy(np.float64) + 0.05
    low, high = 0.0, _LARGEST_FLIP / unsure.min()
    for _ in range(60):
        scale = (low + high) / 2
        too_few = np.minimum(scale * unsure, _LARGEST_FLIP).mean() < rate
        low, high = (scale, high) if too_few else (low, scale)
    flipped = random.random(len(labels)) < np.minimum(high * unsure, _LARGEST_FLIP)
    rivals = np.stack([clean_run.read_epoch(e, ["alternative_label"])["alternative_label"] for e in late])
    chosen = rivals[random.integers(len(late), size=len(labels)), np.arange(len(labels))]
    return np.where(flipped & (chosen != MISSING_LABEL), chosen, labels)
