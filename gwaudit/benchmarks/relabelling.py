"""Measure the value of a reviewer's decisions: audit, correct a number of labels, train again.

The reviewer is an oracle: it looks at the samples in the order given and gives each its true label. The benchmark
compares orders: that of the audit, and a random one. It takes the same way as people: `decisions.csv`,
`gwaudit.review.decisions`, `gwaudit.review.corrections`.

Rows are kept in `relabelling.json`, so that results stay; trainings that were cut short are resumed.
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
from gwaudit.core.json import without_nan
from gwaudit.core.settings import TrainingSettings
from gwaudit.data.dataset import LabeledDataset
from gwaudit.pipeline.accuracy import accuracy_on
from gwaudit.review.corrections import correct
from gwaudit.review.decisions import read_decisions, write_decisions
from gwaudit.store.store import TrajectoryStore
from gwaudit.training.progress import Progress
from gwaudit.training.refinement import rank_run
from gwaudit.training.trainer import train

# Seeds of their own: label noise is drawn with the plain seed, and its permutation would select the same samples.
_HOLD_OUT, _RANDOM_ORDER = 1, 2

ORDERS = ("none", "gwaudit", "random")
"""The samples that the reviewer looks at: none; the most suspicious; random ones, as a control."""


@dataclass(frozen=True)
class RelabellingRow:
    """Hold the result of one training after a number of decisions in an order.

    Attributes:
        order: One of `ORDERS`.
        decisions: Number of samples that the reviewer looked at.
        seed: Seed of the training and of the random order.
        corrected: Number of wrong labels among these, which are now right.
        wrong: Number of labels that are still wrong.
        samples: Number of training samples.
        label_accuracy: Share of the labels that are right.
        test_accuracy: Test accuracy under the last weights; predictions are means over each image and its mirror image.
        average_precision: Average precision of the audit of this training; None if no label is wrong.
        seconds: Seconds of the training.
        data: Fingerprint of the data before any decision.
        training: Settings that differ from the defaults.
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
    """Return the decisions of a reviewer who makes no errors, as the frame of a `decisions.csv`.

    Args:
        audit: An audit of n samples.
        true_labels: [n] true labels.
        sample_ids: Ids of the samples to decide on, in this order.
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
    """Return a data set without a random share of its samples, and that share under its true labels, as test data.

    Raises:
        SettingsError: The share is not between 0 and 1.
    """
    if not 0 < share < 1:
        raise SettingsError(f"`hold_out`, the share to test on, must be between 0 and 1, not {share}")
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
    """Train on the given labels, on those after decisions in the audit's order, and after as many in random order.

    Args:
        dataset: Data set with given and true labels.
        test: Test data with right labels, without samples of `dataset`.
        folder: Folder that keeps the runs, the decisions, `relabelling.json` and `relabelling.md`.
        training: Settings of every training.
        decisions: Number of decisions that the reviewer makes.
        seeds: Seeds of the trainings and random orders.
        progress: Receives the progress of each training.

    Returns:
        All rows of the folder, those of earlier calls included.

    Raises:
        DataError: The true labels are not known.
        SettingsError: There are no decisions, or more than samples; or rows in the folder have other data or settings.
    """
    if dataset.true_labels is None:
        raise DataError(f"{dataset.name}: the oracle needs true labels: CIFAR-N's file (`labels`), or `add_noise`")
    if not 0 < decisions <= len(dataset):
        raise SettingsError(f"`decisions` must be from 1 to the {len(dataset)} samples, not {decisions}")
    rows = read_rows(folder)
    changed = {name: value for name, value in asdict(training).items() if value != getattr(TrainingSettings(), name)}
    common: dict[str, Any] = {"data": dataset.fingerprint, "training": changed}
    if other := next((row for row in rows if {"data": row.data, "training": row.training} != common), None):
        raise SettingsError(f"{folder} holds rows of other data or trainings ({other.training}): choose another folder")
    done = {(row.order, row.decisions, row.seed) for row in rows}
    for seed in seeds:
        trainings = _SeedTrainings(dataset, test, folder / f"seed-{seed}", replace(training, seed=seed), progress)
        for order in ORDERS:
            count = decisions if order != "none" else 0
            if (order, count, seed) not in done:
                rows.append(RelabellingRow(order, count, seed, **trainings.measure(order, count), **common))
                write_results(folder / "relabelling.json", rows, table=markdown(rows))
    return rows


class _SeedTrainings:
    """Train with one seed, and measure each training."""

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
        """Return the measured numbers of a `RelabellingRow`, after the training if it is not done yet."""
        given = self.dataset
        if order != "none":
            audit = self._audit(given, self.folder / "none")
            sample_ids = audit.frame["sample_id"].to_numpy()
            if order == "random":
                sample_ids = np.random.default_rng((self.settings.seed, _RANDOM_ORDER)).permutation(len(sample_ids))
            file = self.folder / f"{order}-{decisions}" / "decisions.csv"
            write_decisions(oracle_decisions(audit, self.truth, sample_ids[:decisions].tolist()), file)
            corrections = correct(audit, read_decisions([file], audit), dataset=given)
            given = given.with_labels(corrections.new, true_labels=self.truth)
        run = self.folder / ("none" if order == "none" else f"{order}-{decisions}/run")
        evaluation = evaluate(self._audit(given, run), self.truth)
        with TrajectoryStore.open(run) as store:
            seconds = sum(store.commit(epoch).metrics["seconds"] for epoch in store.training_epochs)
        wrong_before = int((self.dataset.labels != self.truth).sum())
        return {
            "corrected": wrong_before - evaluation.n_wrong,
            "wrong": evaluation.n_wrong,
            "samples": evaluation.n,
            "label_accuracy": 1 - evaluation.n_wrong / evaluation.n,
            "test_accuracy": accuracy_on(run, given, self.test),
            "average_precision": without_nan(evaluation.average_precision),
            "seconds": seconds,
        }

    def _audit(self, dataset: LabeledDataset, run: Path) -> Audit:
        train(dataset, run, self.settings, resume=True, progress=self.progress)
        return rank_run([run])


def read_rows(folder: Path) -> list[RelabellingRow]:
    """Read the rows of `relabelling.json` in a folder; none if there is no such file.

    Raises:
        StoreDamagedError: The file is broken.
    """
    return read_results(folder / "relabelling.json", RelabellingRow)


def markdown(rows: Sequence[RelabellingRow]) -> str:
    """Return the rows as a table of means over the seeds, with half their range if there are several."""
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
