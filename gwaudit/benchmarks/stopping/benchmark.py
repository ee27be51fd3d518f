"""Measure stopping rules: those of alignment, and those that withhold data or need more gradients.

Each label variant is trained once on all its samples, and clean and corrupted test images are evaluated after every
epoch; all rules that withhold nothing read this run. For each held-out share it is trained once more without that
share, as a validation split would require: the training lacks these samples, and the validation labels are as wrong as
the given ones. On request there are trainings that measure memorisation.

This module measures, and `stopping.json` keeps the measurements. `gwaudit.benchmarks.stopping.analysis` makes
selections and verdicts from them, `tables` and `figures` show them. Test labels and true labels are for scoring only:
no rule sees them.
"""

import math
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from gwaudit.analysis.monitor import group_readings, moving_agreement, readings
from gwaudit.benchmarks.cost.overhead import commit_seconds, recording_seconds
from gwaudit.benchmarks.results import read_results, write_results
from gwaudit.benchmarks.stopping.corrupted import CorruptedImages
from gwaudit.benchmarks.stopping.images import as_test, corrupted_images, given_labels, load_images
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
from gwaudit.core.settings import ResolvedTrainingSettings, split_commas
from gwaudit.data.dataset import LabeledDataset
from gwaudit.recording.head import find_head
from gwaudit.store.store import TrajectoryStore
from gwaudit.training.models import build_model
from gwaudit.training.progress import Progress
from gwaudit.training.trainer import train

FULL = "full"
TOP_SHARE = 0.1
LEAST_SCORE = 0.25
"""Lowest memorisation score (Feldman and Zhang) of a memorised sample; only the top tenth of the samples counts."""


