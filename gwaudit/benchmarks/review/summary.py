"""Write the tables of the review benchmark: what decisions teach an audit, effort, coverage, checks, remainder."""

from collections.abc import Sequence

from gwaudit.benchmarks.review.checks import CheckRow
from gwaudit.benchmarks.review.coverage import CoverageRow
from gwaudit.benchmarks.review.learning import EffortRow, LearningRow
from gwaudit.benchmarks.review.remaining import RemainingRow


def markdown(
    learning: Sequence[LearningRow],
    effort: Sequence[EffortRow],
    coverage: Sequence[CoverageRow],
    checks: Sequence[CheckRow],
    remaining: Sequence[RemainingRow],
) -> str:
    """Return all tables, those of each number of decisions and share of wrong answers first."""
    parts = []
    for decisions, error in sorted({(row.decisions, row.error) for row in learning}):
        rows = [row for row in learning if (row.decisions, row.error) == (decisions, error)]
        said = f", {error:.0%} of the answers wrong" if error else ""
        parts.append(f"### After {decisions} decisions{said}\n\n{learning_table(rows)}")
    if effort:
        parts.append(f"### Decisions to find the wrong labels\n\n{effort_table(effort)}")
    for error in sorted({row.error for row in coverage}):
        said = f", {error:.0%} of the answers wrong" if error else ""
        covered = [row for row in coverage if row.error == error]
        parts.append(f"### Coverage of 95 % intervals{said}\n\n{coverage_table(covered)}")
    for first in sorted({row.first for row in checks}):
        checked = [row for row in checks if row.first == first]
        parts.append(f"### Checks after {first} random decisions\n\n{checks_table(checked)}")
    if remaining:
        parts.append(f"### Wrong labels left after decisions worst first\n\n{remaining_table(remaining)}")
    return "\n\n".join(parts) + "\n"


def remaining_table(rows: Sequence[RemainingRow]) -> str:
    """Return a row for each set and number of decisions: what is expected to be left, and what is."""
    lines = [
        "| set | role | wrong | verdict | decisions | found | expected before | expected | 95 % interval "
        "| left | held |",
        "|---" * 11 + "|",
    ]
    lines += [
        f"| {row.name} | {row.role} | {row.n_wrong:,} of {row.n:,} | {row.level} | {row.decisions} | {row.found} "
        f"| {row.unsupervised:,.0f} | {row.expected:,.0f} | {row.low:,.0f} to {row.high:,.0f} | {row.left:,} "
        f"| {'yes' if row.is_covered else 'no'} |"
        for row in rows
    ]
    return "\n".join(lines)


def checks_table(rows: Sequence[CheckRow]) -> str:
    """Return a row for each set and limit: how often the number that was asked for sufficed, rounds, right answers."""
    lines = [
        "| set | role | wrong | limit / share wrong | asked for more | number, median | sufficed | of those not all "
        "| rounds, mean | most | decisions at the end | right |",
        "|---" * 12 + "|",
    ]
    lines += [
        f"| {row.name} | {row.role} | {row.n_wrong:,} of {row.n:,} | {row.limit:g} | {row.asked:.0%} "
        f"| {_number(row.number)} | {_share(row.sufficed)} | {_share(row.sufficed_partly)} "
        f"| {'–' if row.rounds is None else f'{row.rounds:.1f}'} | {row.most_rounds} | {_number(row.decisions)} "
        f"| {row.right:.0%} |"
        for row in rows
    ]
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def coverage_table(rows: Sequence[CoverageRow]) -> str:
    """Return a row for each set and number of decisions: coverage of the intervals, their width, bias."""
    lines = [
        "| set | wrong | verdict | decisions | covered | of the truth | width | bias | suspects | recall | classes |",
        "|---" * 11 + "|",
    ]
    lines += [
        f"| {row.name} | {row.n_wrong:,} of {row.n:,} | {row.level} | {row.decisions} | {row.covered:.1%} "
        f"| {row.covered_truth:.1%} | {row.width:.1%} | {row.bias:+.1%} | {_share(row.suspects_covered)} "
        f"| {_share(row.recall_covered)} | {row.classes_covered:.1%} |"
        for row in rows
    ]
    return "\n".join(lines)


def _share(value: float | None) -> str:
    return "–" if value is None or value != value else f"{value:.1%}"


def learning_table(rows: Sequence[LearningRow]) -> str:
    """Return a row a set: errors of the expected numbers, F1 at the cut, and gain of the new order."""
    lines = [
        "| set | role | wrong | verdict | first k: error before | after | in all: before | after "
        "| F1 of best: before | after | lowest | gain in AP | reordered |",
        "|---" * 13 + "|",
    ]
    lines += [
        f"| {row.name} | {row.role} | {row.n_wrong:,} of {row.n:,} | {row.level} | {row.first_before:.1%} "
        f"| {row.first:.1%} | {row.total_before:.0%} | {row.total:.0%} "
        f"| {row.f1_before:.3f} | {row.f1:.3f} | {row.f1_lowest:.3f} | {_signed(row.gain)} | {row.reordered:.0%} |"
        for row in rows
    ]
    return "\n".join(lines)


def effort_table(rows: Sequence[EffortRow]) -> str:
    """Return a row a set and share of the wrong labels: decisions in four orders."""
    lines = ["| set | role | wrong | found | learned | unsupervised | cleanlab | random |", "|---" * 8 + "|"]
    lines += [
        f"| {row.name} | {row.role} | {row.n_wrong:,} of {row.n:,} | {row.found:.0%} | {row.learned:,} "
        f"| {row.unsupervised:,} | {'–' if row.cleanlab is None else f'{row.cleanlab:,}'} | {row.random:,} |"
        for row in rows
    ]
    return "\n".join(lines)


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.4f}"
