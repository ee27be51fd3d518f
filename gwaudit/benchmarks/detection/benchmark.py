"""Which detector finds most, and at what cost: all of them on the same labels, network, epochs and machine.

Each label set gets one training, from whose store come gwaudit's scores and those of `gwaudit.analysis.detectors`. On
request it
gets the trainings that other methods need (five folds for confident learning, two for AUM's threshold samples) and
those of gwaudit's presets, with a row after each round of refinement.

Everything is kept: the runs, so that a new score or cut needs no new training; and the rows of `detection.json`, so
that what was measured once stays when the runs are gone, or when another call adds label sets, methods or seeds.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve

from gwaudit.analysis.audit import Audit
from gwaudit.analysis.detectors import DETECTORS, Detection, RecordedRun
from gwaudit.analysis.evaluation import ExpectedCount, Quality, evaluate, quality
from gwaudit.analysis.ranking import rank
from gwaudit.benchmarks.costs import training_flops
from gwaudit.benchmarks.detection.confident_learning import FOLDS, confident_learning, out_of_sample_probabilities
from gwaudit.benchmarks.detection.threshold_samples import aum_with_threshold_samples
from gwaudit.benchmarks.label_sets import LabelSet, instance_errors, label_set
from gwaudit.benchmarks.results import mean_and_spread, read_results, write_results
from gwaudit.core.errors import MissingExtraError, SettingsError
from gwaudit.core.settings import PRESETS, Preset, RankingSettings, TrainingSettings
from gwaudit.data.dataset import LabeledDataset
from gwaudit.store.store import TrajectoryStore
from gwaudit.training.progress import Progress
from gwaudit.training.refinement import rank_run, refine, rounds_of
from gwaudit.training.trainer import train

TRAININGS = ("plain", "folds", "threshold", *PRESETS)
"""What a label set can be trained as: once; in five folds; twice with threshold samples; as a preset has it."""

_CURVE_POINTS = 101


@dataclass(frozen=True)
class DetectionRow:
    """One method on one label set with one seed.

    Attributes:
        label_set: its name.
        method: its name.
        training: the trainings that it needs.
        seed: of the training and of what is planted.
        model, epochs: of each training.
        quality: as in `Quality`; `f1`, `precision` and `recall` are None for methods without a cut of their own.
        suggested_accuracy_flagged: of the wrong ones flagged, the share whose suggestion is right; gwaudit's own only.
        hard_flagged: of the right labels with the highest loss, the share flagged; gwaudit's own only.
        expected_wrong, expected_counts, transition_error, class_error: as in `Evaluation`; gwaudit's own only.
        samples_trained: samples that its trainings saw.
        training_flops: floating point operations of these.
        seconds: wall time of these on this machine: of each, its epochs times their median.
        curve: precision at 101 recalls from 0 to 1: the highest at that recall or a larger one.
        note: why there is nothing, where there is nothing.
    """

    label_set: str
    method: str
    training: str
    seed: int
    model: str
    epochs: int
    quality: dict[str, Any] | None = None
    suggested_accuracy_flagged: float | None = None
    hard_flagged: float | None = None
    expected_wrong: float | None = None
    expected_counts: tuple[ExpectedCount, ...] = ()
    transition_error: float | None = None
    class_error: float | None = None
    samples_trained: int = 0
    training_flops: float = 0.0
    seconds: float = 0.0
    curve: tuple[float, ...] = ()
    note: str = ""


def detection(
    dataset: LabeledDataset,
    folder: Path,
    label_sets: Sequence[str],
    training: TrainingSettings,
    *,
    trainings: Sequence[str] = ("plain",),
    seeds: Sequence[int] = (0,),
    labels: Path | None = None,
    progress: Progress | None = None,
) -> list[DetectionRow]:
    """Train what is not trained yet, and score every method.

    Args:
        dataset: with its right labels.
        folder: keeps the runs, and gets `detection.json` and `detection.md`.
        label_sets: names, as `gwaudit.benchmarks.label_sets` says.
        training: how to train, for all alike.
        trainings: which of `TRAININGS` to do.
        seeds: of the trainings, and of what is planted.
        labels: the label file that keys are of.
        progress: told how each training goes.

    Returns:
        All rows of the folder, those of earlier calls included.

    Raises:
        SettingsError: an unknown label set or training, or runs in the folder that were made otherwise.
        DataError: the label file does not fit, or a class is missing.
    """
    if dataset.is_multi_label:
        raise SettingsError(
            "the detectors side by side are of one label a sample, these have any number: gwaudit benchmark pairs has "
            "the figures for such data"
        )
    unknown = [name for name in trainings if name not in TRAININGS]
    if unknown:
        raise SettingsError(f"unknown training {unknown[0]!r}: choose from {', '.join(TRAININGS)}")
    # What is wrong with a name is said before anything is trained.
    known = [(seed, label_set(name, dataset, labels, seed=seed)) for seed in seeds for name in label_sets]
    rows = read_rows(folder)
    for seed, chosen in known:
        settings = replace(training, seed=seed)
        if chosen.dataset is None:
            clean = label_set("clean", dataset, None)
            chosen = _with_instance_errors(chosen, _Bench(clean, folder, settings, progress), dataset)
        bench = _Bench(chosen, folder, settings, progress)
        for name in trainings:
            made = list(bench.rows(name))
            rows = [row for row in rows if (row.label_set, row.training, row.seed) != (chosen.name, name, seed)] + made
            write_results(folder / "detection.json", rows, table=markdown(rows))
    return rows


def _with_instance_errors(chosen: LabelSet, clean: "_Bench", dataset: LabeledDataset) -> LabelSet:
    with TrajectoryStore.open(clean.plain_run()) as store:
        given = instance_errors(store, rate=chosen.rate, seed=round(100 * chosen.rate) + clean.settings.seed)
    return replace(chosen, dataset=dataset.with_labels(given, true_labels=dataset.labels))


class _Bench:
    """One label set with one seed."""

    def __init__(self, chosen: LabelSet, folder: Path, settings: TrainingSettings, progress: Progress | None) -> None:
        assert chosen.dataset is not None
        assert chosen.dataset.true_labels is not None
        self.name, self.dataset, self.truth = chosen.name, chosen.dataset, chosen.dataset.true_labels
        self.folder = folder / "runs" / chosen.name / f"seed-{settings.seed}"
        self.settings, self.progress = settings, progress

    def rows(self, training: str) -> Iterable[DetectionRow]:
        making: dict[str, Callable[[], Iterable[DetectionRow]]] = {
            "plain": self._plain,
            "folds": self._folds,
            "threshold": self._threshold,
        }
        return making[training]() if training in making else self._preset(training)

    def plain_run(self) -> Path:
        run = self.folder / "plain"
        train(self.dataset, run, self.settings, resume=True, progress=self.progress)
        return run

    def _plain(self) -> Iterable[DetectionRow]:
        run = self.plain_run()
        cost = self._cost([run], len(self.dataset))
        with TrajectoryStore.open(run) as store:
            recorded = RecordedRun(store)
            for name, detector in DETECTORS.items():
                if detector.needs == "trajectories":  # of the literature: its own score and cut, where it has one
                    yield self._row(name, "plain", detector.detect(recorded), cost)
                elif detector.needs == "statistics" or store.final_passes:
                    yield self._own_row(f"gwaudit_{name}", "plain", rank(store, RankingSettings(detector=name)), cost)
            everything = RankingSettings(detector="alignment", window=(0, len(store.training_epochs) - 1))
            yield self._own_row("gwaudit_alignment_all_epochs", "plain", rank(store, everything), cost)

    def _folds(self) -> Iterable[DetectionRow]:
        folder = self.folder / "folds"
        probabilities = out_of_sample_probabilities(self.dataset, folder, self.settings, progress=self.progress)
        inside = len(self.dataset) * (FOLDS - 1) // FOLDS
        cost = self._cost([folder / f"fold-{fold}" for fold in range(FOLDS)], inside)
        try:
            detections = confident_learning(self.dataset.labels, probabilities)
        except MissingExtraError as error:
            yield replace(self._empty("cleanlab", "folds"), note=str(error))
            return
        for name, detected in detections.items():
            yield self._row(name, "folds", detected, cost)

    def _threshold(self) -> Iterable[DetectionRow]:
        detected = aum_with_threshold_samples(self.dataset, self.folder, self.settings, progress=self.progress)
        cost = self._cost([self.folder / f"threshold-{part}" for part in range(2)], len(self.dataset))
        yield self._row("aum_threshold_samples", "threshold", detected, cost)

    def _preset(self, name: str) -> Iterable[DetectionRow]:
        chosen, refinement = PRESETS[cast(Preset, name)]
        settings = replace(chosen, seed=self.settings.seed)
        # The plain run is the first training of a preset that trains alike.
        run = self.folder / ("plain" if settings == self.settings else name)
        train(self.dataset, run, settings, resume=True, progress=self.progress)
        refine(self.dataset, run, settings, refinement, progress=self.progress)
        runs, cost = rounds_of(run), (0, 0.0, 0.0)
        for rounds in range(len(runs)):
            trained = settings if rounds == 0 else refinement.training(settings, rounds)
            added = self._cost([runs[rounds]], len(self.dataset), trained.model)
            cost = (cost[0] + added[0], cost[1] + added[1], cost[2] + added[2])
            row = self._own_row(f"gwaudit_{name}_{rounds}", name, rank_run(runs[: rounds + 1]), cost)
            yield replace(row, model=trained.model, epochs=trained.epochs)

    def _own_row(self, method: str, training: str, audit: Audit, cost: tuple[int, float, float]) -> DetectionRow:
        found = evaluate(audit, self.truth)
        detected = Detection(audit.by_id("log_odds_wrong"), audit.by_id("suspect"))
        return replace(
            self._row(method, training, detected, cost),
            suggested_accuracy_flagged=_or_none(found.suggested_accuracy_flagged),
            hard_flagged=_or_none(found.hard_flagged),
            expected_wrong=found.expected_wrong,
            expected_counts=found.expected_counts,
            transition_error=_or_none(found.transition_error),
            class_error=_or_none(found.class_error),
        )

    def _empty(self, method: str, training: str) -> DetectionRow:
        settings = self.settings
        return DetectionRow(self.name, method, training, settings.seed, settings.model, settings.epochs)

    def _row(self, method: str, training: str, detected: Detection, cost: tuple[int, float, float]) -> DetectionRow:
        wrong = self.dataset.labels != self.truth
        facts = quality(detected.score, wrong, detected.flagged).to_dict()
        if detected.flagged is None:
            facts.update(dict.fromkeys(("n_suspects", "precision", "recall", "f1")))
        samples, flops, seconds = cost
        return replace(
            self._empty(method, training),
            quality=facts,
            samples_trained=samples,
            training_flops=flops,
            seconds=seconds,
            curve=_curve(detected.score, wrong),
        )

    def _cost(self, runs: Sequence[Path], samples: int, model: str | None = None) -> tuple[int, float, float]:
        """Samples seen, floating point operations and seconds of trainings on so many samples each."""
        seen, seconds = 0, 0.0
        for run in runs:
            with TrajectoryStore.open(run) as store:
                seen += samples * len(store.training_epochs)
                epochs = [store.commit(epoch).metrics["seconds"] for epoch in store.training_epochs]
                seconds += len(epochs) * median(epochs)  # an epoch during which the machine slept is not hours of cost
        each = training_flops(model or self.settings.model, self.dataset.input_shape, len(self.dataset.class_names))
        return seen, seen * each, seconds


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else value


def _curve(score: NDArray[np.floating], wrong: NDArray[np.bool_]) -> tuple[float, ...]:
    if not wrong.any():
        return ()
    precision, recall, _ = precision_recall_curve(wrong, np.nan_to_num(score, nan=float(np.nanmin(score))))
    best_from_here = np.maximum.accumulate(precision)  # recall falls along the curve
    places = np.searchsorted(-recall, -np.linspace(0, 1, _CURVE_POINTS), side="right") - 1
    return tuple(round(float(value), 4) for value in best_from_here[places])


def read_rows(folder: Path) -> list[DetectionRow]:
    """The rows of `detection.json` in a folder; none where there is no such file.

    Raises:
        StoreDamagedError: it is broken.
    """
    return read_results(folder / "detection.json", _made)


def _made(curve: Sequence[float], expected_counts: Sequence[dict[str, Any]], **facts: Any) -> DetectionRow:
    counts = tuple(ExpectedCount(**count) for count in expected_counts)
    return DetectionRow(curve=tuple(curve), expected_counts=counts, **facts)


def as_frame(rows: Sequence[DetectionRow]) -> pd.DataFrame:
    """The rows as a frame, the quality's numbers as columns of their own; the curves are left out."""
    records = []
    for row in rows:
        facts = {k: v for k, v in asdict(row).items() if k not in ("quality", "curve", "expected_counts")}
        records.append({**facts, **(row.quality or dict.fromkeys(f for f in Quality.__dataclass_fields__))})
    return pd.DataFrame.from_records(records)


