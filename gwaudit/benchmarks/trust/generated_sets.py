"""Make data sets of the trust benchmark: features [n, D] and labels [n] of a known structure, always the same."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.datasets import make_circles, make_classification, make_moons

Generated = tuple[NDArray[np.float32], NDArray[np.int64]]
"""Features [n, D], and labels [n] from 0."""


def blobs(sizes: Sequence[int], n_features: int, *, distance: float, seed: int = 0) -> Generated:
    """Return one normal distribution of unit variance a class.

    Args:
        sizes: Number of samples of each class.
        n_features: D.
        distance: Typical distance between two centres.
        seed: Seed of the draws.
    """
    random = np.random.default_rng(seed)
    labels = random.permutation(np.repeat(np.arange(len(sizes)), sizes))
    centres = random.normal(size=(len(sizes), n_features)) * distance / np.sqrt(2 * n_features)
    return (centres[labels] + random.normal(size=(len(labels), n_features))).astype(np.float32), labels


def moons() -> Generated:
    """Return two half circles that interlock, 500 samples: no line separates them."""
    features, labels = make_moons(500, noise=0.12, random_state=0)
    return features.astype(np.float32), labels.astype(np.int64)


def circles() -> Generated:
    """Return two circles around one centre, 500 samples: a linear model learns nothing."""
    features, labels = make_circles(500, noise=0.08, factor=0.45, random_state=0)
    return features.astype(np.float32), labels.astype(np.int64)


def linear_classes(n: int, n_features: int, n_classes: int, *, clusters: int = 1, separation: float) -> Generated:
    """Return scikit-learn's `make_classification`: a third of the columns informs, the others are noise or mixtures."""
    informative = max(4, n_features // 3)
    features, labels = make_classification(
        n, n_features, n_informative=informative, n_redundant=n_features // 5, n_classes=n_classes,
        n_clusters_per_class=clusters, class_sep=separation, flip_y=0, random_state=0,
    )  # fmt: skip
    return features.astype(np.float32), labels.astype(np.int64)


def ratings() -> Generated:
    """Return ordinal ratings 1 to 5 of 400 samples: five sections of a sum of the columns, mostly in the middle."""
    random = np.random.default_rng(0)
    features = random.normal(size=(400, 10))
    opinion = features @ random.normal(size=10) / np.sqrt(10) + 0.15 * random.normal(size=400)
    bounds = np.quantile(opinion, (0.1, 0.3, 0.7, 0.9))
    return features.astype(np.float32), np.digitize(opinion, bounds).astype(np.int64)


def twin_classes() -> Generated:
    """Return eight classes of 100 samples, two of which are nearly the same."""
    random = np.random.default_rng(0)
    labels = random.permutation(np.repeat(np.arange(8), 100))
    centres = random.normal(size=(8, 20)) * 1.6
    centres[1] = centres[0] + random.normal(size=20) * 0.35
    return (centres[labels] + random.normal(size=(800, 20))).astype(np.float32), labels


def unlearnable(n: int, shares: Sequence[float]) -> Generated:
    """Return labels that have nothing to do with the ten features: classes drawn with these shares."""
    random = np.random.default_rng(0)
    labels = random.choice(len(shares), n, p=np.asarray(shares) / np.sum(shares))
    return random.normal(size=(n, 10)).astype(np.float32), labels.astype(np.int64)


def repeated_rows() -> Generated:
    """Return 200 samples of four classes, each of them three times."""
    features, labels = blobs((50, 50, 50, 50), 8, distance=5, seed=1)
    order = np.random.default_rng(0).permutation(np.tile(np.arange(200), 3))
    return features[order], labels[order]


def uneven_columns() -> Generated:
    """Return three classes in columns of heavy tails, beside a time in seconds since 1970 and a constant column."""
    random = np.random.default_rng(0)
    features, labels = blobs((200, 200, 200), 9, distance=5, seed=2)
    heavy = np.sign(features) * np.expm1(np.abs(features) * 1.5)
    time = 1.7e9 + random.uniform(0, 3e7, 600)
    rare = np.where(random.random(600) < 0.01, 1e6, 0.0)
    columns = [heavy, time[:, None], np.full((600, 1), 1e9), rare[:, None]]
    return np.concatenate(columns, axis=1).astype(np.float32), labels


def wide() -> Generated:
    """Return 150 samples of two classes with 400 columns, of which 20 inform."""
    random = np.random.default_rng(0)
    labels = random.permutation(np.repeat([0, 1], 75))
    features = random.normal(size=(150, 400))
    features[:, :20] += (2 * labels[:, None] - 1) * 0.8
    return features.astype(np.float32), labels


def categorical_table() -> pd.DataFrame:
    """Return a table of 700 orders: three columns of categories, two of numbers, missing values, and the column label.

    The label is the tariff, which follows from country, device and plan, and in part from the two numbers.
    """
    random = np.random.default_rng(0)
    n = 700
    country = random.choice(["de", "fr", "it", "es", "pl", "nl"], n)
    device = random.choice(["phone", "tablet", "desktop"], n, p=(0.5, 0.2, 0.3))
    plan = random.choice(["free", "basic", "team"], n)
    weight = {
        **dict(zip(("de", "fr", "it", "es", "pl", "nl"), (2.0, 1.2, 0.2, -0.4, -1.6, -2.2), strict=True)),
        **{"phone": -1.5, "tablet": 0.2, "desktop": 1.5, "free": -2.0, "basic": 0.0, "team": 2.0},
    }
    items, age = random.poisson(4, n), random.normal(40, 12, n).round()
    score = np.array([weight[c] + weight[d] + weight[p] for c, d, p in zip(country, device, plan, strict=True)])
    score = score + 0.3 * (items - 4) + 0.03 * (age - 40) + 0.3 * random.normal(size=n)
    tariff = np.array(["low", "middle", "high"])[np.digitize(score, (-1.5, 1.5))]
    table = pd.DataFrame({"country": country, "device": device, "plan": plan, "items": items, "age": age})
    table.loc[random.random(n) < 0.08, "age"] = np.nan
    table.loc[random.random(n) < 0.05, "device"] = None
    return table.assign(label=tariff)
