"""Summarise the alignments of one epoch: their mean E, their excess kurtosis K, and GWA.

GWA = E / (K + β) (Hölzl, Rueckert, Kaissis, NeurIPS 2025, arXiv 2510.25480) has a singularity at K = -β = -1.2. Wrong
labels make the distribution of the alignments bimodal, and K approaches that value (a uniform distribution has
K = -1.2, two equal spikes have K = -2). Three variants keep the idea of GWA, that agreement counts for more if it is
not owed to a few samples, with a denominator that stays away from zero:

- floored: E / max(K + β, 1/2). It is GWA where K is above -0.7, and twice E where K is below.
- bounded: E / (K + 3). K + 3 is the kurtosis itself, at least 1 for every distribution (Pearson, 1916).
- quantile: median / (1 + M), with Moors' octile kurtosis M = ((o7 - o5) + (o3 - o1)) / (o6 - o2) >= 0 (Moors, The
  Statistician 37, 1988). A share of outliers below one eighth cannot move it far.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from gwaudit.core.errors import SettingsError
from gwaudit.recording.cosine import to_float64

BETA = 1.2
"""Constant that GWA adds to the dispersion (the paper's β)."""

FLOOR = 0.5
"""Smallest denominator of `floored_gwa`."""

_GWA_FLOOR = 0.1  # below this K + β is too near the singularity at 0, and the quotient has no meaning


@dataclass(frozen=True)
class EpochMoments:
    """Hold the moments of the alignments of one epoch.

    Attributes:
        count: Number of samples.
        directional_alignment: E, the mean, in [-1, 1]; NaN without samples.
        dispersion: K, the excess kurtosis, at least -2; NaN where all alignments are equal.
        gwa: E / (K + β); NaN where `bimodal`.
        bimodal: Whether K is so near -β, or so far below, that the quotient has no meaning. Many wrong labels make the
            distribution bimodal; look at E and K instead.
    """

    count: int
    directional_alignment: float
    dispersion: float
    gwa: float
    bimodal: bool


def gradient_weight_alignment(directional_alignment: float, dispersion: float, beta: float = BETA) -> float:
    """Return GWA = E / (K + β) (arXiv 2510.25480), or NaN where K + β is below 0.1.

    Args:
        directional_alignment: E, the mean alignment.
        dispersion: K, the excess kurtosis, at least -2.
        beta: The paper's β.
    """
    return directional_alignment / (dispersion + beta) if dispersion + beta >= _GWA_FLOOR else float("nan")


Summation = Callable[[Tensor], Tensor]
"""A function that returns the sum of a float64 tensor [k] over all processes."""


def _sum_of_one_process(sums: Tensor) -> Tensor:
    return sums


def epoch_moments(
    alignment: Tensor, beta: float = BETA, *, all_reduce_sum: Summation = _sum_of_one_process
) -> EpochMoments:
    """Return E, K and GWA of the alignments of one epoch.

    Args:
        alignment: [N] alignments; NaN (missing) is left out. The sums are accumulated in float64.
        beta: The paper's β.
        all_reduce_sum: Sums over the processes, where each of them has a part of the samples; all of them must call.
    """
    values = alignment.detach().cpu().double()
    values = values[~values.isnan()]
    count, total = all_reduce_sum(torch.stack([torch.tensor(len(values)).double(), values.sum()]))
    deviation = values - total / count
    second, fourth = all_reduce_sum(torch.stack([deviation.square().sum(), (deviation**4).sum()]))
    if count == 0:
        return EpochMoments(0, float("nan"), float("nan"), float("nan"), False)
    return _moments(int(count), float(total / count), float(second / count), float(fourth / count), beta)


class MovingMoments:
    """Estimate E, K and GWA from mini-batches, by exponential moving averages of the raw moments.

    This is the streaming variant of arXiv 2510.25480: each step moves the averages by 1 / steps_per_epoch, so that they
    span about one epoch. The bias of the first steps is corrected as in Adam. Nothing is copied from the device before
    `moments` is called.

    Args:
        steps_per_epoch: Number of steps that the averages span, at least 1.
        beta: The paper's β.

    Raises:
        SettingsError: `steps_per_epoch` is below 1.
    """

    def __init__(self, steps_per_epoch: int, beta: float = BETA) -> None:
        if steps_per_epoch < 1:
            raise SettingsError(f"steps_per_epoch: expected at least 1, got {steps_per_epoch}")
        self._factor = 1 / steps_per_epoch
        self._beta = beta
        self._steps: Tensor | int = 0
        self._count = 0
        self._raw: Tensor | None = None

    def update(self, alignment: Tensor) -> None:
        """Add one mini-batch of alignments [B]; those that are not finite are left out."""
        if len(alignment) == 0:
            return
        first = to_float64(alignment.detach())
        finite = first.isfinite()
        first = first.where(finite, 0)
        second = first * first
        n_finite = finite.sum()
        raw = torch.stack([first, second, second * first, second * second]).mean(1)
        raw = raw * (len(first) / n_finite.clamp(min=1))
        before = torch.zeros_like(raw) if self._raw is None else self._raw
        self._raw = torch.lerp(before, raw, self._factor).where(n_finite > 0, before)
        self._steps = self._steps + (n_finite > 0)
        self._count += len(alignment)

    def moments(self, all_reduce_sum: Summation = _sum_of_one_process) -> EpochMoments:
        """Return the current estimate.

        Args:
            all_reduce_sum: As in `epoch_moments`; the estimates of the processes are averaged.

        Returns:
            The moments; `count` is the number of all samples seen.
        """
        raw = torch.zeros(6, dtype=torch.float64)
        if self._raw is not None and int(self._steps):
            corrected = self._raw / (1 - (1 - self._factor) ** int(self._steps))
            raw = torch.cat([corrected.cpu(), torch.tensor([self._count, 1.0], dtype=torch.float64)])
        *sums, count, processes = all_reduce_sum(raw).tolist()
        if processes == 0:
            return EpochMoments(0, float("nan"), float("nan"), float("nan"), False)
        first, second, third, fourth = (value / processes for value in sums)
        variance = second - first**2
        central = fourth - 4 * first * third + 6 * first**2 * second - 3 * first**4
        return _moments(int(count), first, variance, central, self._beta)


def _moments(count: int, mean: float, variance: float, fourth: float, beta: float) -> EpochMoments:
    # float32 alignments that differ by rounding only have no shape.
    dispersion = fourth / variance**2 - 3 if variance > 1e-14 else float("nan")
    return EpochMoments(
        count,
        mean,
        dispersion,
        gradient_weight_alignment(mean, dispersion, beta),
        bimodal=dispersion + beta < _GWA_FLOOR,
    )


def floored_gwa(directional_alignment: float, dispersion: float) -> float:
    """Return E / max(K + β, 1/2), between -2 |E| and 2 |E|; NaN where K is NaN.

    Args:
        directional_alignment: E, the mean alignment.
        dispersion: K, the excess kurtosis, at least -2.

    Example:
        >>> round(floored_gwa(0.2, -1.2), 3), round(floored_gwa(0.2, 0.8), 3)
        (0.4, 0.1)
    """
    return directional_alignment / max(dispersion + BETA, FLOOR) if dispersion == dispersion else float("nan")


def bounded_gwa(directional_alignment: float, dispersion: float) -> float:
    """Return E / (K + 3), between -|E| and |E|; NaN where K is NaN.

    Args:
        directional_alignment: E, the mean alignment.
        dispersion: K, the excess kurtosis, at least -2.

    Example:
        >>> round(bounded_gwa(0.2, -1.0), 3), round(bounded_gwa(0.2, -1.2), 3)  # GWA would be 1.0 and infinite
        (0.1, 0.111)
    """
    return directional_alignment / max(dispersion + 3, 1.0) if dispersion == dispersion else float("nan")


def quantile_gwa(alignment: ArrayLike) -> float:
    """Return median / (1 + Moors' kurtosis), between -|median| and |median|.

    Args:
        alignment: [N] alignments; NaN (missing) is left out.

    Returns:
        The value, or NaN without samples, or where the middle half of the alignments are all equal.
    """
    values = np.asarray(alignment, np.float64)
    values = values[~np.isnan(values)]
    if not len(values):
        return float("nan")
    o1, o2, o3, o4, o5, o6, o7 = np.quantile(values, np.arange(1, 8) / 8)
    if not o6 - o2 > 1e-7:  # float32 alignments that differ by rounding only have no shape
        return float("nan")
    return float(o4 / (1 + ((o7 - o5) + (o3 - o1)) / (o6 - o2)))
