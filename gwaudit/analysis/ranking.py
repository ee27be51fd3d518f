"""Rank the samples of a run: log odds of being wrong, cut, suggested label and category of each.

No ground truth is read. The steps, their defaults and the reasons:

- **Score**: a detector (`gwaudit.analysis.detectors`) scores each sample, over a **window** of epochs. The default
  window is the last half: averages over epochs find more than any single epoch, and late epochs more than early ones.
- **Log odds** of being wrong: fitted to the scores of all samples (`gwaudit.analysis.error_probability`; for
  multi-label runs `gwaudit.analysis.error_probability_multilabel`). The fit needs a score whose sign has a meaning
  (`signed`): below zero the given label fits better, above zero another one.
    - Other detectors (loss, forgetting events, ...) give the order alone: the k-th of it gets the log odds of the
      k-th by `combined`, and equal scores are ordered by `combined`.
    - Of scores that are differences of probabilities (`bounded`), the share of wrong labels is that of `combined`:
      bounds distort the distributions that are fitted, which then find errors in clean labels.
    - Rounds of refinement give the order alone, too: later rounds were trained on what was believed before, and are
      surer than they are right.
    - Where samples were held out, odds and order follow from the predictions (`gwaudit.analysis.held_out_odds`), and a
      detector other than `margin` gives the order alone.
- **Cut**: by default the one with the highest expected F1. It is always gwaudit's, also for detectors with a cut of
  their own (`ctrl`, `argmax_disagreement`): the suspects are the first of the ranking. The detection benchmark
  measures the detectors' own cuts.
- **Suggested label**: the label that is the best alternative to the given one in most epochs of the window.
- **Verdict** on the run (`gwaudit.analysis.verdict`): below *trust it* no cut is offered, and suspects are flagged only
  by a count of the user (`top`, `budget`, `cut`) or with `force`.
- **Category**, the first that holds:
    - `unrecorded`: no epoch of the window recorded the sample;
    - `too-few`: its given class has fewer than 5 samples (`gwaudit.data.class_sizes.LEAST_SAMPLES`), so nothing but the
      sample itself shows how the class looks. Its odds are kept, no cut flags it, and it stands behind all samples that
      can be judged;
    - `unlearned`: its class is not predicted better than by its share, and wrong labels as in other classes do not
      explain it (`gwaudit.analysis.learned_classes`): right and wrong labels look alike. It is treated as one of a
      class with too few samples. Where no class is learned, the verdict says so, and no sample has this category;
    - `suspect`: flagged by the cut;
    - `late-aligned`: mean γ is negative over the first third of the run and positive over the last: learned late,
      possibly memorised;
    - `hard`: the tenth of the rest with the highest log odds;
    - `fine`: all others.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from gwaudit.analysis.audit import Audit
from gwaudit.analysis.detectors import DETECTORS, RecordedRun, select_detector
from gwaudit.analysis.error_probability import expected_share_wrong, log_odds_wrong, sigmoid
from gwaudit.analysis.error_probability_multilabel import multilabel_log_odds_wrong
from gwaudit.analysis.flagging import CATEGORIES, categorise, flag, settings_to_flag
from gwaudit.analysis.held_out_noise_multilabel import fit_multilabel_noise
from gwaudit.analysis.held_out_odds import TRAINING_WEIGHTS, Readings, held_out_readings
from gwaudit.analysis.learned_classes import (
    judged_classes,
    judged_multilabel_classes,
    learned_classes,
    multilabel_histogram,
    single_label_histogram,
)
from gwaudit.analysis.ranked_table import BLOCK_ROWS, RankedTable, in_rank_order
from gwaudit.analysis.run_signals import measure_signals
from gwaudit.analysis.sample_statistics import COLUMNS, default_window, is_held_out, statistics_files
from gwaudit.analysis.verdict_checks import judge
from gwaudit.core.allocators import release_memory
from gwaudit.core.column_files import ColumnFiles
from gwaudit.core.errors import SettingsError
from gwaudit.core.settings import RankingSettings, require_settings
from gwaudit.data.class_sizes import small_classes
from gwaudit.store.latents import has_latents
from gwaudit.store.store import TrajectoryStore


def rank(
    store: TrajectoryStore,
    settings: RankingSettings | None = None,
    *,
    rounds: Sequence[TrajectoryStore] = (),
    executor: Executor | None = None,
) -> Audit:
    """Rank the samples of a run, most suspicious first.

    Args:
        store: a run with at least one epoch.
        settings: the detector, the window and the cut.
        rounds: runs that refined it. The order is that of their mean score, each over its last half of epochs and
            weighted by its number of epochs, and the last one gives the suggested labels. The k-th sample of that order
            gets the log odds of the k-th by `store` alone, which also gives the statistics: it learned the given labels
            as they are.
        executor: computes the blocks of samples; by default they are computed one after the other.

    Returns:
        A row a sample; a row a pair of sample and class for a multi-label run.

    Raises:
        SettingsError: The run has no epoch, or not those of the window, or lacks what the detector needs.
    """
    if not isinstance(store, TrajectoryStore):
        raise SettingsError(f"`store` must be an open run, TrajectoryStore.open({str(store)!r}): `rank` takes no path")
    require_settings(RankingSettings, "settings", settings)
    settings = settings or RankingSettings()
    multi_label = store.is_multi_label
    window = _window(store, settings)
    last = rounds[-1] if rounds else store
    detector = select_detector(
        settings.detector,
        final_passes=len(last.final_passes),
        multi_label=multi_label,
        held_out=is_held_out(store),
        keeps_latents=has_latents(store.path),
        run=last.path,
    )
    if DETECTORS[detector].needs == "latents":
        rounds = ()  # latents are those of the first training
    settings = replace(settings, detector=detector)
    statistics = statistics_files(store, range(window[0], window[1] + 1), executor=executor)
    audit = _audit(store, () if multi_label else rounds, settings, window, statistics, executor)
    release_memory()
    return audit


def held_out_probability_wrong(store: TrajectoryStore, window: range) -> NDArray[np.float64]:
    """Return the probability of each label being wrong by some epochs of a cross-fitted training, [n], for training."""
    statistics = statistics_files(store, window)
    probability = sigmoid(_held_out_readings(store, statistics).pool(TRAINING_WEIGHTS))
    return np.where(_unlearned(store, statistics, probability), 0.0, probability)


def believed_wrong(store: TrajectoryStore, rounds: Sequence[TrajectoryStore]) -> NDArray[np.float32]:
    """Return the probability of each label being wrong by a run and the rounds that refined it, [n].

    The next round is trained on it. `rank` shows people a more modest probability: with rounds, that of the run alone.
    """
    if not rounds:
        first = rank(store)
        is_judged = ~np.isin(first.by_id("category"), ("too-few", "unlearned"))
        return np.where(is_judged, first.by_id("probability_wrong"), np.float32(0))
    settings = RankingSettings()
    window = _window(store, settings)
    statistics = statistics_files(store, range(window[0], window[1] + 1))
    log_odds, _ = _refined_log_odds(store, rounds, settings, statistics, None)
    probability = sigmoid(log_odds)
    is_unjudged = _too_few(store) | _unlearned(store, statistics, probability)
    return np.where(is_unjudged, 0, probability).astype(np.float32)


def _window(store: TrajectoryStore, settings: RankingSettings) -> tuple[int, int]:
    n_epochs = len(store.training_epochs)
    if n_epochs == 0:
        raise SettingsError(f"{store.path} has no epoch yet: train it first")
    if isinstance(settings.window, str):
        window = default_window(store)
        return window[0], window[-1]
    first, last = settings.window
    if last >= n_epochs:
        raise SettingsError(
            f"`window` ends {last + 1 - n_epochs:,} after the last epoch of {store.path}, which has {n_epochs:,} epochs"
        )
    return first, last


def _score(store: TrajectoryStore, statistics: ColumnFiles, detector: str) -> NDArray[np.floating]:
    """Return a detector's scores, [n]; NaN where the window recorded nothing."""
    score = DETECTORS[detector].detect(RecordedRun(store, statistics)).score
    return np.where(statistics["epochs"] > 0, score, np.asarray(np.nan, score.dtype))


