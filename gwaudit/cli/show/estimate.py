"""Show estimates of wrong labels, and the result of a check."""

import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from gwaudit.cli.errors import with_flags
from gwaudit.cli.show.console import one_line, out
from gwaudit.core.url_outputs import shown_output
from gwaudit.core.urls import redacted

if TYPE_CHECKING:  # for their types alone
    import pandas as pd

    from gwaudit.pipeline.estimate import Check
    from gwaudit.review.estimates import Estimate, Estimates

_ROWS = 10
_SAMPLE = 200


def print_sample(
    run: Path, output: Path, rows: int, decisions: Sequence[Path] = (), *, with_label: bool = True
) -> None:
    """Print where a sample was written, and what to do with it.

    Args:
        run: Folder of the run.
        output: The file, or its URL.
        rows: Number of its rows.
        decisions: Further files with decisions, for the next command.
        with_label: Whether a label to relabel needs another one, as it has more than one other.
    """
    out.print(escape(str(shown_output(output))), highlight=False, soft_wrap=True)
    new = ", and the right label of what is relabelled into the column label" if with_label else ""
    out.print(
        f"{rows:,} labels to decide, in random order. Write keep, relabel, drop or unsure into the column "
        f"decision{new}.",
        highlight=False,
    )
    files = [word for path in (*decisions, output) for word in ("--decisions", str(shown_output(path)))]
    _print_command(["gwaudit", "status", str(run), *files])


def print_estimates(result: "Estimates", run: Path, *, most: int = _ROWS) -> None:
    """Print how many labels are wrong, what remains, and the tables of classes and groups.

    Args:
        result: The estimates.
        run: Folder of the run, for the next command.
        most: Number of rows of a table, those with the most wrong labels.
    """
    for line in estimate_lines(result):
        out.print(escape(with_flags(line)), highlight=False, soft_wrap=True)
    for note in result.notes:
        out.print(escape(with_flags(note)), style="yellow", highlight=False, soft_wrap=True)
    if result.drawn == 0:
        size = str(min(_SAMPLE, result.total.samples))
        _print_command(["gwaudit", "sample", str(run), "--size", size, "--output", "to-check.csv"])
    if result.decided:
        for name, table in {"class": result.classes, **result.groups}.items():
            _print_table(name, table, most, result.unit)
        if result.random and result.remaining.samples:
            out.print(
                "The intervals of the rows are wide, as each rests on few random decisions: wrong labels that the "
                "sample missed could all be in one row. The upper limits of the rows do not add up.",
                highlight=False,
            )


def estimate_lines(result: "Estimates") -> list[str]:
    """Return the estimates as sentences."""
    total, left = result.total, result.remaining
    effort = f"Decided: {result.decided:,} of {total.samples:,} {result.unit}, {result.random:,} of them at random"
    lines = [f"{effort}; {result.found_wrong:,} wrong labels found."]
    if total.estimate is None:
        return [*lines, f"Wrong labels in all: from {_limits(total)}."]
    lines.append(f"Wrong labels in all: {_with_limits(total)}, {_shares(total)}.")
    flagged, missed = result.flagged, result.missed
    if flagged is not None and flagged.estimate is not None and flagged.samples:
        lines.append(f"Among the {flagged.samples:,} suspects: {_with_limits(flagged)}; precision {_shares(flagged)}.")
        if missed is not None and missed.estimate is not None:
            number = _rounded(total.estimate) - _rounded(flagged.estimate)  # the three numbers add up as they are shown
            lines.append(f"Among the {missed.samples:,} others: {number:,} ({_limits(missed)}).")
    if result.recall is not None:
        share, low, high = result.recall
        lines.append(f"The suspects hold {share:.1%} of the wrong labels ({low:.1%} to {high:.1%}): the recall.")
    if left.samples:
        next_wrong = "" if result.next_wrong is None else (
            f"; the next {result.next_samples:,}, worst first, will find about {result.next_wrong:,.0f}"
        )  # fmt: skip
        lines.append(f"Of the {left.samples:,} not decided, {_with_limits(left)} are wrong{next_wrong}.")
    if result.target_rate is not None and result.to_review is not None:
        lines.append(_target_line(result, result.target_rate, result.to_review))
    return lines


