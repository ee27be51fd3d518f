"""Everything that a report says of a run, gathered once: the page and the figures only lay it out."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gwaudit.analysis.audit import Audit
from gwaudit.analysis.evaluation import Evaluation, evaluate, pr_curve
from gwaudit.analysis.monitor import selected_epoch
from gwaudit.analysis.noise import class_health, confused_pairs, transition_matrix, worst_first
from gwaudit.analysis.stopping import SelectedEpoch
from gwaudit.core.errors import DataError
from gwaudit.data.dataset import LabeledDataset
from gwaudit.review.report.thumbnails import thumbnail
from gwaudit.review.report.trajectories import Trajectories, alignment_trajectories
from gwaudit.store.store import TrajectoryStore

TOP = 1000
"""Suspects that a report shows unless told otherwise."""

CATEGORIES = ("suspect", "late-aligned", "hard", "fine")
WRONG, RIGHT = "truly wrong", "truly right"
"""The groups whose alignment is followed; the last two where the truth is known."""

_OTHERS = 60  # shown of each other category, to compare with
_PROTOTYPES = 4  # a class
_PROTOTYPE_CLASSES = 50
_PICTURES_BYTES = 6_500_000  # of all thumbnails; a third more as text in the page, which stays below 15 MB
_LARGEST_PICTURE = 40_000
_PATH_POINTS = 60
_TEXT_LENGTH = 2_000
_FEATURES = 12
_CURVE_POINTS = 400
_CALIBRATION_BINS = 10


@dataclass(frozen=True, eq=False)
class ReportContents:
    """What a report says.

    Attributes:
        audit: the ranking.
        epochs: a row an epoch of training, counted from 0: `directional_alignment` (E), `dispersion` (K), `gwa`,
            `mean_loss`, `accuracy_on_given`.
        chosen: the epoch that the run's rule keeps, where it says so.
        courses: how alignment went, of each category (and of the truly wrong and right), and of the shown samples.
        samples: what the gallery shows, worst first; `page.html.j2` says what is in each.
        prototypes: by label, the samples with the highest alignment.
        modality: "images", "texts", "features", or "keys" where the data are not at hand.
        noise: [C, C] as in `transition_matrix`.
        health: as in `class_health`, worst first.
        pairs: as in `confused_pairs`.
        settings: by part ("data", "training", ...), names and values as text.
        evaluation: against the truth, where it is known.
        found: [n + 1] how many wrong labels are among the first k, for k from 0 to n, where the truth is known.
        pr: with `precision` and `recall`, from the loosest cut on, where the truth is known.
        calibration: a row for each tenth of the range of probabilities that samples are in: `probability`, their mean;
            `wrong`, the share that is; `samples`.
    """

    audit: Audit
    epochs: pd.DataFrame
    chosen: SelectedEpoch | None
    courses: Trajectories
    samples: tuple[dict[str, Any], ...]
    prototypes: Mapping[int, tuple[dict[str, Any], ...]]
    modality: str
    noise: pd.DataFrame
    health: pd.DataFrame
    pairs: pd.DataFrame
    settings: Mapping[str, Mapping[str, str]]
    evaluation: Evaluation | None
    found: NDArray[np.int64] | None
    pr: pd.DataFrame | None
    calibration: pd.DataFrame | None


def gather(
    audit: Audit,
    store: TrajectoryStore,
    dataset: LabeledDataset | None,
    *,
    top: int = TOP,
    true_labels: NDArray[np.int64] | None = None,
) -> ReportContents:
    """Gather what a report says.

    Args:
        audit: of the run.
        store: the run.
        dataset: what was audited; without it the gallery shows keys alone.
        top: show so many suspects, the most suspicious ones, and a few samples of each other category.
        true_labels: [n]; by default those of the data set, where it has any.

    Raises:
        DataError: the data set is not the audited one, or the labels are of another number.
    """
    if dataset is not None:
        _require_audited(dataset, audit)
    truth = true_labels if true_labels is not None or dataset is None else dataset.true_labels
    frame = _shown(audit, top)
    rows = audit.rows[frame.index]
    by_row = None if truth is None else truth.reshape(-1)
    courses = alignment_trajectories(store, rows, _groups(audit, by_row))
    prototypes = _prototypes(audit)
    n_pictures = len(rows) + sum(map(len, prototypes.values()))
    look = _looks(dataset, min(_LARGEST_PICTURE, _PICTURES_BYTES // max(n_pictures, 1)))
    return ReportContents(
        audit=audit,
        epochs=_epochs(store),
        chosen=_chosen(store),
        courses=courses,
        samples=tuple(_samples(frame, rows, courses.paths, look, by_row)),
        prototypes={
            label: tuple({"key": audit_key, **look(sample_id)} for sample_id, audit_key in chosen)
            for label, chosen in prototypes.items()
        },
        modality="keys" if dataset is None else "texts" if dataset.texts is not None else dataset.modality,
        noise=transition_matrix(audit),
        health=worst_first(class_health(audit)),
        pairs=confused_pairs(audit),
        settings=_settings(audit, store),
        evaluation=None if truth is None else evaluate(audit, truth),
        found=None if by_row is None else _found(audit, by_row),
        pr=None if truth is None else _thinned(pr_curve(audit, truth)),
        calibration=None if by_row is None else _calibration(audit, by_row),
    )


def _require_audited(dataset: LabeledDataset, audit: Audit) -> None:
    """A run of one's own loop may know no fingerprint; its labels tell then."""
    same = dataset.fingerprint == audit.fingerprint
    if not audit.fingerprint:
        same = np.array_equal(dataset.labels.reshape(-1), audit.by_id("given_label"))
    if not same:
        raise DataError(
            f"the data are no longer those of the audit in {audit.run} (an image, a key or a label has changed): "
            "restore them, or audit them again"
        )