def _log_odds(store: TrajectoryStore, statistics: ColumnFiles, settings: RankingSettings) -> NDArray[np.float64]:
    """Return the log odds of a single training, [n]."""
    detector, score = DETECTORS[settings.detector], _score(store, statistics, settings.detector)
    if store.is_multi_label and is_held_out(store):
        fitted = _held_out_multilabel_log_odds(store, statistics)
        return fitted if settings.detector == "margin" else _reorder(fitted, score, fitted)
    if store.is_multi_label:
        return multilabel_log_odds_wrong(score, store.given_labels(), len(store.class_names))
    if is_held_out(store):
        readings = _held_out_readings(store, statistics)
        fitted = readings.pool()
        return _reorder(fitted, readings.order if settings.detector == "margin" else score, fitted)
    if not detector.signed:
        combined = _log_odds(store, statistics, replace(settings, detector="combined"))
        return _reorder(combined, score, combined)
    share_wrong = None
    if detector.bounded:
        share_wrong = expected_share_wrong(_score(store, statistics, "combined"))
    groups = _groups(store, statistics["alternative_label"], settings)
    return log_odds_wrong(score, groups, share_wrong=share_wrong)


def _refined_log_odds(
    store: TrajectoryStore,
    rounds: Sequence[TrajectoryStore],
    settings: RankingSettings,
    statistics: ColumnFiles,
    executor: Executor | None,
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Return log odds by the mean score of the rounds, [n], and the labels that the last one suggests, [n].

    A round counts as often as it has epochs: a longer one learned more. The share of wrong labels is that of the run by
    `combined`. The scores of detectors that are not signed are returned as they are: their order alone counts.
    """
    scores: list[NDArray[np.floating]] = []
    name = select_detector(
        settings.detector, final_passes=len(rounds[-1].final_passes), multi_label=False, held_out=is_held_out(store)
    )
    for run in rounds:
        first, last = _window(run, replace(settings, window="auto"))
        of_round = statistics_files(run, range(first, last + 1), executor=executor)
        scores.append(_score(run, of_round, name))
    epochs = [len(run.training_epochs) for run in rounds]
    mean_score, suggested = np.average(scores, axis=0, weights=epochs), of_round["alternative_label"]
    if not DETECTORS[name].signed:
        return mean_score, suggested
    share_wrong = expected_share_wrong(_score(store, statistics, "combined"))
    groups = _groups(store, suggested, replace(settings, detector=name))
    return log_odds_wrong(mean_score, groups, share_wrong=share_wrong), suggested


def _fitted_detector(store: TrajectoryStore) -> str:
    """Return the detector to whose scores the odds are fitted where another one gives the order alone."""
    return "margin" if is_held_out(store) else "combined"


def _held_out_readings(store: TrajectoryStore, statistics: ColumnFiles) -> Readings:
    """Return both readings of the log odds of samples that were held out."""
    read = partial(
        held_out_readings,
        store.given_labels().astype(np.int64),
        statistics["alternative_label"].astype(np.int64),
        statistics["mean_margin"],
        statistics["mean_loss"],
        len(store.class_names),
    )
    readings = read()
    is_judged = _judged_classes(store, statistics, sigmoid(readings.pool()))
    return readings if is_judged.all() or not is_judged.any() else read(is_judged)


def _held_out_multilabel_log_odds(store: TrajectoryStore, statistics: ColumnFiles) -> NDArray[np.float64]:
    """Return the log odds of the labels of multi-label samples that were held out, [n C]; NaN where unrecorded."""
    presence, given = _presence(store, statistics)
    return fit_multilabel_noise(presence, given).log_odds_wrong(presence, given).reshape(-1)


def _presence(store: TrajectoryStore, statistics: ColumnFiles) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Return the mean logits of classes being present and the given labels, [n, C] each, of a multi-label run."""
    given = store.given_labels().reshape(-1, len(store.class_names))
    return np.where(given == 1, 1, -1) * statistics["mean_margin"].reshape(given.shape).astype(np.float64), given


def _groups(
    store: TrajectoryStore, suggested: NDArray[np.int32], settings: RankingSettings
) -> NDArray[np.int64] | None:
    """Return the group of each sample, [n], where the odds are fitted group by group."""
    given = store.given_labels().astype(np.int64)
    if DETECTORS[settings.detector].bounded:
        return np.asarray(given * len(store.class_names) + suggested)
    return given if settings.per_class else None


def _reorder(log_odds: NDArray[np.float64], *keys: NDArray[np.floating]) -> NDArray[np.float64]:
    """Give the k-th highest of the log odds [n] to the k-th highest sample by the keys.

    Args:
        log_odds: [n], NaN where not known.
        keys: [n] each, the first decides, the next among equal ones, and last the index; NaN where not known.

    Returns:
        [n], NaN where the log odds or the first key is.
    """
    known = np.flatnonzero(np.isfinite(keys[0]) & np.isfinite(log_odds))
    ascending = known[np.lexsort([key[known] for key in reversed(keys)])]
    reordered = np.full(len(log_odds), np.nan)
    reordered[ascending] = np.sort(log_odds[known])
    return reordered


def _audit(
    store: TrajectoryStore,
    rounds: Sequence[TrajectoryStore],
    settings: RankingSettings,
    window: tuple[int, int],
    statistics: ColumnFiles,
    executor: Executor | None,
) -> Audit:
    """Return the audit by the statistics of the window."""
    if rounds:
        refined, suggested = _refined_log_odds(store, rounds, settings, statistics, executor)
        log_odds = _reorder(_log_odds(store, statistics, replace(settings, detector=_fitted_detector(store))), refined)
        del refined
    else:
        log_odds, suggested = _log_odds(store, statistics, settings), statistics["alternative_label"]
    # What is deleted below takes eight bytes a sample or more.
    rounded, probability = log_odds.astype(np.float32), sigmoid(log_odds)
    del log_odds
    too_few = _too_few(store)
    unlearned = _unlearned(store, statistics, probability) & ~too_few
    share_unlearned = float(unlearned.sum() / max((~too_few).sum(), 1))
    if share_unlearned == 1:  # no class stands out, so that the order is as good as any: the verdict says so
        unlearned = np.zeros_like(too_few)
    judged = np.where(too_few | unlearned, np.float32(np.nan), rounded)
    # Stable: equal log odds stay in the order of their ids. NaN goes last, so what cannot be judged does.
    order = np.lexsort((-rounded, -judged))
    rank = np.empty_like(order)
    rank[order] = np.arange(1, len(order) + 1)
    in_order = judged[order], probability[order]
    del order, judged
    fitted, _ = flag(*in_order, replace(settings, cut="auto", top=None, precision=None, budget=None))
    flagged = {trusted: flag(*in_order, settings_to_flag(settings, is_trusted=trusted)) for trusted in (True, False)}
    del in_order
    shown = probability.astype(np.float32)
    probability[too_few | unlearned] = np.nan
    fitted = fitted[rank - 1]
    verdict = judge(measure_signals(store, statistics, window, probability, fitted, share_unlearned, executor))
    del probability
    suspect, threshold = flagged[verdict.is_trusted]
    suspect = suspect[rank - 1]
    early, late = statistics["early_alignment"], statistics["late_alignment"]
    columns = {
        "suggested_label": suggested,
        "log_odds_wrong": rounded,
        "probability_wrong": shown,
        "suspect": suspect,
        "category": categorise(rounded, too_few, unlearned, suspect, early, late),
    }
    del early, late
    blocks = in_rank_order(_blocks(store, columns, statistics), rank)
    return Audit(
        RankedTable.of_blocks(_named(store, block) for block in blocks),
        store.class_names,
        settings,
        window,
        threshold,
        store.path,
        store.fingerprint,
        store.is_multi_label,
        verdict,
    )


def _blocks(store: TrajectoryStore, columns: dict[str, NDArray[Any]], statistics: ColumnFiles) -> Iterator[pa.Table]:
    """Yield the rows of an audit block by block, in the order of the store: without the names of labels and classes.

    Args:
        store: The run.
        columns: [rows of the store] each.
        statistics: The statistics of the window.
    """
    names = [name for name in COLUMNS if name != "alternative_label"]
    for block in range(store.n_blocks):
        held, samples = store.block_range(block), store.read_samples(["key", "given_label"], block=block)
        for start in range(0, len(held), BLOCK_ROWS):
            rows = held[start : start + BLOCK_ROWS]
            part = samples.slice(start, len(rows))
            yield pa.table(
                {
                    "row": np.arange(rows.start, rows.stop),
                    "key": part["key"],
                    "given_label": part["given_label"],
                    **{name: values[rows.start : rows.stop] for name, values in columns.items()},
                    **{name: statistics.read(name, rows) for name in names},
                }
            )


def _named(store: TrajectoryStore, block: pa.Table) -> pd.DataFrame:
    """Return ranked rows with the columns of `Audit.frame`."""
    rows, names = block["row"].to_numpy(), np.array([*store.layout.answers, ""], object)  # the last is that of -1
    given, suggested = block["given_label"].to_numpy(), block["suggested_label"].to_numpy()
    classes: dict[str, NDArray[Any]] = {}
    if store.is_multi_label:
        class_ids = store.layout.class_of(rows).astype(np.int32)
        classes = {"class_id": class_ids, "class_name": np.array(store.class_names, object)[class_ids]}
    return pd.DataFrame(
        {
            "rank": block["rank"].to_numpy(),
            "sample_id": store.layout.sample_of(rows),
            "key": block["key"].to_pandas(),
            **classes,
            "given_label": given,
            "given_name": names[given],
            "suggested_label": suggested,
            "suggested_name": names[suggested],
            "log_odds_wrong": block["log_odds_wrong"].to_numpy(),
            "probability_wrong": block["probability_wrong"].to_numpy(),
            "suspect": block["suspect"].to_numpy(),
            "category": CATEGORIES[block["category"].to_numpy()],
            **{name: block[name].to_numpy() for name in COLUMNS if name != "alternative_label"},
        }
    )


def _too_few(store: TrajectoryStore) -> NDArray[np.bool_]:
    """Return the rows of the store whose class has too few samples to judge their labels, [n]."""
    labels, n_classes = store.given_labels().astype(np.int64), len(store.class_names)
    if not store.is_multi_label:
        return small_classes(labels, n_classes)[labels]
    samples = labels.reshape(-1, n_classes)
    return np.tile(small_classes(samples, n_classes), len(samples))


def _unlearned(store: TrajectoryStore, statistics: ColumnFiles, probability: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return the rows of the store whose class was not learned, so that their labels cannot be judged, [n].

    Args:
        store: The run.
        statistics: The statistics of the window.
        probability: [n] of each label being wrong.
    """
    is_judged = _judged_classes(store, statistics, probability)
    given = store.given_labels()
    return np.tile(~is_judged, len(given) // len(is_judged)) if store.is_multi_label else np.asarray(~is_judged[given])


def _judged_classes(
    store: TrajectoryStore, statistics: ColumnFiles, probability: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Return whether the labels of each class can be judged, [C]; the arguments are those of `_unlearned`."""
    n_classes = len(store.class_names)
    if store.is_multi_label:
        presence, labels = _presence(store, statistics)
        learned = learned_classes(multilabel_histogram(presence, labels), n_classes)
        return judged_multilabel_classes(learned, labels, probability.reshape(labels.shape))
    given, alternative = store.given_labels().astype(np.int64), statistics["alternative_label"].astype(np.int64)
    log_given = -statistics["mean_loss"].astype(np.float64)
    log_alternative = log_given - statistics["mean_margin"]
    known = np.isfinite(log_alternative) & (alternative >= 0)
    histogram = single_label_histogram(
        given[known], alternative[known], log_given[known], log_alternative[known], n_classes
    )
    return judged_classes(learned_classes(histogram, n_classes), given[known], probability[known])
