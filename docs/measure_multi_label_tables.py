"""Measure how many wrong labels of multi-label tables are found and counted, and which runs are trusted.

    OMP_NUM_THREADS=1 python docs/measure_multi_label_tables.py test
    OMP_NUM_THREADS=1 python docs/measure_multi_label_tables.py chosen --seed 3

It prints a row for each table and kind of error, and one for each table. All settings are the defaults. Method and
limits of the verdict were chosen on the tables `chosen`. It takes half an hour a role; `--folds 1` trains one head on
all labels.
"""

import argparse
import tempfile
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_digits, load_wine, make_multilabel_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import cross_val_predict

from gwaudit import DataSettings, RankingSettings, TrainingSettings, TrajectoryStore, audit, evaluate, rank

Labels = NDArray[np.int64]
Table = tuple[NDArray[np.float64], Labels]
Errors = Callable[[NDArray[np.float64], Labels, np.random.Generator], NDArray[np.bool_]]


def linear(n: int, n_features: int, n_classes: int, intercepts: tuple[float, float], seed: int) -> Table:
    """Return Gaussian features [n, D], and classes that are linear in them: the lower the intercept, the rarer."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, n_features))
    scores = x @ random.normal(size=(n_features, n_classes))
    return x, (scores + random.uniform(*intercepts, n_classes) > 0).astype(np.int64)


def generated(n: int, n_features: int, n_classes: int, n_labels: int, seed: int) -> Table:
    """Return counts [n, D] and classes that they determine in part."""
    x, y = make_multilabel_classification(
        n, n_features, n_classes=n_classes, n_labels=n_labels, random_state=seed, return_indicator="dense"
    )
    return x.astype(np.float64), y.astype(np.int64)


def digits(*tags: tuple[int, ...]) -> Table:
    """Return scikit-learn's digits, with a class for each group of digits."""
    x, digit = load_digits(return_X_y=True)
    return x, np.stack([np.isin(digit, tag) for tag in tags], 1).astype(np.int64)


def with_chance(table: Table, shares: tuple[float, ...], seed: int) -> Table:
    """Return a table with further classes that its features say nothing about."""
    x, y = table
    by_chance = np.random.default_rng(seed).random((len(x), len(shares))) < shares
    return x, np.concatenate([y, by_chance.astype(np.int64)], 1)


def with_large_values(x: NDArray[np.float64], y: Labels, n_columns: int, quantile: float) -> Table:
    """Return the features but the first columns, with a class for each of these: whether its value is large."""
    large = x[:, :n_columns] > np.quantile(x[:, :n_columns], quantile, axis=0)
    return x[:, n_columns:], np.concatenate([y, large.astype(np.int64)], 1)


def breast_cancer() -> Table:
    """Return the diagnosis, and whether five measures are large, by the others."""
    x, y = load_breast_cancer(return_X_y=True)
    return with_large_values(x, y[:, None], 5, 0.7)


def wine() -> Table:
    """Return the cultivar, and whether four measures are large, by the others."""
    x, y = load_wine(return_X_y=True)
    return with_large_values(x, np.eye(3, dtype=np.int64)[y], 4, 0.6)


