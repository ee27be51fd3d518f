"""Estimate the number of wrong labels among undecided samples from random samples of strata, with an interval.

A cell is a part of the data of which some samples were decided at random. Its number of wrong labels is estimated by
their share, with limits of a beta-binomial distribution for the rest of a finite population. The limits of several
cells are joined by the method of variance estimates recovery (MOVER; Zou and Donner 2008, Statistics in Medicine
27:1693; Yan and Su 2010 for strata), which needs no normal distribution and gives zero counts their exact width: where
no wrong label was found in several cells, the largest of their upper limits bounds the sum, as errors that escape the
samples most easily all lie in one cell. docs/benchmarks/review.md has the measured coverage.

The number of a cell is divided among its domains, as classes or suspects: the estimates of all domains add up to the
estimate in all, and no limit of a domain is above that in all. The limits of domains are exact ones of the
hypergeometric distribution (mid-P): a domain, as the suspects, often lies in one cell, in which the coverage of the
limits above jumps with the number of samples. In sums over cells it does not, and they are narrower.
"""

from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc, betaincinv, betaln, gammaln

CONFIDENCE = 0.95
"""The confidence of the intervals."""

_PSEUDO_COUNT = 1 / 2
"""The pseudo-count of wrong and of right labels in the limits (Jeffreys). With 1/3 for the upper limit, the coverage of
the number in all, on the sets of the role `chosen`, fell below 93 % in some rows; intervals were a tenth narrower
(docs/benchmarks/review.md)."""

_LEAST_OF_DOMAIN = 5
"""The least number of random decisions on a domain's samples of a cell from which these alone are used."""

_ROUNDING = 1e-6  # errors of sums and quantiles
_SIMULATIONS = 200


@dataclass(frozen=True, eq=False)
class Cells:
    """Hold the counts of the cells, arrays of shape [..., cells] of one shape.

    Attributes:
        rest: Number of samples that the random decisions stand for: undecided ones, and those that were decided for
            another reason.
        found: Number of wrong labels found among the latter.
        undecided: Number of undecided samples, in which the number of wrong labels is looked for.
        random: Number of random decisions.
        wrong: Number of wrong labels found by them.
    """

    rest: NDArray[np.int64]
    found: NDArray[np.int64]
    undecided: NDArray[np.int64]
    random: NDArray[np.int64]
    wrong: NDArray[np.int64]

    @classmethod
    def count(
        cls,
        cell: NDArray[np.int64],
        is_wrong: NDArray[np.bool_],
        is_right: NDArray[np.bool_],
        is_random: NDArray[np.bool_],
        domain: NDArray[np.int64] | None = None,
    ) -> Self:
        """Count the samples of each cell, or those of them that belong to each domain, as a class or a group.

        Args:
            cell: Cell of each sample, [n].
            is_wrong: Whether its label was found wrong, [n].
            is_right: Whether its label was found right, [n].
            is_random: Whether it was decided at random, [n].
            domain: Number of the domain of each sample, [n], from 0; by default all samples are counted together.

        Returns:
            Counts of shape [cells], or [domains, cells].
        """
        n_cells = int(cell.max(initial=-1)) + 1
        inside = np.zeros(len(cell), np.int64) if domain is None else domain
        n_domains = int(inside.max(initial=-1)) + 1
        place = inside * n_cells + cell

        def number(where: NDArray[np.bool_]) -> NDArray[np.int64]:
            counts = np.bincount(place[where], minlength=n_domains * n_cells)
            return counts.reshape(n_domains, n_cells).astype(np.int64)

        counts = cls(
            number(~is_random),
            number(is_wrong & ~is_random),
            number(~is_wrong & ~is_right),
            number(is_random),
            number(is_wrong & is_random),
        )
        return counts if domain is not None else counts.of_all_domains()

    def of_all_domains(self) -> Self:
        """Return the sums of counts of shape [..., domains, cells] over the domains, [..., cells]."""
        return type(self)(*(getattr(self, field.name).sum(-2) for field in fields(self)))


@dataclass(frozen=True, eq=False)
class WrongAmongUndecided:
    """Hold the estimated number of wrong labels among undecided samples.

    Attributes:
        estimate: The number.
        low: Lower limit of its interval.
        high: Upper limit of its interval.
        unsampled: Number of undecided samples in cells without a random decision. Nothing is known of them: half of
            them are in `estimate`, all between the limits.
        by_cell: Estimate of each cell, [..., cells].
    """

    estimate: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    unsampled: NDArray[np.int64]
    by_cell: NDArray[np.float64]


