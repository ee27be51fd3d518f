"""Show decisions: those in a log, those that were applied, and the changes of a round."""

import shlex
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from gwaudit.cli.errors import with_flags
from gwaudit.cli.show.console import one_line, out, printable, share
from gwaudit.cli.show.problems import print_problems
from gwaudit.core.settings import ALIGNMENTS

if TYPE_CHECKING:  # for their types alone
    from gwaudit.pipeline.apply import Applied
    from gwaudit.pipeline.compare import Comparison
    from gwaudit.review.decision_log import DecisionLog
    from gwaudit.review.server import ReviewServer


def print_review_address(server: "ReviewServer") -> None:
    """Print where the review page is, and where its decisions are kept."""
    out.print(f"Review at [link={server.url}]{server.url}[/link]", highlight=False, soft_wrap=True)
    kept = escape(str(server.log.path))
    out.print(f"Decisions are kept in {kept} as you make them. Stop with Ctrl-C.", highlight=False)


def print_logged_decisions(log: "DecisionLog", *, to_estimate: bool = False) -> None:
    """Print how many decisions a log holds, and the command that applies them, or the one that estimates from them."""
    counts = log.counts()
    summary = ", ".join(f"{count:,} {decision}" for decision, count in counts.items()) or "none yet"
    out.print(f"\nDecisions: {summary}.", highlight=False)
    if counts:
        command = ["gwaudit", "apply", str(log.path.parent), str(log.path), "--output", "corrected"]
        if to_estimate:
            command = ["gwaudit", "status", str(log.path.parent)]
        out.print(f"Next: {escape(shlex.join(command))}", highlight=False, soft_wrap=True)


def print_applied(applied: "Applied", undecided: str) -> None:
    """Print the decisions that were applied, the problems, the files, and the next command.

    Args:
        applied: the result.
        undecided: the treatment of suspects without a decision: keep, drop or relabel.
    """
    counts, changes = applied.decisions.counts(), applied.corrections.changes
    summary = ", ".join(f"{counts[name]:,} {text}" for name, text in _DECIDED)
    out.print(f"\n[bold]Decided: {summary}.[/bold]", highlight=False)
    if by_ranking := applied.corrections.counts["by_ranking"]:
        out.print(
            f"Decisions that the ranking is calibrated on and that were not given: {by_ranking:,}, followed too. To "
            "leave them out, run gwaudit rank without them first.",
            highlight=False,
            soft_wrap=True,
        )
    if by_guideline := applied.corrections.counts.get("by_guideline"):
        out.print(f"Decided by guidelines: {by_guideline:,}.", highlight=False)
    n_undecided = applied.corrections.counts["undecided"]
    if n_undecided:
        treatment = {"keep": "kept as they are", "drop": "dropped", "relabel": "relabelled as suggested"}[undecided]
        out.print(f"Suspects without a decision: {n_undecided:,}, {treatment}.", highlight=False)
    if already := applied.corrections.counts.get("corrected"):
        out.print(f"Already corrected in the data: {already:,}.", highlight=False)
    for note in (*applied.decisions.notes, *applied.corrections.notes):
        out.print(escape(with_flags(note)), style="yellow", highlight=False)
    kept = len(applied.corrections.cleaned_data.ids)
    dropped = len(applied.corrections.old) - kept
    changed = int((changes["new"] != "").sum())
    out.print(
        f"{changed:,} label{'s' * (changed != 1)} changed and {dropped:,} sample{'s' * (dropped != 1)} dropped of "
        f"{len(applied.corrections.old):,}: {kept:,} remain.",
        highlight=False,
    )
    if applied.problems:
        out.print(f"Decisions that cannot be applied: {len(applied.problems):,}", style="yellow", highlight=False)
        print_problems(applied.problems, out)
    out.print("Files:", highlight=False)
    for path in applied.files:
        out.print(f"  {escape(str(path))}", highlight=False, soft_wrap=True)
    if applied.next_command is not None:
        out.print("Audit the corrected data:", highlight=False)
        print(f"  {printable(applied.next_command)}")


_DECIDED = (("keep", "kept"), ("relabel", "relabelled"), ("drop", "dropped"), ("unsure", "unsure"))

_FACTS = (
    ("samples", "samples", "{:,}"),
    ("verdict", "verdict", "{}"),
    ("suspects", "suspects", "{:,}"),
    ("expected wrong", "expected_wrong", "{:,.0f}"),
    ("accuracy on given labels, last epoch", "accuracy_on_given", "{:.4f}"),
    ("test accuracy", "test_accuracy", "{:.4f}"),
    ("selected epoch", "epoch", "{}"),
    ("E at that epoch", "directional_alignment", "{:+.4f}"),
    ("K at that epoch", "dispersion", "{:+.3f}"),
    ("GWA at that epoch", "gwa", "{:+.4f}"),
    ("share of right labels", "label_accuracy", "{:.4f}"),
    ("average precision", "average_precision", "{:.4f}"),
)


def _labels(number: int) -> str:
    return f"{number:,} label{'s' * (number != 1)}"


def print_comparison(comparison: "Comparison", *, most: int = 10) -> None:
    """Print both runs side by side, and the changes among the suspects."""
    c = comparison
    table = Table("", "before", "after", box=SIMPLE_HEAD)
    table.add_row("run", escape(c.before.run), escape(c.after.run))
    for title, name, form in _FACTS:
        values = [getattr(facts, name) for facts in (c.before, c.after)]
        # A missing GWA is shown: it means that the alignments are bimodal.
        if values != [None, None] or name == "gwa":
            table.add_row(title, *("-" if value is None else form.format(value) for value in values))
    out.print(table)
    if c.before.alignment != c.after.alignment:
        before, after = (ALIGNMENTS[facts.alignment] for facts in (c.before, c.after))
        out.print(
            f"E, K and GWA cannot be compared: the alignment is that with {before} in the first run, and with {after} "
            "in the second.",
            highlight=False,
            soft_wrap=True,
        )
    lines = [f"Samples: {c.common:,} in both, {c.gone:,} gone, {c.new:,} new; {_labels(c.labels_changed)} changed."]
    if c.suspects_stayed is None:
        if c.suspects_corrected is not None:
            lines.append(f"Suspects before: {c.suspects_corrected:,} corrected, {c.suspects_dropped:,} dropped.")
        without = " and ".join(facts.run for facts in (c.before, c.after) if facts.suspects is None)
        lines += [
            f"Other changes of suspects cannot be compared: the verdict offers no cut for {without}.",
            f"Log odds of the labels in both correlate {share(c.rank_correlation)} (Spearman).",
        ]
    else:
        lines += [
            f"Suspects before: {c.suspects_corrected:,} corrected, {c.suspects_dropped:,} dropped, "
            f"{c.suspects_cleared:,} no longer suspect, {c.suspects_stayed:,} stayed.",
            f"Suspects after: {c.suspects_stayed:,} stayed, {c.suspects_new:,} new"
            + (f", {c.suspects_added:,} in new samples." if c.suspects_added else "."),
            f"Agreement on the labels in both: suspects overlap {share(c.jaccard)} (Jaccard), log odds correlate "
            f"{share(c.rank_correlation)} (Spearman).",
        ]
    for line in lines:
        out.print(line, highlight=False, soft_wrap=True)
    if c.new_suspects:
        shown = ", ".join(escape(one_line(key)[:60]) for key in c.new_suspects[:most])
        out.print(
            f"New suspects, most suspicious first: {shown}{' ...' * (len(c.new_suspects) > most)}",
            soft_wrap=True,
        )
