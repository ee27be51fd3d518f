"""The command that reads a run's alignment epoch by epoch: E, K, GWA, what stopping rules make of them, groups."""

from pathlib import Path
from typing import Annotated

import typer

from gwaudit.cli.arguments import AsJson, Run
from gwaudit.cli.command import app, command
from gwaudit.cli.show.monitor import print_groups, print_readings, print_verdicts
from gwaudit.core.json import to_json


@command(app, "monitor", "For example: gwaudit monitor runs/photos --groups cameras.csv -o cameras-by-epoch.csv")
def monitor_command(
    run: Run,
    groups: Annotated[
        str | None,
        typer.Option(
            help="Also tell it group by group: 'class' for the given labels, or a CSV file with a column key or "
            "sample_id and one of groups.",
        ),
    ] = None,
    group_column: Annotated[str | None, typer.Option(help="Which column of that file, where it has several.")] = None,
    epoch: Annotated[
        int | None, typer.Option(help="The epoch that groups are shown at, from 1. By default the last.")
    ] = None,
    # As `gwaudit.analysis.stopping.PATIENCE`; importing that would have every --help wait for torch.
    patience: Annotated[int, typer.Option(help="Epochs that a choice has to stand before a rule stops.")] = 5,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Write CSV: a row an epoch; with --groups a row an epoch and group instead."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show E, K and GWA of every epoch, and which epoch each stopping rule chooses."""
    from gwaudit.analysis.groups import read_subgroups
    from gwaudit.analysis.monitor import group_readings, readings, verdicts
    from gwaudit.core.errors import SettingsError
    from gwaudit.core.spreadsheets import write_csv
    from gwaudit.store.store import TrajectoryStore

    if group_column is not None and (groups is None or groups == "class"):
        raise SettingsError("--group-column is of a file of groups: give that with --groups")
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