def wrong_among_undecided(cells: Cells, confidence: float = CONFIDENCE, *, exact: bool = False) -> WrongAmongUndecided:
    """Return the estimated number of wrong labels among the undecided samples of all cells, with its interval.

    Args:
        cells: Counts of shape [..., cells].
        confidence: Probability with which the interval holds the number.
        exact: Whether the limits of each cell are the exact ones (mid-P), rather than beta-binomial ones.

    Returns:
        Arrays of shape [...].
    """
    tail = (1 - confidence) / 2
    is_sampled, is_open = cells.random > 0, cells.undecided > 0
    share = cells.wrong / np.maximum(cells.random, 1)
    by_cell = np.clip(cells.rest * share - cells.found, 0.0, cells.undecided)
    low, high = (_exact_limits if exact else _limits)(cells, tail)
    low, high = np.minimum(low, by_cell), np.maximum(high, by_cell)
    unsampled = np.where(is_sampled, 0, cells.undecided)
    by_cell = np.where(is_sampled, by_cell, unsampled / 2)
    use = is_sampled & is_open
    down, up = np.where(use, by_cell - low, 0.0), np.where(use, high - by_cell, 0.0)
    sum_of_unsampled = unsampled.sum(-1)
    estimate = by_cell.sum(-1)
    of_right = replace(cells, wrong=cells.random - cells.wrong, found=cells.rest - cells.undecided - cells.found)
    no_wrong, no_right = (_may_all_be_none(counts, use, tail) for counts in (cells, of_right))
    down_in_all = np.maximum(
        _joined(down, share == 1),
        np.where(no_wrong, by_cell, 0.0).sum(-1) + _joined(np.where(no_wrong, 0.0, down), share == 1),
    )
    up_in_all = np.maximum(
        _joined(up, cells.wrong == 0),
        np.where(no_right, cells.undecided - by_cell, 0.0).sum(-1)
        + _joined(np.where(no_right, 0.0, up), cells.wrong == 0),
    )
    low = np.maximum(estimate - down_in_all - sum_of_unsampled / 2, 0.0)
    high = np.minimum(estimate + up_in_all + sum_of_unsampled / 2, cells.undecided.sum(-1))
    return WrongAmongUndecided(
        estimate=estimate,
        low=low,
        high=high,
        unsampled=sum_of_unsampled,
        by_cell=by_cell,
    )


def wrong_by_domain(counts: Cells, confidence: float = CONFIDENCE) -> WrongAmongUndecided:
    """Return the estimated number of wrong labels among the undecided samples of each domain, with its interval.

    Of a domain with few random decisions in a cell, those on all samples of the cell are used: the share of them that
    is wrong and belongs to the domain. The number in a cell is divided among its domains in proportion to these
    estimates.

    Args:
        counts: Counts of shape [..., domains, cells]; each sample belongs to one domain.
        confidence: Probability with which the interval of a domain holds its number.

    Returns:
        Arrays of shape [..., domains].
    """
    of_cell = counts.random.sum(-2, keepdims=True)
    alone = (counts.random >= _LEAST_OF_DOMAIN) | (counts.random == of_cell)
    rest = np.where(alone, counts.rest, counts.rest.sum(-2, keepdims=True))
    whole = wrong_among_undecided(counts.of_all_domains(), confidence)
    apart = wrong_among_undecided(
        replace(counts, rest=rest, random=np.where(alone, counts.random, of_cell)),
        confidence,
        exact=counts.rest.shape[-2] > 1,  # one domain of all samples has the limits in all
    )
    by_cell = _divided(whole.by_cell[..., None, :], apart.by_cell, counts.undecided)
    estimate = by_cell.sum(-1)
    low = np.minimum(apart.low, whole.low[..., None])
    high = np.minimum(apart.high, whole.high[..., None])
    return WrongAmongUndecided(
        estimate=estimate,
        low=np.minimum(low, estimate),
        high=np.maximum(high, estimate),
        unsampled=apart.unsampled,
        by_cell=by_cell,
    )


