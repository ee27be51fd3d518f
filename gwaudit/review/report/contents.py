"""Collect everything that a report shows of a run, once: the page and the figures only lay it out."""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from gwaudit.analysis.audit import Audit
from gwaudit.analysis.evaluation import Evaluation, evaluate, pr_curve
from gwaudit.analysis.monitor import selected_epoch
from gwaudit.analysis.neighbours import near_contradictions
from gwaudit.analysis.noise import class_health, confusions, transition_matrix, worst_first
from gwaudit.analysis.stopping import SelectedEpoch
from gwaudit.core.errors import DataError, GwauditError
from gwaudit.core.settings import ALIGNMENTS
from gwaudit.core.shown_paths import with_urls
from gwaudit.data.dataset import LabeledDataset
from gwaudit.data.encoded_images import recorded_warnings
from gwaudit.data.summary import DataSummary
from gwaudit.review.decided_samples import DecidedSamples, read_decided
from gwaudit.review.report.nearest import PICTURE_BYTES, nearest_neighbours
from gwaudit.review.report.thumbnails import large_picture, thumbnail, whole_picture
from gwaudit.review.report.trajectories import Trajectories, alignment_trajectories
from gwaudit.review.review_sample import load_sample
from gwaudit.store.split_copies import read_split_copies
from gwaudit.store.store import TrajectoryStore

TOP = 1000
"""Default number of suspects in a report."""

CATEGORIES = ("suspect", "late-aligned", "hard", "fine", "too-few", "unlearned")
TO_DECIDE = "to decide"  # in place of the category, where the page shows the samples alone
WRONG, RIGHT = "truly wrong", "truly right"
"""The groups of labels whose alignment is shown; the last two where the true labels are known."""

_SAMPLES_PER_CATEGORY = 60  # of the other categories, to compare with the suspects
_PROTOTYPES_PER_CLASS = 4
_CLASSES_WITH_PROTOTYPES = 50
_PICTURES_BYTES = 8_000_000  # all pictures; as text they need a third more, and the page stays below 15 MB
_LARGEST_PICTURE = 60_000
_PROTOTYPE_BYTES = 6_000
_FIRST_SAMPLES, _FIRST_SHARES = 200, 3  # the most suspicious ones, which most people look at, get three shares each
_DECODED_SIDE = 1_000
_TRAJECTORY_POINTS = 60
_TEXT_LENGTH = 2_000
_N_FEATURES = 12
_SHOWN_OTHERS = 4  # samples with one input under several labels
_CURVE_POINTS = 400
_CALIBRATION_BINS = 10

Preview = Callable[[int, int], dict[str, Any]]
"""Function of a sample id and a number of bytes that returns the sample for a person.

It is {"text": ...}, {"features": ...}, {"image": ...}, with "seen" where the network saw a part of it only, or
{"missing": ...} where the image can no longer be read.
"""


