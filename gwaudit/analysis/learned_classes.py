"""Find the classes whose labels can be judged: the run predicts them, or the noise of the others explains them.

A class is learned if σ(a l + b), with the logit l of the class and a ≥ 0, explains who has it by more nats than the
share of the class alone. Networks that learned the labels explain them too well, so that only classes are found that
they have not learned either.

Of a class that is not learned, wrong labels look like right ones: all are contradicted, as those of a class "other"
that looks like all the rest, or none, as those of a tag by chance. They are judged all the same where the wrong labels
of the learned classes explain them: if 4 % of the samples without a class have it by mistake, one that 5 % have,
wherever they lie, is a rare class under wrong labels. Where more than `MOST_EXPLAINED` times as many have it, either
could be true.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, log_expit, xlogy

_LEAST_GAIN = 3.0  # nats: 20 to 1 (Kass and Raftery, Bayes factors, 1995)
MOST_EXPLAINED = 2.0
"""The share of a class that is not learned, as a multiple of the share of the samples without a class that have it by
mistake: shares of wrong labels differ between classes, and few samples differ by chance."""

_BINS, _BINS_OF_ONE = 4096, 512
_LARGEST_LOGIT = 30.0
_MOST_STEPS = 300

Floats = NDArray[np.float64]


class LogitHistogram(NamedTuple):
    """Hold a histogram of logits of classes: one bin of a class and an answer in each of the arrays, [B].

    Attributes:
        label: Class.
        given: Whether the class is given.
        logit: Middle of the bin.
        size: Number of samples, above 0.
    """

    label: NDArray[np.intp]
    given: NDArray[np.bool_]
    logit: Floats
    size: Floats

    def sum(self, values: Floats, n_classes: int) -> Floats:
        """Return the sums of values [B] over the samples of each class, [C]."""
        return np.bincount(self.label, values * self.size, n_classes).astype(np.float64)

    def of_classes(self, chosen: NDArray[np.bool_]) -> "LogitHistogram":
        """Return the bins of some classes [C], which are numbered anew."""
        kept = chosen[self.label]
        numbers = np.cumsum(chosen) - 1
        return LogitHistogram(numbers[self.label[kept]], self.given[kept], self.logit[kept], self.size[kept])


def multilabel_histogram(logits: Floats, given: NDArray[np.integer]) -> LogitHistogram:
    """Return the histogram of the logits of multi-label samples.

    Args:
        logits: [n, C] of the class being present; NaN where nothing was recorded.
        given: [n, C] of 0 and 1.
    """
    known = np.isfinite(logits)
    label, values = np.nonzero(known)[1], logits[known].astype(np.float64)
    if not len(values):
        return LogitHistogram(label, np.empty(0, bool), values, values)
    low = values.min()
    width = (values.max() - low) / _BINS or 1.0
    bins = np.minimum(((values - low) / width).astype(np.int64), _BINS - 1)
    counts = np.bincount((label * 2 + given[known]) * _BINS + bins)
    filled = np.flatnonzero(counts)
    answers, bins = np.divmod(filled, _BINS)
    return LogitHistogram(answers // 2, answers % 2 == 1, low + width * (bins + 0.5), counts[filled].astype(np.float64))


def single_label_histogram(
    given: NDArray[np.integer], alternative: NDArray[np.integer], log_given: Floats, log_alternative: Floats,
    n_classes: int,
) -> LogitHistogram:  # fmt: skip
    """Return the histogram of the logits of all classes, where a sample has one.

    The probability that is recorded neither for the given label nor for the best alternative is divided evenly among
    the other classes.

    Args:
        given: [n] given labels.
        alternative: [n] best other label.
        log_given: [n] log probability of the given label.
        log_alternative: [n] log probability of the best other label.
        n_classes: C.
    """
    left = np.maximum(1 - np.exp(log_given) - np.exp(log_alternative), 1e-12) / max(n_classes - 2, 1)
    of_given, of_alternative, of_others = map(_bins, (log_given, log_alternative, np.log(left)))

    def counts(label: NDArray[np.integer], bins: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.bincount(label * _BINS_OF_ONE + bins, minlength=n_classes * _BINS_OF_ONE).reshape(n_classes, -1)

    others = np.bincount(of_others, minlength=_BINS_OF_ONE) - counts(given, of_others) - counts(alternative, of_others)
    if n_classes == 2:
        others[:] = 0
    answers = np.stack([others + counts(alternative, of_alternative), counts(given, of_given)])
    is_given, label, bins = np.nonzero(answers)
    middles = np.asarray((bins + 0.5) * (2 * _LARGEST_LOGIT / _BINS_OF_ONE) - _LARGEST_LOGIT, np.float64)
    return LogitHistogram(label, is_given == 1, middles, answers[is_given, label, bins].astype(np.float64))


def _bins(log_probability: Floats) -> NDArray[np.int64]:
    """Return the bin of the logit of each probability, [n]."""
    logits = log_probability - np.log(np.maximum(-np.expm1(log_probability), 1e-13))
    share = (logits + _LARGEST_LOGIT) / (2 * _LARGEST_LOGIT)
    return np.clip(share * _BINS_OF_ONE, 0, _BINS_OF_ONE - 1).astype(np.int64)


def learned_classes(histogram: LogitHistogram, n_classes: int) -> NDArray[np.bool_]:
    """Return whether each class is predicted better than by its share, [C]."""
    counts = histogram
    sizes = counts.sum(np.ones(len(counts.size)), n_classes)
    present = counts.sum(counts.given.astype(np.float64), n_classes)
    share = present / np.maximum(sizes, 1)
    of_shares = xlogy(present, share) + xlogy(sizes - present, 1 - share)
    sign = np.where(counts.given, 1.0, -1.0)

    def loss(parameters: Floats) -> tuple[float, Floats]:
        slope, shift = parameters.reshape(2, -1)[:, counts.label]
        z = sign * (slope * counts.logit + shift)
        gradient = -sign * expit(-z)
        by_slope, by_shift = counts.sum(gradient * counts.logit, n_classes), counts.sum(gradient, n_classes)
        return -float(log_expit(z) @ counts.size), np.concatenate([by_slope, by_shift])

    start = np.concatenate([np.ones(n_classes), np.zeros(n_classes)])
    bounds = [(0.0, 50.0)] * n_classes + [(-50.0, 50.0)] * n_classes
    best = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": _MOST_STEPS}).x
    slope, shift = best.reshape(2, -1)[:, counts.label]
    fitted = counts.sum(log_expit(sign * (slope * counts.logit + shift)), n_classes)
    return np.asarray(fitted - of_shares > _LEAST_GAIN)


def judged_multilabel_classes(
    learned: NDArray[np.bool_], given: NDArray[np.integer], probability: Floats
) -> NDArray[np.bool_]:
    """Return whether the labels of each class can be judged, [C].

    Args:
        learned: [C] whether each class is learned.
        given: [n, C] of 0 and 1.
        probability: [n, C] of each label being wrong; NaN where nothing was recorded.
    """
    present, wrong = given == 1, np.nan_to_num(probability)
    n_present = present.sum(0)
    n_absent = len(given) - n_present
    extra = _share((wrong * present).sum(0)[learned], n_absent[learned])
    missing = _share((wrong * ~present).sum(0)[learned], n_present[learned])
    few_have, few_lack = n_present / len(given), n_absent / len(given)
    extra_explains, missing_explains = few_have <= MOST_EXPLAINED * extra, few_lack <= MOST_EXPLAINED * missing
    is_explained = np.where(few_have <= few_lack, extra_explains, missing_explains)
    return np.asarray(learned | (is_explained & (n_present > 0) & (n_absent > 0)))


def judged_classes(learned: NDArray[np.bool_], given: NDArray[np.integer], probability: Floats) -> NDArray[np.bool_]:
    """Return whether the labels of each class can be judged, where a sample has one, [C].

    Args:
        learned: [C] whether each class is learned.
        given: [n] given labels.
        probability: [n] of each label being wrong; NaN where nothing was recorded.
    """
    n_given = np.bincount(given, minlength=len(learned))
    wrong = np.bincount(given, np.nan_to_num(probability), len(learned))
    by_mistake = _share(wrong[learned], len(given) - n_given[learned])
    return np.asarray(learned | (n_given <= MOST_EXPLAINED * by_mistake * len(given)))


def _share(counts: NDArray[Any], of: NDArray[Any]) -> float:
    return float(counts.sum() / max(of.sum(), 1))