def print_check(result: "Check", run: Path, *, corrected: bool, decisions: Sequence[Path] = ()) -> None:
    """Print the result of a check, the reason, and the next command where decisions are needed."""
    kind = "labels are wrong after the corrections" if corrected else "labels are wrong"
    limits = f"{result.low:.2%} to {result.high:.2%} of the {result.samples:,} {kind}"
    limits += "" if result.share is None else f" (estimate {result.share:.2%})"
    if result.outcome == "passed":
        out.print(f"Passed: {limits}, at most {result.max_wrong:.2%}.", style="green", highlight=False)
    elif result.outcome == "failed":
        out.print(f"Failed: {limits}, more than {result.max_wrong:.2%}.", style="red", highlight=False)
    else:
        out.print(f"Not decided: {limits}, and the limit is {result.max_wrong:.2%}.", style="yellow", highlight=False)
        open_samples = min(result.open_samples, result.more_decisions)
        drawn = f", {open_samples:,} of them on {result.unit} drawn already" if open_samples else ""
        out.print(
            f"About {result.more_decisions:,} more random decisions will probably show it{drawn}.", highlight=False
        )
    for note in result.notes:
        out.print(escape(with_flags(note)), style="yellow", highlight=False, soft_wrap=True)
    if result.outcome == "undecided":
        files = [word for path in decisions for word in ("--decisions", str(shown_output(path)))]
        output = _unused(Path("to-check.csv"))
        size = str(result.sample_size)
        _print_command(["gwaudit", "sample", str(run), "--size", size, *files, "--output", str(output)])


def _target_line(result: "Estimates", target: float, to_review: int) -> str:
    if to_review == 0:
        return f"Done: at most {target:.2%} of the labels remain wrong once those found are corrected."
    return (
        f"To have at most {target:.2%} wrong labels left: review about {to_review:,} more {result.unit}, worst first, "
        "and correct what they find."
    )


def _print_table(name: str, table: "pd.DataFrame", most: int, unit: str) -> None:
    shown = Table(
        escape(one_line(name, 40)), unit, "decided", "found wrong", "wrong in all", "95 % interval", box=SIMPLE_HEAD
    )
    for column in shown.columns[1:]:
        column.justify = "right"
    for row in table.head(most).to_dict("records"):
        estimate = row["estimate"]
        shown.add_row(
            escape(one_line(str(row[table.columns[0]]), 40)) or "-",
            f"{row['samples']:,}",
            f"{row['decided']:,}",
            f"{row['found_wrong']:,}",
            "-" if estimate is None or estimate != estimate else f"{_rounded(estimate):,}",
            f"{row['low']:,.0f} to {row['high']:,.0f}",
        )
    out.print(shown)
    if len(table) > most:
        out.print(f"{len(table) - most:,} more in --json.", highlight=False)


def _unused(path: Path) -> Path:
    """Return the path, or one like it with a number, that no file has."""
    number, unused = 1, path
    while unused.exists():
        number += 1
        unused = path.with_stem(f"{path.stem}-{number}")
    return unused


def _print_command(words: list[str]) -> None:
    out.print(f"Next: {escape(redacted(shlex.join(words)))}", highlight=False, soft_wrap=True)


def _with_limits(wrong: "Estimate") -> str:
    return f"{_rounded(wrong.estimate or 0.0):,} ({_limits(wrong)})"


def _rounded(number: float) -> int:
    """Return the nearest whole number; of two, the larger, so that numbers with a whole difference keep it."""
    return math.floor(number + 0.5)


def _limits(wrong: "Estimate") -> str:
    return f"{wrong.low:,.0f} to {wrong.high:,.0f}"


def _shares(wrong: "Estimate") -> str:
    share, low, high = wrong.rate
    return f"{low:.1%} to {high:.1%}" if share is None else f"{share:.1%} ({low:.1%} to {high:.1%})"
