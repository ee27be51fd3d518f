"""Write the tables of the review benchmark: what decisions teach an audit, and the effort to find the wrong labels."""

from collections.abc import Sequence

from gwaudit.benchmarks.review.learning import EffortRow, LearningRow


def markdown(learning: Sequence[LearningRow], effort: Sequence[EffortRow]) -> str:
    """Return the tables: one for each number of decisions and share of wrong answers, and one of the effort."""
    parts = []
    for decisions, error in sorted({(row.decisions, row.error) for row in learning}):
        rows = [row for row in learning if (row.decisions, row.error) == (decisions, error)]
        said = f", {error:.0%} of the answers wrong" if error else ""
        parts.append(f"### After {decisions} decisions{said}\n\n{learning_table(rows)}")
    if effort:
        parts.append(f"### Decisions to find the wrong labels\n\n{effort_table(effort)}")
    return "\n\n".join(parts) + "\n"


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
