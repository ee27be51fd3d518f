"""Which score finds most: one training a label set, every score from the same recorded run.

A label set is a name: a key of the label file (`worse_label`), `clean`, `symmetric-20`, `pair-30` or `instance-40`
(percent of wrong labels). Instance-dependent errors come from the run on the right labels: the less sure that run is of
a sample's right label, the likelier the label becomes one that it took for the best other at some epoch.

The runs are kept, so that a new score or cut needs no new training, and an interrupted benchmark goes on.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import cast, get_args

import numpy as np
from numpy.typing import NDArray

from gwaudit.datasets import LabeledDataset, plant_label_errors
from gwaudit.datasets.label_files import read_label_file
from gwaudit.datasets.planted import NoiseKind
from gwaudit.durable import write_atomically
from gwaudit.errors import DataError, SettingsError, StoreError
from gwaudit.evaluation import evaluate
from gwaudit.ranking import Audit, RankingSettings, Score, rank
from gwaudit.settings import TrainingSettings
from gwaudit.statistics import sample_statistics
from gwaudit.store import MISSING_LABEL, TrajectoryStore
from gwaudit.training import Progress, train

PEERS = {
    "mean_loss": ("mean_loss", 1),
    "confidence": ("mean_given_probability", -1),
    "share_negative": ("share_negative", 1),
    "last_alignment": ("last_alignment", -1),
    "forgetting": ("times_forgotten", 1),
}
"""Scores to compare with, each a statistic and its sign: mean loss; Dataset Cartography's confidence (Swayamdipta et
al., 2020); persistence; a single epoch; forgetting events (Toneva et al., 2019)."""

_PLANTED = re.compile(r"(symmetric|pair|instance)-(\d+)")
_LARGEST_FLIP = 0.9


@dataclass(frozen=True)
class DetectionRow:
    """One score on one label set; shares in [0, 1], None where undefined.

    Attributes:
        label_set: its name.
        score: its name.
        wrong: share of the labels that are wrong.
        flagged: share that the score's own cut flags; None for scores without a cut.
        auroc, average_precision, best_f1, precision_at_true_count: as in `Evaluation`.
        f1: at the score's own cut.
        suggested_accuracy: share of the wrong labels whose suggestion is right (the same for all scores of a run).
        samples_trained: samples that the training saw: n times epochs.
    """

    label_set: str
    score: str
    wrong: float
    flagged: float | None
    auroc: float | None
    average_precision: float | None
    best_f1: float | None
    precision_at_true_count: float | None
    f1: float | None
    suggested_accuracy: float | None
    samples_trained: int


def detection(
    dataset: LabeledDataset,
    folder: Path,
    label_sets: Sequence[str],
    training: TrainingSettings,
    *,
    labels: Path | None = None,
    progress: Progress | None = None,
) -> list[DetectionRow]:
    """Train once on each label set, or go on where an earlier call stopped, and score every ranking.

    Args:
        dataset: with its right labels.
        folder: keeps a run a label set, and gets `detection.json` and `detection.md`.
        label_sets: names, as the module says.
        training: how to train, for all label sets alike.
        labels: the label file that keys are of.
        progress: told how each training goes.

    Raises:
        SettingsError: an unknown label set, or runs in the folder that were made otherwise.
        DataError: the label file does not fit.
    """
    known = {name: _given_labels(name, dataset, labels) for name in label_sets}  # what is wrong is said before training

    def run(name: str, given: NDArray[np.int64]) -> Path:
        noisy = dataset.with_labels(given, true_labels=dataset.labels)
        train(noisy, folder / name, training, resume=True, progress=progress)
        return folder / name

    rows: list[DetectionRow] = []
    for name, given in known.items():
        if given is None:
            with TrajectoryStore.open(run("clean", dataset.labels)) as store:
                rate = _percent(name)
                given = instance_errors(store, rate=rate / 100, seed=rate)
        with TrajectoryStore.open(run(name, given)) as store:
            rows += _rows(name, store, dataset.labels)
        _write(folder, rows)
    return rows


def markdown(rows: Sequence[DetectionRow]) -> str:
    """The rows as a table."""
    lines = [
        "| labels | wrong | score | AUROC | AP | best F1 | F1 at cut | flagged | P at true count |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        values = (row.auroc, row.average_precision, row.best_f1, row.f1)
        shown = ["–" if value is None else f"{value:.3f}" for value in values]
        shown.append("–" if row.flagged is None else f"{row.flagged:.1%}")
        shown.append("–" if row.precision_at_true_count is None else f"{row.precision_at_true_count:.3f}")
        lines.append(f"| {row.label_set} | {row.wrong:.1%} | {row.score} | {' | '.join(shown)} |")
    return "\n".join(lines) + "\n"


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
    late = range(clean_run.next_epoch // 5, clean_run.next_epoch)
    unsure = 1 - sample_statistics(clean_run, late)["mean_given_probability"].to_numpy(np.float64) + 0.05
    low, high = 0.0, _LARGEST_FLIP / unsure.min()
    for _ in range(60):
        scale = (low + high) / 2
        too_few = np.minimum(scale * unsure, _LARGEST_FLIP).mean() < rate
        low, high = (scale, high) if too_few else (low, scale)
    flipped = random.random(len(labels)) < np.minimum(high * unsure, _LARGEST_FLIP)
    rivals = np.stack([clean_run.read_epoch(e, ["counterfactual_label"])["counterfactual_label"] for e in late])
    chosen = rivals[random.integers(len(late), size=len(labels)), np.arange(len(labels))]
    return np.where(flipped & (chosen != MISSING_LABEL), chosen, labels)


def _given_labels(name: str, dataset: LabeledDataset, file: Path | None) -> NDArray[np.int64] | None:
    """The labels of a set, None where a run has to be made first."""
    if name == "clean":
        return dataset.labels
    if planted := _PLANTED.fullmatch(name):
        kind, n_classes = planted[1], len(dataset.class_names)
        if kind == "instance":
            return None
        return plant_label_errors(dataset.labels, n_classes, rate=_percent(name) / 100, kind=cast(NoiseKind, kind))
    if file is None:
        raise SettingsError(
            f"unknown label set {name!r}: clean, symmetric-20, pair-30, instance-40 (any percentage), "
            "or a key of the label file (--labels)"
        )
    given, clean = read_label_file(file, name)
    if given.shape != dataset.labels.shape or (clean is not None and (clean != dataset.labels).any()):
        raise DataError(f"{file} is of other data than {dataset.name}, or in another order")
    return given


def _percent(name: str) -> int:
    return int(name.rpartition("-")[2])


def _rows(name: str, store: TrajectoryStore, truth: NDArray[np.int64]) -> list[DetectionRow]:
    audits: dict[str, Audit] = {score: rank(store, RankingSettings(score=score)) for score in get_args(Score)}
    frame = audits["combined"].frame
    for peer, (column, sign) in PEERS.items():
        rescored = frame.assign(score=sign * frame[column].astype(np.float32), suspect=False)
        rescored = rescored.sort_values(["score", "sample_id"], ascending=[False, True], ignore_index=True)
        audits[peer] = replace(audits["combined"], frame=rescored)
    rows = []
    for score, audit in audits.items():
        e = evaluate(audit, truth)
        facts = e.to_dict()
        has_cut = score not in PEERS
        row = DetectionRow(
            label_set=name,
            score=score,
            wrong=e.n_wrong / e.n,
            flagged=e.n_suspects / e.n if has_cut else None,
            auroc=facts["auroc"],
            average_precision=facts["average_precision"],
            best_f1=facts["best_f1"],
            precision_at_true_count=facts["precision_at_true_count"],
            f1=facts["f1"] if has_cut and e.n_wrong else None,
            suggested_accuracy=facts["suggested_accuracy"],
            samples_trained=e.n * store.next_epoch,
        )
        rows.append(row)
    return rows


def _write(folder: Path, rows: Sequence[DetectionRow]) -> None:
    text = json.dumps([asdict(row) for row in rows], indent=1)
    try:
        write_atomically(folder / "detection.json", lambda path: path.write_text(text))
        write_atomically(folder / "detection.md", lambda path: path.write_text(markdown(rows), encoding="utf-8"))
    except OSError as error:
        raise StoreError(f"cannot write {folder / 'detection.json'}: {error.strerror}; make room there") from error
