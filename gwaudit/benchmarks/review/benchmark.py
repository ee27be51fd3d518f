"""Run simulated reviews of many audits with known errors, and keep what they yield in JSON files and `review.md`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from gwaudit.benchmarks.results import read_results, write_results
from gwaudit.benchmarks.review.audits import REVIEW_SETS, ReviewSet, ReviewSources, known_audit
from gwaudit.benchmarks.review.checks import FIRST_SAMPLES, LIMITS, CheckRow, measure_checks
from gwaudit.benchmarks.review.coverage import CoverageRow, measure_coverage
from gwaudit.benchmarks.review.learning import EffortRow, LearningRow, measure_effort, measure_learning
from gwaudit.benchmarks.review.remaining import WORST_FIRST, RemainingRow, measure_remaining
from gwaudit.benchmarks.review.summary import markdown
from gwaudit.benchmarks.trust.processes import TrustProgress, in_processes
from gwaudit.core.errors import GwauditError

LEARNING_FILE, EFFORT_FILE, COVERAGE_FILE, CHECKS_FILE = "learning.json", "effort.json", "coverage.json", "checks.json"
REMAINING_FILE, AUDITS = "remaining.json", "audits"

DECISIONS = (100, 300)
"""Numbers of decisions of a review."""

ANSWER_ERRORS = (0.0, 0.05, 0.1)
"""Shares of wrong answers of the reviewers."""


@dataclass(frozen=True)
class ReviewResults:
    """Hold the rows of the benchmark.

    Attributes:
        learning: One row for each set, number of decisions and share of wrong answers.
        effort: One row for each set and share of the wrong labels.
        coverage: One row for each set, number of random decisions and share of wrong answers.
        checks: One row for each set, limit of a check and number of random decisions before it.
        remaining: One row for each set and number of decisions worst first.
    """

    learning: list[LearningRow]
    effort: list[EffortRow]
    coverage: list[CoverageRow]
    checks: list[CheckRow]
    remaining: list[RemainingRow]


Part = Literal["learning", "coverage", "checks", "remaining"]
PARTS: tuple[Part, ...] = get_args(Part)
"""The parts of the benchmark: what decisions teach an audit, how often intervals hold the truth, whether the number of
decisions that a check asks for suffices, and the number of wrong labels that decisions worst first leave."""

_FILES = {
    LEARNING_FILE: "learning",
    EFFORT_FILE: "effort",
    COVERAGE_FILE: "coverage",
    CHECKS_FILE: "checks",
    REMAINING_FILE: "remaining",
}

COVERAGE_REVIEWS = 50
"""The number of reviews of a set that the coverage is measured on, for each that learning is measured on."""

COVERAGE_DECISIONS = (50, 100, 200, 300)
"""Numbers of random decisions of a review, where the coverage is measured."""


@dataclass(frozen=True)
class _Task:
    """Hold what one process does: all reviews of one set."""

    source: ReviewSet
    folder: Path
    sources: ReviewSources
    reviews: int
    parts: tuple[Part, ...]
    neighbours: bool


def review(
    folder: Path,
    sets: Sequence[ReviewSet] = REVIEW_SETS,
    *,
    sources: ReviewSources | None = None,
    reviews: int = 20,
    parts: Sequence[Part] = PARTS,
    neighbours: bool = True,
    processes: int = 1,
    progress: TrustProgress | None = None,
) -> ReviewResults:
    """Run simulated reviews of the sets that the folder lacks.

    Args:
        folder: Folder that keeps the audits and the rows.
        sets: The sets.
        sources: Files that some of them are read from; these are left out where their file is not given.
        reviews: Number of reviews of each set, for each number of decisions and share of wrong answers; the coverage
            is measured on `COVERAGE_REVIEWS` times as many.
        parts: Parts of the benchmark to run.
        neighbours: Whether the evidence has the vote of the nearest neighbours, for photos.
        processes: Number of processes, each with one thread.
        progress: Receives the sets that are left out, and the number of sets done.

    Returns:
        All rows of the folder, those of earlier calls included.

    Raises:
        StoreDamagedError: The rows of the folder are broken.
        MissingExtraError: cleanlab is not installed.
    """
    results = read_review(folder)
    kept: dict[Part, set[str]] = {
        "learning": {row.name for row in results.effort},
        "coverage": {row.name for row in results.coverage},
        "checks": {row.name for row in results.checks},
        "remaining": {row.name for row in results.remaining},
    }
    missing = [
        _Task(each, folder / AUDITS, sources or ReviewSources(), reviews, lacking, neighbours)
        for each in sets
        if (lacking := tuple(part for part in parts if each.name not in kept[part]))
    ]
    for done, (task, rows) in enumerate(in_processes(_run, missing, processes), start=1):
        name = task.source.name
        if isinstance(rows, str):
            if progress is not None:
                progress.on_left_out(name, rows)
            continue
        learning = [row for row in results.learning if row.name != name or not rows.learning] + rows.learning
        results = ReviewResults(
            learning,
            results.effort + rows.effort,
            results.coverage + rows.coverage,
            results.checks + rows.checks,
            results.remaining + rows.remaining,
        )
        for file, part in _FILES.items():
            write_results(folder / file, getattr(results, part))
        (folder / "review.md").write_text(markdown(**vars(results)), encoding="utf-8")
        if progress is not None:
            progress.on_cells(name, done, len(missing))
    return results


def read_review(folder: Path) -> ReviewResults:
    """Read the rows that a folder keeps; none if there are none.

    Raises:
        StoreDamagedError: A file is broken.
    """
    return ReviewResults(
        read_results(folder / LEARNING_FILE, LearningRow),
        read_results(folder / EFFORT_FILE, EffortRow),
        read_results(folder / COVERAGE_FILE, CoverageRow),
        read_results(folder / CHECKS_FILE, CheckRow),
        read_results(folder / REMAINING_FILE, RemainingRow),
    )


def _run(task: _Task) -> list[tuple[_Task, ReviewResults | str]]:
    """Return the task with its rows, or with the reason for leaving out its set."""
    try:
        known = known_audit(task.source, task.folder, task.sources)
    except GwauditError as error:
        return [(task, str(error))]
    if not task.neighbours:
        known = replace(known, votes=None)
    learning: list[LearningRow] = []
    effort: list[EffortRow] = []
    coverage: list[CoverageRow] = []
    checks: list[CheckRow] = []
    if "learning" in task.parts:
        learning = [
            row
            for decisions in DECISIONS
            for error in ANSWER_ERRORS
            if (row := measure_learning(known, decisions, error, task.reviews)) is not None
        ]
        effort = measure_effort(known)
    if "coverage" in task.parts:
        coverage = [
            covered
            for decisions in COVERAGE_DECISIONS
            for error in ANSWER_ERRORS
            if (covered := measure_coverage(known, decisions, error, COVERAGE_REVIEWS * task.reviews)) is not None
        ]
    if "checks" in task.parts:
        checks = [
            checked
            for first in FIRST_SAMPLES
            for limit in LIMITS
            if (checked := measure_checks(known, limit, first, task.reviews)) is not None
        ]
    remaining = [] if "remaining" not in task.parts else [
        left for decisions in WORST_FIRST if (left := measure_remaining(known, decisions)) is not None
    ]  # fmt: skip
    return [(task, ReviewResults(learning, effort, coverage, checks, remaining))]
