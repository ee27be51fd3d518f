"""When to stop, and what it costs to know: alignment's rules beside those that withhold data or need more gradients.

Each label set is trained once on all its samples, recorded, with clean and corrupted test images evaluated after every
epoch; from that run come all rules that withhold nothing. For each held-out share it is trained once more without that
share, as validation would have it: what is withheld is then missing from the training, and validation labels are as
wrong as the given ones are. On request come the trainings that tell what is memorised.

This module measures: `measure` gives what a label set's runs recorded, `stopping.json` keeps it.
`gwaudit.benchmarks.stopping.analysis` makes choices, tables and verdicts of it, `stopping_figures` the figures. Test
labels and true labels are for scoring only: no rule sees them.
"""

import math
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from gwaudit.analysis.monitor import group_readings, moving_agreement, readings
from gwaudit.benchmarks.cost.overhead import commit_seconds, recording_seconds
from gwaudit.benchmarks.label_sets import label_set
from gwaudit.benchmarks.results import read_results, write_results
from gwaudit.benchmarks.stopping.corrupted import CorruptedImages, corrupted_by_library, corrupted_from_files
from gwaudit.benchmarks.stopping.memorisation import memorisation_scores
from gwaudit.benchmarks.stopping.probe import StoppingProbe, TestSet
from gwaudit.benchmarks.stopping.settings import StoppingSettings
from gwaudit.benchmarks.stopping.trajectory_groups import (
    Curve,
    band,
    quantiles,
    rank_correlation,
    turning,
    turning_epochs,
)
from gwaudit.core.errors import DataError, SettingsError
from gwaudit.core.settings import TrainingSettings, split_commas
from gwaudit.data.dataset import LabeledDataset
from gwaudit.data.loading import load_dataset
from gwaudit.recording.head import find_head
from gwaudit.store.store import TrajectoryStore
from gwaudit.training.models import build_model
from gwaudit.training.progress import Progress
from gwaudit.training.trainer import train

FULL = "full"
TOP_SHARE = 0.1
LEAST_SCORE = 0.25
"""Memorised are the tenth of the samples with the highest memorisation scores, at least this (Feldman and Zhang's)."""


@dataclass(frozen=True)
class StoppingMeasurement:
    """What one network's runs on one label set recorded. All of it is JSON; None is a number that there is not.

    Attributes:
        label_set, model, seed: which.
        epochs, samples, test_samples: how many.
        wrong_share: of the given labels.
        corrupted: how the corrupted images were made.
        settings: of the trainings.
        runs: the signals of each run, epoch by epoch: "full" and "held-out-10" for a tenth kept out.
        withheld: samples kept out of each run.
        costs: `training`, `recording`, `labelwave` (seconds an epoch), `parameters`, `latent`.
        phases: for "early", "best" and "last": the `epoch`, and quantiles of the alignments of "all", "mislabelled"
            and "rest" at 101 even shares.
        trajectories: for "mislabelled", "rest" and, where it was measured, "memorised" and "not memorised": `mean`,
            `low` and `high` quartile of the alignment, epoch by epoch.
        turning: for the same groups: the mean epoch from which a sample's alignment stays above zero (`epoch`), and the
            share of samples that get there (`share`).
        memorisation: of the memorised: `models`, `samples`, `score` (their mean) and `correlation` of the score
            with the turning epoch (Spearman's), `wrong_share` of them; None where it was not measured.
        classes: GWA and the like by given class, epoch by epoch.
        agreement: of the moving estimate with the exact moments.
    """

    label_set: str
    model: str
    seed: int
    epochs: int
    samples: int
    test_samples: int
    wrong_share: float
    corrupted: str
    settings: dict[str, Any]
    runs: dict[str, dict[str, Curve]]
    withheld: dict[str, int]
    costs: dict[str, float]
    phases: dict[str, dict[str, Any]]
    trajectories: dict[str, dict[str, Curve]]
    turning: dict[str, dict[str, float | None]]
    memorisation: dict[str, float | None] | None
    classes: dict[str, dict[str, Curve]]
    agreement: list[dict[str, Any]]

    @property
    def key(self) -> tuple[str, str, int]:
        """What it is of."""
        return self.label_set, self.model, self.seed