@dataclass(frozen=True)
class StoppingMeasurement:
    """Hold what the runs of one network on one label variant recorded. All of it is JSON; None is a missing number.

    Attributes:
        label_variant, model, seed: Label variant, network and seed.
        epochs, samples, test_samples: Number of each.
        wrong_share: Share of the given labels that are wrong.
        corrupted: Source of the corrupted images.
        settings: Settings of the trainings.
        runs: Signals of each run, epoch by epoch: "full", and "held-out-10" for the run without a tenth.
        withheld: Number of samples held out of each run.
        costs: `training`, `recording`, `labelwave` (seconds an epoch), `parameters`, `latent`.
        phases: For "early", "best" and "last": the `epoch`, and the alignment's quantiles at 101 even shares of "all",
            "mislabelled" and "rest".
        trajectories: For "mislabelled", "rest" and, if measured, "memorised" and "not memorised": `mean`, `low` and
            `high` quartile of the alignment, epoch by epoch.
        turning: For the same groups: the mean epoch from which a sample's alignment stays above zero (`epoch`), and the
            share of samples that reach it (`share`).
        memorisation: Of the memorised samples: `models`, `samples`, `score` (mean) and `correlation` of the score with
            the turning epoch (Spearman's), `wrong_share`; None if not measured.
        classes: Epoch moments and GWA of each given class, epoch by epoch.
        agreement: Agreement of the moving estimate with the exact moments.
    """

    label_variant: str
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
        """Return label variant, network and seed, which identify the measurement."""
        return self.label_variant, self.model, self.seed


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
        source: Images with their right labels, as for an audit.
        folder: Folder that keeps the runs and `stopping.json`.
        settings: What to compare on.
        labels: Label file with the keys.
        progress: Receives the progress of each training.

    Returns:
        All measurements of the folder, those of earlier calls included.

    Raises:
        SettingsError: A label variant is unknown, or runs in the folder were made with other settings.
        DataError: The source holds no images, or the label file does not fit.
    """
    dataset, test, test_ids = load_images(source, settings)
    # A wrong name is an error before anything is trained.
    variants = [given_labels(name, dataset, labels, settings) for name in split_commas(settings.label_variants)]
    for model in split_commas(settings.models):
        build_model(
            model,
            n_classes=len(dataset.class_names),
            in_chans=dataset.input_shape[0],
            image_size=dataset.input_shape[1],
        )
    corrupted = corrupted_images(test, test_ids, settings)
    done = {measurement.key: measurement for measurement in read_measurements(folder)}
    for name, given in variants:
        for model in split_commas(settings.models):
            training = replace(settings.training, model=model)
            measured = _Measurer(name, given, test, corrupted, folder, settings, training, progress).measure()
            done[measured.key] = measured
            write_results(folder / "stopping.json", [*done.values()], key="measurements")
    return [*done.values()]


def read_measurements(folder: Path) -> list[StoppingMeasurement]:
    """Read the measurements of `stopping.json` in a folder; none if there is no such file.

    Raises:
        StoreDamagedError: The file is broken.
    """
    return read_results(folder / "stopping.json", StoppingMeasurement, key="measurements")


class _Measurer:
    """Train one network on one label variant, and measure its runs."""

    def __init__(
        self,
        name: str,
        dataset: LabeledDataset,
        test: LabeledDataset,
        corrupted: CorruptedImages | None,
        folder: Path,
        settings: StoppingSettings,
        training: ResolvedTrainingSettings,
        progress: Progress | None,
    ) -> None:
        assert dataset.true_labels is not None
        self.name, self.dataset, self.wrong = name, dataset, dataset.labels != dataset.true_labels
        self.settings, self.training, self.progress = settings, training, progress
        self.folder = folder / "runs" / name / training.model / f"seed-{training.seed}"
        self.origin = "none" if corrupted is None else corrupted.origin
        self.tests = {"test": as_test(test)}
        if corrupted is not None:
            self.tests["corrupted"] = TestSet(corrupted.images, corrupted.labels, corrupted.severity)

    def measure(self) -> StoppingMeasurement:
        """Train what is not trained yet, and read all of it."""
        probe = StoppingProbe(self.tests, self.training, self.dataset, self.settings.disparity_batch)
        runs = {FULL: self._run(FULL, self.dataset, probe)}
        withheld = {FULL: 0}
        for share in self.settings.held_out_shares:
            name = f"held-out-{100 * share:g}"
            kept, held_out = self._split(share)
            tests = {"validation": as_test(self.dataset.subset(held_out)), **self.tests}
            runs[name] = self._run(name, self.dataset.subset(kept), StoppingProbe(tests, self.training))
            withheld[name] = len(held_out)
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
                label_variant=self.name,
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
                agreement=[asdict(signal) for signal in moving_agreement(runs[FULL])],
            )

    def _run(self, name: str, dataset: LabeledDataset, probe: StoppingProbe) -> pd.DataFrame:
        run = self.folder / name
        train(dataset, run, self.training, resume=True, progress=self.progress, probe=probe)
        with TrajectoryStore.open(run) as store:
            return readings(store)

    def _split(self, share: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the ids to train on, and the ids to hold out: at least two."""
        n = len(self.dataset)
        order = np.random.default_rng((self.training.seed, 2)).permutation(n)
        count = max(2, round(share * n))
        return np.sort(order[count:]), np.sort(order[:count])

    def _groups(
        self, alignment: NDArray[np.float32], scores: NDArray[np.float64] | None
    ) -> tuple[dict[str, NDArray[np.bool_]], dict[str, float | None] | None]:
        """Return the groups of samples whose trajectories are compared, and the facts about the memorised ones."""
        groups = {"mislabelled": self.wrong, "rest": ~self.wrong} if self.wrong.any() else {"rest": ~self.wrong}
        if scores is None:
            return groups, None
        known = ~np.isnan(scores)
        # With few networks a score has few values: all ties at the limit are taken.
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
        """Measure the costs now, on the machine that trained."""
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


def _lists(frame: pd.DataFrame) -> dict[str, Curve]:
    return {str(name): [round(float(value), 6) for value in frame[name]] for name in frame}


def _by_class(table: pd.DataFrame) -> dict[str, dict[str, Curve]]:
    return {
        str(group): _lists(rows[["directional_alignment", "dispersion", "gwa", "floored_gwa"]])
        for group, rows in table.groupby(level="group")
    }


def _comparison_seconds(store: TrajectoryStore) -> float:
    """Measure the seconds of counting prediction changes between two epochs that are in memory."""
    one, other = (
        store.read_epoch(epoch, ["predicted_label"])["predicted_label"].to_numpy()
        for epoch in store.training_epochs[-2:]
    )
    began = perf_counter()
    (one != other).sum()
    return perf_counter() - began