def _shown(audit: Audit, top: int) -> pd.DataFrame:
    """The rows of the gallery: suspects, and the most suspicious of each other category."""
    frame = audit.frame
    others = [frame[frame["category"] == category].head(min(_OTHERS, top)) for category in CATEGORIES[1:]]
    return pd.concat([audit.suspects.head(top), *others]).sort_values("rank")


def _groups(audit: Audit, truth: NDArray[np.int64] | None) -> dict[str, NDArray[np.int64]]:
    """The ids of each category, and of the truly wrong and right labels."""
    category = audit.by_id("category")
    groups = {name: np.flatnonzero(category == name) for name in CATEGORIES}
    if truth is not None:
        wrong = audit.by_id("given_label") != truth
        groups |= {WRONG: np.flatnonzero(wrong), RIGHT: np.flatnonzero(~wrong)}
    return groups


def _prototypes(audit: Audit) -> dict[int, list[tuple[int, str]]]:
    """By class, ids and keys of the samples that agree best with having it; of many, those with most suspects."""
    column = "class_id" if audit.is_multi_label else "given_label"
    frame = audit.frame[~audit.frame["suspect"] & audit.frame["mean_alignment"].notna()]
    if audit.is_multi_label:
        frame = frame[frame["given_label"] == 1]
    suspects = audit.suspects[column].value_counts()
    n_classes = len(audit.class_names)
    labels = sorted(range(n_classes), key=lambda label: -int(suspects.get(label, 0)))[:_PROTOTYPE_CLASSES]
    best = frame[frame[column].isin(labels)].sort_values("mean_alignment", ascending=False, kind="stable")
    best = best.groupby(column).head(_PROTOTYPES)
    found: dict[int, list[tuple[int, str]]] = {}
    for label, sample_id, key in zip(best[column], best["sample_id"], best["key"], strict=True):
        found.setdefault(int(label), []).append((int(sample_id), str(key)))
    return dict(sorted(found.items()))


Look = Callable[[int], dict[str, Any]]


def _looks(dataset: LabeledDataset | None, most_bytes: int) -> Look:
    """What a person sees of a sample, by its id: `image`, `text` or `features`; nothing without the data."""
    if dataset is None:
        return lambda sample_id: {}
    if dataset.texts is not None:
        texts = dataset.texts
        return lambda sample_id: {"text": _clipped(texts[sample_id])}
    if dataset.modality == "features":
        return lambda sample_id: {"features": [_short(v) for v in dataset[sample_id][0][:_FEATURES].tolist()]}
    return lambda sample_id: {"image": thumbnail(dataset.image(sample_id), most_bytes)}


