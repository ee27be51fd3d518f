"""What a terminal shows: the progress of a training, the summary of an audit, one sample's trajectory.

Progress goes to standard error, results to standard output.
"""

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:  # for their types alone: neither help nor showing a run waits for torch
    import pandas as pd

    from gwaudit.analysis.audit import Audit
    from gwaudit.analysis.evaluation import Evaluation
    from gwaudit.data.dataset import SkippedSample
    from gwaudit.pipeline.audit import AuditResult
    from gwaudit.store.store import TrajectoryStore
    from gwaudit.training.progress import EpochReport, StepReport

out = Console()
err = Console(stderr=True)


def print_error(message: str) -> None:
    """One line on standard error."""
    print(f"error: {' '.join(message.split())}", file=sys.stderr)


class TrainingDisplay:
    """A line an epoch, and a bar with the time left while it runs. A context manager, and a `training.Progress`."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[facts]}"),
            TimeRemainingColumn(),
            console=err,
            transient=True,
            disable=quiet or not err.is_terminal,
        )
        self._task = self._progress.add_task("training", total=None, facts="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def on_step(self, report: "StepReport") -> None:
        """Move the bar."""
        self._progress.update(
            self._task,
            description=f"epoch {report.epoch + 1}/{report.epochs}",
            total=report.epochs * report.steps,
            completed=report.epoch * report.steps + report.step + 1,
            facts=f"loss {report.loss:.3f}  {report.samples_per_second:,.0f} samples/s",
        )

    def on_epoch(self, report: "EpochReport") -> None:
        """Print the epoch's line."""
        if self._quiet:
            return
        summary, moments = report.summary, report.summary.moments
        left = (report.epochs - summary.epoch - 1) * report.seconds
        extras = f"  missing {summary.missing}" if summary.missing else ""
        extras += f"  repeated {summary.repeated}" if summary.repeated else ""
        gwa = "two-humped" if moments.bimodal else f"{moments.gwa:+.4f}"
        self._progress.console.print(
            f"epoch {summary.epoch + 1:>3}/{report.epochs}  loss {summary.mean_loss:.3f}  "
            f"GWA {gwa}  E {moments.directional_alignment:+.3f}  K {moments.dispersion:+.2f}  "
            f"{report.seconds:.1f} s  {report.samples_per_second:,.0f}/s  {_duration(left)} left{extras}",
            highlight=False,
            soft_wrap=True,
        )

    def on_round(self, number: int, rounds: int, model: str) -> None:
        """Print a heading."""
        if not self._quiet:
            self._progress.console.print(
                f"refinement {number} of {rounds}: {model} learns what the labels look like so far", highlight=False
            )

    def on_features(self, done: int, samples: int) -> None:
        """Show how many samples have been through the backbone."""
        self._progress.update(self._task, description="latents", total=samples, completed=done, facts="")
        if done == samples and not self._quiet:
            self._progress.console.print(f"latents of {samples:,} samples, kept for the next time", highlight=False)
            self._progress.reset(self._task, description="training", total=None)

    def on_final_pass(self, seconds: float) -> None:
        """Print the sweep's line."""
        if not self._quiet:
            self._progress.console.print(
                f"scored all samples under the final weights, {seconds:.1f} s", highlight=False
            )


