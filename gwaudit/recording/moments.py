"""One number for the alignments of an epoch, without GWA's pole: aggregates that label noise cannot make explode.

GWA = E / (K + β) has a pole at K = -β = -1.2, and the two humps that wrong labels make push K there (the flat
distribution has -1.2, two equal spikes have -2). These keep its idea, that agreement counts for more the less of it is
owed to few samples, with a denominator that stays away from zero:

- floored: E / max(K + β, 1/2), GWA itself where K is above -0.7, and twice E below: by E alone where K says nothing;
- bounded: E / (K + 3). K + 3 is the kurtosis itself, at least 1 for any distribution (Pearson, 1916);
- quantile: median / (1 + M) with Moors' octile kurtosis M = ((o7 - o5) + (o3 - o1)) / (o6 - o2) >= 0 (Moors, The
  Statistician 37, 1988), which no share of outliers below an eighth can move far.
"""

import numpy as np
from numpy.typing import ArrayLike

from gwaudit.recording.alignment import BETA

FLOOR = 0.5
"""The least denominator of `floored_gwa`."""


def floored_gwa(directional_alignment: float, dispersion: float) -> float:
    """E / max(K + β, 1/2), between -2 |E| and 2 |E|; NaN where K is.

    Args:
        directional_alignment: E, the mean alignment.
        dispersion: K, the excess kurtosis, at least -2.

    Example:
        >>> round(floored_gwa(0.2, -1.2), 3), round(floored_gwa(0.2, 0.8), 3)
        (0.4, 0.1)
    """
    return directional_alignment / max(dispersion + BETA, FLOOR) if dispersion == dispersion else float("nan")


def bounded_gwa(directional_alignment: float, dispersion: float) -> float:
    """E / (K + 3), between -|E| and |E|; NaN where K is.

    Args:
        directional_alignment: E, the mean alignment.
        dispersion: K, the excess kurtosis, at least -2.

    Example:
        >>> round(bounded_gwa(0.2, -1.0), 3), round(bounded_gwa(0.2, -1.2), 3)  # GWA would be 1.0 and infinite
        (0.1, 0.111)
    """
    return directional_alignment / max(dispersion + 3, 1.0) if dispersion == dispersion else float("nan")


def quantile_gwa(alignment: ArrayLike) -> float:
    """median / (1 + Moors' kurtosis), between -|median| and |median|.

    Args:
        alignment: [N] alignments; NaN (missing) is left out.

    Returns:
        NaN without samples, or where the middle half of them are all equal.
    """
    values = np.asarray(alignment, np.float64)
    values = values[~np.isnan(values)]
    if not len(values):
        return float("nan")
    o1, o2, o3, o4, o5, o6, o7 = np.quantile(values, np.arange(1, 8) / 8)
    if not o6 - o2 > 1e-7:  # float32 alignments that differ by rounding alone have no shape
        return float("nan")
    return float(o4 / (1 + ((o7 - o5) + (o3 - o1)) / (o6 - o2)))