@dataclass(frozen=True, eq=False)
class ReportData:
    """Hold everything that a report shows.

    Attributes:
        audit: The ranking.
        epochs: One row per training epoch, counted from 0: `directional_alignment` (E), `dispersion` (K), `gwa`,
            `mean_loss`, `accuracy_on_given`.
        selected_epoch: The epoch that the run's stopping rule selects; None where the run has no training settings.
        trajectories: Alignment over the epochs of each category (and of truly wrong and right labels), and of the
            samples in the gallery.
        samples: The gallery, most suspicious first: one dictionary per sample, with the keys of `_samples`.
        prototypes: By class, the samples with the highest alignment.
        modality: "images", "texts", "features", or "keys" where the data set is missing.
        transition_matrix: [C, C] table of `gwaudit.analysis.noise.transition_matrix`.
        class_health: Table of `gwaudit.analysis.noise.class_health`, the worst class first.
        confusions: Table of `gwaudit.analysis.noise.confusions`.
        settings: Names and values, as text, by part of the settings ("data", "training", ...).
        warnings: Warnings of the audit and of the reading of the data.
        evaluation: Evaluation against the true labels, where they are known.
        wrong_among_first: [n + 1] numbers of wrong labels among the first k of the ranking, for k from 0 to n, where
            the true labels are known.
        precision_recall: Columns `precision` and `recall`, the loosest cut first, where the true labels are known.
        calibration: One row per bin of probabilities that holds samples: `probability`, their mean; `wrong`, the share
            of wrong labels; `samples`, their number.
        large_picture: Function of a sample id that returns the whole picture as WebP, larger than on the page; None
            where the data are missing or are no images.
        neighbours: Samples for a person that are nearest neighbours of others in the gallery, by their ids.
        decided: Decisions of the run; None without a random sample, or where they cannot be read.
    """

    audit: Audit
    epochs: pd.DataFrame
    selected_epoch: SelectedEpoch | None
    trajectories: Trajectories
    samples: tuple[dict[str, Any], ...]
    prototypes: Mapping[int, tuple[dict[str, Any], ...]]
    modality: str
    transition_matrix: pd.DataFrame
    class_health: pd.DataFrame
    confusions: pd.DataFrame
    settings: Mapping[str, Mapping[str, str]]
    warnings: tuple[str, ...]
    evaluation: Evaluation | None
    wrong_among_first: NDArray[np.int64] | None
    precision_recall: pd.DataFrame | None
    calibration: pd.DataFrame | None
    large_picture: Callable[[int], bytes] | None
    neighbours: Mapping[int, dict[str, Any]]
    decided: DecidedSamples | None = None


def collect_report_data(
    audit: Audit,
    store: TrajectoryStore,
    dataset: LabeledDataset | None,
    *,
    top: int = TOP,
    true_labels: NDArray[np.int64] | None = None,
    blind: Sequence[int] | None = None,
    on_sample: Callable[[int, int], None] | None = None,
) -> ReportData:
    """Collect everything that a report shows.

    Args:
        audit: Audit of the run.
        store: The run.
        dataset: The audited data set; without it the gallery shows keys only.
        top: Number of suspects to show, the most suspicious ones; a few samples of each other category are added.
        true_labels: [n], or [n, C] in a multi-label run; by default those of the data set, where it has any.
        blind: Ids of the labels to show instead, their rows in the store, in this order, without scores, ranks and
            suggestions: people are to decide by the sample alone.
        on_sample: Function that receives the numbers of samples drawn and to draw, after each.

    Raises:
        DataError: the data set is not the audited one, or the number of true labels is wrong.
    """
    if dataset is not None:
        _require_audited(dataset, audit)
    truth = true_labels if true_labels is not None or dataset is None else dataset.true_labels
    truth_by_row = None if truth is None else truth.reshape(-1)
    summary = _reading_summary(store)
    contradicting = _contradicting_samples(audit, store, summary)
    frame = _gallery_frame(audit, top, contradicting)
    if blind is not None:
        position = pd.Index(audit.rows).get_indexer(pd.Index(blind))
        frame = audit.table.take(position)
    rows = audit.rows[frame.index]
    trajectories = alignment_trajectories(store, rows, _groups(audit, truth_by_row))
    prototypes = _prototypes(audit)
    preview = _or_missing(_preview(dataset))
    near = nearest_neighbours(audit, store, frame)
    previews = _previews(preview, frame["sample_id"].tolist(), sum(map(len, prototypes.values())), on_sample)
    samples = _samples(
        frame.assign(probability_wrong=frame["probability_wrong"] if audit.has_probabilities else np.nan),
        rows,
        trajectories.by_sample,
        previews,
        truth_by_row,
        contradicting,
        near.by_sample,
        _copies_in_other_split(audit, contradictory=False),
    )
    if audit.is_multi_label:
        _add_classes(samples, audit)
    return ReportData(
        audit=audit,
        epochs=_epochs(store),
        selected_epoch=_selected_epoch(store),
        trajectories=trajectories,
        samples=tuple(samples if blind is None else map(_blinded, samples, range(1, len(samples) + 1))),
        prototypes={
            label: tuple({"key": key, **preview(sample_id, _PROTOTYPE_BYTES)} for sample_id, key in samples)
            for label, samples in prototypes.items()
        },
        modality="keys" if dataset is None else "texts" if dataset.texts is not None else dataset.modality,
        transition_matrix=transition_matrix(audit),
        class_health=worst_first(class_health(audit)),
        confusions=confusions(audit),
        settings=_settings(audit, store, summary),
        warnings=(*audit.warnings, *(() if summary is None else summary.warnings)),
        evaluation=None if truth is None else evaluate(audit, truth),
        wrong_among_first=None if truth_by_row is None else _wrong_among_first(audit, truth_by_row),
        precision_recall=None if truth is None else _thinned(pr_curve(audit, truth)),
        calibration=None if truth_by_row is None else _calibration(audit, truth_by_row),
        large_picture=None if dataset is None or not _has_pictures(dataset) else partial(large_picture, dataset),
        neighbours={sample_id: preview(sample_id, PICTURE_BYTES) for sample_id in near.sample_ids},
        decided=_decided(audit),
    )


