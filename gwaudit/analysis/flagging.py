"""Flag the first samples of a ranking, and sort all into categories (`gwaudit.analysis.ranking` names these)."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gwaudit.analysis.error_probability import count_with_best_f1, count_with_precision
from gwaudit.core.settings import RankingSettings

HARD_SHARE = 0.1

CATEGORIES = np.array(["unrecorded", "too-few", "unlearned", "suspect", "late-aligned", "hard", "fine"], object)
"""The names of the categories, in the order in which they are tried."""

NOT_JUDGED = CATEGORIES[:3]
"""The categories of labels that nothing can be said about."""


def settings_to_flag(settings: RankingSettings, *, is_trusted: bool) -> RankingSettings:
    """Return settings that flag by the fitted cut if it is trusted or `force` is set, else as the user counts.

    Without trust, `budget` is the number to flag, and `precision`, which needs probabilities to trust, flags none.
    """
    if is_trusted or settings.force or settings.top is not None or settings.cut != "auto":
        return settings
    return replace(settings, precision=None, top=settings.budget or 0)


def flag(
    log_odds: NDArray[np.float32], probability: NDArray[np.float64], settings: RankingSettings
) -> tuple[NDArray[np.bool_], float]:
    """Return the samples to flag and the threshold, of log odds in falling order with NaN at their end."""
    known = int(np.isfinite(log_odds).sum())
    if settings.top is not None:
        count = settings.top
    elif settings.precision is not None:
        count = count_with_precision(probability[:known], settings.precision)
    elif isinstance(settings.cut, str):
        count = count_with_best_f1(probability[:known])
    else:
        count = int((log_odds > settings.cut).sum())
    count = min(count, known, known if settings.budget is None else settings.budget)
    return np.arange(len(log_odds)) < count, _threshold(log_odds[:known], count, settings)


def _threshold(log_odds: NDArray[np.float32], count: int, settings: RankingSettings) -> float:
    """Return a threshold below the first `count` of falling log odds and, ties aside, above the rest."""
    if isinstance(settings.cut, float | int) and settings.budget is None:
        return float(settings.cut)
    if count == 0:
        return float("inf")
    last = float(log_odds[count - 1])
    if count == len(log_odds):
        return float(np.nextafter(np.float32(last), np.float32(-np.inf)))
    return (last + float(log_odds[count])) / 2


def categorise(
    log_odds: NDArray[np.float32],
    too_few: NDArray[np.bool_],
    unlearned: NDArray[np.bool_],
    suspect: NDArray[np.bool_],
    early: NDArray[np.floating],
    late: NDArray[np.floating],
) -> NDArray[np.int8]:
    """Return the category of each sample, [n] positions in `CATEGORIES`.

    Args:
        log_odds: [n], NaN where nothing was recorded.
        too_few: [n] whether the class has too few samples.
        unlearned: [n] whether the class was not learned.
        suspect: [n] whether the sample is flagged.
        early: [n] mean alignment over the first third of the run.
        late: [n] mean alignment over its last third.
    """
    late_aligned = (early < 0) & (late > 0)
    rest = log_odds[~suspect & ~late_aligned & ~too_few & ~unlearned & ~np.isnan(log_odds)]
    hard = log_odds > (np.quantile(rest, 1 - HARD_SHARE) if len(rest) else np.inf)
    conditions = [np.isnan(log_odds), too_few, unlearned, suspect, late_aligned, hard]
    return np.select(conditions, [np.int8(i) for i in range(len(conditions))], np.int8(len(conditions)))
