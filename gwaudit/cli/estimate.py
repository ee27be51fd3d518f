"""Define the commands to draw a random sample, to estimate wrong labels from decisions on it, and to check a limit."""

from pathlib import Path
from typing import Annotated

import typer

from gwaudit.cli.command import app, command
from gwaudit.cli.options import AT_URLS, AsJson, Root, Run, parse_share
from gwaudit.cli.show.console import print_json
from gwaudit.cli.show.estimate import print_check, print_estimates, print_sample
from gwaudit.cli.show.stages import StageDisplay

CHECK_EXIT_CODES = {"passed": 0, "failed": 1, "undecided": 3}
"""Exit codes of `gwaudit check`; 2 is bad input, as everywhere."""

Decisions = Annotated[
    list[Path] | None,
    typer.Option(
        "--decisions",
        help="Further file with decisions, or its URL, beside the run's own decisions.csv; may be repeated.",
        show_default=False,
    ),
    AT_URLS,
]
Seed = Annotated[int | None, typer.Option(help="Seed of a new draw. By default a random one.")]
Redraw = Annotated[
    bool,
    typer.Option(
        "--redraw",
        help="Draw anew from the undecided samples, by the ranking in use, instead of going on with the sample of the "
        "run.",
    ),
]


@command(app, "sample", "For example: gwaudit sample runs/photos --size 200 --output to-check.csv")
def sample_command(
    run: Run,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="CSV file to write, or its URL.", show_default=False), AT_URLS
    ],
    size: Annotated[int, typer.Option(help="Number of samples in all. A larger one goes on with the same sample.")] = (
        200
    ),
    seed: Seed = None,
    redraw: Redraw = False,
    decisions: Decisions = None,
    root: Root = None,
) -> None:
    """Draw a random sample of the whole ranking, and write it as a table to fill in, shuffled and without scores."""
    from gwaudit.pipeline.sample import write_sample
    from gwaudit.store.store import TrajectoryStore

    with StageDisplay() as display:
        rows = write_sample(
            run, output, size, seed=seed, redraw=redraw, decisions=decisions or (), root=root, progress=display
        )
    with TrajectoryStore.open(run) as store:
        print_sample(run, output, rows, decisions or (), with_label=not store.is_multi_label)


@command(app, "status", "For example: gwaudit status runs/photos --decisions to-check.csv --target-rate 1%")
def status_command(
    run: Run,
    decisions: Decisions = None,
    groups: Annotated[
        str | None,
        typer.Option(
            help="CSV file with a column key (or sample_id) and columns of groups, such as annotator or batch; or the "
            "name of a column of the source.",
            show_default=False,
        ),
    ] = None,
    target_rate: Annotated[
        str | None,
        typer.Option(help="Share of wrong labels that may remain, as 1%: show how many more samples to review."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show how many labels are wrong, with 95 % intervals, from the decisions made so far."""
    from gwaudit.pipeline.estimate import estimate

    target = None if target_rate is None else parse_share(target_rate, "target_rate")
    with StageDisplay() as display:
        result = estimate(run, decisions or (), groups=groups, target_rate=target, progress=display)
    if as_json:
        print_json({"run": str(run), **result.to_dict()})
    else:
        print_estimates(result, run)


@command(app, "check", "For example: gwaudit check runs/photos --max-wrong 2% --decisions to-check.csv")
def check_command(
    run: Run,
    max_wrong: Annotated[
        str, typer.Option(help="Largest share of wrong labels that is accepted, as 2% or 0.02.", show_default=False)
    ],
    decisions: Decisions = None,
    corrected: Annotated[
        bool,
        typer.Option("--corrected", help="Count wrong labels that were found as corrected, as after gwaudit apply."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check that few labels are wrong: exit code 0 if so, 1 if more are, 3 if more decisions are needed."""
    from gwaudit.pipeline.estimate import check

    result = check(run, parse_share(max_wrong, "max_wrong"), decisions or (), corrected=corrected)
    if as_json:
        print_json({"run": str(run), **result.to_dict()})
    else:
        print_check(result, run, corrected=corrected, decisions=decisions or ())
    if code := CHECK_EXIT_CODES[result.outcome]:
        raise typer.Exit(code)
