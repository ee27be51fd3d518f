"""Show an audit: its summary, its suspects, its score against the truth, and its noise by class."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from gwaudit.cli.errors import with_flags
from gwaudit.cli.show.console import amount, one_line, out, percent, share
from gwaudit.cli.show.problems import print_rows

if TYPE_CHECKING:  # for their types alone: showing a run does not wait for torch
    import pandas as pd

    from gwaudit.analysis.audit import Audit
    from gwaudit.analysis.calibration import Calibration
    from gwaudit.analysis.evaluation import Evaluation
    from gwaudit.analysis.verdict import Verdict
    from gwaudit.pipeline.results import AuditResult
    from gwaudit.store.split_copies import SplitCopies


def print_audit(result: "AuditResult", *, worst: int = 10) -> None:
    """Print the summary of an audit: verdict, suspects, quality where the truth is known, the worst of them, files.

    Args:
        result: the audit, its evaluation, its data and its files.
        worst: number of suspects to list.
    """
    audit = result.audit
    out.print()
    print_verdict(audit.verdict, audit.headline)
    if audit.has_cut:
        out.print(_suspects(audit), highlight=False)
    else:
        way_on = _BY_DECISIONS if audit.verdict.level == "use the order" else ""
        out.print(_WITHOUT_CUT[audit.verdict.level] + way_on, highlight=False, soft_wrap=True)
    if audit.is_multi_label and audit.column("suspect").any():
        out.print(_multilabel_suspects(audit), highlight=False, soft_wrap=True)
    if audit.calibration is not None:
        out.print(_calibration(audit.calibration), highlight=False, soft_wrap=True)
    if audit.has_probabilities:
        out.print(_expectation(audit), highlight=False, soft_wrap=True)
    for warning in audit.warnings:
        out.print(escape(warning), style="yellow", highlight=False, soft_wrap=True)
    if audit.has_cut and not audit.may_clean:
        out.print("No cleaned data were written (--force writes them).", highlight=False, soft_wrap=True)
    dataset = result.dataset
    if dataset is not None and dataset.skipped:
        out.print(f"Skipped rows that cannot be used: {len(dataset.skipped)}", highlight=False)
        print_rows(dataset.skipped, out)
    if result.nearly_equal:
        found = f"Nearly equal images under different labels: {result.nearly_equal:,} groups (contradictions.csv)"
        out.print(found, highlight=False, soft_wrap=True)
    if result.split_copies is not None:
        out.print(_split_copies(result.split_copies), highlight=False, soft_wrap=True)
    if result.evaluation is not None:
        _print_evaluation(result.evaluation)
    out.print()
    rest = " without a decision" if audit.calibration else ""
    title = f"The {min(worst, int(audit.is_undecided.sum()))} most suspicious{rest}"
    texts = None if dataset is None else dataset.texts
    out.print(
        _suspects_table(audit.head(worst, of_undecided=True), title, texts, with_probability=audit.has_probabilities)
    )
    out.print("Files:", highlight=False)
    for path in result.files:
        out.print(f"  {escape(str(path))}", highlight=False, soft_wrap=True)


def print_verdict(verdict: "Verdict", headline: str | None = None) -> None:
    """Print the verdict on a run, with its reasons and what to do; by default under its own headline."""
    style = "bold" if verdict.is_trusted else "bold yellow"
    out.print(escape(headline or verdict.headline), style=style, highlight=False, soft_wrap=True)
    for finding in verdict.findings:
        remedy = f". {with_flags(finding.remedy)}" if finding.remedy else ""
        out.print(f"  - {escape(finding.reason + remedy)}.", highlight=False, soft_wrap=True)


_WITHOUT_CUT = {
    "use the order": "No cut is offered, and no cleaned data are written: review from the top, or set the number "
    "yourself (gwaudit rank --top N, --budget N).",
    "do not use": "No cut is offered, and no cleaned data are written (--force does both anyway).",
}

_BY_DECISIONS = (
    " With 100 decisions on a random sample (gwaudit review --estimate 100, or gwaudit sample), gwaudit rank gives "
    "counts and a cut."
)


def _split_copies(copies: "Sequence[SplitCopies]") -> str:
    if not copies:
        return "No sample has a copy in the other split."
    different = sum(group.is_contradictory for group in copies)
    return (
        f"Copies in this split and the other one: {len(copies):,} groups, {different:,} of them under different labels "
        "(across_splits.csv)"
    )


def _suspects(audit: "Audit") -> str:
    counts, n = audit.summary()["categories"], len(audit.table)
    suspects = int(audit.column("suspect").sum())
    others = ", ".join(f"{count:,} {name}" for name, count in counts.items() if name != "suspect")
    return f"[bold]{suspects:,} of {n:,} labels are suspect[/bold] ({suspects / n:.1%}); the rest: {others or '-'}."


def _multilabel_suspects(audit: "Audit") -> str:
    facts = audit.summary()
    return (
        f"A label is a pair of sample and class. Of the suspects {facts['suspect_missing']:,} seem to be missing and "
        f"{facts['suspect_extra']:,} to be wrongly present, in {facts['suspect_samples']:,} of "
        f"{facts['samples']:,} samples."
    )


def _calibration(calibration: "Calibration") -> str:
    order = "the order too" if calibration.scale else "not the order"
    doubt = ""
    if calibration.has_doubtful_answers:
        doubt = f" About {calibration.answer_error:.0%} of the decisions seem to be wrong themselves."
    decisions = f"{calibration.decided:,} decision{'s' * (calibration.decided != 1)}"
    return (
        f"Calibrated on {decisions}, {calibration.random:,} of them random: they change the probabilities, and "
        f"{order}.{doubt}"
    )


def _expectation(audit: "Audit") -> str:
    undecided = audit.is_undecided
    suspects, expected = int((undecided & audit.column("suspect")).sum()), audit.expected_wrong(of_undecided=True)
    counts = [k for k in (100, 1000, 10_000) if k < suspects] + ([suspects] if suspects else [])
    among = "".join(f"{expected[k]:,.0f} of the first {k:,}, " for k in counts)
    unjudged = int((~audit.is_judged).sum())
    of_judged = f" of the {len(audit.table) - unjudged:,} labels that are judged" if unjudged else ""
    if audit.calibration is None:
        in_all = f"{expected[-1]:,.0f} in all{of_judged}"
        return f"Expected wrong labels: {among}{in_all} (not yet calibrated on decisions)."
    mistakes, total = audit.expected_mistakes, audit.expected_wrong()[-1]
    together = f"Together {total:,.0f}." if mistakes < 0.5 else (
        f"About {mistakes:,.0f} of the decisions may be mistakes, so {total:,.0f} labels are wrong in all."
    )  # fmt: skip
    limits = "" if audit.calibration.left is None else " ({:,.0f} to {:,.0f})".format(*audit.calibration.left)
    way_on = ""
    if audit.calibration.is_left_open:
        way_on = (
            " Few decisions are random, so the others may differ from the decided ones: gwaudit review --estimate 100 "
            "narrows the interval."
        )
    return (
        f"Wrong labels: {audit.calibration.wrong:,} found; expected among those without a decision: "
        f"{among}{expected[-1]:,.0f} in all{limits}. {together}{way_on}"
    )


def print_evaluations(evaluations: "Mapping[str, Evaluation]") -> None:
    """Print a table of evaluations, a row per run."""
    table = Table(title="Against the true labels", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("run", overflow="fold")
    for name in ("wrong", "suspects", "P", "R", "F1", "best F1", "AP", "AUROC"):
        table.add_column(name, justify="right", no_wrap=True)
    for run, e in evaluations.items():
        shares = (e.precision, e.recall, e.f1, e.best_f1, e.average_precision, e.auroc)
        table.add_row(escape(Path(run).name), f"{e.n_wrong:,}", f"{e.n_suspects:,}", *map(share, shares))
    out.print(table)


def _print_evaluation(e: "Evaluation") -> None:
    lines = (
        f"Against the true labels, {e.n_wrong:,} of which are wrong:",
        f"  precision {share(e.precision)}   recall {share(e.recall)}   F1 {share(e.f1)} "
        f"(best possible cut {share(e.best_f1)}, at {e.best_f1_suspects:,} suspects)",
        f"  average precision {share(e.average_precision)}   AUROC {share(e.auroc)}   "
        f"precision at {e.n_wrong:,} suspects {share(e.precision_at_true_count)}",
        *_suggestions_or_kinds(e),
        f"  flagged among hard right labels (the tenth with the highest loss): {share(e.hard_flagged)}",
    )
    for line in lines:
        out.print(line, highlight=False, soft_wrap=True)


def _suggestions_or_kinds(e: "Evaluation") -> Iterable[str]:
    """Yield the quality of the suggestions; for multi-label data, whose suggestions are obvious, that of each kind."""
    kinds = [(name, kind) for name, kind in (("missing", e.missing), ("extra", e.extra)) if kind is not None]
    if not kinds:
        yield (
            f"  suggested label right for {share(e.suggested_accuracy)} of the wrong labels, "
            f"{share(e.suggested_accuracy_flagged)} of the flagged ones"
        )
    for name, kind in kinds:
        yield (
            f"  {kind.n_wrong:,} {name} labels: precision {share(kind.precision)}   recall {share(kind.recall)}   "
            f"average precision {share(kind.average_precision)}"
        )


def print_noise(health: "pd.DataFrame", confused: "pd.DataFrame", *, most: int = 20) -> None:
    """Print the classes with the largest share of wrong labels, and the most frequent errors."""
    table = Table(title="Classes, by the share of labels expected to be wrong", box=SIMPLE_HEAD)
    table.add_column("class", overflow="fold")
    several = "share_missing" in health
    for name in ("given", "expected wrong", "share", "expected missing", *["share"] * several, "suspects"):
        table.add_column(name, justify="right")
    table.add_column("mostly in place of" if several else "most frequent true class", overflow="fold")
    for class_name, row in health.head(most).iterrows():
        numbers = (amount(row[c]) for c in ("given", "expected_wrong", "expected_missing", "suspects"))
        given, wrong, missing, suspects = numbers
        shares = [percent(row[name]) for name in ("share_wrong", "share_missing") if name in row]
        lacking = [missing, *shares[1:]]
        mostly = escape(str(row["mistaken_for"]))
        table.add_row(escape(str(class_name)), given, wrong, shares[0], *lacking, suspects, mostly)
    out.print(table)
    title = "One class in place of another, both suspects of one sample" if several else "Most frequent errors"
    table = Table("given", "true", title=title, box=SIMPLE_HEAD)
    table.add_column("expected", justify="right")
    table.add_column("of these" if several else "of all errors", justify="right")
    for error in confused.head(most).to_dict("records"):
        table.add_row(
            escape(error["given"]), escape(error["true"]), f"{error['expected']:,.0f}", f"{error['share']:.1%}"
        )
    out.print(table)
    for rows, what in ((health, "classes"), (confused, "confusions")):
        if len(rows) > most:
            out.print(f"{len(rows) - most:,} more {what}: --json, or class_health.csv and transition_matrix.csv")


def _suspects_table(frame: "pd.DataFrame", title: str, texts: Sequence[str] | None, *, with_probability: bool) -> Table:
    from gwaudit.data.class_names import shown_name

    table = Table(title=title)
    several = "class_name" in frame
    probability = ["P(wrong)"] * with_probability
    for name in ("rank", "sample", *["class"] * several, "given", "suggested", *probability, "mean γ", "γ < 0"):
        table.add_column(
            name, justify="right" if name in ("rank", "P(wrong)", "mean γ", "γ < 0") else "left", overflow="fold"
        )
    for row in frame.to_dict("records"):
        table.add_row(
            str(row["rank"]),
            escape(str(row["key"]) if texts is None else one_line(texts[row["sample_id"]], 120)),
            *([escape(str(row["class_name"]))] if several else []),
            escape(shown_name(str(row["given_name"]))),
            escape(shown_name(str(row["suggested_name"]))),
            *([f"{row['probability_wrong']:.3f}"] if with_probability else []),
            f"{row['mean_alignment']:+.4f}",
            f"{row['share_negative']:.0%}",
        )
    return table