PAIRS = tuple((digit, (digit + 3) % 10) for digit in range(10))
TAGS = ((0, 2, 4, 6, 8), (5, 6, 7, 8, 9), (2, 3, 5, 7))
TABLES: dict[str, dict[str, Callable[[], Table]]] = {
    "chosen": {
        "linear, 1,500 x 10": lambda: linear(1500, 12, 10, (-4, 0), 23),
        "linear, 1,000 x 20": lambda: linear(1000, 16, 20, (-6, -1), 21),
        "linear, 200 x 8": lambda: linear(200, 8, 8, (-3, 0), 31),
        "digits, pairs": lambda: digits(*PAIRS),
        "digits, 3 tags": lambda: digits(*TAGS),
        "digits, 3 tags and 2 by chance": lambda: with_chance(digits(*TAGS), (0.1, 0.4), 5),
        "counts, 1,200 x 12": lambda: generated(1200, 30, 12, 2, 5),
        "chance, 600 x 6": lambda: with_chance(
            (np.random.default_rng(5).normal(size=(600, 10)), np.empty((600, 0), np.int64)),
            (0.05, 0.1, 0.2, 0.3, 0.5, 0.5),
            5,
        ),
    },
    "test": {
        "digits, neighbours": lambda: digits(*((digit, (digit + 1) % 10) for digit in range(10))),
        "digits, 4 tags": lambda: digits((1, 3, 5, 7, 9), (0, 6, 8, 9), (0, 1, 4, 9), (2, 3, 5)),
        "linear, 1,500 x 10": lambda: linear(1500, 12, 10, (-4, 0), 13),
        "linear, 2,000 x 40": lambda: linear(2000, 20, 40, (-8, -2), 12),
        "linear, 400 x 6": lambda: linear(400, 10, 6, (-2, 1), 77),
        "counts, 1,500 x 8": lambda: generated(1500, 20, 8, 3, 9),
        "counts, 800 x 5": lambda: generated(800, 40, 5, 1, 19),
        "breast cancer, 569 x 6": breast_cancer,
        "wine, 178 x 7": wine,
    },
}


def anywhere(rate: float) -> Errors:
    """Change a share of all labels."""
    return lambda x, y, random: random.random(y.shape) < rate


def missing(rate: float) -> Errors:
    """Remove a share of the given labels."""
    return lambda x, y, random: (y == 1) & (random.random(y.shape) < rate)


def in_one_class(rate: float) -> Errors:
    """Change a share of the labels of the first class."""
    return lambda x, y, random: (random.random(y.shape) < rate) & (np.arange(y.shape[1]) == 0)


def missing_and_extra(rate: float) -> Errors:
    """Remove a share of the given labels of each class, and add as many."""

    def wrong(x: NDArray[np.float64], y: Labels, random: np.random.Generator) -> NDArray[np.bool_]:
        chosen = np.zeros(y.shape, bool)
        for label, column in enumerate(y.T):
            present, absent = np.flatnonzero(column), np.flatnonzero(column == 0)
            count = min(round(rate * len(present)), len(absent))
            for rows in (present, absent):
                chosen[random.choice(rows, count, replace=False), label] = True
        return chosen

    return wrong


def difficult(rate: float) -> Errors:
    """Change a share of all labels, those first that a random forest is least sure of."""

    def wrong(x: NDArray[np.float64], y: Labels, random: np.random.Generator) -> NDArray[np.bool_]:
        forest = RandomForestClassifier(60, random_state=0)
        columns = cross_val_predict(forest, x, y, cv=5, method="predict_proba")
        present = np.stack([column[:, -1] for column in columns], 1)
        unsure = -np.abs(np.log((present + 0.02) / (1.02 - present))) + 0.5 * random.gumbel(size=y.shape)
        chosen = np.zeros(y.size, bool)
        chosen[np.argsort(-unsure.reshape(-1))[: round(rate * y.size)]] = True
        return chosen.reshape(y.shape)

    return wrong


ERRORS: dict[str, Errors] = {
    "none": anywhere(0),
    "0.5 % of all": anywhere(0.005),
    "2 % of all": anywhere(0.02),
    "5 % of all": anywhere(0.05),
    "10 % of all": anywhere(0.1),
    "5 % missing, 5 % extra": missing_and_extra(0.05),
    "20 % missing, 20 % extra": missing_and_extra(0.2),
    "10 % missing": missing(0.1),
    "10 % of one class": in_one_class(0.1),
    "3 %, the difficult": difficult(0.03),
}


