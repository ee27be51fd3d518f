"""Compute features of mean 0 and variance 1 from columns of numbers with any unit, offset and outliers.

All steps are taken in float64; only the result is stored as float32. So a column of Unix times keeps its seconds, and
a column of 1e300 does not overflow.

1. The median is subtracted, and the rest divided by the interquartile range in units of a normal distribution
   (1.349 standard deviations). Outliers do not change either.
2. Values far from the median are drawn in: z becomes z / sqrt(1 + (z / 4)²), which lies between -4 and 4
   (the smooth clipping of Holzmüller et al., "Better by default", NeurIPS 2024, with a limit of 4 in place of 3).
3. A column with long tails, whose middle 98 % are more than 5.5 times as wide as its middle 50 % (3.4 times in a
   normal distribution), is replaced by its normal scores instead: the normal quantiles of its ranks, equal values
   sharing their mean rank. Incomes, counts and prices are of this kind.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import rankdata

LIMIT = 4.0
"""Bound of a scaled value, in standard deviations of a normal distribution, before the variance is set to 1."""

LONG_TAIL = 5.5
"""Width of the middle 98 % in widths of the middle 50 %, above which a column has long tails."""

SMALLEST_STD = 0.1
"""Smallest standard deviation that is scaled to 1: a column that differs in fewer than 1 of 100 rows stays small."""

_QUARTILES_OF_NORMAL = 1.349  # their distance, in standard deviations
_SAMPLED_ROWS = 50_000  # from which the quantiles of longer columns are taken
_EXACT_INTEGERS = 2**53
_LARGEST_CHANGE = 1e-3  # of a feature by rounding, in distances of its quartiles


class ScaledNumbers(NamedTuple):
    """Hold a scaled column.

    Attributes:
        values: [n] float64, with mean 0 and variance 1 (less where hardly any row differs); the median where a number
            is missing.
        has_long_tails: Whether the values are normal scores.
    """

    values: NDArray[np.float64]
    has_long_tails: bool


def scale_numbers(numbers: NDArray[np.float64]) -> ScaledNumbers | None:
    """Return a column with mean 0 and variance 1, or None where all its numbers are equal up to rounding.

    Args:
        numbers: [n] float64 of any magnitude; NaN where a number is missing.

    Example:
        >>> scale_numbers(np.array([1.7e9, 1.7e9 + 1, 1.7e9 + 2])).values.round(2).tolist()
        [-1.22, 0.0, 1.22]
        >>> scale_numbers(np.array([3.0, 3.0, np.nan])) is None
        True
    """
    there = ~np.isnan(numbers)
    present = numbers[there]
    if not len(present):
        return None
    largest = np.abs(present).max()
    present = np.ldexp(present, -int(np.frexp(largest)[1]))  # exact, and no difference of two values overflows
    if np.ptp(present) <= 8 * np.finfo(np.float64).eps:  # in units of the largest
        return None
    sample = present[:: max(1, len(present) // _SAMPLED_ROWS)]
    low, first, median, third, high = np.quantile(sample, [0.01, 0.25, 0.5, 0.75, 0.99])
    has_inner_values = bool(((present > present.min()) & (present < present.max())).any())
    has_long_tails = has_inner_values and bool(high - low > LONG_TAIL * (third - first))
    if has_long_tails:
        shaped = ndtri((rankdata(present) - 0.5) / len(present))
    else:
        deviations = present - median
        spread = third - first or 2 * np.median(np.abs(deviations[deviations != 0]))
        shaped = deviations / spread * _QUARTILES_OF_NORMAL
        shaped /= np.sqrt(1 + (shaped / LIMIT) ** 2)
    # Rounded, as the last bits of a sum depend on the processor, and the data's fingerprint must not.
    mean, std = float(np.float32(shaped.mean())), max(float(np.float32(shaped.std())), SMALLEST_STD)
    values = np.full(len(numbers), -mean / std)
    values[there] = (shaped - mean) / std
    return ScaledNumbers(values, has_long_tails)


def scale_matrix(values: NDArray[Any]) -> NDArray[np.float32]:
    """Return features scaled one by one; those with one value in all rows become 0.

    Args:
        values: [n, D] of any real dtype, without NaN.

    Returns:
        [n, D] float32.
    """
    matrix = np.zeros(values.shape, np.float32)
    for position in range(values.shape[1]):
        if (scaled := scale_numbers(np.asarray(values[:, position], np.float64))) is not None:
            matrix[:, position] = scaled.values
    return matrix


def in_float32(values: NDArray[Any]) -> NDArray[np.float32] | NDArray[np.float64]:
    """Return features [n, D] as float32, or as float64 where float32 would lose differences between the rows.

    float32 has 24 bits: it cannot hold the seconds of a Unix time, or 1e300. A feature loses too much if rounding
    changes values by more than a thousandth of the distance of its quartiles.

    Example:
        >>> in_float32(np.array([[1.7e9], [1.7e9 + 1]])).dtype, in_float32(np.array([[0.1], [0.2]])).dtype
        (dtype('float64'), dtype('float32'))
    """
    with np.errstate(over="ignore"):
        rounded = np.ascontiguousarray(values, np.float32)
    if np.result_type(values.dtype, np.float32) == np.float32:  # which holds all values of the dtype
        return rounded
    sample = np.asarray(values[:: max(1, len(values) // _SAMPLED_ROWS)], np.float64)
    sample = np.where(np.isfinite(sample), sample, np.nan)
    for column in sample.T[~np.isnan(sample).all(0)]:
        first, third = np.nanquantile(column, [0.25, 0.75])
        change = np.nanmax(np.abs(column)) * np.finfo(np.float32).eps / 2
        if change > _LARGEST_CHANGE * ((third - first) or np.nanmax(column) - np.nanmin(column)) > 0:
            return np.ascontiguousarray(values, np.float64)
    return rounded


def as_float64(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return numbers as float64; integers beyond 2^53, which float64 rounds, less their smallest.

    Example:
        >>> as_float64(np.array([2**60, 2**60 + 1])).tolist()
        [0.0, 1.0]
    """
    if values.dtype.kind in "iu" and len(values):
        low, high = int(values.min()), int(values.max())
        if max(abs(low), abs(high)) > _EXACT_INTEGERS and high - low <= _EXACT_INTEGERS:
            values = values - values.dtype.type(low)
    return np.asarray(values, np.float64)
