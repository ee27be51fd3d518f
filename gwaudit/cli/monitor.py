"""Define the command that shows the alignment of a run by epoch, the stopping rules and the groups."""

from pathlib import Path
from typing import Annotated

import typer

from gwaudit.cli.command import app, command
from gwaudit.cli.options import AsJson, Patience, Run
from gwaudit.cli.show.monitor import print_groups, print_readings, print_verdicts
from gwaudit.core.json import to_json


@command(app, "monitor", "For example: gwaudit monitor runs/photos --groups cameras.csv -o cameras-by-epoch.csv")
def monitor_command(
    run: Run,
    groups: Annotated[
        str | None,
        typer.Option(
            help="Groups to show too: 'class' for the given labels, or a CSV file with a column key or sample_id and a "
            "column with the group.",
        ),
    ] = None,
    group_column: Annotated[
        str | None, typer.Option(help="Name of the column with the group, if there are several.")
    ] = None,
    epoch: Annotated[
        int | None, typer.Option(help="Epoch at which groups are shown, counted from 1. By default the last.")
    ] = None,
    patience: Patience = 5,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="CSV file to write: a row per epoch; with --groups a row per epoch and group."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show E, K and GWA of every epoch, and the epoch that each stopping rule selects."""
    from gwaudit.analysis.groups import read_subgroups
    from gwaudit.analysis.monitor import group_readings, readings, verdicts
    from gwaudit.core.errors import SettingsError
    from gwaudit.core.spreadsheets import write_csv
    from gwaudit.store.store import TrajectoryStore

    if group_column is not None and (groups is None or groups == "class"):
        raise SettingsError("`group_column` is a column of the file with the groups: give the file with `groups`")
    with TrajectoryStore.open(run) as store:
        signals = readings(store)
        if signals.empty:
            raise SettingsError(f"{store.path} has no epoch yet: train it first")
        shown = len(signals) if epoch is None else epoch
        if not 1 <= shown <= len(signals):
            raise SettingsError(f"{store.path} has epochs 1 to {len(signals)}, no epoch {epoch}")
        planned = store.settings.get("training", {}).get("epochs", len(signals))
        said = verdicts(signals, total_epochs=planned, patience=patience)
        table = None
        if groups is not None:
            members = "class" if groups == "class" else read_subgroups(store, Path(groups), group_column)
            table = group_readings(store, members)
    written = signals if table is None else table
    for_people = written.reset_index().assign(epoch=lambda frame: frame["epoch"] + 1)
    if output is not None:
        write_csv(for_people, output)
    if as_json:
        facts = {
            "run": str(run),
            "epochs": signals.reset_index().assign(epoch=signals.index + 1).to_dict("records"),
            "rules": [
                {
                    "rule": verdict.rule,
                    "epoch": verdict.hindsight.epoch + 1,
                    "reason": verdict.hindsight.reason,
                    "online_epoch": verdict.online.epoch + 1,
                    "online_trained": verdict.trained,
                }
                for verdict in said
            ],
        }
        if table is not None:
            facts["groups"] = for_people.to_dict("records")
        print(to_json(facts))
        return
    print_readings(str(run), signals)
    print_verdicts(said)
    if table is not None:
        print_groups(table, shown - 1)
    if output is not None:
        print(f"Written: {output}")
