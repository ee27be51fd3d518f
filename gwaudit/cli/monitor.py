"""Define the command that shows the alignment of a run by epoch, the stopping rules and the groups."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gwaudit.analysis.stopping import PATIENCE
from gwaudit.cli.command import app, command
from gwaudit.cli.options import AT_URLS, AsJson, Patience, Run
from gwaudit.cli.show.console import print_json, printable
from gwaudit.cli.show.monitor import print_groups, print_readings, print_rule_choices
from gwaudit.cli.show.stages import StageDisplay

if TYPE_CHECKING:  # for its type alone
    from gwaudit.analysis.monitor import RunAlignment


@command(app, "monitor", "For example: gwaudit monitor runs/photos --groups cameras.csv -o cameras-by-epoch.csv")
def monitor_command(
    run: Run,
    groups: Annotated[
        str | None,
        typer.Option(
            help="Groups to show too: 'class' for the given labels, a CSV file with a column key or sample_id and a "
            "column with the group, or the name of a column of the source.",
        ),
    ] = None,
    group_column: Annotated[
        str | None, typer.Option(help="Name of the column with the group, if there are several.")
    ] = None,
    epoch: Annotated[
        int | None, typer.Option(help="Epoch at which groups are shown, counted from 1. By default the last.")
    ] = None,
    patience: Patience = PATIENCE,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="CSV file to write, or its URL: a row per epoch; with --groups a row per epoch and group.",
        ),
        AT_URLS,
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show E, K and GWA of every epoch, and the epoch that each stopping rule selects."""
    from gwaudit.core.errors import SettingsError
    from gwaudit.core.spreadsheets import write_csv
    from gwaudit.core.url_outputs import shown_output, written_file

    with written_file(output) as file:
        alignment = _read_alignment(run, groups, group_column, patience)
        n_epochs = len(alignment.signals)
        shown = n_epochs if epoch is None else epoch
        if not 1 <= shown <= n_epochs:
            raise SettingsError(f"{run} has epochs 1 to {n_epochs}, no epoch {epoch}")
        if file is not None:
            write_csv(alignment.table(), file)
    if as_json:
        print_json({"run": str(run), **alignment.to_dict()})
        return
    print_readings(str(run), alignment.signals)
    print_rule_choices(alignment.choices)
    if alignment.groups is not None:
        print_groups(alignment.groups, shown - 1)
    if output is not None:
        print(f"Written: {printable(str(shown_output(output)))}")


def _read_alignment(run: Path, groups: str | None, group_column: str | None, patience: int) -> "RunAlignment":
    from gwaudit.analysis.monitor import run_alignment
    from gwaudit.core.errors import SettingsError
    from gwaudit.pipeline.groups import read_groups
    from gwaudit.store.store import TrajectoryStore

    with TrajectoryStore.open(run) as store:
        if groups is None or groups == "class":
            if group_column is not None:
                raise SettingsError("`group_column` is a column of the file of groups: give the file with `groups`")
            return run_alignment(store, groups, patience=patience)
        with StageDisplay() as display:
            members = read_groups(store, groups, group_column, display)
        return run_alignment(store, members, patience=patience)
