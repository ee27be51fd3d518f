"""From statistics to an audit: score, cut, suggested label and category of every sample.

Nothing here sees ground truth. The defaults, and why:

- **Evidence**: `combined`, from two means over the window, c being the best label other than the given one y: the
  alignment gap γ_y - γ_c, which knows no scale, and the margin, the same of the logits (AUM), which does. Each is
  divided by its root mean square over the samples; the evidence is the negative of their mean. Zero means that another
  label fits as well as the given one. Runs with final sweeps are scored by `probability` instead: the margin of the
  probabilities, which lets samples that the network is unsure of count less, over the window and, with twice the
  weight, in the sweeps. Both were chosen on synthetic errors; docs/benchmarks/defaults.md says how.
- **Window**: the last half of the epochs. Averages over epochs beat any single epoch, and late ones beat early ones.
- **Score**: the log of the odds of being wrong that the evidence comes to (`gwaudit.analysis.error_probability`), and
  the **cut** with
  the highest F1 to expect. For `probability` the share of wrong labels is that of `combined`: probabilities are
  bounded, which bends the shapes that are fitted (they find errors in clean labels). Rounds of refinement only change
  the order: the k-th of theirs is as likely wrong as the k-th of the first training by `combined`, as later rounds
  believe what they were told.
  Where samples have any number of classes, each pair of sample and class is a row, and
  `gwaudit.analysis.error_probability_multilabel` finds
  its odds.
- **Suggested label**: the other label that most epochs of the window would rather have.
- **Category**, the first that holds:
    `suspect`       the score is above the cut;
    `late-aligned`  γ was negative on average over the first third of the run and is positive over the last: learned
                    late, perhaps by heart;
    `hard`          of the rest, the tenth with the highest score;
    `fine`          all others. Samples that no epoch of the window recorded are `unrecorded`.
"""

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gwaudit.analysis.audit import Audit
from gwaudit.analysis.error_probability import (
    count_with_best_f1,
    count_with_precision,
    expected_share_wrong,
    log_odds_wrong,
    sigmoid,
)
from gwaudit.analysis.error_probability_multilabel import pair_log_odds_wrong
from gwaudit.analysis.sample_statistics import sample_statistics
from gwaudit.core.errors import SettingsError
from gwaudit.core.settings import DetectorName, RankingSettings
from gwaudit.store.store import TrajectoryStore

SCORES: dict[str, dict[str, int]] = {
    "combined": {"mean_gap": 1, "mean_margin": 1},
    "alignment_gap": {"mean_gap": 1},
    "alignment": {"mean_alignment": 1},
    "margin": {"mean_margin": 1},
    "probability": {"mean_probability_margin": 1, "sweep_probability_margin": 2},
}
"""The statistics that each score is the negative of, with their weights in the mean of several, each of these in units
of its root mean square."""