def _clipped(text: str) -> str:
    return text if len(text) <= _TEXT_LENGTH else f"{text[:_TEXT_LENGTH]} …"


def _short(value: float) -> float:
    return float(f"{value:.3g}")


def _samples(
    frame: pd.DataFrame,
    ids: NDArray[np.int64],
    paths: NDArray[np.float32],
    look: Look,
    truth: NDArray[np.int64] | None,
) -> list[dict[str, Any]]:
    points = np.unique(np.linspace(0, paths.shape[1] - 1, _PATH_POINTS).round().astype(int))
    samples = []
    for row, row_id, path in zip(frame.to_dict("records"), ids.tolist(), paths, strict=True):
        sample = {
            "id": row_id,
            "rank": int(row["rank"]),
            "key": str(row["key"]),
            "given": int(row["given_label"]),
            "suggested": int(row["suggested_label"]),
            "probability": None if np.isnan(row["log_odds_wrong"]) else round(float(row["probability_wrong"]), 4),
            "category": str(row["category"]),
            "alignment": None if np.isnan(row["mean_alignment"]) else _short(row["mean_alignment"]),
            "path": [None if np.isnan(v) else _short(float(v)) for v in path[points]],
            **look(int(row["sample_id"])),
        }
        if "class_id" in row:
            sample["class"] = int(row["class_id"])
        if truth is not None:
            sample["true"] = int(truth[row_id])
        samples.append(sample)
    return samples


def _epochs(store: TrajectoryStore) -> pd.DataFrame:
    names = ("directional_alignment", "dispersion", "gwa", "mean_loss", "accuracy_on_given")
    rows = [{name: store.commit(epoch).metrics.get(name, np.nan) for name in names} for epoch in store.training_epochs]
    return pd.DataFrame(rows, columns=list(names), index=pd.RangeIndex(len(rows), name="epoch"))


def _chosen(store: TrajectoryStore) -> SelectedEpoch | None:
    training = store.settings.get("training")
    if not training:
        return None
    return selected_epoch(store, training["select"], total_epochs=training["epochs"])


def _settings(audit: Audit, store: TrajectoryStore) -> dict[str, dict[str, str]]:
    run = {
        "folder": str(audit.run),
        "samples": f"{store.n_samples:,}",
        "classes": f"{len(store.class_names):,}",
        "epochs recorded": str(len(store.epochs)),
        "data fingerprint": store.fingerprint,
        "gwaudit": version("gwaudit"),
    }
    parts: dict[str, Mapping[str, Any]] = {
        "run": run,
        "data": store.settings.get("data") or {},
        "training": store.settings.get("training") or {},
        "ranking": asdict(audit.settings),
    }
    return {
        part: {name: str(value) for name, value in values.items() if value is not None}
        for part, values in parts.items()
        if values
    }


def _found(audit: Audit, truth: NDArray[np.int64]) -> NDArray[np.int64]:
    wrong = audit.frame["given_label"].to_numpy() != truth[audit.rows]
    return np.concatenate([[0], np.cumsum(wrong)])


def _thinned(curve: pd.DataFrame) -> pd.DataFrame:
    points = np.unique(np.linspace(0, len(curve) - 1, _CURVE_POINTS).round().astype(int))
    return curve.iloc[points].reset_index(drop=True)


def _calibration(audit: Audit, truth: NDArray[np.int64]) -> pd.DataFrame:
    """Bins of like probability: a tenth of the range each, those without samples left out."""
    scored = audit.frame["log_odds_wrong"].notna().to_numpy()
    frame = audit.frame[scored]
    wrong = frame["given_label"].to_numpy() != truth[audit.rows[scored]]
    probability = frame["probability_wrong"].to_numpy(np.float64)
    bins = np.minimum((probability * _CALIBRATION_BINS).astype(int), _CALIBRATION_BINS - 1)
    table = pd.DataFrame({"bin": bins, "probability": probability, "wrong": wrong})
    means = table.groupby("bin").agg(
        probability=("probability", "mean"), wrong=("wrong", "mean"), samples=("wrong", "size")
    )
    return means.reset_index(drop=True)
