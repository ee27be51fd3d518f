"""Measure how often the intervals of an estimate hold the true number of wrong labels, over many simulated reviews."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gwaudit.analysis.stratified_intervals import Cells, whole_limits, wrong_by_domain
from gwaudit.benchmarks.review.audits import KnownAudit
from gwaudit.review.estimates import Estimate, recall_of
from gwaudit.review.review_sample import draw_sample

_SHOWN = 1e-3  # limits of a recall are shown in tenths of a per cent


@dataclass(frozen=True)
class CoverageRow:
    """Hold the coverage and the width of 95 % intervals over the simulated reviews of one set.

    Attributes:
        name, role: Those of the set.
        n, n_wrong: Numbers of samples and of wrong labels.
        level: Level of the verdict on the run.
        decisions: Number of random decisions of a review.
        error: Share of wrong answers.
        reviews: Number of simulated reviews.
        covered: Share of the reviews whose interval holds the number of labels that the reviewer would call wrong if
            he looked at all.
        covered_truth: Share of the reviews whose interval holds the number of truly wrong labels.
        width: Mean width of the interval, as a share of all labels.
        bias: Mean error of the estimate against the truly wrong labels, as a share of all labels.
        suspects_covered: Share of the reviews whose interval of the wrong labels among suspects holds their number;
            None without suspects.
        recall_covered: Share of the reviews whose interval of the recall holds it; None without suspects.
        classes_covered: Mean share, over the classes, of the reviews whose interval of a class holds its number.
    """

    name: str
    role: str
    n: int
    n_wrong: int
    level: str
    decisions: int
    error: float
    reviews: int
    covered: float
    covered_truth: float
    width: float
    bias: float
    suspects_covered: float | None
    recall_covered: float | None
    classes_covered: float


def measure_coverage(known: KnownAudit, decisions: int, error: float, reviews: int) -> CoverageRow | None:
    """Return the coverage over many random samples of one audit; None where it has no more samples than decisions.

    Args:
        known: The audit, with its true labels.
        decisions: Number of random decisions of a review.
        error: Share of wrong answers, drawn anew for each review: an erring reviewer calls a right label wrong, or a
            wrong one right.
        reviews: Number of reviews.
    """
    audit, truth = known.audit, known.is_wrong
    if audit.n_labels <= decisions:
        return None
    rng = np.random.default_rng(0)
    sample = draw_sample(audit, decisions, seed=0)
    suspect = audit.by_id("suspect").astype(np.int64) if audit.has_cut else np.zeros(len(truth), np.int64)
    given = audit.by_id("class_id" if audit.is_multi_label else "given_label").astype(np.int64)
    domain = 2 * given + suspect
    sizes = _counts(sample.stratum, domain, np.ones(len(truth), bool))
    drawn, wrong, answers = [], [], []
    for _ in range(reviews):
        says_wrong = truth ^ (rng.random(len(truth)) < error) if error else truth
        n_wrong = _counts(sample.stratum, domain, says_wrong)
        picked = np.stack(
            [
                rng.multivariate_hypergeometric(np.concatenate([n_wrong[:, h], (sizes - n_wrong)[:, h]]), count)
                for h, count in enumerate(sample.draws[-1])
            ],
            axis=1,
        )
        wrong.append(picked[: len(sizes)])
        drawn.append(picked[: len(sizes)] + picked[len(sizes) :])
        answers.append(n_wrong)
    return _row(known, decisions, error, sizes, np.stack(drawn), np.stack(wrong), np.stack(answers))


def _row(
    known: KnownAudit,
    decisions: int,
    error: float,
    sizes: NDArray[np.int64],
    drawn: NDArray[np.int64],
    wrong: NDArray[np.int64],
    answers: NDArray[np.int64],
) -> CoverageRow:
    """Return the row of a set, from counts of shape [reviews, domains, strata]; `sizes` is [domains, strata]."""
    n, n_wrong = len(known.truth), int(known.is_wrong.sum())
    covered, limits = _covered(sizes, drawn, wrong, answers, np.zeros(len(sizes), np.int64))
    low, high, estimate = (limit[:, 0] for limit in limits)
    low, high = whole_limits(estimate, low, high)
    suspects_covered = recall_covered = None
    if known.audit.has_cut and known.audit.frame["suspect"].any():
        is_suspect = np.arange(len(sizes)) % 2
        suspects, parts = _covered(sizes, drawn, wrong, answers, is_suspect)
        suspects_covered = float(suspects[:, 1].mean())
        recall_covered = _recall_covered(parts, answers, is_suspect)
    classes, _ = _covered(sizes, drawn, wrong, answers, np.arange(len(sizes)) // 2)
    return CoverageRow(
        name=known.source.name,
        role=known.source.role,
        n=n,
        n_wrong=n_wrong,
        level=known.audit.verdict.level,
        decisions=decisions,
        error=error,
        reviews=len(drawn),
        covered=float(covered.mean()),
        covered_truth=float(((low <= n_wrong) & (n_wrong <= high)).mean()),
        width=float((high - low).mean() / n),
        bias=float((estimate.mean() - n_wrong) / n),
        suspects_covered=suspects_covered,
        recall_covered=recall_covered,
        classes_covered=float(classes.mean()),
    )


def _counts(stratum: NDArray[np.integer], domain: NDArray[np.int64], where: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the number of samples of each domain and stratum, [domains, strata]."""
    shape = int(domain.max()) + 1, int(stratum.max()) + 1
    shape = shape[0] + shape[0] % 2, shape[1]  # a class without suspects has both domains too
    place = domain * shape[1] + stratum
    return np.bincount(place[where], minlength=shape[0] * shape[1]).reshape(shape).astype(np.int64)


def _covered(
    sizes: NDArray[np.int64],
    drawn: NDArray[np.int64],
    wrong: NDArray[np.int64],
    answers: NDArray[np.int64],
    group: NDArray[np.int64],
) -> tuple[NDArray[np.bool_], tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]]:
    """Return whether the intervals of groups of domains, in whole numbers, hold their numbers; (low, high, estimate).

    All are of shape [reviews, groups]. The limits that are returned are not rounded.
    """
    n_groups = int(group.max()) + 1
    joined = np.zeros((n_groups, len(group)), np.int64)
    joined[group, np.arange(len(group))] = 1
    sizes, drawn, wrong, answers = (joined @ counts for counts in (sizes, drawn, wrong, answers))
    left = wrong_by_domain(Cells(sizes - drawn, 0 * drawn, sizes - drawn, drawn, wrong))
    found, number = wrong.sum(-1), answers.sum(-1)
    low, high, estimate = (found + limit for limit in (left.low, left.high, left.estimate))
    least, most = whole_limits(estimate, low, high)
    return (least <= number) & (number <= most), (low, high, estimate)


def _recall_covered(
    parts: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
    answers: NDArray[np.int64],
    is_suspect: NDArray[np.int64],
) -> float:
    """Return the share of the reviews whose interval of the recall, as it is shown, holds it; of those with one."""
    low, high, estimate = parts
    held = []
    for review, counts in enumerate(answers):
        number = counts.sum(-1)
        missed, flagged = (
            Estimate(float(estimate[review, i]), float(low[review, i]), float(high[review, i]), 0) for i in (0, 1)
        )
        recall = recall_of(flagged, missed)
        if recall is not None and number.sum():
            truth = number[is_suspect == 1].sum() / number.sum()
            held.append(recall[1] - _SHOWN / 2 <= truth <= recall[2] + _SHOWN / 2)
    return float(np.mean(held)) if held else float("nan")
