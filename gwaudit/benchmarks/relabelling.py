"""What a reviewer's decisions are worth: audit, correct so many labels, train again; in the tool's order and at random.

The reviewer is an oracle: it looks at the samples it is shown, in their order, and gives each its true label. What is
compared is the order. Everything goes the way that people take: `decisions.csv`, `gwaudit.review.decisions`,
`gwaudit.review.corrections`.

Rows are kept in `relabelling.json`, so that what was measured once stays; trainings go on where they were cut short.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gwaudit.analysis.audit import Audit
from gwaudit.analysis.evaluation import evaluate
from gwaudit.benchmarks.results import mean_and_spread, read_results, write_results
from gwaudit.core.errors import DataError, SettingsError
from gwaudit.core.settings import TrainingSettings
from gwaudit.data.dataset import LabeledDataset
from gwaudit.pipeline.accuracy import accuracy_on
from gwaudit.review.corrections import correct
from gwaudit.review.decisions import read_decisions, write_decisions
from gwaudit.store.store import TrajectoryStore
from gwaudit.training.progress import Progress
from gwaudit.training.refinement import rank_run
from gwaudit.training.trainer import train

# Draws of their own: errors are planted with a generator of the plain seed, whose permutation is that of the errors.
_HOLD_OUT, _RANDOM_ORDER = 1, 2

ORDERS = ("none", "gwaudit", "random")
"""Whom the reviewer is shown: nobody; the most suspicious; anybody, as a control."""


@dataclass(frozen=True)
class RelabellingRow:
    """A training after so many decisions in an order.

    Attributes:
        order: one of `ORDERS`.
        decisions: samples that the reviewer looked at.
        seed: of the training and of the random order.
        corrected: wrong labels among these, now right.
        wrong: labels that are still wrong.
        samples: of the training.
        label_accuracy: share of the labels that are right.
        test_accuracy: of the training on them, under its last weights; the mean of each image as it is and mirrored.
        average_precision: of the audit that this training gives; None where no label is wrong.
        seconds: of the training.
        data: fingerprint of the data before any decision.
        training: settings that are not defaults.
    """

    order: str
    decisions: int
    seed: int
    corrected: int
    wrong: int
    samples: int
    label_accuracy: float
    test_accuracy: float
    average_precision: float | None
    seconds: float
    data: str
    training: dict[str, Any]


def oracle_decisions(audit: Audit, true_labels: NDArray[np.int64], sample_ids: Sequence[int]) -> pd.DataFrame:
    """What a reviewer who never errs decides about samples: the frame of a `decisions.csv`.

    Args:
        audit: of n samples.
        true_labels: [n].
        sample_ids: those that are looked at, in their order.
    """
    given, names = audit.by_id("given_label"), np.array(audit.class_names, object)
    ids = np.asarray(sample_ids, np.int64)
    wrong = given[ids] != true_labels[ids]
    return pd.DataFrame(
        {
            "sample_id": ids,
            "key": audit.by_id("key")[ids],
            "given_name": names[given[ids]],
            "decision": np.where(wrong, "relabel", "keep"),
            "label": np.where(wrong, names[true_labels[ids]], ""),
        }
    )


def split_off(dataset: LabeledDataset, share: float, *, seed: int = 0) -> tuple[LabeledDataset, LabeledDataset]:
    """A data set without a random share of its samples, and that share under its true labels, to test on.

    Raises:
        SettingsError: the share is not between 0 and 1.
    """
    if not 0 < share < 1:
        raise SettingsError(f"the share to hold out must be between 0 and 1, not {share}")
    order = np.random.default_rng((seed, _HOLD_OUT)).permutation(len(dataset))
    cut = round(len(dataset) * share)
    test = dataset.subset(np.sort(order[:cut]))
    if test.true_labels is not None:
        test = test.with_labels(test.true_labels)
    return dataset.subset(np.sort(order[cut:])), test


def relabelling(
    dataset: LabeledDataset,
    test: LabeledDataset,
    folder: Path,
    training: TrainingSettings,
    *,
    decisions: int,
    seeds: Sequence[int] = (0,),
    progress: Progress | None = None,
) -> list[RelabellingRow]:
    """Train on the labels as they are, after the tool's decisions, and after as many random ones.

    Args:
        dataset: with given and true labels.
        test: under right labels, apart from `dataset`.
        folder: keeps the runs and decisions, and gets `relabelling.json` and `relabelling.md`.
        training: how to train, each time alike.
        decisions: that the reviewer makes.
        seeds: of trainings and random orders.
        progress: told how each training goes.

    Returns:
        All rows of the folder, those of earlier calls included.

    Raises:
        DataError: the truth is not known.
        SettingsError: no decisions, or more than samples; or rows in the folder that are of other data or trainings.
    """
    if dataset.true_labels is None:
        raise DataError(f"{dataset.name}: the oracle needs true labels: CIFAR-N's file (`labels`), or `add_noise`")
    if not 0 < decisions <= len(dataset):
        raise SettingsError(f"{decisions} decisions about {len(dataset)} samples: give a number between")
    rows = read_rows(folder)
    told = {name: value for name, value in asdict(training).items() if value != getattr(TrainingSettings(), name)}
    bench: dict[str, Any] = {"data": dataset.fingerprint, "training": told}
    if other := next((row for row in rows if {"data": row.data, "training": row.training} != bench), None):
        raise SettingsError(f"{folder} holds rows of other data or trainings ({other.training}): choose another folder")
    done = {(row.order, row.decisions, row.seed) for row in rows}
    for seed in seeds:
        arms = _Arms(dataset, test, folder / f"seed-{seed}", replace(training, seed=seed), progress)
        for order in ORDERS:
            made = decisions if order != "none" else 0
            if (order, made, seed) not in done:
                rows.append(RelabellingRow(order, made, seed, **arms.measure(order, made), **bench))
                write_results(folder / "relabelling.json", rows, table=markdown(rows))
    return rows


class _Arms:
    """The trainings of one seed."""

    def __init__(
        self,
        dataset: LabeledDataset,
        test: LabeledDataset,
        folder: Path,
        settings: TrainingSettings,
        progress: Progress | None,
    ) -> None:
        self.dataset, self.test, self.folder, self.settings, self.progress = dataset, test, folder, settings, progress
        assert dataset.true_labels is not None
        self.truth = dataset.true_labels

    def measure(self, order: str, decisions: int) -> dict[str, Any]:
        given = self.dataset
        if order != "none":
            audit = self._audit(given, self.folder / "none")
            shown = audit.frame["sample_id"].to_numpy()
            if order == "random":
                shown = np.random.default_rng((self.settings.seed, _RANDOM_ORDER)).permutation(len(shown))
            file = self.folder / f"{order}-{decisions}" / "decisions.csv"
            write_decisions(oracle_decisions(audit, self.truth, shown[:decisions].tolist()), file)
            corrections = correct(audit, read_decisions([file], audit), dataset=given)
            given = given.with_labels(corrections.new, true_labels=self.truth)
        run = self.folder / ("none" if order == "none" else f"{order}-{decisions}/run")
        found = evaluate(self._audit(given, run), self.truth)
        with TrajectoryStore.open(run) as store:
            seconds = sum(store.commit(epoch).metrics["seconds"] for epoch in store.training_epochs)
        before = int((self.dataset.labels != self.truth).sum())
        return {
            "corrected": before - found.n_wrong,
            "wrong": found.n_wrong,
            "samples": found.n,
            "label_accuracy": 1 - found.n_wrong / found.n,
            "test_accuracy": accuracy_on(run, given, self.test),
            "average_precision": found.average_precision if found.n_wrong else None,
            "seconds": seconds,
        }

    def _audit(self, dataset: LabeledDataset, run: Path) -> Audit:
        train(dataset, run, self.settings, resume=True, progress=self.progress)
        return rank_run([run])


def read_rows(folder: Path) -> list[RelabellingRow]:
    """The rows of `relabelling.json` in a folder; none where there is no such file.

    Raises:
        StoreDamagedError: it is broken.
    """
    return read_results(folder / "relabelling.json", RelabellingRow)


def markdown(rows: Sequence[RelabellingRow]) -> str:
    """The rows as a table, seeds averaged, with half their range where there are several."""
    lines = [
        "| order | decisions | corrected | labels right | test accuracy | average precision | minutes |",
        "|---|---|---|---|---|---|---|",
    ]
    frame = pd.DataFrame([asdict(row) for row in rows])
    for (order, decisions), group in frame.groupby(["order", "decisions"], sort=False) if len(frame) else ():
        values = [
            mean_and_spread(group["corrected"], "{:,.0f}"),
            mean_and_spread(group["label_accuracy"], "{:.2%}"),
            mean_and_spread(group["test_accuracy"], "{:.2%}"),
            mean_and_spread(group["average_precision"], "{:.3f}"),
            mean_and_spread(group["seconds"] / 60, "{:.1f}"),
        ]
        lines.append(f"| {order} | {decisions:,} | {' | '.join(values)} |")
    return "\n".join(lines) + "\n"
