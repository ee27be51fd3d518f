"""Measure the signals by which `gwaudit.analysis.verdict_checks` judges a run; no true label is read."""

import math
from concurrent.futures import Executor
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gwaudit.analysis.blocks import map_blocks, map_parts, threads_of
from gwaudit.analysis.detectors import DETECTORS, RecordedRun
from gwaudit.analysis.error_probability import count_with_best_f1, log_odds_wrong, sigmoid
from gwaudit.analysis.sample_statistics import HALVES, is_held_out
from gwaudit.analysis.signals import Signals
from gwaudit.analysis.verdict_checks import SHARP, STRONG_EVIDENCE, is_photo
from gwaudit.core.column_files import ColumnFiles
from gwaudit.data.class_names import plain_text
from gwaudit.store.store import TrajectoryStore

_LEAST_COMPARED = 5  # rows; the overlap of fewer is a matter of chance
_OPPOSED = 0.9  # of the epochs
_MOSTLY = 0.9  # of the given labels predicted: only then can many wrong ones have been memorised

Floats = NDArray[np.float64]


def measure_signals(
    store: TrajectoryStore,
    statistics: ColumnFiles,
    window: tuple[int, int],
    probability: Floats,
    flagged: NDArray[np.bool_],
    unlearned: float,
    executor: Executor | None = None,
) -> Signals:
    """Measure the signals of a run.

    Args:
        store: the run.
        statistics: the statistics of the window (`statistics_files`), a row for each of the n rows of the store.
        window: first and last epoch of the statistics.
        probability: [n] probability of being wrong; NaN for rows that are not judged.
        flagged: [n] whether the fitted cut flags the row.
        unlearned: share of the rows, but those of classes with too few samples, whose class was not learned.
        executor: computes the blocks of samples; by default they are computed one after the other.
    """
    judged = np.isfinite(probability)
    given, flagged = store.given_labels()[judged], flagged[judged]
    if not len(given):
        epochs, multi_label = len(store.training_epochs), store.is_multi_label
        return Signals(rows=0, classes=0, epochs=epochs, multi_label=multi_label, unlearned=unlearned)
    predicted = statistics["predicted_label"][judged]
    right = predicted == given
    counts = np.bincount(given)
    present = counts > 0
    shares = counts[present] / len(given)
    flagged_of_class = np.bincount(given, flagged, minlength=len(counts))[present] / counts[present]
    held_out = is_held_out(store)
    detector = "margin" if held_out else "combined"
    late_aligned = (statistics["early_alignment"] < 0) & (statistics["late_alignment"] > 0)
    return Signals(
        rows=len(given),
        classes=len(shares),
        epochs=len(store.training_epochs),
        steps=_steps(store),
        scratch_photos=_scratch_photos(store),
        own_head=_own_head(store),
        self_confirmed=_self_confirmed(store),
        held_out=held_out,
        multi_label=store.is_multi_label,
        kappa=_kappa(given, predicted),
        accuracy=float(right.mean()),
        last_accuracy=_metric(store, -1, "accuracy_on_given"),
        largest_class=float(shares.max()),
        unlearned=unlearned,
        first_loss=_metric(store, 0, "mean_loss"),
        last_loss=_metric(store, -1, "mean_loss"),
        prior_loss=_prior_loss(store.given_labels()),
        flagged=float(flagged.mean()),
        flagged_class=float(flagged_of_class.max()),
        alike_flagged=_alike(store, given[flagged], statistics["alternative_label"][judged][flagged]),
        expected_wrong=float(probability[judged].mean()),
        expected_f1=_expected_f1(probability[judged], flagged),
        depth=_depth(_score(store, statistics, detector)[judged].astype(np.float64), flagged),
        halves_overlap=_halves_overlap(statistics, judged, window, max(int(flagged.sum()), _LEAST_COMPARED)),
        opposed=float((statistics["share_negative"][judged] >= _OPPOSED).mean()),
        early_flagged=_early_flagged(store, judged, executor) if right.mean() > _MOSTLY and not held_out else math.nan,
        late_aligned=float(late_aligned[judged].mean()),
    )


def _prior_loss(given: NDArray[np.int32]) -> float:
    """Return the loss of a model that ignores its inputs, over the rows that the losses of epochs are of: all."""
    counts = np.bincount(given)
    shares = counts[counts > 0] / len(given)
    return float(-(shares * np.log(shares)).sum())


def _score(store: TrajectoryStore, statistics: ColumnFiles, detector: str) -> NDArray[np.floating]:
    return DETECTORS[detector].detect(RecordedRun(store, statistics)).score


def _kappa(given: NDArray[np.int32], predicted: NDArray[np.int32]) -> float:
    """Return Cohen's kappa of given and predicted labels: the agreement above that of independent labels."""
    known = predicted >= 0
    if not known.any():
        return math.nan
    agreement = float((given == predicted)[known].mean())
    size = int(max(given.max(), predicted.max())) + 1
    shares = [np.bincount(labels[known], minlength=size) / known.sum() for labels in (given, predicted)]
    by_chance = float(shares[0] @ shares[1])
    return (agreement - by_chance) / (1 - by_chance) if by_chance < 1 else 0.0


def _steps(store: TrajectoryStore) -> float:
    """Return the number of optimizer steps of a training of gwaudit; NaN for a loop of one's own."""
    training = store.settings.get("training") or {}
    batch_size, accumulate = training.get("batch_size"), training.get("accumulate")
    if not (isinstance(batch_size, int) and isinstance(accumulate, int)):
        return math.nan
    return len(store.training_epochs) * math.ceil(math.ceil(store.n_samples / batch_size) / accumulate)


