"""What a group of samples does over a run: bands of alignment, distributions, and when its samples turn positive."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

QUANTILES = 101

Curve = Sequence[float | None]
"""A number an epoch; None where there is none."""


def band(alignment: NDArray[np.float32]) -> dict[str, Curve]:
    """Mean and quartiles of alignments [epochs, m], epoch by epoch: `mean`, `low`, `high`."""
    low, high = np.nanquantile(alignment, [0.25, 0.75], axis=1)
    parts = {"mean": np.nanmean(alignment, axis=1, dtype=np.float64), "low": low, "high": high}
    return {name: [round(float(value), 5) for value in values] for name, values in parts.items()}


def quantiles(alignment: NDArray[np.float32]) -> list[float]:
    """Of alignments [m], at 101 even shares; what is missing is left out."""
    known = alignment[~np.isnan(alignment)]
    return [round(float(value), 5) for value in np.quantile(known, np.linspace(0, 1, QUANTILES))]


def turning_epochs(alignment: NDArray[np.float32]) -> NDArray[np.float64]:
    """From which epoch on a sample's alignment stays above zero: [n]; the number of epochs where it never does.

    Args:
        alignment: [epochs, n]; what is missing counts as not above zero.
    """
    positive = np.nan_to_num(alignment, nan=-1.0) > 0
    stays = np.logical_and.accumulate(positive[::-1], axis=0)[::-1]
    return np.where(stays.any(0), stays.argmax(0), len(alignment)).astype(np.float64)


def turning(alignment: NDArray[np.float32]) -> dict[str, float | None]:
    """The mean epoch from which alignments [epochs, m] stay above zero, and the share of samples that get there."""
    turns = turning_epochs(alignment)
    there = turns < len(alignment)
    return {"epoch": float(turns[there].mean()) if there.any() else None, "share": float(there.mean())}


def rank_correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float | None:
    """Spearman's; None for fewer than three pairs, or where one does not vary."""
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(pd.Series(a).rank().corr(pd.Series(b).rank()))