def markdown(rows: Sequence[DetectionRow]) -> str:
    """The rows as a table, seeds averaged, with their spread (half the range) where there are several."""
    lines = [
        "| labels | method | wrong | flagged | AUROC | AP | best F1 | F1 at cut | missed at true count | "
        "samples trained | PFLOP | minutes |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    sets = list(dict.fromkeys(row.label_set for row in rows))
    frame = as_frame(sorted(rows, key=lambda row: sets.index(row.label_set)))  # whenever a row was measured
    for (name, method), group in frame.groupby(["label_set", "method"], sort=False) if len(frame) else ():
        if group["n"].isna().all():
            lines.append(f"| {name} | {method} | {group['note'].iloc[0]} |" + " |" * 9)
            continue
        values = [
            mean_and_spread(group["n_wrong"] / group["n"], "{:.1%}"),
            mean_and_spread(group["n_suspects"].astype(float) / group["n"], "{:.1%}"),
            *(mean_and_spread(group[column], "{:.3f}") for column in ("auroc", "average_precision", "best_f1", "f1")),
            mean_and_spread(1 - group["precision_at_true_count"].astype(float), "{:.3f}"),
            f"{group['samples_trained'].mean():,.0f}",
            f"{group['training_flops'].mean() / 1e15:.3g}",
            f"{group['seconds'].mean() / 60:.1f}",
        ]
        lines.append(f"| {name} | {method} | {' | '.join(values)} |")
    return "\n".join(lines) + "\n"