def stopping(
    source: str,
    folder: Path,
    settings: StoppingSettings,
    *,
    labels: Path | None = None,
    progress: Progress | None = None,
) -> list[StoppingMeasurement]:
    """Train what is not trained yet, and measure.

    Args:
        source: images with their right labels, as for an audit.
        folder: keeps the runs, and gets `stopping.json`.
        settings: what to compare on.
        labels: the label file that keys are of.
        progress: told how each training goes.

    Returns:
        All measurements of the folder, those of earlier calls included.

    Raises:
        SettingsError: an unknown label set, or runs in the folder that were made otherwise.
        DataError: no images, or the label file does not fit.
    """
    dataset, test, test_ids = images_of(source, settings)
    # What is wrong with a name is said before anything is trained.
    chosen = [given_labels(name, dataset, labels, settings) for name in split_commas(settings.sets)]
    for model in split_commas(settings.models):
        build_model(
            model,
            n_classes=len(dataset.class_names),
            in_chans=dataset.input_shape[0],
            image_size=dataset.input_shape[1],
        )
    corrupted = _corrupted(test, test_ids, settings)
    done = {measurement.key: measurement for measurement in read_measurements(folder)}
    for name, given in chosen:
        for model in split_commas(settings.models):
            bench = _Bench(name, given, test, corrupted, folder, settings, settings.training(model), progress)
            measured = bench.measure()
            done[measured.key] = measured
            write_results(folder / "stopping.json", [*done.values()], key="measurements")
    return [*done.values()]


def read_measurements(folder: Path) -> list[StoppingMeasurement]:
    """Those of `stopping.json` in a folder; none where there is no such file.

    Raises:
        StoreDamagedError: it is broken.
    """
    return read_results(folder / "stopping.json", StoppingMeasurement, key="measurements")


