"""Compare detectors of label errors on the same labels, network, epochs and machine.

Each label variant is trained once; gwaudit's scores and those of `gwaudit.analysis.detectors` read that run. On request
it also gets the trainings that other methods need (five folds for confident learning, two for AUM's threshold samples),
those of gwaudit's presets, with a row after each round of refinement, and those that start from pretrained weights:
`frozen`, a head on the features of a network, and `fine-tune`, that network. Beside them stands cleanlab on the same
features. Names of methods on `frozen` and `fine-tune` end with the training.

Everything is kept: the runs, so that a new score or cut needs no new training; and the rows of `detection.json`, so
that results stay when the runs are deleted, or when another call adds label variants, methods or seeds.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve

from gwaudit.analysis.audit import Audit
from gwaudit.analysis.detectors import DETECTORS, Detection
from gwaudit.analysis.evaluation import ExpectedCount, Quality, evaluate, quality
from gwaudit.analysis.ranking import rank
from gwaudit.benchmarks.cost.training_flops import feature_flops, training_flops
from gwaudit.benchmarks.detection.confident_learning import FOLDS, confident_learning, out_of_sample_probabilities
from gwaudit.benchmarks.detection.device_neighbours import RecordedRunOnDevice
from gwaudit.benchmarks.detection.logistic_regression import cross_validated_probabilities
from gwaudit.benchmarks.detection.pretrained import PRETRAINED, FeatureSource, fine_tune_settings, head_settings
from gwaudit.benchmarks.detection.second_split import second_split_forgetting, second_split_runs
from gwaudit.benchmarks.detection.threshold_samples import detect_with_threshold_samples
from gwaudit.benchmarks.label_variants import LabelVariant, instance_noise, make_label_variant
from gwaudit.benchmarks.results import mean_and_spread, read_results, write_results
from gwaudit.core.errors import MissingExtraError, SettingsError
from gwaudit.core.json import without_nan
from gwaudit.core.presets import PRESETS, Preset
from gwaudit.core.settings import RankingSettings, TrainingSettings
from gwaudit.data.dataset import LabeledDataset
from gwaudit.store.latents import has_latents, read_latents
from gwaudit.store.store import TrajectoryStore
from gwaudit.training.automatic_settings import resolve_for
from gwaudit.training.device import resolve_device
from gwaudit.training.progress import Progress
from gwaudit.training.refinement import rank_run, refine
from gwaudit.training.rounds import rounds_of
from gwaudit.training.trainer import train

_OF_SMALL_IMAGES: tuple[Preset, ...] = ("scratch-5min", "fast", "quality")
TRAININGS = ("plain", "folds", "threshold", "second-split", *_OF_SMALL_IMAGES, *PRETRAINED)
"""The trainings of a label variant: one; five folds; two with threshold samples; two halves, each learned first and
second; those of each preset for small images; and those that start from pretrained weights."""

Cost = tuple[int, float, float]  # samples seen, floating point operations, seconds
_CURVE_POINTS = 101


@dataclass(frozen=True)
class DetectionRow:
    """Hold the result of one method on one label variant with one seed.

    Attributes:
        label_variant: Name of the label variant.
        method: Name of the method.
        training: Trainings that it needs, one of `TRAININGS`.
        seed: Seed of the training and of the label noise.
        model, epochs: Model and epochs of each training.
        quality: Numbers of `Quality`; `f1`, `precision` and `recall` are None for methods without a cut of their own.
        suggested_accuracy_flagged: Share of the flagged wrong labels whose suggestion is right; gwaudit's methods only.
        hard_flagged: Share of the right labels with the highest loss that are flagged; gwaudit's methods only.
        expected_wrong, expected_counts, transition_error, class_error: As in `Evaluation`; gwaudit's methods only.
        samples_trained: Number of samples that the trainings saw, each time counted.
        training_flops: Floating point operations of the trainings.
        seconds: Wall time of the trainings on this machine: the number of epochs times their median.
        curve: Precision at 101 recalls from 0 to 1: the highest at that recall or a larger one.
        note: Reason for a missing result.
    """

    label_variant: str
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
    label_variants: Sequence[str],
    training: TrainingSettings,
    *,
    trainings: Sequence[str] = ("plain",),
    seeds: Sequence[int] = (0,),
    labels: Path | None = None,
    progress: Progress | None = None,
) -> list[DetectionRow]:
    """Train what is not trained yet, and score every method.

    Args:
        dataset: Data set with its right labels.
        folder: Folder that keeps the runs, `detection.json` and `detection.md`.
        label_variants: Names of label variants, see `gwaudit.benchmarks.label_variants`.
        training: Settings of every training.
        trainings: Trainings to do, of `TRAININGS`.
        seeds: Seeds of the trainings and of the label noise.
        labels: Label file with the keys.
        progress: Receives the progress of each training.

    Returns:
        All rows of the folder, those of earlier calls included.

    Raises:
        SettingsError: A label variant or training is unknown, or runs in the folder were made with other settings.
        DataError: The label file does not fit, or a class is missing.
    """
    if dataset.is_multi_label:
        raise SettingsError(
            "this benchmark compares detectors of one label a sample, and these data are multi-label: use gwaudit "
            "benchmark multilabel"
        )
    unknown = [name for name in trainings if name not in TRAININGS]
    if unknown:
        raise SettingsError(f"unknown training {unknown[0]!r}: choose from {', '.join(TRAININGS)}")
    # A wrong name is an error before anything is trained.
    variants = [
        (seed, make_label_variant(name, dataset, labels, seed=seed)) for seed in seeds for name in label_variants
    ]
    rows, features = read_rows(folder), FeatureSource(training, folder / "runs" / "features.json", progress)
    for seed, variant in variants:
        settings = replace(training, seed=seed)
        if variant.dataset is None:
            clean = make_label_variant("clean", dataset, None)
            clean_benchmark = _VariantBenchmark(clean, folder, settings, progress, features)
            variant = _with_instance_noise(variant, clean_benchmark, dataset)
        benchmark = _VariantBenchmark(variant, folder, settings, progress, features)
        for name in trainings:
            new, key = list(benchmark.rows(name)), (variant.name, name, seed)
            rows = [row for row in rows if (row.label_variant, row.training, row.seed) != key] + new
            write_results(folder / "detection.json", rows, table=markdown(rows))
    return rows


def _with_instance_noise(variant: LabelVariant, clean: "_VariantBenchmark", dataset: LabeledDataset) -> LabelVariant:
    with TrajectoryStore.open(clean.plain_run()) as store:
        given = instance_noise(store, rate=variant.rate, seed=round(100 * variant.rate) + clean.settings.seed)
    return replace(variant, dataset=dataset.with_labels(given, true_labels=dataset.labels))


class _VariantBenchmark:
    """Train one label variant with one seed, and score every method on it."""

    def __init__(
        self,
        variant: LabelVariant,
        folder: Path,
        settings: TrainingSettings,
        progress: Progress | None,
        features: FeatureSource,
    ) -> None:
        assert variant.dataset is not None
        assert variant.dataset.true_labels is not None
        self.name, self.dataset, self.truth = variant.name, variant.dataset, variant.dataset.true_labels
        self.folder = folder / "runs" / variant.name / f"seed-{settings.seed}"
        self.typed, self.features = settings, features
        self.settings, self.progress = resolve_for(variant.dataset, settings), progress

    def rows(self, training: str) -> Iterable[DetectionRow]:
        """Yield the rows of one of `TRAININGS`, after training what is not trained yet."""
        methods: dict[str, Callable[[], Iterable[DetectionRow]]] = {
            "plain": self._plain,
            "folds": self._folds,
            "threshold": self._threshold,
            "second-split": self._second_split,
            "frozen": self._frozen,
            "fine-tune": self._fine_tune,
        }
        return methods[training]() if training in methods else self._preset(training)

    def plain_run(self) -> Path:
        """Return the run of the one training, trained if it is not yet."""
        run = self.folder / "plain"
        train(self.dataset, run, self.settings, resume=True, progress=self.progress)
        return run

    def _plain(self) -> Iterable[DetectionRow]:
        run = self.plain_run()
        yield from self._of_run("plain", run, self._cost([run], len(self.dataset)))

    def _frozen(self) -> Iterable[DetectionRow]:
        features, run = self.features.of(self.dataset), self.folder / "frozen"
        settings = head_settings(self.typed)
        train(features.dataset, run, settings, resume=True, progress=self.progress)
        epochs = resolve_for(features.dataset, settings).epochs
        model, n = self.features.model_of(self.dataset), len(self.dataset)
        samples, flops, seconds = self._cost([run], n, model, features.dataset.input_shape)
        cost = samples, flops + n * feature_flops(model, self.dataset.input_shape), seconds + features.seconds
        inputs = features.dataset.read(torch.arange(n)).numpy()
        for row in chain(self._of_run("frozen", run, cost), self._on_features("frozen", inputs, cost)):
            yield replace(row, model=model, epochs=epochs)

    def _fine_tune(self) -> Iterable[DetectionRow]:
        run, settings = self.folder / "fine-tune", fine_tune_settings(self.typed)
        train(self.dataset, run, settings, resume=True, progress=self.progress)
        resolved = resolve_for(self.dataset, settings)
        cost = self._cost([run], len(self.dataset), resolved.model)
        latents = read_latents(run)
        of_features = [] if latents is None else self._on_features("fine-tune", latents[0], cost)
        for row in chain(self._of_run("fine-tune", run, cost), of_features):
            yield replace(row, model=resolved.model, epochs=resolved.epochs)

    def _of_run(self, training: str, run: Path, cost: Cost) -> Iterable[DetectionRow]:
        """Yield the row of each detector that reads one run."""
        suffix = f"_{training.replace('-', '_')}" if training in PRETRAINED else ""
        with TrajectoryStore.open(run) as store:
            recorded = RecordedRunOnDevice(store, resolve_device(self.settings.device))
            for name, detector in DETECTORS.items():
                start = time.monotonic()
                if detector.needs == "trajectories":  # of the literature: its own score, and cut if it has one
                    yield self._row(name + suffix, training, detector.detect(recorded), cost)
                elif detector.needs == "latents":
                    if has_latents(run):
                        result = detector.detect(recorded)
                        yield self._row(name + suffix, training, result, _with_seconds(cost, start))
                elif detector.needs == "statistics" or store.final_passes:
                    audit = rank(store, RankingSettings(detector=name, force=True))
                    yield self._own_row(f"gwaudit_{name}{suffix}", training, audit, cost)
            everything = RankingSettings(detector="alignment", window=(0, len(store.training_epochs) - 1), force=True)
            name = f"gwaudit_alignment_all_epochs{suffix}"
            yield self._own_row(name, training, rank(store, everything), cost)

    def _on_features(self, training: str, features: NDArray[np.float32], cost: Cost) -> Iterable[DetectionRow]:
        """Yield the rows of cleanlab, by a logistic regression in folds on features [n, D]."""
        start, suffix = time.monotonic(), f"_{training.replace('-', '_')}"
        probabilities = cross_validated_probabilities(
            features,
            self.dataset.labels,
            len(self.dataset.class_names),
            seed=self.settings.seed,
            device=resolve_device(self.settings.device),
        )
        yield from self._of_cleanlab(training, probabilities, lambda: _with_seconds(cost, start), suffix)

    def _folds(self) -> Iterable[DetectionRow]:
        folder = self.folder / "folds"
        probabilities = out_of_sample_probabilities(self.dataset, folder, self.settings, progress=self.progress)
        trained_on = len(self.dataset) * (FOLDS - 1) // FOLDS
        cost = self._cost([folder / f"fold-{fold}" for fold in range(FOLDS)], trained_on)
        yield from self._of_cleanlab("folds", probabilities, lambda: cost)

    def _of_cleanlab(
        self, training: str, probabilities: NDArray[np.float64], cost: Callable[[], Cost], suffix: str = ""
    ) -> Iterable[DetectionRow]:
        try:
            detections = confident_learning(self.dataset.labels, probabilities)
        except MissingExtraError as error:
            yield replace(self._empty(f"cleanlab{suffix}", training), note=str(error))
            return
        for name, result in detections.items():
            yield self._row(name + suffix, training, result, cost())

    def _threshold(self) -> Iterable[DetectionRow]:
        results = detect_with_threshold_samples(self.dataset, self.folder, self.settings, progress=self.progress)
        cost = self._cost([self.folder / f"threshold-{part}" for part in range(2)], len(self.dataset))
        for name, result in results.items():
            yield self._row(name, "threshold", result, cost)

    def _second_split(self) -> Iterable[DetectionRow]:
        result = second_split_forgetting(self.dataset, self.folder, self.settings, progress=self.progress)
        cost = self._cost(second_split_runs(self.folder), len(self.dataset) // 2)
        yield self._row("second_split_forgetting", "second-split", result, cost)

    def _preset(self, name: str) -> Iterable[DetectionRow]:
        preset, refinement = PRESETS[cast(Preset, name)]
        settings = resolve_for(self.dataset, replace(preset, seed=self.settings.seed))
        # The plain run is also the first training of a preset with the same settings.
        run = self.folder / ("plain" if settings == self.settings else name)
        train(self.dataset, run, settings, resume=True, progress=self.progress)
        refine(self.dataset, run, settings, refinement, force=True, progress=self.progress)
        runs, cost = rounds_of(run), (0, 0.0, 0.0)
        for rounds in range(len(runs)):
            trained = settings if rounds == 0 else resolve_for(self.dataset, refinement.training(settings, rounds))
            added = self._cost([runs[rounds]], len(self.dataset), trained.model)
            cost = (cost[0] + added[0], cost[1] + added[1], cost[2] + added[2])
            row = self._own_row(f"gwaudit_{name}_{rounds}", name, rank_run(runs[: rounds + 1]), cost)
            yield replace(row, model=trained.model, epochs=trained.epochs)

    def _own_row(self, method: str, training: str, audit: Audit, cost: Cost) -> DetectionRow:
        evaluation = evaluate(audit, self.truth)
        result = Detection(-audit.by_id("rank").astype(np.float64), audit.by_id("suspect"))
        return replace(
            self._row(method, training, result, cost),
            suggested_accuracy_flagged=without_nan(evaluation.suggested_accuracy_flagged),
            hard_flagged=without_nan(evaluation.hard_flagged),
            expected_wrong=evaluation.expected_wrong,
            expected_counts=evaluation.expected_counts,
            transition_error=without_nan(evaluation.transition_error),
            class_error=without_nan(evaluation.class_error),
        )

    def _empty(self, method: str, training: str) -> DetectionRow:
        settings = self.settings
        return DetectionRow(self.name, method, training, settings.seed, settings.model, settings.epochs)

    def _row(self, method: str, training: str, result: Detection, cost: Cost) -> DetectionRow:
        wrong = self.dataset.labels != self.truth
        facts = quality(result.score, wrong, result.flagged).to_dict()
        if result.flagged is None:
            facts.update(dict.fromkeys(("n_suspects", "precision", "recall", "f1")))
        samples, flops, seconds = cost
        return replace(
            self._empty(method, training),
            quality=facts,
            samples_trained=samples,
            training_flops=flops,
            seconds=seconds,
            curve=_precision_at_recalls(result.score, wrong),
        )

    def _cost(
        self, runs: Sequence[Path], samples: int, model: str | None = None, input_shape: tuple[int, ...] | None = None
    ) -> Cost:
        """Return samples seen, floating point operations and seconds of trainings on this number of samples each."""
        seen, heads, seconds = 0, 1, 0.0
        for run in runs:
            with TrajectoryStore.open(run) as store:
                seen += samples * len(store.training_epochs)
                heads = _heads_of_a_sample(store)
                epochs = [store.commit(epoch).metrics["seconds"] for epoch in store.training_epochs]
                seconds += len(epochs) * median(epochs)  # an epoch during which the machine slept is not hours of cost
        shape = input_shape or self.dataset.input_shape
        each = training_flops(model or self.settings.model, shape, len(self.dataset.class_names))
        return seen, seen * each * heads, seconds


def _heads_of_a_sample(store: TrajectoryStore) -> int:
    """Return the number of heads that learn a sample in each epoch: in folds, all but those that leave it out."""
    training = store.settings["training"]
    return (training["folds"] - 1) * training["fold_repeats"] if training["folds"] > 1 else 1


def _with_seconds(cost: Cost, start: float) -> Cost:
    """Return a cost with the seconds since `start` added."""
    return cost[0], cost[1], cost[2] + time.monotonic() - start


def _precision_at_recalls(score: NDArray[np.floating], wrong: NDArray[np.bool_]) -> tuple[float, ...]:
    if not wrong.any():
        return ()
    precision, recall, _ = precision_recall_curve(wrong, np.nan_to_num(score, nan=float(np.nanmin(score))))
    best_from_here = np.maximum.accumulate(precision)  # recall falls along the curve
    points = np.searchsorted(-recall, -np.linspace(0, 1, _CURVE_POINTS), side="right") - 1
    return tuple(round(float(value), 4) for value in best_from_here[points])


def read_rows(folder: Path) -> list[DetectionRow]:
    """Read the rows of `detection.json` in a folder; none if there is no such file.

    Raises:
        StoreDamagedError: The file is broken.
    """
    return read_results(folder / "detection.json", _make_row)


def _make_row(curve: Sequence[float], expected_counts: Sequence[dict[str, Any]], **facts: Any) -> DetectionRow:
    counts = tuple(ExpectedCount(**count) for count in expected_counts)
    return DetectionRow(curve=tuple(curve), expected_counts=counts, **facts)


def as_frame(rows: Sequence[DetectionRow]) -> pd.DataFrame:
    """Return the rows as a frame, with a column for each number of the quality and without the curves."""
    records = []
    for row in rows:
        facts = {k: v for k, v in asdict(row).items() if k not in ("quality", "curve", "expected_counts")}
        records.append({**facts, **(row.quality or dict.fromkeys(f for f in Quality.__dataclass_fields__))})
    return pd.DataFrame.from_records(records)


def markdown(rows: Sequence[DetectionRow]) -> str:
    """Return the rows as a table of means over the seeds, with half their range if there are several."""
    lines = [
        "| labels | method | wrong | flagged | AUROC | AP | best F1 | F1 at cut | missed at true count | "
        "samples trained | PFLOP | seconds |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    variants = list(dict.fromkeys(row.label_variant for row in rows))
    # The rows of a variant stand together, whenever each was measured.
    frame = as_frame(sorted(rows, key=lambda row: variants.index(row.label_variant)))
    for (name, method), group in frame.groupby(["label_variant", "method"], sort=False) if len(frame) else ():
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
            f"{group['seconds'].mean():,.0f}",
        ]
        lines.append(f"| {name} | {method} | {' | '.join(values)} |")
    return "\n".join(lines) + "\n"
