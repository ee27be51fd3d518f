"""The commands to look at what was found, to decide, and to go round."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from gwaudit.cli.arguments import AsJson, Run, Shown, Truth, TruthKey
from gwaudit.cli.command import app, command
from gwaudit.cli.show.review import (
    print_applied,
    print_comparison,
    print_logged_decisions,
    print_review_address,
)
from gwaudit.cli.show.terminal import TrainingDisplay, out
from gwaudit.core.json import to_json


@command(app, "report", "For example: gwaudit report runs/photos --top 3000")
def report_command(
    run: Run,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file. By default report.html in the run's folder.")
    ] = None,
    top: Shown = 1000,
    truth: Truth = None,
    truth_key: TruthKey = None,
) -> None:
    """Write the report on a ranked run: one HTML file to look at, to decide in and to send."""
    from gwaudit.pipeline.report import write_report

    path = write_report(run, output, top=top, truth=truth, truth_key=truth_key)
    out.print(str(path), highlight=False, soft_wrap=True)


@command(app, "review", "For example: gwaudit review runs/photos; then gwaudit apply runs/photos ...")
def review_command(
    run: Run,
    top: Shown = 1000,
    port: Annotated[int, typer.Option(help="0 for any that is free.")] = 0,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
) -> None:
    """Decide on the suspects in the browser; every decision is kept in the run's decisions.csv as it is made."""
    from gwaudit.pipeline.report import load_report_data
    from gwaudit.review.decision_log import DecisionLog
    from gwaudit.review.report.page import render_page
    from gwaudit.review.server import ReviewServer, serve_review

    contents = load_report_data(run, top=top)
    with DecisionLog(contents.audit) as log, ReviewServer(log, render_page(contents, served=True), port) as server:
        print_review_address(server)
        serve_review(server, browser=browser)
        print_logged_decisions(log)


@command(app, "plot", "For example: gwaudit plot runs/photos --to figures --figure noise-matrix --format pdf")
def plot_command(
    run: Run,
    to: Annotated[Path, typer.Option(help="A new folder for the figures.")],
    format: Annotated[str, typer.Option(help="pdf, svg or png.")] = "pdf",
    figure: Annotated[list[str] | None, typer.Option(help="Which; may be given several times. By default all.")] = None,
    truth: Truth = None,
    truth_key: TruthKey = None,
) -> None:
    """Write the report's figures as files, for papers and slides."""
    from gwaudit.pipeline.report import load_report_data
    from gwaudit.review.report.figure_files import write_figures

    contents = load_report_data(run, top=0, truth=truth, truth_key=truth_key)
    for path in write_figures(contents, to, format=format, names=figure or ()):  # type: ignore[arg-type]  # checked there
        out.print(str(path), highlight=False, soft_wrap=True)


@command(
    app,
    "export",
    "For example: gwaudit export runs/photos --to label-studio --output review; "
    "gwaudit export runs/photos --to imagefolder --action drop --output photos-clean",
)
def export_command(
    run: Run,
    to: Annotated[
        str,
        typer.Option(
            help="To look at: csv, label-studio, cvat, fiftyone, cleanlab. To train on: ids, hf (Parquet for Hugging "
            "Face), imagefolder (a folder a class).",
            show_default=False,
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The new folder or file.", show_default=False)],
    action: Annotated[
        str | None,
        typer.Option(help="Of what to train on: drop the suspects, the default, or relabel them to their suggestion."),
    ] = None,
    top: Annotated[
        int | None, typer.Option(help="Of what to look at: the first so many of the ranking, suspects or not.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Of what to look at: all samples.")] = False,
    copy: Annotated[
        bool,
        typer.Option(
            "--copy",
            help="Copy image files, rather than link them (imagefolder, fiftyone) or embed them (label-studio).",
        ),
    ] = False,
) -> None:
    """Write suspects for people and their tools to check, or the data set without or with corrected suspects."""
    from gwaudit.analysis.audit import Audit
    from gwaudit.export.formats import Options
    from gwaudit.pipeline.export import export_audit

    options = Options(action, top, everything, copy)  # type: ignore[arg-type]  # checked there
    out.print(str(export_audit(Audit.load(run), to, output, options)), highlight=False, soft_wrap=True)


@command(app, "apply", "For example: gwaudit apply runs/photos decisions.csv -o photos-corrected")
def apply_command(
    run: Run,
    decisions: Annotated[
        list[Path],
        typer.Argument(
            help="What people decided: decisions.csv, a relabelled suspects.csv, Label Studio's JSON or CSV; several "
            "where several people or rounds decided.",
            show_default=False,
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="A new folder for corrected labels and split.")],
    format: Annotated[str, typer.Option(help="Of the split: one that export has.")] = "ids",
    undecided: Annotated[str, typer.Option(help="Suspects that nobody decided about: keep, drop or relabel.")] = "keep",
    force: Annotated[bool, typer.Option("--force", help="Apply what is sound, and list what does not add up.")] = False,
    copy: Annotated[bool, typer.Option("--copy", help="With imagefolder: copy files rather than link them.")] = False,
    as_json: AsJson = False,
) -> None:
    """Apply what people decided about suspects: corrected labels, a cleaned split, a log of the changes."""
    from gwaudit.pipeline.apply import apply_decisions

    with TrainingDisplay(quiet=as_json) as display:
        applied = apply_decisions(
            run,
            decisions,
            output,
            format=format,
            undecided=undecided,  # type: ignore[arg-type]  # checked there
            force=force,
            copy=copy,
            progress=display,
        )
    if not as_json:
        print_applied(applied, undecided)
        return
    facts = {
        "run": str(run),
        "decided": applied.decisions.counts(),
        "undecided": applied.corrections.counts["undecided"],
        "changes": len(applied.corrections.changes),
        "samples_left": len(applied.corrections.cleaned_data.ids),
        "notes": list(applied.corrections.notes),
        "problems": [asdict(problem) for problem in applied.problems],
        "files": [str(path) for path in applied.files],
        "next_command": applied.next_command,
    }
    print(to_json(facts))


@command(app, "compare", "For example: gwaudit compare runs/photos runs/photos-round-2")
def compare_command(
    before: Annotated[Path, typer.Argument(help="A ranked run.", show_default=False)],
    after: Annotated[Path, typer.Argument(help="A ranked run of the same or corrected data.", show_default=False)],
    test_split: Annotated[
        str | None, typer.Option(help="Measure both on this split of their source first, under its right labels.")
    ] = None,
    test_source: Annotated[
        str | None, typer.Option(help="Test data of their own, in the form of the runs' source.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a round of corrections changed, or how far two seeds agree: suspects, accuracy, GWA."""
    from gwaudit.pipeline.compare import compare, measure_test_accuracy

    if test_split is not None or test_source is not None:
        for run in (before, after):
            measure_test_accuracy(run, test_split or "test", test_source)
    comparison = compare(before, after)
    if as_json:
        print(to_json(comparison.to_dict()))
    else:
        print_comparison(comparison)
