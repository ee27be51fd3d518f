"""Define the commands to look at an audit, to decide, to apply decisions and to compare runs."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.markup import escape

from gwaudit.cli.command import app, command
from gwaudit.cli.options import AT_URLS, After, AsJson, Before, Root, Run, Shown, Truth, TruthKey
from gwaudit.cli.show.console import out, print_json
from gwaudit.cli.show.review import (
    print_applied,
    print_comparison,
    print_logged_decisions,
    print_review_address,
)
from gwaudit.cli.show.stages import StageDisplay


@command(app, "report", "For example: gwaudit report runs/photos --top 3000")
def report_command(
    run: Run,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write, or its URL. By default report.html in the run."),
        AT_URLS,
    ] = None,
    top: Shown = 1000,
    truth: Truth = None,
    truth_key: TruthKey = None,
    root: Root = None,
) -> None:
    """Write the report of a ranked run: one HTML file to look at, to decide in and to send."""
    from gwaudit.pipeline.report import write_report

    with StageDisplay() as display:
        path = write_report(run, output, top=top, truth=truth, truth_key=truth_key, root=root, progress=display)
    out.print(escape(str(path)), highlight=False, soft_wrap=True)


@command(app, "review", "For example: gwaudit review runs/photos; then gwaudit apply runs/photos ...")
def review_command(
    run: Run,
    top: Shown = 1000,
    estimate: Annotated[
        int | None,
        typer.Option(
            help="Number of samples to draw at random from the whole ranking, for gwaudit status: they are shown mixed "
            "with as many uncertain ones, in random order and without scores.",
            show_default=False,
        ),
    ] = None,
    port: Annotated[int, typer.Option(help="Port of the local server; 0 for any free port.")] = 0,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
    root: Root = None,
) -> None:
    """Decide on the suspects in the browser. Every decision is saved in decisions.csv in the folder of the run."""
    from gwaudit.analysis.audit import Audit
    from gwaudit.review.decision_log import DecisionLog

    with DecisionLog(Audit.load(run)) as log:  # first of all: a second review learns at once that one is running
        from gwaudit.pipeline.report import load_report_data
        from gwaudit.review.learning import ReviewLearner
        from gwaudit.review.report.page import render_page
        from gwaudit.review.review_sample import load_sample
        from gwaudit.review.server import ReviewServer, serve_review

        blind = None
        with StageDisplay() as display:
            if estimate is not None:
                from gwaudit.pipeline.sample import draw_for_review, ids_to_review
                from gwaudit.pipeline.stages import note_decisions

                drawn = draw_for_review(run, estimate, progress=display)
                note_decisions(drawn[2].decisions, display)
                blind = ids_to_review(*drawn, estimate)
            contents = load_report_data(run, top=top, root=root, blind=blind, progress=display)
            display.on_stage("drawing the page")
            page = render_page(contents, served=True)
        shown = {int(sample["id"]) for sample in contents.samples}
        # A page without scores does not follow what decisions teach: its order is to stay random.
        learner = None
        if not blind:
            learner = ReviewLearner(contents.audit, shown, load_sample(contents.audit), logged={*log.decisions})
        with ReviewServer(log, page, port, contents.large_picture, learner) as server:
            print_review_address(server)
            serve_review(server, browser=browser)
        print_logged_decisions(log, to_estimate=blind is not None)


@command(app, "plot", "For example: gwaudit plot runs/photos --to figures --figure noise-matrix --format pdf")
def plot_command(
    run: Run,
    to: Annotated[Path, typer.Option(help="New folder for the figures, or its URL."), AT_URLS],
    format: Annotated[Literal["pdf", "svg", "png"], typer.Option(help="Format of the figures.")] = "pdf",
    figure: Annotated[list[str] | None, typer.Option(help="Name of a figure; may be repeated. By default all.")] = None,
    truth: Truth = None,
    truth_key: TruthKey = None,
    root: Root = None,
) -> None:
    """Write the figures of the report as files, for papers and slides."""
    from gwaudit.core.url_outputs import shown_inside, written_output
    from gwaudit.pipeline.report import load_report_data
    from gwaudit.review.report.figure_files import write_figures

    with written_output(to, is_file=False) as folder:
        with StageDisplay() as display:
            contents = load_report_data(run, top=0, truth=truth, truth_key=truth_key, root=root, progress=display)
        paths = write_figures(contents, folder, format=format, names=figure or ())
    for path in paths:
        out.print(escape(str(shown_inside(to, path))), highlight=False, soft_wrap=True)


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
            help="Format: csv, label-studio, cvat, fiftyone or cleanlab, to review; ids, hf (Parquet for Hugging Face) "
            "or imagefolder (a folder per class), to train on.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="New folder or file, or its URL.", show_default=False), AT_URLS
    ],
    action: Annotated[
        Literal["drop", "relabel"] | None,
        typer.Option(help="Treatment of suspects in data to train on: drop (the default), or relabel as suggested."),
    ] = None,
    top: Annotated[
        int | None, typer.Option(help="Number of samples to review, the first of the ranking. By default all suspects.")
    ] = None,
    all: Annotated[bool, typer.Option("--all", help="Write all samples to review.")] = False,
    copy: Annotated[
        bool,
        typer.Option(
            "--copy",
            help="Copy image files instead of linking (imagefolder, fiftyone) or embedding them (label-studio).",
        ),
    ] = False,
    root: Root = None,
) -> None:
    """Write suspects for review in other tools, or the data set without suspects or with corrected ones."""
    from gwaudit.pipeline.export import export_audit

    with StageDisplay() as display:
        path = export_audit(run, to, output, action=action, top=top, all=all, copy=copy, root=root, progress=display)
    out.print(escape(str(path)), highlight=False, soft_wrap=True)


@command(app, "apply", "For example: gwaudit apply runs/photos decisions.csv -o photos-corrected")
def apply_command(
    run: Run,
    decisions: Annotated[
        list[Path],
        typer.Argument(
            help="Files with decisions, or their URLs: decisions.csv, an edited suspects.csv, or Label Studio's JSON "
            "or CSV; one or more.",
            show_default=False,
        ),
        AT_URLS,
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="New folder for the corrected labels and data, or its URL."), AT_URLS
    ],
    guidelines: Annotated[
        Path | None,
        typer.Option(
            help="Table of questions that `gwaudit noise --questions` wrote, or its URL, with answers in its column "
            "decision: keep, relabel or drop all samples of a pair of classes without a decision of their own.",
            show_default=False,
        ),
        AT_URLS,
    ] = None,
    format: Annotated[str, typer.Option(help="Format of the corrected data: ids, hf or imagefolder.")] = "ids",
    undecided: Annotated[
        Literal["keep", "drop", "relabel"],
        typer.Option(help="Treatment of suspects without a decision: keep them, drop them, or relabel as suggested."),
    ] = "keep",
    force: Annotated[bool, typer.Option("--force", help="Apply the valid decisions, and list the others.")] = False,
    copy: Annotated[bool, typer.Option("--copy", help="Copy image files instead of links (imagefolder).")] = False,
    root: Root = None,
    as_json: AsJson = False,
) -> None:
    """Apply decisions about suspects: write corrected labels, corrected data and a log of the changes."""
    from gwaudit.pipeline.apply import apply_decisions

    with StageDisplay() as display:
        applied = apply_decisions(
            run,
            decisions,
            output,
            guidelines=guidelines,
            format=format,
            undecided=undecided,
            force=force,
            copy=copy,
            root=root,
            progress=display,
        )
    if as_json:
        print_json({"run": str(run), **applied.to_dict()})
    else:
        print_applied(applied, undecided)


@command(app, "compare", "For example: gwaudit compare runs/photos runs/photos-round-2")
def compare_command(
    before: Before,
    after: After,
    test_split: Annotated[
        str | None,
        typer.Option(help="Split of their source on which to measure the test accuracy of both, with right labels."),
    ] = None,
    test_source: Annotated[
        str | None, typer.Option(help="Test data in the form of the source of the runs, instead.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the changes of a round of corrections, or the agreement of two seeds: suspects, accuracy, GWA."""
    from gwaudit.pipeline.accuracy import measure_test_accuracy
    from gwaudit.pipeline.compare import compare

    if test_split is not None or test_source is not None:
        for run in (before, after):
            measure_test_accuracy(run, test_split or "test", test_source)
    comparison = compare(before, after)
    if as_json:
        print_json(comparison.to_dict())
    else:
        print_comparison(comparison)