def _decided(audit: Audit) -> DecidedSamples | None:
    with suppress(GwauditError):
        if load_sample(audit) is not None:
            return read_decided(audit)
    return None


def _require_audited(dataset: LabeledDataset, audit: Audit) -> None:
    same = dataset.fingerprint == audit.fingerprint
    if not audit.fingerprint:  # a run of one's own loop may have none: its labels are compared instead
        same = np.array_equal(dataset.labels.reshape(-1), audit.by_id("given_label"))
    if not same:
        raise DataError(
            f"the data are no longer those of the audit in {audit.run} (an image, a key or a label has changed): "
            "restore them, or audit them again"
        )


def _contradicting_samples(
    audit: Audit, store: TrajectoryStore, summary: DataSummary | None
) -> dict[str, list[tuple[str, str]]]:
    """Return, by the key of a sample with the input of others, or nearly so, their keys and given labels."""
    others = _copies_in_other_split(audit, contradictory=True)
    if audit.is_multi_label:
        return others
    equal = [] if summary is None else summary.notes.contradictions
    for found in [*equal, *near_contradictions(store, equal)]:
        samples = list(zip(found.keys, found.labels, strict=True))
        for key in found.keys:
            others.setdefault(key, []).extend(sample for sample in samples[:_SHOWN_OTHERS] if sample[0] != key)
    return others


def _copies_in_other_split(audit: Audit, *, contradictory: bool) -> dict[str, list[tuple[str, str]]]:
    """Return, by the key of a sample, the keys and labels of its copies in another split.

    Args:
        audit: Audit of the run.
        contradictory: Whether the groups with different labels are returned, or those with one label.
    """
    copies: dict[str, list[tuple[str, str]]] = {}
    for group in read_split_copies(audit.run) or ():
        own, samples = group.splits[0], list(zip(group.keys, group.splits, group.labels, strict=True))
        there = [(f"{key}, {split}", label) for key, split, label in samples if split != own][:_SHOWN_OTHERS]
        for key in [key for key, split, _ in samples if split == own and group.is_contradictory == contradictory]:
            copies[key] = there
    return copies


def _gallery_frame(audit: Audit, top: int, contradicting: Collection[str]) -> pd.DataFrame:
    """Return the rows to review, of contradictions, and of the most suspicious samples of other categories."""
    category, shown, is_undecided = audit.column("category"), audit.is_to_review(top), audit.is_undecided
    for name in CATEGORIES[1:]:
        shown[np.flatnonzero(is_undecided & (category == name))[: min(_SAMPLES_PER_CATEGORY, top)]] = True
    if contradicting:
        keys = pd.Series(audit.column("key")).astype(str)
        shown[np.flatnonzero(is_undecided & keys.isin(set(contradicting)).to_numpy())[:top]] = True
    return audit.table.select(shown)


