"""Measure what an audit learns from simulated decisions: probabilities, cut, order and effort to find the errors."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from gwaudit.analysis.audit import Audit, rows_of
from gwaudit.analysis.calibrated_audit import calibrate
from gwaudit.analysis.evaluation import quality
from gwaudit.benchmarks.review.audits import KnownAudit
from gwaudit.benchmarks.review.reviewers import answers
from gwaudit.review.review_sample import draw_sample, most_uncertain

RANDOM_SHARE = 0.5
"""The share of the decisions that are a random sample; the others are the most uncertain, as `review --estimate` shows
them."""

DEPTHS = (0.25, 0.5, 1.0, 2.0)
"""Where the expected number of wrong labels among the first is compared, as multiples of the number of wrong labels."""

FEWEST_LEFT = 10
"""Number of undecided wrong labels below which an average precision of the remainder says nothing."""

STEP = 50
"""Number of decisions after which the order is fitted again, at least, where the effort is measured."""


@dataclass(frozen=True)
class LearningRow:
    """Hold the means over the simulated reviews of one set; errors are of the calibrated and of the unsupervised audit.

    Attributes:
        name, role: Those of the set.
        n, n_wrong: Numbers of samples and of wrong labels.
        level: Level of the verdict on the run.
        decisions: Number of decisions of a review.
        error: Share of wrong answers.
        reviews: Number of simulated reviews.
        first_before, first: Error of the expected share of wrong labels among the first k, the largest of `DEPTHS`.
        total_before, total: Median of the absolute relative error of the expected number of wrong labels in all.
        total_bias: Mean of that relative error, with its sign, after the decisions.
        f1_before, f1: F1 at the cut, as a share of the best possible F1 of the same ranking.
        f1_lowest: The lowest of these shares over the reviews.
        gain: Gain in average precision of the undecided samples over their unsupervised order; None with few wrong.
        reordered: Share of the reviews after which the order was another one.
    """

    name: str
    role: str
    n: int
    n_wrong: int
    level: str
    decisions: int
    error: float
    reviews: int
    first_before: float
    first: float
    total_before: float
    total: float
    total_bias: float
    f1_before: float
    f1: float
    f1_lowest: float
    gain: float | None
    reordered: float


@dataclass(frozen=True)
class EffortRow:
    """Hold the numbers of decisions that find a share of the wrong labels of one set.

    Attributes:
        name, role: Those of the set.
        n, n_wrong: Numbers of samples and of wrong labels.
        found: Share of the wrong labels that are found.
        learned: Decisions in the order that is fitted again after some decisions, `STEP` or more.
        unsupervised: Decisions in the unsupervised order.
        cleanlab: Decisions in cleanlab's order; None where it takes no such data.
        random: Expected number of decisions in a random order.
    """

    name: str
    role: str
    n: int
    n_wrong: int
    found: float
    learned: int
    unsupervised: int
    cleanlab: int | None
    random: int


def measure_learning(known: KnownAudit, decisions: int, error: float, reviews: int) -> LearningRow | None:
    """Return the row of a set; None where fewer than half of the samples would be left.

    Args:
        known: The audit, with the true labels.
        decisions: Number of decisions of a review.
        error: Share of wrong answers.
        reviews: Number of reviews to simulate.
    """
    audit, wrong = known.audit, known.is_wrong
    if 2 * decisions > len(wrong):
        return None
    frame = pd.DataFrame([_measure_review(known, decisions, error, seed) for seed in range(reviews)])
    before = _measure_audit(audit, wrong)
    gain = frame["gain"].mean()
    return LearningRow(
        name=known.source.name,
        role=known.source.role,
        n=len(wrong),
        n_wrong=int(wrong.sum()),
        level=audit.verdict.level,
        decisions=decisions,
        error=error,
        reviews=reviews,
        first_before=round(before["first"], 4),
        first=round(float(frame["first"].mean()), 4),
        total_before=round(abs(before["total"]), 4),
        total=round(float(frame["total"].abs().median()), 4),
        total_bias=round(float(frame["total"].mean()), 4),
        f1_before=round(before["f1"], 4),
        f1=round(float(frame["f1"].mean()), 4),
        f1_lowest=round(float(frame["f1"].min()), 4),
        gain=None if math.isnan(gain) else round(float(gain), 4),
        reordered=round(float(frame["reordered"].mean()), 4),
    )


def measure_effort(known: KnownAudit, shares: tuple[float, ...] = (0.8, 0.9)) -> list[EffortRow]:
    """Return how many decisions, by a reviewer who does not err, find each share of the wrong labels."""
    wrong = known.is_wrong
    n, n_wrong = len(wrong), int(wrong.sum())
    wanted = [math.ceil(share * n_wrong) for share in shares]
    unsupervised = known.audit.rows
    learned = _learned_order(known, max(wanted))
    peers = None if known.cleanlab is None else np.argsort(-known.cleanlab, kind="stable")
    return [
        EffortRow(
            name=known.source.name,
            role=known.source.role,
            n=n,
            n_wrong=n_wrong,
            found=share,
            learned=_decisions_to_find(count, wrong[learned]),
            unsupervised=_decisions_to_find(count, wrong[unsupervised]),
            cleanlab=None if peers is None else _decisions_to_find(count, wrong[peers]),
            random=round(count * (n + 1) / (n_wrong + 1)),
        )
        for share, count in zip(shares, wanted, strict=True)
    ]


def decided_samples_of_review(
    known: KnownAudit, decisions: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the samples that a simulated review decides, and whether each of all samples is a random one, [n]."""
    sample = draw_sample(known.audit, round(RANDOM_SHARE * decisions), seed=seed)
    others = most_uncertain(known.audit, decisions - sample.size, sample.is_drawn)
    return np.concatenate([sample.ids(), others]), sample.is_drawn