class Row(NamedTuple):
    """Hold what an audit found."""

    table: str
    errors: str
    level: str
    n_labels: int
    n_wrong: int
    expected: float
    n_flagged: int
    average_precision: float
    f1: float
    best_f1: float

    @property
    def is_good(self) -> bool:
        """Whether the cut has 95 % of the best F1 and four fifths to five quarters of the wrong labels are expected.

        Of clean labels at most one in a thousand may be flagged.
        """
        if not self.n_wrong:
            return self.n_flagged <= self.n_labels / 1000
        return self.f1 >= 0.95 * self.best_f1 and 0.8 < self.expected / self.n_wrong < 1.25

    def __str__(self) -> str:
        scores = (self.average_precision, self.f1, self.best_f1)
        shown = " | ".join("–" if np.isnan(score) or not self.n_wrong else f"{score:.3f}" for score in scores)
        counts = f"{self.n_wrong:,} of {self.n_labels:,} | {self.expected:,.0f} | {self.n_flagged:,}"
        return f"| {self.table} | {self.errors} | {counts} | {shown} | {self.level} |"


def measure(role: str, name: str, seed: int, training: dict[str, Any]) -> Iterator[Row]:
    """Audit the tables of a role whose names hold a text under all kinds of errors."""
    for table in (table for table in TABLES[role] if name in table):
        x, y = TABLES[role][table]()
        for errors, choose in ERRORS.items():
            wrong = choose(x, y, np.random.default_rng(seed))
            with tempfile.TemporaryDirectory() as folder:
                np.savez(f"{folder}/table.npz", x=x.astype(np.float32), y=np.where(wrong, 1 - y, y))
                done = audit(DataSettings(f"{folder}/table.npz"), f"{folder}/run", TrainingSettings(**training))
                with TrajectoryStore.open(f"{folder}/run") as store:  # the cut is measured at any verdict
                    found = evaluate(rank(store, RankingSettings(force=True)), y)
                level = done.audit.verdict.level
                counts = (y.size, found.n_wrong, found.expected_wrong, found.n_suspects)
                yield Row(table, errors, level, *counts, found.average_precision, found.f1, found.best_f1)


def print_summary(rows: list[Row]) -> None:
    """Print how many runs of each table are trusted, and from where to where the numbers of those with errors reach."""
    print(
        "\n| table | runs | trusted | of these good | AP | F1 at the cut of the best | expected of the wrong labels |"
    )
    print("|---" * 7 + "|")
    for table in dict.fromkeys(row.table for row in rows):
        of_table = [row for row in rows if row.table == table]
        trusted = [row for row in of_table if row.level == "trust it"]
        with_errors = [row for row in trusted if row.n_wrong]
        ranges = [
            f"{min(values):.2f} to {max(values):.2f}" if values else "–"
            for values in (
                [row.average_precision for row in with_errors],
                [row.f1 / row.best_f1 for row in with_errors],
                [row.expected / row.n_wrong for row in with_errors],
            )
        ]
        n_good = sum(row.is_good for row in trusted)
        print(f"| {table} | {len(of_table)} | {len(trusted)} | {n_good} | {' | '.join(ranges)} |")
    withheld = [row for row in rows if row.level != "trust it"]
    print(f"\nwithheld: {len(withheld)}, {sum(row.is_good for row in withheld)} of them with a good cut and count")


def main() -> None:
    """Print the rows and the summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("role", choices=TABLES)
    parser.add_argument("--table", default="", help="part of the names of the tables to measure, by default all")
    parser.add_argument("--seed", type=int, default=3, help="seed of the errors")
    parser.add_argument("--folds", type=int, help="1 trains one head on all labels")
    parser.add_argument("--head", help="linear or mlp; by default the better one")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    print(
        "| table | errors | wrong | expected | flagged | AP | F1 at the cut | best F1 | verdict |\n" + "|---" * 9 + "|"
    )
    rows = []
    training = {name: value for name, value in (("folds", given.folds), ("head", given.head)) if value is not None}
    for row in measure(given.role, given.table, given.seed, training):
        print(row, flush=True)
        rows.append(row)
    print_summary(rows)


if __name__ == "__main__":
    main()