def _groups(audit: Audit, truth: NDArray[np.int64] | None) -> dict[str, NDArray[np.int64]]:
    """Return the store's rows of each category, and of truly wrong and right labels."""
    category = audit.by_id("category")
    groups = {name: np.flatnonzero(category == name) for name in CATEGORIES}
    if truth is not None:
        wrong = audit.by_id("given_label") != truth
        groups |= {WRONG: np.flatnonzero(wrong), RIGHT: np.flatnonzero(~wrong)}
    return groups


def _prototypes(audit: Audit) -> dict[int, list[tuple[int, str]]]:
    """Return by class the ids and keys of its best aligned samples; of many classes, those with the most suspects."""
    column = "class_id" if audit.is_multi_label else "given_label"
    label, alignment = audit.column(column), audit.column("mean_alignment")
    suspect = audit.column("suspect").astype(bool)
    suspects = np.bincount(label[suspect], minlength=len(audit.class_names))
    by_suspects = np.argsort(-suspects, kind="stable")
    may_be_shown = ~suspect & ~np.isnan(alignment) & np.isin(label, by_suspects[:_CLASSES_WITH_PROTOTYPES])
    if audit.is_multi_label:
        may_be_shown &= audit.column("given_label") == 1
    rows = np.flatnonzero(may_be_shown)
    rows = rows[np.argsort(-alignment[rows], kind="stable")]
    firsts = pd.Series(rows).groupby(label[rows]).head(_PROTOTYPES_PER_CLASS).to_numpy()
    best = audit.table.take(firsts, [column, "sample_id", "key"])
    prototypes: dict[int, list[tuple[int, str]]] = {}
    for label, sample_id, key in zip(best[column], best["sample_id"], best["key"], strict=True):
        prototypes.setdefault(int(label), []).append((int(sample_id), str(key)))
    return dict(sorted(prototypes.items()))


def _has_pictures(dataset: LabeledDataset) -> bool:
    return dataset.texts is None and dataset.modality == "images"


def _preview(dataset: LabeledDataset | None) -> Preview:
    if dataset is None:
        return lambda sample_id, most_bytes: {}
    if dataset.texts is not None:
        texts = dataset.texts
        return lambda sample_id, most_bytes: {"text": _clipped(texts[sample_id])}
    if dataset.cells is not None:
        cells = dataset.cells
        return lambda sample_id, most_bytes: {"text": _clipped(_row_text(cells, sample_id))}
    if dataset.modality == "features":
        more = dataset.input_shape[0] > _N_FEATURES
        return lambda sample_id, most_bytes: {
            "features": [_rounded(v) for v in dataset[sample_id][0][:_N_FEATURES].tolist()],
            **({"more_features": True} if more else {}),
        }
    return partial(_picture, dataset)


def _picture(dataset: LabeledDataset, sample_id: int, most_bytes: int) -> dict[str, Any]:
    picture, seen = whole_picture(dataset, sample_id, _DECODED_SIDE)
    image = {"image": thumbnail(picture, most_bytes)}
    return image if seen is None else {**image, "seen": [round(share, 4) for share in seen]}


def _previews(
    preview: Preview, sample_ids: Sequence[int], n_prototypes: int, on_sample: Callable[[int, int], None] | None
) -> list[dict[str, Any]]:
    """Return the samples for a person, the most suspicious ones first and largest; threads decode images."""
    shares = [_FIRST_SHARES if i < _FIRST_SAMPLES else 1 for i in range(len(sample_ids))]
    share = (_PICTURES_BYTES - n_prototypes * _PROTOTYPE_BYTES) // max(sum(shares), 1)
    with recorded_warnings(), ThreadPoolExecutor(os.cpu_count()) as threads:
        previews = []
        for sample in threads.map(preview, sample_ids, [min(_LARGEST_PICTURE, n * share) for n in shares]):
            previews.append(sample)
            if on_sample is not None:
                on_sample(len(previews), len(sample_ids))
        return previews