def _scratch_photos(store: TrajectoryStore) -> float:
    """Return the number of photos that a network learned from random weights; NaN where it did not."""
    training, shape = store.settings.get("training") or {}, store.settings.get("input_shape") or ()
    is_scratch = training.get("backbone") == "trained" and not (
        training.get("pretrained") or training.get("checkpoint")
    )
    return store.n_samples if is_scratch and is_photo(shape) else math.nan


def _self_confirmed(store: TrajectoryStore) -> float:
    """Return by what share heads contradict more labels with weights of the labels, where these speak against weights.

    It is 0 where the given labels do not speak against weights, and NaN where weights were not tried.
    """
    trial = (store.settings.get("heads") or {}).get("weights")
    if trial is None:
        return math.nan
    if trial["gain"] >= -STRONG_EVIDENCE:
        return 0.0
    before, after = int(trial["contradicted"]), int(trial["contradicted_with_weights"])
    return (after - before) / max(before, 1)


def _alike(store: TrajectoryStore, given: NDArray[np.int32], suggested: NDArray[np.int32]) -> float:
    """Return the share of labels whose class and the suggested one differ in name only by case or white space."""
    spellings = np.array([plain_text(name) for name in store.class_names])
    if store.is_multi_label or not len(given):
        return math.nan
    return float((spellings[given] == spellings[suggested]).mean())


def _own_head(store: TrajectoryStore) -> float:
    """Return the number of samples of which one head on features learned and judges the labels; NaN for others."""
    training, shape = store.settings.get("training") or {}, store.settings.get("input_shape") or ()
    has_head = len(shape) == 1 or training.get("backbone") == "frozen"
    judges_its_own = bool(training) and has_head and not is_held_out(store)
    return store.n_samples if judges_its_own else math.nan


def _expected_f1(probability: Floats, flagged: NDArray[np.bool_]) -> float:
    """Return the expected F1 of the fitted cut; NaN if it flags nothing."""
    if not flagged.any():
        return math.nan
    return float(2 * probability[flagged].sum() / (flagged.sum() + probability.sum()))


def _depth(evidence: Floats, flagged: NDArray[np.bool_]) -> float:
    """Return the mean evidence against the flagged labels, relative to that for all others; NaN without either."""
    if not flagged.any() or flagged.all():
        return math.nan
    others = -float(evidence[~flagged].mean())
    return float(evidence[flagged].mean()) / others if others > 0 else math.nan


def _halves_overlap(statistics: ColumnFiles, judged: NDArray[np.bool_], window: tuple[int, int], count: int) -> float:
    """Return the Jaccard index of the first `count` of the judged rows by each half of the window.

    NaN if the window is one epoch, or if these are more than half of the rows, where chance alone overlaps.
    """
    if window[0] == window[1] or 2 * count > judged.sum():
        return math.nan
    tops = []
    for half in HALVES:
        known = _evidence(statistics[f"{half}_gap"], statistics[f"{half}_margin"])[judged]
        np.nan_to_num(known, copy=False, nan=-np.inf)
        is_top = np.zeros(len(known), bool)
        is_top[np.argsort(np.negative(known, out=known), kind="stable")[:count]] = True
        tops.append(is_top)
    return float((tops[0] & tops[1]).sum() / (tops[0] | tops[1]).sum())


def _early_flagged(store: TrajectoryStore, judged: NDArray[np.bool_], executor: Executor | None) -> float:
    """Return the share of the judged rows that a cut flags by the first third of the epochs; 0 if it is not sharp."""
    if store.is_multi_label:
        return math.nan
    early, epochs = ColumnFiles(), range(max(1, len(store.training_epochs) // 3))
    block_means = partial(_block_means, epochs=epochs, threads=threads_of(executor))
    for means in map_blocks(block_means, store, executor):
        early.append(means)
    evidence = _evidence(early["gap"], early["margin"])[judged]
    probability = np.sort(np.nan_to_num(sigmoid(log_odds_wrong(evidence))))[::-1]
    flagged = np.arange(len(probability)) < count_with_best_f1(probability)
    return float(flagged.mean()) if _expected_f1(probability, flagged) >= SHARP else 0.0


def _evidence(gap: Floats, margin: Floats) -> Floats:
    """Return the evidence of the detector `combined` by mean gap and margin, [rows]; NaN where nothing was recorded.

    Both arrays are overwritten: of millions of rows each further one counts.
    """
    for mean in (gap, margin):
        mean /= math.sqrt(float(np.nanmean(mean**2))) or 1.0
    gap += margin
    np.negative(gap, out=gap)
    gap /= 2
    return gap


def _block_means(store: TrajectoryStore, block: int, *, epochs: range, threads: int) -> dict[str, NDArray[Any]]:
    """Return the mean gap and margin over some epochs, [rows] each; NaN where nothing was recorded."""

    def means(part: range) -> dict[str, NDArray[Any]]:
        gap, margin, recorded = np.zeros((3, len(part)))
        for epoch in epochs:
            signals = store.read_block(epoch, block, ("alignment", "alternative_alignment", "margin"), part=part)
            gap += np.nan_to_num(signals["alignment"] - signals["alternative_alignment"])
            margin += np.nan_to_num(signals["margin"])
            recorded += ~np.isnan(signals["alignment"])
        recorded[recorded == 0] = np.nan
        return {"gap": gap / recorded, "margin": margin / recorded}

    return map_parts(means, store, block, epochs, threads)


def _metric(store: TrajectoryStore, epoch: int, name: str) -> float:
    """Return a metric of a training epoch, which may be counted from the end; NaN if unrecorded."""
    return float(store.commit(store.training_epochs[epoch]).metrics.get(name, math.nan))
