"""Measure whether the number of decisions that `check` asks for suffices, over many simulated reviews.

A reviewer decides exactly as many random samples as `check` asks for, and it checks again, until it says whether more
labels are wrong than a limit or all samples are decided.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gwaudit.benchmarks.review.audits import KnownAudit
from gwaudit.benchmarks.review.reviewers import answers
from gwaudit.pipeline.estimate import Check, check_decided
from gwaudit.review.decided_samples import DecidedSamples, decided_samples
from gwaudit.review.decisions import Decisions
from gwaudit.review.review_sample import ReviewSample, draw_sample

LIMITS = (0.25, 0.5, 0.8, 1.25, 1.5, 2.0)
"""Limits of a check, as multiples of the share of wrong labels."""

FIRST_SAMPLES = (0, 100)
"""Numbers of random decisions before the first check."""

_MOST_ROUNDS = 20


@dataclass(frozen=True)
class CheckRow:
    """Hold how simulated reviews of one set end that decide as many samples as `check` asks for.

    Attributes:
        name, role: Those of the set.
        n, n_wrong: Numbers of samples and of wrong labels.
        limit: Limit of the check, as a multiple of the share of wrong labels.
        first: Number of random decisions before the first check.
        reviews: Number of simulated reviews.
        asked: Share of the reviews that the first check asked for more decisions; the following are of these.
        number: Median number of decisions that the first check asked for; None where it never asked.
        sufficed: Share of the reviews that this number ended; None where it never asked.
        sufficed_partly: The same, of the reviews that it asked for fewer than all samples; None where there are none.
        partly: Number of these reviews.
        rounds: Mean number of times that a check asked.
        most_rounds: The largest number of times.
        decisions: Median number of decisions at the end.
        right: Share of all reviews that ended as the truth is: passed above it, failed below.
    """

    name: str
    role: str
    n: int
    n_wrong: int
    limit: float
    first: int
    reviews: int
    asked: float
    number: float | None
    sufficed: float | None
    sufficed_partly: float | None
    partly: int
    rounds: float | None
    most_rounds: int
    decisions: float | None
    right: float


@dataclass(frozen=True)
class _Review:
    """Hold how one review ended: numbers that were asked for, whether all was asked for, decisions, outcome."""

    asked: tuple[int, ...]
    asked_all: bool
    decisions: int
    outcome: str


def measure_checks(known: KnownAudit, limit: float, first: int, reviews: int) -> CheckRow | None:
    """Return how reviews of a set end; None where it has no more samples than decisions before the first check.

    Args:
        known: The audit, with the true labels.
        limit: Limit of the check, as a multiple of the share of wrong labels.
        first: Number of random decisions before the first check.
        reviews: Number of reviews to simulate.
    """
    n, n_wrong = len(known.truth), int(known.is_wrong.sum())
    max_wrong = limit * n_wrong / n
    if n <= first or max_wrong >= 1:
        return None
    ended = [_review(known, max_wrong, first, seed) for seed in range(reviews)]
    asked = [each for each in ended if each.asked]
    partly = [each for each in asked if not each.asked_all]
    truth = "passed" if limit >= 1 else "failed"
    return CheckRow(
        name=known.source.name,
        role=known.source.role,
        n=n,
        n_wrong=n_wrong,
        limit=limit,
        first=first,
        reviews=reviews,
        asked=len(asked) / reviews,
        number=float(np.median([each.asked[0] for each in asked])) if asked else None,
        sufficed=_share_that_ended(asked),
        sufficed_partly=_share_that_ended(partly),
        partly=len(partly),
        rounds=float(np.mean([len(each.asked) for each in asked])) if asked else None,
        most_rounds=max((len(each.asked) for each in asked), default=0),
        decisions=float(np.median([each.decisions for each in asked])) if asked else None,
        right=float(np.mean([each.outcome == truth for each in ended])),
    )


def _share_that_ended(reviews: list[_Review]) -> float | None:
    return float(np.mean([len(each.asked) == 1 for each in reviews])) if reviews else None


def _review(known: KnownAudit, max_wrong: float, first: int, seed: int) -> _Review:
    """Decide as many samples as the checks ask for, until one has an answer."""
    sample = draw_sample(known.audit, first, seed=seed) if first else None
    result = _checked(known, sample, max_wrong)
    asked: list[int] = []
    asked_all = False
    while result.outcome == "undecided" and len(asked) < _MOST_ROUNDS:
        asked_all |= not asked and result.decided + result.more_decisions >= result.samples
        asked.append(result.more_decisions)
        size = result.sample_size
        sample = draw_sample(known.audit, size, seed=seed) if sample is None else sample.enlarged(size)
        result = _checked(known, sample, max_wrong)
    return _Review(tuple(asked), asked_all, result.decided, result.outcome)


def _checked(known: KnownAudit, sample: ReviewSample | None, max_wrong: float) -> Check:
    ids: NDArray[np.int64] = np.empty(0, np.int64) if sample is None else sample.ids()
    decisions = Decisions(answers(known, ids, error=0.0, seed=0), ())
    decided: DecidedSamples = decided_samples(known.audit, decisions, sample)
    return check_decided(known.audit, decided, max_wrong)