def _or_missing(preview: Preview) -> Preview:
    """Return a preview that says of a sample that it is gone, in place of an error."""

    def guarded(sample_id: int, most_bytes: int) -> dict[str, Any]:
        try:
            return preview(sample_id, most_bytes)
        except DataError as error:
            return {"missing": str(error).replace("`", "")}

    return guarded


def _clipped(text: str) -> str:
    return text if len(text) <= _TEXT_LENGTH else f"{text[:_TEXT_LENGTH]} …"


def _row_text(cells: pa.Table, row: int) -> str:
    """Return the cells of a row as a person reads them: `island Torgersen, sex male, ...`."""
    values = ((name, column[row].as_py()) for name, column in zip(cells.column_names, cells.columns, strict=True))
    return ", ".join(f"{name} {'–' if value in (None, '') else value}" for name, value in values)


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


def _samples(
    frame: pd.DataFrame,
    rows: NDArray[np.int64],
    alignment: NDArray[np.float32],
    previews: Sequence[dict[str, Any]],
    truth: NDArray[np.int64] | None,
    contradicting: Mapping[str, Sequence[tuple[str, str]]],
    nearest: Mapping[int, list[dict[str, Any]]],
    split_copies: Mapping[str, Sequence[tuple[str, str]]],
) -> list[dict[str, Any]]:
    """Return the gallery as the page's scripts read it.

    Args:
        frame: The k rows of the audit's frame that are shown.
        rows: [k] their rows in the store.
        alignment: [k, epochs] their alignment.
        previews: [k] the samples for a person.
        truth: [rows of the store] true labels, where they are known.
        contradicting: Keys and given labels of the other samples with the input of a sample, by its key.
        nearest: Nearest neighbours of a sample, by its id.
        split_copies: Keys and labels of copies of a sample in another split, by its key, if they have one label.
    """
    points = np.unique(np.linspace(0, alignment.shape[1] - 1, _TRAJECTORY_POINTS).round().astype(int))
    samples = []
    records = frame.to_dict("records")
    for facts, row, trajectory, preview in zip(records, rows.tolist(), alignment, previews, strict=True):
        probability = float(facts["probability_wrong"])
        sample = {
            "id": row,  # in the store
            "sample_id": int(facts["sample_id"]),
            "rank": int(facts["rank"]),
            "key": str(facts["key"]),
            "given": int(facts["given_label"]),
            "suggested": int(facts["suggested_label"]),
            "probability": None if np.isnan(probability) else round(probability, 4),
            "category": str(facts["category"]),
            "alignment": _rounded(facts["mean_alignment"]),
            "trajectory": [_rounded(float(value)) for value in trajectory[points]],
            **preview,
        }
        if "class_id" in facts:
            sample["class"] = int(facts["class_id"])
        if truth is not None:
            sample["true"] = int(truth[row])
        if others := contradicting.get(sample["key"]):
            sample["same_input"] = [{"key": key, "label": label} for key, label in others]
        if copies := split_copies.get(sample["key"]):
            sample["split_copies"] = [{"key": key, "label": label} for key, label in copies]
        if sample["sample_id"] in nearest:
            sample["nearest"] = nearest[sample["sample_id"]]
        samples.append(sample)
    return samples


def _add_classes(samples: Sequence[dict[str, Any]], audit: Audit) -> None:
    """Add to samples of the gallery all classes that are given to them: a person decides about one of these."""
    given = audit.by_id("given_label").reshape(-1, len(audit.class_names))
    for sample in samples:
        sample["classes"] = np.flatnonzero(given[sample["sample_id"]] == 1).tolist()