def _divided(number: NDArray[np.float64], parts: NDArray[np.float64], most: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return parts of numbers [..., 1, cells] in proportion to `parts`, each at most `most`, [..., domains, cells]."""
    parts = np.where(parts.sum(-2, keepdims=True) > 0, parts, most)
    parts = np.minimum(parts * (number / np.maximum(parts.sum(-2, keepdims=True), 1e-12)), most)
    room = most - parts
    left = number - parts.sum(-2, keepdims=True)
    return np.asarray(parts + room * (left / np.maximum(room.sum(-2, keepdims=True), 1e-12)))


def _joined(distance: NDArray[np.float64], is_extreme: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the distance of the limit of a sum from its estimate, [...], from those of the cells, [..., cells].

    Of cells whose decisions all agree, the one with the largest distance bounds all.
    """
    extreme = np.where(is_extreme, distance, 0.0).max(-1, initial=0.0)
    return np.asarray(np.sqrt((np.where(is_extreme, 0.0, distance) ** 2).sum(-1) + extreme**2))


def _may_all_be_none(cells: Cells, use: NDArray[np.bool_], tail: float) -> NDArray[np.bool_]:
    """Return the cells in which together, with more than the probability `tail`, no wrong label is left, [..., cells].

    Where one or two wrong labels were found in each of several cells, their limits reach 0, and the joined one does
    not, although none may be left in any of them.
    """
    a, b = cells.wrong + _PSEUDO_COUNT, cells.random - cells.wrong + _PSEUDO_COUNT
    none = np.exp(betaln(a, b + cells.rest) - betaln(a, b))
    none = np.where(use & (cells.found == 0) & (cells.wrong > 0), none, 0.0)
    order = np.argsort(-none, axis=-1)
    together = np.cumprod(np.take_along_axis(none, order, -1), -1) > tail
    result = np.zeros(none.shape, bool)
    np.put_along_axis(result, order, together, -1)
    return result


def _limits(cells: Cells, tail: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the limits of the number of wrong labels among the undecided samples of each cell."""
    right = cells.random - cells.wrong
    a, b = cells.wrong + _PSEUDO_COUNT, right + _PSEUDO_COUNT
    low, high = (_quantile(probability, cells, a, b) for probability in (tail, 1 - tail))
    low = np.where(cells.wrong == 0, 0.0, low - cells.found)
    high = np.where(right == 0, cells.undecided, high - cells.found)
    return low, high


def _exact_limits(cells: Cells, tail: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the exact limits of the number of wrong labels among the undecided samples of each cell.

    They are the least and the largest number in the cell with which as many wrong labels as were found, or more
    (fewer), have more than the probability `tail`, that of exactly as many counting half (mid-P; Lancaster 1961, JASA
    56:223), cut to what is possible.
    """
    counts = np.stack(np.broadcast_arrays(cells.wrong, cells.random, cells.rest + cells.random))
    rows, place = np.unique(counts.reshape(3, -1), axis=1, return_inverse=True)
    wrong, random, samples = rows
    high = _largest_number(wrong, random, samples, tail)
    low = samples - _largest_number(random - wrong, random, samples, tail)
    limits = np.stack([low - wrong, high - wrong])[:, place.reshape(-1)].reshape(2, *cells.wrong.shape)
    low, high = np.clip(limits - cells.found, 0, cells.undecided)
    return low.astype(np.float64), high.astype(np.float64)


def _largest_number(
    wrong: NDArray[np.int64], random: NDArray[np.int64], samples: NDArray[np.int64], tail: float
) -> NDArray[np.int64]:
    """Return the largest number of wrong labels among samples, [m], with which so few of the random ones are likely."""
    # Ten standard deviations of the number found, below which its probability is 0 in effect.
    number_found = wrong[:, None] - np.arange(
        int(min(wrong.max(initial=0), 5 * np.sqrt(random.max(initial=0)) + 10)) + 1
    )
    half = np.where(number_found == wrong[:, None], 0.5, 1.0)

    def log_choose(n: NDArray[np.int64], k: NDArray[np.int64]) -> NDArray[np.float64]:
        possible = (k >= 0) & (k <= n)
        n, k = np.where(possible, n, 0), np.where(possible, k, 0)
        return np.where(possible, gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1), -np.inf)

    def probability_of_so_few(number: NDArray[np.int64]) -> NDArray[np.float64]:
        others = log_choose((samples - number)[:, None], random[:, None] - number_found)
        log = log_choose(number[:, None], number_found) + others - log_choose(samples, random)[:, None]
        return np.asarray((half * np.exp(log)).sum(1))

    least, most = wrong, samples - random + wrong
    while (least < most).any():
        middle = (least + most + 1) // 2
        is_likely = probability_of_so_few(middle) > tail
        least, most = np.where(is_likely, middle, least), np.where(is_likely, most, middle - 1)
    return least


def _quantile(
    tail: float, cells: Cells, a: NDArray[np.floating[Any]], b: NDArray[np.floating[Any]]
) -> NDArray[np.float64]:
    """Return a quantile of the number of wrong labels in the rest, between those found and all that are possible.

    The number is beta-binomial. It is taken for `rest` times a beta variable, with its distances from the mean scaled
    to the standard deviation of the beta-binomial distribution, sqrt(1 + (a + b) / rest) times as large.
    """
    rest = np.maximum(cells.rest, 1)
    mean, scale = rest * a / (a + b), np.sqrt(1 + (a + b) / rest)
    least, most = cells.found, cells.found + cells.undecided

    def below(number: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        return np.asarray(betainc(a, b, np.clip(((number - mean) / scale + mean) / rest, 0.0, 1.0)))

    # Where other decisions are in the cell, or the domain is a part of it, not all numbers are possible.
    first = np.where(cells.found > 0, below(least - 0.5), 0.0)
    last = np.where(most < cells.rest, below(most + 0.5), 1.0)
    probability = first + tail * np.maximum(last - first, 0.0)
    number = mean + scale * (rest * betaincinv(a, b, np.clip(probability, 0.0, 1.0)) - mean)
    return np.asarray(np.clip(number, least, most), np.float64)


def whole_limits(
    estimate: ArrayLike, low: ArrayLike, high: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return limits as whole numbers: those between the limits, or those beside the estimate where there are none."""
    return (
        np.minimum(np.ceil(np.subtract(low, _ROUNDING)), np.floor(np.add(estimate, _ROUNDING))),
        np.maximum(np.floor(np.add(high, _ROUNDING)), np.ceil(np.subtract(estimate, _ROUNDING))),
    )


def ratio_limits(numerator: tuple[float, float, float], denominator: tuple[float, float, float]) -> tuple[float, float]:
    """Return the limits of a ratio of two independent numbers, each (estimate, low, high), by MOVER.

    Source: Donner and Zou 2012, Statistical Methods in Medical Research 21:347, equation 9. The upper limit is infinite
    where the denominator may be 0.
    """
    (x, x_low, x_high), (y, y_low, y_high) = numerator, denominator
    product = x * y
    low_part, high_part = y_high * (2 * y - y_high), y_low * (2 * y - y_low)
    root = np.sqrt(max(product**2 - x_low * (2 * x - x_low) * low_part, 0.0))
    low = x_low * (2 * x - x_low) / (product + root) if product + root > 0 else 0.0
    if high_part <= 0:
        return float(low), float("inf")
    high = (product + np.sqrt(max(product**2 - x_high * (2 * x - x_high) * high_part, 0.0))) / high_part
    return float(low), float(high)


def chance_to_decide(
    cells: Cells, further: NDArray[np.int64], found: int, limit: float, prior: NDArray[np.float64], seed: int = 0
) -> float:
    """Return the probability that the interval will not hold a limit after further random decisions in each cell.

    The share of wrong labels in each cell is drawn from its posterior, and the decisions are simulated.

    Args:
        cells: Counts of shape [cells].
        further: Number of further random decisions in each cell, [cells], at most as many as are undecided.
        found: Number of wrong labels found so far.
        limit: The number of wrong labels in all to compare with.
        prior: Expected share of wrong labels in each cell before any decision, [cells], which counts as one decision.
        seed: Seed of the simulation.
    """
    rng = np.random.default_rng(seed)
    share = rng.beta(cells.wrong + prior, cells.random - cells.wrong + 1 - prior, (_SIMULATIONS, len(cells.rest)))
    wrong = rng.binomial(further, share)
    future = Cells(
        rest=np.broadcast_to(cells.rest - further, share.shape),
        undecided=np.broadcast_to(cells.undecided - further, share.shape),
        found=np.broadcast_to(cells.found, share.shape),
        random=np.broadcast_to(cells.random + further, share.shape),
        wrong=cells.wrong + wrong,
    )
    left, known = wrong_among_undecided(future), found + wrong.sum(-1)
    is_clear = (known + left.high <= limit) | (known + left.low > limit)
    return float(is_clear.mean())
