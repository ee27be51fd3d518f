"""Summarise the alignment of a group of samples over a run: bands, distributions, and when samples turn positive."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

QUANTILES = 101

Curve = Sequence[float | None]
"""One number an epoch; None where it is missing."""


def band(alignment: NDArray[np.float32]) -> dict[str, Curve]:
    """Return mean and quartiles of alignments [epochs, m], epoch by epoch: `mean`, `low`, `high`."""
    low, high = np.nanquantile(alignment, [0.25, 0.75], axis=1)
    parts = {"mean": np.nanmean(alignment, axis=1, dtype=np.float64), "low": low, "high": high}
    return {name: [round(float(value), 5) for value in values] for name, values in parts.items()}


def quantiles(alignment: NDArray[np.float32]) -> list[float]:
    """Return the quantiles of alignments [m] at 101 even shares; missing ones are left out."""
    known = alignment[~np.isnan(alignment)]
    return [round(float(value), 5) for value in np.quantile(known, np.linspace(0, 1, QUANTILES))]


def turning_epochs(alignment: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the epoch from which each sample's alignment stays above zero, [n]; the number of epochs if it never does.

    Args:
        alignment: [epochs, n] alignments; missing ones count as not above zero.
    """
    positive = np.nan_to_num(alignment, nan=-1.0) > 0
    stays = np.logical_and.accumulate(positive[::-1], axis=0)[::-1]
    return np.where(stays.any(0), stays.argmax(0), len(alignment)).astype(np.float64)


def turning(alignment: NDArray[np.float32]) -> dict[str, float | None]:
    """Return the mean epoch from which alignments [epochs, m] stay above zero, and the share of samples that do so."""
    turns = turning_epochs(alignment)
    turned = turns < len(alignment)
    return {"epoch": float(turns[turned].mean()) if turned.any() else None, "share": float(turned.mean())}


def rank_correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float | None:
    """Return Spearman's rank correlation; None for fewer than three values, or if `a` or `b` does not vary."""
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(spearmanr(a, b).statistic)