def _blinded(sample: dict[str, Any], position: int) -> dict[str, Any]:
    """Return a sample of the gallery without what the audit says about it."""
    hidden = {"rank": position, "suggested": -1, "probability": None, "category": TO_DECIDE, "alignment": None}
    shown = {name: value for name, value in sample.items() if name not in ("true", "nearest", "split_copies")}
    return {**shown, **hidden, "trajectory": []}


def _epochs(store: TrajectoryStore) -> pd.DataFrame:
    names = ("directional_alignment", "dispersion", "gwa", "mean_loss", "accuracy_on_given")
    rows = [{name: store.commit(epoch).metrics.get(name, np.nan) for name in names} for epoch in store.training_epochs]
    return pd.DataFrame(rows, columns=list(names), index=pd.RangeIndex(len(rows), name="epoch"))


def _selected_epoch(store: TrajectoryStore) -> SelectedEpoch | None:
    training = store.settings.get("training")
    if not training:
        return None
    return selected_epoch(store, training["select"], total_epochs=training["epochs"])


def _settings(audit: Audit, store: TrajectoryStore, summary: DataSummary | None) -> dict[str, dict[str, str]]:
    run = {
        "folder": with_urls(str(audit.run)),
        "samples": f"{store.n_samples:,}",
        "classes": f"{len(store.class_names):,}",
        "epochs recorded": str(len(store.epochs)),
        "alignment with": ALIGNMENTS[store.alignment],
        "data fingerprint": store.fingerprint,
        "gwaudit": version("gwaudit"),
    }
    parts: dict[str, Mapping[str, Any]] = {
        "run": run,
        "reading": {} if summary is None else _reading(summary),
        "data": store.settings.get("data") or {},
        "training": store.settings.get("training") or {},
        "ranking": asdict(audit.settings),
    }
    return {
        part: {name: str(value) for name, value in values.items() if value is not None}
        for part, values in parts.items()
        if values
    }


def _reading_summary(store: TrajectoryStore) -> DataSummary | None:
    """Return what was read of the data; None for runs of earlier versions and of own loops."""
    values = store.settings.get("reading")
    return DataSummary.from_dict(values) if values else None


def _reading(summary: DataSummary) -> dict[str, str]:
    facts: dict[str, str] = {}
    for name, value in [*summary.facts(), *(("warning", warning) for warning in summary.warnings)]:
        facts[name] = f"{facts[name]}; {value}" if name in facts else value
    return facts


def _wrong_among_first(audit: Audit, truth: NDArray[np.int64]) -> NDArray[np.int64]:
    wrong = audit.column("given_label") != truth[audit.rows]
    return np.concatenate([[0], np.cumsum(wrong)])


def _thinned(curve: pd.DataFrame) -> pd.DataFrame:
    points = np.unique(np.linspace(0, len(curve) - 1, _CURVE_POINTS).round().astype(int))
    return curve.iloc[points].reset_index(drop=True)


def _calibration(audit: Audit, truth: NDArray[np.int64]) -> pd.DataFrame:
    """Return mean probability, share of wrong labels and number of samples in each tenth of [0, 1] with samples.

    scikit-learn's `calibration_curve` returns the first two, but not the numbers, which the figure shows too.
    """
    recorded = ~np.isnan(audit.column("log_odds_wrong"))
    wrong = audit.column("given_label")[recorded] != truth[audit.rows[recorded]]
    probability = audit.column("probability_wrong")[recorded].astype(np.float64)
    bins = np.minimum((probability * _CALIBRATION_BINS).astype(int), _CALIBRATION_BINS - 1)
    table = pd.DataFrame({"bin": bins, "probability": probability, "wrong": wrong})
    means = table.groupby("bin").agg(
        probability=("probability", "mean"), wrong=("wrong", "mean"), samples=("wrong", "size")
    )
    return means.reset_index(drop=True)
