"""Make the label variants of a data set that detectors and stopping rules are compared on.

| name | labels |
|---|---|
| `clean` | the right ones |
| `symmetric-20` | 20 % wrong, any other class with equal probability |
| `asymmetric-30` | 30 % wrong, each class becoming the next |
| `instance-40` | 40 % wrong where a run on the right labels was unsure, in the direction in which it was unsure |
| `long-tail-10` | class sizes falling geometrically to a fiftieth of the largest, then 10 % symmetric noise |
| `worse_label` | a key of the label file: labels by people |
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
from gwaudit.data.label_noise import NoiseKind, add_label_noise
from gwaudit.store.store import MISSING_LABEL, TrajectoryStore

IMBALANCE = 50
"""Size of the largest class of a long tail over that of its smallest."""

_SYNTHETIC = re.compile(r"(symmetric|asymmetric|instance|long-tail)-(\d+)")
_HIGHEST_FLIP_PROBABILITY = 0.9


@dataclass(frozen=True, eq=False)
class LabelVariant:
    """Hold a data set under given labels, with the true ones beside them.

    Attributes:
        name: Name of the variant, as in the table of this module.
        dataset: Data set with the given labels; None if they need the run on the right labels (`instance_noise`).
        rate: Share of synthetic label errors; 0 for labels that are not synthetic.
    """

    name: str
    dataset: LabeledDataset | None
    rate: float


def make_label_variant(name: str, dataset: LabeledDataset, file: Path | None, *, seed: int = 0) -> LabelVariant:
    """Return a label variant by its name.

    Args:
        name: Name as in the table of this module, with any percentage.
        dataset: Data set with its right labels.
        file: Label file with the keys.
        seed: Seed of the label noise.

    Raises:
        SettingsError: The name is unknown.
        DataError: The label file does not fit, or a class is missing.
    """
    truth, n_classes = dataset.labels, len(dataset.class_names)
    missing = np.flatnonzero(np.bincount(truth, minlength=n_classes) == 0)
    if len(missing):
        raise DataError(
            f"{dataset.name} has no sample of class {dataset.class_names[missing[0]]}: nothing to compare on"
        )
    if name == "clean":
        return LabelVariant(name, dataset.with_labels(truth, true_labels=truth), 0.0)
    if synthetic := _SYNTHETIC.fullmatch(name):
        return _make_synthetic(name, synthetic[1], int(synthetic[2]) / 100, dataset, seed)
    if file is None:
        raise SettingsError(
            f"unknown label variant {name!r}: choose clean, symmetric-20, asymmetric-30, instance-40, long-tail-10 "
            "(any percentage), or a key of the label file (`labels`)"
        )
    given, clean, *_ = read_label_file(file, name, dataset.class_names)
    if given.shape != truth.shape or (clean is not None and (clean != truth).any()):
        raise DataError(f"{file} is of other data than {dataset.name}, or in another order")
    absent = np.flatnonzero(np.bincount(given, minlength=n_classes) == 0)
    if len(absent):
        raise DataError(f"{name} in {file} gives no sample the class {dataset.class_names[absent[0]]}")
    return LabelVariant(name, dataset.with_labels(given, true_labels=truth), 0.0)


def _make_synthetic(name: str, kind: str, rate: float, dataset: LabeledDataset, seed: int) -> LabelVariant:
    if not 0 < rate < 1:
        raise SettingsError(f"{name}: between 1 and 99 percent of the labels can be wrong")
    if kind == "instance":
        return LabelVariant(name, None, rate)
    n_classes = len(dataset.class_names)
    if kind == "long-tail":
        dataset = dataset.subset(long_tail(dataset.labels, n_classes, seed=seed))
    truth = dataset.labels
    noise: NoiseKind = "asymmetric" if kind == "asymmetric" else "symmetric"
    given = add_label_noise(truth, n_classes, rate=rate, kind=noise, seed=seed)
    return LabelVariant(name, dataset.with_labels(given, true_labels=truth), rate)


def long_tail(labels: NDArray[np.int64], n_classes: int, *, seed: int) -> NDArray[np.int64]:
    """Return the ids of a long-tailed random selection.

    Class k keeps 50^(-k / (C - 1)) of the smallest class's size, and at least one sample.

    Args:
        labels: [n] labels in [0, n_classes).
        n_classes: Number of classes, C.
        seed: Seed of the selection.

    Returns:
        [m] int64, in rising order.
    """
    random = np.random.default_rng(seed)
    largest = np.bincount(labels, minlength=n_classes).min()
    kept = [
        random.permutation(np.flatnonzero(labels == k))[: max(1, round(largest * IMBALANCE ** (-k / (n_classes - 1))))]
        for k in range(n_classes)
    ]
    return np.sort(np.concatenate(kept))


def instance_noise(clean_run: TrajectoryStore, *, rate: float, seed: int) -> NDArray[np.int64]:
    """Return labels that are wrong where a run on the right ones was unsure, in the direction in which it was unsure.

    The probability of a wrong label rises linearly with 1 minus the mean probability of the right label, up to 0.9,
    and is `rate` on average. The wrong label is the alternative label of a random epoch of the last four fifths.

    Args:
        clean_run: A finished run on the right labels.
        rate: Expected share of wrong labels.
        seed: Seed of the choices.

    Returns:
        [n] int64.
    """
    random = np.random.default_rng(seed)
    labels = clean_run.given_labels().astype(np.int64)
    n_epochs = len(clean_run.training_epochs)
    late = range(n_epochs // 5, n_epochs)
    unsure = 1 - sample_statistics(clean_run, late)["mean_given_probability"].to_numpy(np.float64) + 0.05
    low, high = 0.0, _HIGHEST_FLIP_PROBABILITY / unsure.min()
    for _ in range(60):
        scale = (low + high) / 2
        too_few = np.minimum(scale * unsure, _HIGHEST_FLIP_PROBABILITY).mean() < rate
        low, high = (scale, high) if too_few else (low, scale)
    flipped = random.random(len(labels)) < np.minimum(high * unsure, _HIGHEST_FLIP_PROBABILITY)
    by_epoch = np.stack([clean_run.read_epoch(e, ["alternative_label"])["alternative_label"] for e in late])
    alternative = by_epoch[random.integers(len(late), size=len(labels)), np.arange(len(labels))]
    return np.where(flipped & (alternative != MISSING_LABEL), alternative, labels)
