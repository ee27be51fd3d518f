"""What a terminal shows of decisions: what was applied, what does not add up, and what a round changed."""

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gwaudit.cli.show.terminal import out

if TYPE_CHECKING:  # for their types alone
    from gwaudit.pipeline.apply import Applied
    from gwaudit.pipeline.compare import Comparison
    from gwaudit.review.decision_files import Problem
    from gwaudit.review.decision_log import DecisionLog
    from gwaudit.review.server import ReviewServer


def print_review_address(server: "ReviewServer") -> None:
    """Print where the review page is, and where its decisions are kept."""
    out.print(f"Review at [link={server.url}]{server.url}[/link]", highlight=False, soft_wrap=True)
    kept = escape(str(server.log.path))
    out.print(f"Decisions are kept in {kept} as you make them. Stop with Ctrl-C.", highlight=False)


def print_logged_decisions(log: "DecisionLog") -> None:
    """Print how many decisions a log holds, and the command that applies them."""
    counts = log.counts()
    summary = ", ".join(f"{count:,} {decision}" for decision, count in counts.items()) or "none yet"
    out.print(f"\nDecisions: {summary}.", highlight=False)
    if counts:
        command = ["gwaudit", "apply", str(log.path.parent), str(log.path), "--output", "corrected"]
        out.print(f"Next: {escape(shlex.join(command))}", highlight=False, soft_wrap=True)


def print_problems(problems: "Sequence[Problem]", console: Console, *, most: int = 50) -> None:
    """What does not add up: file, row, reason."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("file", "row", "reason"):
        table.add_column(name, overflow="fold")
    for problem in problems[:most]:
        row = "" if problem.row is None else str(problem.row)
        table.add_row(escape(problem.file), row, escape(_one_line(problem.reason)))
    console.print(table)
    if len(problems) > most:
        console.print(f"... and {len(problems) - most:,} more", highlight=False)


def print_applied(applied: "Applied", undecided: str) -> None:
    """What was applied, what was left, the files, and what to do next."""
    counts, changes = applied.decisions.counts(), applied.corrections.changes
    told = ", ".join(f"{counts[name]:,} {text}" for name, text in _DECIDED)
    out.print(f"\n[bold]Decided: {told}.[/bold]", highlight=False)
    open_ = applied.corrections.counts["undecided"]
    if open_:
        fate = {"keep": "kept as they are", "drop": "dropped", "relabel": "relabelled as suggested"}[undecided]
        out.print(f"Suspects that nobody decided about: {open_:,}, {fate}.", highlight=False)
    if already := applied.corrections.counts.get("corrected"):
        out.print(f"Already so in the data: {already:,}.", highlight=False)
    for note in applied.corrections.notes:
        out.print(note, style="yellow", highlight=False)
    kept = len(applied.corrections.cleaned_data.ids)
    dropped = int((changes["new"] == "").sum())
    out.print(
        f"{len(changes) - dropped:,} labels changed and {dropped:,} samples left out of "
        f"{len(applied.corrections.old):,}: {kept:,} stay.",
        highlight=False,
    )
    if applied.problems:
        out.print(f"Not applied, as it does not add up: {len(applied.problems):,}", style="yellow", highlight=False)
        print_problems(applied.problems, out)
    out.print("Files:", highlight=False)
    for path in applied.files:
        out.print(f"  {escape(str(path))}", highlight=False, soft_wrap=True)
    if applied.next_command is not None:
        out.print("Audit the corrected data:", highlight=False)
        print(f"  {applied.next_command}")


_DECIDED = (("keep", "kept"), ("relabel", "relabelled"), ("drop", "dropped"), ("unsure", "unsure"))

_FACTS = (
    ("samples", "samples", "{:,}"),
    ("suspects", "suspects", "{:,}"),
    ("expected wrong", "expected_wrong", "{:,.0f}"),
    ("accuracy on given labels, last epoch", "accuracy_on_given", "{:.4f}"),
    ("test accuracy", "test_accuracy", "{:.4f}"),
    ("chosen epoch", "epoch", "{}"),
    ("E there", "directional_alignment", "{:+.4f}"),
    ("K there", "dispersion", "{:+.3f}"),
    ("GWA there", "gwa", "{:+.4f}"),
    ("labels that are right", "label_accuracy", "{:.4f}"),
    ("average precision", "average_precision", "{:.4f}"),
)


def print_comparison(comparison: "Comparison", *, most: int = 10) -> None:
    """Both runs side by side, and what became of the suspects."""
    c = comparison
    table = Table("", "before", "after", box=SIMPLE_HEAD)
    table.add_row("run", escape(c.before.run), escape(c.after.run))
    for title, name, form in _FACTS:
        values = [getattr(facts, name) for facts in (c.before, c.after)]
        # GWA alone is told where it has no value: its absence says something.
        if values != [None, None] or name == "gwa":
            table.add_row(title, *("-" if value is None else form.format(value) for value in values))
    out.print(table)
    lines = (
        f"Samples: {c.common:,} in both, {c.gone:,} gone, {c.new:,} new; {c.labels_changed:,} labels changed.",
        f"Suspects before: {c.suspects_corrected:,} corrected, {c.suspects_dropped:,} dropped, "
        f"{c.suspects_cleared:,} no longer suspect, {c.suspects_stayed:,} stayed.",
        f"Suspects after: {c.suspects_stayed:,} stayed, {c.suspects_new:,} new"
        + (f", {c.suspects_added:,} in new samples." if c.suspects_added else "."),
        f"Agreement on the samples in both: suspects overlap {_share(c.jaccard)} (Jaccard), scores correlate "
        f"{_share(c.rank_correlation)} (Spearman).",
    )
    for line in lines:
        out.print(line, highlight=False, soft_wrap=True)
    if c.new_suspects:
        shown = ", ".join(escape(_one_line(key)[:60]) for key in c.new_suspects[:most])
        out.print(
            f"New suspects, the worst first: {shown}{' ...' if len(c.new_suspects) > most else ''}", soft_wrap=True
        )


def _share(value: float) -> str:
    return "-" if value != value else f"{value:.3f}"


def _one_line(text: str) -> str:
    return " ".join(text.split())