def print_rows(rows: Sequence["SkippedSample"], console: Console, *, most: int = 20) -> None:
    """Rows of a source that cannot be used, and why."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("row", "key", "why"):
        table.add_column(name, overflow="fold")
    for sample in rows[:most]:
        table.add_row(str(sample.row), escape(sample.key), escape(sample.reason))
    console.print(table)
    if len(rows) > most:
        console.print(f"... and {len(rows) - most:,} more", highlight=False)


def print_audit(result: "AuditResult", *, worst: int = 10) -> None:
    """The summary of an audit: how many suspects, how good they are where that is known, the worst, the files."""
    audit = result.audit
    counts = audit.frame["category"].value_counts()
    n, suspects = len(audit.frame), len(audit.suspects)
    others = ", ".join(f"{count:,} {name}" for name, count in counts.items() if name != "suspect")
    out.print(
        f"\n[bold]{suspects:,} of {n:,} labels are suspect[/bold] ({suspects / n:.1%}); the rest: {others or '-'}.",
        highlight=False,
    )
    if audit.is_multi_label:
        out.print(_of_pairs(audit), highlight=False, soft_wrap=True)
    out.print(_expectation(audit), highlight=False, soft_wrap=True)
    if audit.expected_wrong()[-1] > n / 2:
        out.print(
            "More labels look wrong than right: the network has hardly learned these data. Train for more epochs "
            "(--epochs) or with another model or learning rate before you trust this.",
            style="yellow",
            soft_wrap=True,
        )
    dataset = result.dataset
    if dataset is not None and dataset.skipped:
        out.print(f"Left out, as they could not be used: {len(dataset.skipped)}", highlight=False)
        print_rows(dataset.skipped, out)
    if result.evaluation is not None:
        _print_evaluation(result.evaluation)
    out.print()
    title = f"The {min(worst, n)} most suspicious"
    out.print(_suspects_table(audit.frame.head(worst), title, None if dataset is None else dataset.texts))
    out.print("Files:", highlight=False)
    for path in result.files:
        out.print(f"  {escape(str(path))}", highlight=False, soft_wrap=True)


def _of_pairs(audit: "Audit") -> str:
    """What the suspects are, where a label is a pair of sample and class."""
    facts = audit.summary()
    return (
        f"A label is a sample's yes or no to a class. Of the suspects {facts['suspect_missing']:,} seem to be missing, "
        f"{facts['suspect_superfluous']:,} not to be true; in {facts['suspect_samples']:,} of {facts['samples']:,} "
        "samples."
    )


def _expectation(audit: "Audit") -> str:
    """How many wrong labels to expect among the suspects, among the first of them, and in all."""
    expected, suspects = audit.expected_wrong(), len(audit.suspects)
    counts = [k for k in (100, 1000, 10_000) if k < suspects] + ([suspects] if suspects else [])
    among = ", ".join(f"{expected[k]:,.0f} of the first {k:,}" for k in counts)
    return f"Expected wrong: {among + ', ' if among else ''}{expected[-1]:,.0f} in all."


def print_evaluations(evaluations: "Mapping[str, Evaluation]") -> None:
    """Audits against their ground truth, a row each."""
    table = Table(title="Against the true labels", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("run", overflow="fold")
    for name in ("wrong", "suspects", "P", "R", "F1", "best F1", "AP", "AUROC"):
        table.add_column(name, justify="right", no_wrap=True)
    for run, e in evaluations.items():
        shares = (e.precision, e.recall, e.f1, e.best_f1, e.average_precision, e.auroc)
        table.add_row(escape(Path(run).name), f"{e.n_wrong:,}", f"{e.n_suspects:,}", *map(_share, shares))
    out.print(table)


def _print_evaluation(e: "Evaluation") -> None:
    lines = (
        f"Against the true labels, {e.n_wrong:,} of which are wrong:",
        f"  precision {_share(e.precision)}   recall {_share(e.recall)}   F1 {_share(e.f1)} "
        f"(best possible cut {_share(e.best_f1)}, at {e.best_f1_suspects:,} suspects)",
        f"  average precision {_share(e.average_precision)}   AUROC {_share(e.auroc)}   "
        f"precision at {e.n_wrong:,} suspects {_share(e.precision_at_true_count)}",
        *_suggestions_or_kinds(e),
        f"  right labels that are hard (the tenth with the highest loss): {_share(e.hard_flagged)} flagged",
    )
    for line in lines:
        out.print(line, highlight=False, soft_wrap=True)


def _suggestions_or_kinds(e: "Evaluation") -> Iterable[str]:
    """How good the suggestions are; where samples have any number of classes these are no news, but their kinds are."""
    kinds = [(name, kind) for name, kind in (("missing", e.missing), ("not true", e.superfluous)) if kind is not None]
    if not kinds:
        yield (
            f"  suggested label right for {_share(e.suggested_accuracy)} of the wrong, "
            f"{_share(e.suggested_accuracy_flagged)} of those flagged"
        )
    for name, kind in kinds:
        yield (
            f"  {kind.n_wrong:,} labels {name}: precision {_share(kind.precision)}   recall {_share(kind.recall)}   "
            f"average precision {_share(kind.average_precision)}"
        )


def _share(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def print_run(store: "TrajectoryStore") -> None:
    """The state of a run: what it is of, and its epochs."""
    settings = store.settings.get("training", {})
    planned, several = settings.get("epochs"), store.is_multi_label
    out.print(
        f"[bold]{escape(str(store.path))}[/bold]: {store.n_samples:,} samples, "
        f"{len(store.class_names)} classes{' of which a sample has any number' * several}, "
        f"{len(store.training_epochs)} of {planned or '?'} epochs, model {_model(store)}, "
        f"data {store.fingerprint}",
        highlight=False,
    )
    table = Table("epoch", "loss", "accuracy on given", "GWA", "E", "K", "missing", "repeated")
    for epoch in store.epochs:
        commit = store.commit(epoch)
        metrics = commit.metrics
        table.add_row(
            str(epoch + 1) if epoch in store.training_epochs else "sweep",
            *(
                _number(metrics.get(name))
                for name in ("mean_loss", "accuracy_on_given", "gwa", "directional_alignment", "dispersion")
            ),
            str(commit.missing),
            str(commit.repeated),
        )
    out.print(table)


def _model(store: "TrajectoryStore") -> str:
    """What was trained."""
    settings = store.settings.get("training", {})
    if store.settings.get("modality") == "features":
        return f"a {settings['head']} head on features"
    model = str(settings.get("model", "own"))
    return f"a {settings['head']} head on frozen {model}" if settings.get("backbone") == "frozen" else model


def print_noise(health: "pd.DataFrame", pairs: "pd.DataFrame", *, most: int = 20) -> None:
    """The classes with the largest share of wrong labels, and the most frequent errors."""
    table = Table(title="Classes, by the share of labels expected to be wrong", box=SIMPLE_HEAD)
    table.add_column("class", overflow="fold")
    several = "share_missing" in health
    for name in ("given", "expected wrong", "share", "expected missing", *["share"] * several, "suspects"):
        table.add_column(name, justify="right")
    table.add_column("mostly truly", overflow="fold")
    for class_name, row in health.head(most).iterrows():
        numbers = (f"{row[c]:,.0f}" for c in ("given", "expected_wrong", "expected_missing", "suspects"))
        given, wrong, missing, suspects = numbers
        shares = [_percent(row[name]) for name in ("share_wrong", "share_missing") if name in row]
        lacking = [missing, *shares[1:]]
        mostly = escape(str(row["mistaken_for"]))
        table.add_row(escape(str(class_name)), given, wrong, shares[0], *lacking, suspects, mostly)
    out.print(table)
    table = Table("given", "truly", title="Most frequent errors", box=SIMPLE_HEAD)
    table.add_column("expected", justify="right")
    table.add_column("of all errors", justify="right")
    for pair in pairs.head(most).to_dict("records"):
        table.add_row(escape(pair["given"]), escape(pair["true"]), f"{pair['expected']:,.0f}", f"{pair['share']:.1%}")
    out.print(table)
    for rows, what in ((health, "classes"), (pairs, "pairs")):
        if len(rows) > most:
            out.print(f"{len(rows) - most:,} more {what}: --json, or class_health.csv and transition_matrix.csv")


def print_trajectories(store: "TrajectoryStore", sample_id: int, key: str) -> None:
    """How a sample fares in each class, where it has any number of them: what is most opposed first."""
    frame = store.trajectories(sample_id)
    table = Table(title=f"sample {sample_id} ({escape(key)})")
    for name in ("class", "given", "mean γ", "γ < 0", "mean margin", "last P(given)"):
        table.add_column(name, justify="left" if name in ("class", "given") else "right", overflow="fold")
    rows = []
    for label, course in frame.groupby(level="class", sort=False):
        alignment = course["alignment"].dropna()
        given = store.layout.answers[int(course["given_label"].iloc[0])]
        last = course["given_probability"].dropna()
        margin = float(course["margin"].mean())
        share = f"{(alignment < 0).mean():.0%}" if len(alignment) else "-"
        last_shown = _number(float(last.iloc[-1]) if len(last) else None)
        rows.append(
            (margin, (escape(str(label)), given, _number(alignment.mean()), share, _number(margin), last_shown))
        )
    for _, cells in sorted(rows, key=lambda row: row[0]):
        table.add_row(*cells)
    out.print(table)
    out.print("One class over the epochs: --class NAME", highlight=False)


def print_trajectory(store: "TrajectoryStore", sample_id: int, key: str, given: int, label: str | None = None) -> None:
    """One sample's alignment over the epochs, as a plot and as numbers; with one class, where it has any number."""
    import plotext

    trajectory = store.trajectory(sample_id, label)
    of_class = "" if label is None else f"{label} "
    epochs = [epoch + 1 for epoch in trajectory.index]
    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plot_size(min(100, out.width), 18)
    plotext.title(f"sample {sample_id} ({key}), given {of_class}{store.layout.answers[given]}")
    plotext.xlabel("epoch")
    plotext.xticks(epochs[:: max(1, len(epochs) // 8)])
    for name, marker in (("alignment", "o"), ("alternative_alignment", "x")):
        values = trajectory[name]
        shown = [(e, float(v)) for e, v in zip(epochs, values, strict=True) if not math.isnan(v)]
        plotext.plot([e for e, _ in shown], [v for _, v in shown], label=name.replace("_", " "), marker=marker)
    plotext.hline(0)
    print(plotext.uncolorize(plotext.build()))
    table = Table("epoch", "alignment", "alternative label", "its alignment", "margin", "loss", "predicted")
    for epoch, row in zip(epochs, trajectory.to_dict("records"), strict=True):
        table.add_row(
            str(epoch),
            _number(row["alignment"]),
            _class(store, row["alternative_label"]),
            _number(row["alternative_alignment"]),
            _number(row["margin"]),
            _number(row["loss"]),
            _class(store, row["predicted_label"]),
        )
    out.print(table)


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{share:.1%}"


def print_facts(title: str, facts: Iterable[tuple[str, str]]) -> None:
    """A table of names and values."""
    table = Table("", title, show_header=True)
    for name, value in facts:
        table.add_row(escape(name), escape(value))
    out.print(table)


def _shortened(text: str, most: int = 120) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 3]}..."


def _suspects_table(frame: "pd.DataFrame", title: str, texts: Sequence[str] | None = None) -> Table:
    table = Table(title=title)
    several = "class_name" in frame
    for name in ("rank", "sample", *["class"] * several, "given", "suggested", "P(wrong)", "mean γ", "γ < 0"):
        table.add_column(
            name, justify="right" if name in ("rank", "P(wrong)", "mean γ", "γ < 0") else "left", overflow="fold"
        )
    for row in frame.to_dict("records"):
        table.add_row(
            str(row["rank"]),
            escape(str(row["key"]) if texts is None else _shortened(texts[row["sample_id"]])),
            *([escape(str(row["class_name"]))] if several else []),
            escape(str(row["given_name"])),
            escape(str(row["suggested_name"])),
            f"{row['probability_wrong']:.3f}",
            f"{row['mean_alignment']:+.4f}",
            f"{row['share_negative']:.0%}",
        )
    return table


def _class(store: "TrajectoryStore", label: Any) -> str:
    return "-" if label < 0 else escape(store.layout.answers[int(label)])


def _number(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.4f}"


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes}:{seconds:02d}"