def _measure_review(known: KnownAudit, decisions: int, error: float, seed: int) -> dict[str, float]:
    ids, is_random = decided_samples_of_review(known, decisions, seed)
    calibrated = calibrate(known.audit, answers(known, ids, error=error, seed=seed), is_random, known.votes)
    left = calibrated.undecided
    wrong = known.is_wrong[rows_of(left, calibrated.class_names)]
    gain = math.nan
    if wrong.sum() >= FEWEST_LEFT:
        learned, before = (average_precision_score(wrong, -left[name]) for name in ("rank", "unsupervised_rank"))
        gain = learned - before
    assert calibrated.calibration is not None
    return {
        **_measure_audit(calibrated, known.is_wrong),
        "gain": gain,
        "reordered": float(calibrated.calibration.scale > 0),
    }


def _measure_audit(audit: Audit, is_wrong: NDArray[np.bool_]) -> dict[str, float]:
    """Return the errors of the expected numbers, and F1 at the cut as a share of the best possible."""
    wrong = is_wrong[audit.rows]
    expected, found = audit.expected_wrong(), np.concatenate([[0], np.cumsum(wrong)])
    depths = [k for k in (round(depth * wrong.sum()) for depth in DEPTHS) if 0 < k <= len(wrong)]
    at_cut = quality(-audit.frame["rank"].to_numpy(np.float64), wrong, audit.frame["suspect"].to_numpy(bool))
    return {
        "first": max(abs(expected[k] - found[k]) / k for k in depths),
        "total": (expected[-1] - found[-1]) / found[-1],
        "f1": at_cut.f1 / at_cut.best_f1,
    }


def _learned_order(known: KnownAudit, n_wanted: int) -> NDArray[np.int64]:
    """Return samples in the order of a review that fits the order again, until enough wrong labels are found."""
    audit, decided, step = known.audit, np.empty(0, np.int64), max(STEP, n_wanted // 8)
    while known.is_wrong[decided].sum() < n_wanted and len(left := audit.undecided):
        decided = np.concatenate([decided, rows_of(left, audit.class_names)[:step]])
        audit = calibrate(known.audit, answers(known, decided, error=0.0, seed=0), votes=known.votes)
    return decided


def _decisions_to_find(count: int, wrong: NDArray[np.bool_]) -> int:
    """Return the number of samples, of those that were decided in this order, that hold `count` wrong labels."""
    return int(np.searchsorted(np.cumsum(wrong), count)) + 1