def images_of(source: str, settings: StoppingSettings) -> tuple[LabeledDataset, LabeledDataset, NDArray[np.int64]]:
    """All training samples, the test images, and the latter's numbers in the test set.

    Raises:
        DataError: no images, or test images of another kind.
    """
    dataset = load_dataset(source)
    if dataset.modality != "images":
        raise DataError(f"{dataset.name} holds {dataset.modality}: the stopping benchmark is about images")
    random = np.random.default_rng(settings.seed)
    test = _test_split(settings.test or source)
    if test is None:
        if settings.test is not None:
            raise DataError(f"{settings.test} has no split 'test'")
        order = random.permutation(len(dataset))
        fifth = np.sort(order[: len(dataset) // 5])
        test, dataset = dataset.subset(fifth), dataset.subset(np.sort(order[len(dataset) // 5 :]))
    if test.class_names != dataset.class_names or test.input_shape != dataset.input_shape:
        raise DataError(f"{test.name} ({test.split}) has other classes or image sizes than {dataset.name}")
    ids = _drawn(len(test), settings.test_samples, random)
    return dataset, test.subset(ids), ids


def _test_split(source: str) -> LabeledDataset | None:
    try:
        test = load_dataset(source, split="test")
    except DataError:
        return None
    return test if test.split == "test" else None


def _drawn(n: int, wanted: int, random: np.random.Generator) -> NDArray[np.int64]:
    chosen = random.permutation(n)[:wanted] if 0 < wanted < n else np.arange(n)
    return np.sort(chosen).astype(np.int64)


def given_labels(
    name: str, dataset: LabeledDataset, labels: Path | None, settings: StoppingSettings
) -> tuple[str, LabeledDataset]:
    """A label set by its name, cut to the samples that are trained on.

    Raises:
        SettingsError: an unknown name.
        DataError: the label file does not fit.
    """
    given = label_set(name, dataset, labels, seed=settings.seed).dataset
    if given is None:
        raise SettingsError(f"{name} needs a training of its own; choose symmetric, pair or long-tail errors, or a key")
    ids = _drawn(len(given), settings.samples, np.random.default_rng((settings.seed, 1)))
    return name, given.subset(ids)


def _corrupted(test: LabeledDataset, ids: NDArray[np.int64], settings: StoppingSettings) -> CorruptedImages | None:
    if settings.corrupted == "none":
        return None
    if settings.corrupted == "made":
        return corrupted_by_library(test, seed=settings.seed)
    return corrupted_from_files(Path(settings.corrupted), test, ids, seed=settings.seed)


class _Bench:
    """One network on one label set."""

    def __init__(
        self,
        name: str,
        dataset: LabeledDataset,
        test: LabeledDataset,
        corrupted: CorruptedImages | None,
        folder: Path,
        settings: StoppingSettings,
        training: TrainingSettings,
        progress: Progress | None,
    ) -> None:
        assert dataset.true_labels is not None
        self.name, self.dataset, self.wrong = name, dataset, dataset.labels != dataset.true_labels
        self.settings, self.training, self.progress = settings, training, progress
        self.folder = folder / "runs" / name / training.model / f"seed-{settings.seed}"
        self.origin = "none" if corrupted is None else corrupted.origin
        self.tests = {"test": as_test(test)}
        if corrupted is not None:
            self.tests["corrupted"] = TestSet(corrupted.images, corrupted.labels, corrupted.severity)

    def measure(self) -> StoppingMeasurement:
        """Train what is not trained yet, and read it all."""
        probe = StoppingProbe(self.tests, self.training, self.dataset, self.settings.disparity_batch)
        runs = {FULL: self._run(FULL, self.dataset, probe)}
        withheld = {FULL: 0}
        for share in self.settings.shares:
            name = f"held-out-{100 * share:g}"
            inside, outside = self._split(share)
            tests = {"validation": as_test(self.dataset.subset(outside)), **self.tests}
            runs[name] = self._run(name, self.dataset.subset(inside), StoppingProbe(tests, self.training))
            withheld[name] = len(outside)
        memorised = None
        if self.settings.memorisation:
            memorised = memorisation_scores(
                self.dataset, self.folder, self.training, models=self.settings.memorisation, progress=self.progress
            )
        with TrajectoryStore.open(self.folder / FULL) as store:
            alignment = np.stack(
                [store.read_epoch(e, ["alignment"])["alignment"].to_numpy() for e in store.training_epochs]
            )
            groups, memorisation = self._groups(alignment, memorised)
            return StoppingMeasurement(
                label_set=self.name,
                model=self.training.model,
                seed=self.training.seed,
                epochs=self.training.epochs,
                samples=len(self.dataset),
                test_samples=len(self.tests["test"].labels),
                wrong_share=float(self.wrong.mean()),
                corrupted=self.origin,
                settings=self.training.to_dict(),
                runs={name: _lists(frame) for name, frame in runs.items()},
                withheld=withheld,
                costs=self._costs(runs[FULL], store),
                phases=self._phases(alignment, runs[FULL]),
                trajectories={name: band(alignment[:, members]) for name, members in groups.items()},
                turning={name: turning(alignment[:, members]) for name, members in groups.items()},
                memorisation=memorisation,
                classes=_by_class(group_readings(store)),
                agreement=[asdict(found) for found in moving_agreement(runs[FULL])],
            )

    def _run(self, name: str, dataset: LabeledDataset, probe: StoppingProbe) -> pd.DataFrame:
        run = self.folder / name
        train(dataset, run, self.training, resume=True, progress=self.progress, probe=probe)
        with TrajectoryStore.open(run) as store:
            return readings(store)

    def _split(self, share: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Ids to train on and to validate on, at least two of these."""
        n = len(self.dataset)
        order = np.random.default_rng((self.settings.seed, 2)).permutation(n)
        out = max(2, round(share * n))
        return np.sort(order[out:]), np.sort(order[:out])

    def _groups(
        self, alignment: NDArray[np.float32], scores: NDArray[np.float64] | None
    ) -> tuple[dict[str, NDArray[np.bool_]], dict[str, float | None] | None]:
        """Samples whose trajectories are told apart, and what is known of the memorised ones."""
        groups = {"mislabelled": self.wrong, "rest": ~self.wrong} if self.wrong.any() else {"rest": ~self.wrong}
        if scores is None:
            return groups, None
        known = ~np.isnan(scores)
        # Of few networks a score has few values: ties at the limit are all taken.
        limit = max(float(np.quantile(scores[known], 1 - TOP_SHARE)), LEAST_SCORE) if known.any() else LEAST_SCORE
        memorised = known & (scores >= limit)
        if not memorised.any() or memorised.sum() == known.sum():
            return groups, {"models": self.settings.memorisation, "samples": int(memorised.sum())}
        groups |= {"memorised": memorised, "not memorised": known & ~memorised}
        turns = turning_epochs(alignment)
        return groups, {
            "models": self.settings.memorisation,
            "samples": int(memorised.sum()),
            "score": float(scores[memorised].mean()),
            "correlation": rank_correlation(scores[known], turns[known]),
            "wrong_share": float(self.wrong[memorised].mean()),
        }

    def _phases(self, alignment: NDArray[np.float32], run: pd.DataFrame) -> dict[str, dict[str, Any]]:
        epochs = {
            "early": math.ceil(0.1 * len(alignment)) - 1,
            "best": int(run["test_accuracy"].to_numpy().argmax()),
            "last": len(alignment) - 1,
        }
        parts = {"all": np.ones_like(self.wrong), "mislabelled": self.wrong, "rest": ~self.wrong}
        return {
            phase: {"epoch": epoch}
            | {part: quantiles(alignment[epoch, members]) for part, members in parts.items() if members.any()}
            for phase, epoch in epochs.items()
        }

    def _costs(self, run: pd.DataFrame, store: TrajectoryStore) -> dict[str, float]:
        """Measured here and now, on the machine that trained."""
        shape = self.dataset.input_shape
        classes, batch = len(self.dataset.class_names), self.training.batch_size
        model = build_model(self.training.model, n_classes=classes, in_chans=shape[0], image_size=shape[1])
        latent = int(find_head(model).module.weight.shape[1])  # type: ignore[index]  # [C, D], as trained
        with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]):
            steps = math.ceil(len(self.dataset) / batch)
            recording = steps * recording_seconds(Path(folder) / "steps", latent, classes, batch)
            recording += commit_seconds(Path(folder) / "epoch", classes, batch, len(self.dataset))
        return {
            "training": float(run["seconds"].median()),
            "recording": recording,
            "labelwave": _comparison_seconds(store),
            "parameters": float(sum(p.numel() for p in model.parameters())),
            "latent": float(latent),
        }


def as_test(dataset: LabeledDataset) -> TestSet:
    """On its given labels: those of a test set are the right ones."""
    return TestSet(dataset.read(torch.arange(len(dataset))), torch.from_numpy(dataset.labels))


def _lists(frame: pd.DataFrame) -> dict[str, Curve]:
    return {str(name): [round(float(value), 6) for value in frame[name]] for name in frame}


def _by_class(table: pd.DataFrame) -> dict[str, dict[str, Curve]]:
    return {
        str(group): _lists(rows[["directional_alignment", "dispersion", "gwa", "floored_gwa"]])
        for group, rows in table.groupby(level="group")
    }


def _comparison_seconds(store: TrajectoryStore) -> float:
    """Seconds of counting prediction changes between two epochs that are in memory."""
    one, other = (
        store.read_epoch(epoch, ["predicted_label"])["predicted_label"].to_numpy()
        for epoch in store.training_epochs[-2:]
    )
    began = perf_counter()
    (one != other).sum()
    return perf_counter() - began
