"""Compare the number of wrong labels that a calibrated audit leaves, after decisions on the first samples, with theirs.

Such decisions are no random sample. What they leave open about the others is in the interval of the number.
"""

from dataclasses import dataclass

from gwaudit.analysis.calibrated_audit import calibrate
from gwaudit.benchmarks.review.audits import KnownAudit
from gwaudit.benchmarks.review.reviewers import answers

WORST_FIRST = (25, 50, 100, 150, 200)
"""Numbers of decisions, worst first."""


@dataclass(frozen=True)
class RemainingRow:
    """Hold the number of wrong labels that is left after decisions on the first samples of a set.

    Attributes:
        name, role: Those of the set.
        n, n_wrong: Numbers of samples and of wrong labels.
        level: Level of the verdict on the run.
        decisions: Number of decisions, worst first.
        found: Number of wrong labels among these.
        unsupervised: Number that was expected of the others before any decision.
        expected: Number that is expected after the decisions.
        low, high: 95 % interval of that number.
        left: Number of wrong labels among the others.
    """

    name: str
    role: str
    n: int
    n_wrong: int
    level: str
    decisions: int
    found: int
    unsupervised: float
    expected: float
    low: float
    high: float
    left: int

    @property
    def is_covered(self) -> bool:
        """Return whether the interval, in whole numbers, holds the number."""
        return round(self.low) <= self.left <= round(self.high)


def measure_remaining(known: KnownAudit, decisions: int) -> RemainingRow | None:
    """Return the row of a set; None where fewer than half of the samples would be left.

    Args:
        known: The audit, with the true labels.
        decisions: Number of decisions, worst first.
    """
    audit, wrong = known.audit, known.is_wrong
    if 2 * decisions > len(wrong):
        return None
    ids = audit.rows
    calibrated = calibrate(audit, answers(known, ids[:decisions], error=0.0, seed=0), votes=known.votes)
    assert calibrated.calibration is not None
    assert calibrated.calibration.left is not None
    low, high = calibrated.calibration.left
    return RemainingRow(
        name=known.source.name,
        role=known.source.role,
        n=len(wrong),
        n_wrong=int(wrong.sum()),
        level=audit.verdict.level,
        decisions=decisions,
        found=int(wrong[ids[:decisions]].sum()),
        unsupervised=round(float(audit.judged_probability()[decisions:].sum()), 1),
        expected=round(float(calibrated.expected_wrong(of_undecided=True)[-1]), 1),
        low=round(low, 1),
        high=round(high, 1),
        left=int(wrong[ids[decisions:]].sum()),
    )