HARD_SHARE = 0.1


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
        settings: how.
        rounds: runs that refined it. They say who is more suspicious, by the mean of their evidence over the last half
            of each, and the last one what a label should be. How likely the k-th of the ranking is wrong stays what
            `store` makes of it, as do the statistics: it learned the given labels alone, while later rounds believe
            what they were told, and are surer than they are right.
        executor: takes the blocks of samples.

    Raises:
        SettingsError: the run has no epoch yet, or not the window's, or no final sweeps though the score needs them.
    """
    settings = settings or RankingSettings()
    window = _window(store, settings)
    statistics = sample_statistics(store, range(window[0], window[1] + 1), executor=executor)
    several = store.is_multi_label
    settings = replace(settings, detector=_chosen_score(settings.detector, rounds[-1] if rounds else store, several))
    given = store.given_labels()
    if several:
        log_odds = pair_log_odds_wrong(_evidence(statistics, settings.detector), given, len(store.class_names))
    elif rounds:
        alone = _evidence(statistics, "combined")
        share_wrong = expected_share_wrong(alone)
        believed, statistics["alternative_label"] = _refined(store, rounds, settings, share_wrong, executor)
        log_odds = _in_the_order_of(believed, log_odds_wrong(alone))
    else:
        log_odds = _log_odds(store, statistics, settings)
    suggested = statistics.pop("alternative_label").to_numpy()
    score, probability = log_odds.astype(np.float32), sigmoid(log_odds)
    # Stable: equal scores stay in the order of their ids. NaN goes last.
    order = np.argsort(-score, kind="stable")
    suspect, threshold = _suspects(score[order], probability[order], settings)
    suspect = suspect[np.argsort(order)]
    names = np.array(store.layout.answers, object)
    rows, of_pairs = np.arange(store.n_rows), {}
    if store.is_multi_label:
        classes = store.layout.class_of(rows).astype(np.int32)
        of_pairs = {"class_id": classes, "class_name": np.array(store.class_names, object)[classes]}
    samples = pd.DataFrame(
        {
            "sample_id": store.layout.sample_of(rows),
            "key": store.read_samples(["key"])["key"].to_pandas(),
            **of_pairs,
            "given_label": given,
            "given_name": names[given],
            "suggested_label": suggested,
            "suggested_name": np.where(suggested >= 0, names[suggested], ""),
            "log_odds_wrong": score,
            "probability_wrong": probability.astype(np.float32),
            "suspect": suspect,
            "category": _categories(score, suspect, statistics),
        }
    )
    frame = pd.concat([samples, statistics.reset_index(drop=True)], axis=1).iloc[order].reset_index(drop=True)
    frame.insert(0, "rank", np.arange(1, len(frame) + 1))
    return Audit(
        frame, store.class_names, settings, window, threshold, store.path, store.fingerprint, store.is_multi_label
    )


def believed_wrong(store: TrajectoryStore, rounds: Sequence[TrajectoryStore]) -> NDArray[np.float32]:
    """What a run and the rounds that refined it, if any, make of each label: [n] the probability of being wrong.

    It is what the next round is told. An audit tells people something more modest: see `rank`.
    """
    if not rounds:
        return rank(store).by_id("probability_wrong")
    settings = RankingSettings()
    first, last = _window(store, settings)
    combined = _evidence(sample_statistics(store, range(first, last + 1)), "combined")
    log_odds, _ = _refined(store, rounds, settings, expected_share_wrong(combined), None)
    return sigmoid(log_odds).astype(np.float32)


def _refined(
    store: TrajectoryStore,
    rounds: Sequence[TrajectoryStore],
    settings: RankingSettings,
    share_wrong: float,
    executor: Executor | None,
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """[n] log odds by the mean evidence of the rounds, with so many wrong labels; [n] what the last suggests."""
    score, parts = _chosen_score(settings.detector, rounds[-1], several=False), []
    for run in rounds:
        first, last = _window(run, replace(settings, window="auto"))
        refined = sample_statistics(run, range(first, last + 1), executor=executor)
        parts.append(_evidence(refined, score))
    suggested = refined["alternative_label"].to_numpy()
    groups = _groups(store, suggested, replace(settings, detector=score))
    return log_odds_wrong(np.mean(parts, axis=0), groups, share_wrong=share_wrong), suggested


def _log_odds(store: TrajectoryStore, statistics: pd.DataFrame, settings: RankingSettings) -> NDArray[np.float64]:
    """[n] log odds of a single training."""
    share_wrong = None
    if settings.detector == "probability":
        share_wrong = expected_share_wrong(_evidence(statistics, "combined"))
    groups = _groups(store, statistics["alternative_label"].to_numpy(), settings)
    return log_odds_wrong(_evidence(statistics, settings.detector), groups, share_wrong=share_wrong)


def _groups(
    store: TrajectoryStore, suggested: NDArray[np.int32], settings: RankingSettings
) -> NDArray[np.int64] | None:
    """Who is fitted together, of labels that are read group by group."""
    given = store.given_labels().astype(np.int64)
    if settings.detector == "probability":
        return np.asarray(given * len(store.class_names) + suggested)
    return given if settings.per_class else None


def _in_the_order_of(order: NDArray[np.float64], log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
    """The log odds [n], highest for the highest of `order` [n]; NaN where either is."""
    known = np.isfinite(order) & np.isfinite(log_odds)
    placed = np.full(len(order), np.nan)
    places = np.flatnonzero(known)[np.argsort(order[known], kind="stable")]
    placed[places] = np.sort(log_odds[known])
    return placed


def _window(store: TrajectoryStore, settings: RankingSettings) -> tuple[int, int]:
    n_epochs = len(store.training_epochs)
    if n_epochs == 0:
        raise SettingsError(f"{store.path} has no epoch yet: train it first")
    if settings.window == "auto":
        return n_epochs // 2, n_epochs - 1
    first, last = settings.window
    if not 0 <= first <= last < n_epochs:
        raise SettingsError(f"the window {first} to {last} is not within epochs 0 to {n_epochs - 1} of {store.path}")
    return first, last


def _chosen_score(score: DetectorName, run: TrajectoryStore, several: bool) -> DetectorName:
    """The score that "auto" stands for in a run."""
    swept = len(run.final_sweeps) > 0
    if score == "probability" and not swept:
        raise SettingsError(f"{run.path} has no final sweeps (--final-sweeps), which the score 'probability' needs")
    if score == "auto":
        # Of pairs the probability finds less: absent labels are so many that each is nearly certain.
        return "probability" if swept and not several else "combined"
    return score


def _evidence(statistics: pd.DataFrame, name: str) -> NDArray[np.float32]:
    weights = SCORES[name]
    values = [statistics[part].to_numpy() for part in weights]
    if len(values) > 1:
        values = [value / _root_mean_square(value) for value in values]
    return np.asarray(-np.average(values, axis=0, weights=list(weights.values())), np.float32)


def _root_mean_square(values: NDArray[np.float32]) -> float:
    recorded = values[~np.isnan(values)].astype(np.float64)
    return float(np.sqrt(np.mean(recorded**2))) or 1.0 if len(recorded) else 1.0


def _suspects(
    score: NDArray[np.float32], probability: NDArray[np.float64], settings: RankingSettings
) -> tuple[NDArray[np.bool_], float]:
    """Whom to flag, of scores that fall with NaN at their end, and the threshold that this comes to."""
    scored = int(np.isfinite(score).sum())
    if settings.top is not None:
        count = settings.top
    elif settings.precision is not None:
        count = count_with_precision(probability[:scored], settings.precision)
    elif isinstance(settings.cut, str):
        count = count_with_best_f1(probability[:scored])
    else:
        count = int((score > settings.cut).sum())
    count = min(count, scored, scored if settings.budget is None else settings.budget)
    return np.arange(len(score)) < count, _between(score[:scored], count, settings)


def _between(score: NDArray[np.float32], count: int, settings: RankingSettings) -> float:
    """A threshold below the first `count` of falling scores and, ties aside, above the rest."""
    if isinstance(settings.cut, float | int) and settings.budget is None:
        return float(settings.cut)
    if count == 0:
        return float("inf")
    last = float(score[count - 1])
    return (
        float(np.nextafter(np.float32(last), np.float32(-np.inf)))
        if count == len(score)
        else (last + float(score[count])) / 2
    )


def _categories(
    score: NDArray[np.float32], suspect: NDArray[np.bool_], statistics: pd.DataFrame
) -> NDArray[np.object_]:
    early, late = statistics["early_alignment"].to_numpy(), statistics["late_alignment"].to_numpy()
    late_aligned = (early < 0) & (late > 0)
    rest = score[~suspect & ~late_aligned & ~np.isnan(score)]
    hard = score > (np.quantile(rest, 1 - HARD_SHARE) if len(rest) else np.inf)
    conditions = [np.isnan(score), suspect, late_aligned, hard]
    return np.select(conditions, ["unrecorded", "suspect", "late-aligned", "hard"], "fine").astype(object)
