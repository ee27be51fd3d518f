"""Define the command to query a run with SQL."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from gwaudit.cli.command import app, command
from gwaudit.cli.options import AT_URLS, AsJson, NoVerify, Run
from gwaudit.cli.show.rows import print_rows_as_json, print_table, print_written
from gwaudit.cli.show.stages import StageDisplay
from gwaudit.core.errors import QueryError, SettingsError


@command(
    app,
    "sql",
    'For example: gwaudit sql runs/photos "select given_name, count(*) as samples from samples group by given_name"',
)
def sql_command(
    run: Run,
    query: Annotated[
        str,
        typer.Argument(
            help="One SELECT of DuckDB's SQL over the views epochs, evaluation_passes, samples, classes, audit and "
            "decisions; - reads it from standard input.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="File to write all rows to, .csv or .parquet, or its URL.", show_default=False
        ),
        AT_URLS,
    ] = None,
    no_verify: NoVerify = False,
    as_json: AsJson = False,
) -> None:
    """Query a run with SQL: its epochs, samples, classes, ranking and decisions. The run is only read."""
    from gwaudit.pipeline.sql import run_query, write_query

    if as_json and output is not None:
        raise SettingsError("`output` and --json both say where the rows go: choose one")
    text = _standard_input() if query == "-" else query
    with StageDisplay() as display:
        if output is not None:
            rows = write_query(run, text, output, verify=not no_verify, progress=display)
            print_written(output, rows)
            return
        with run_query(run, text, verify=not no_verify, progress=display) as result:
            display.on_stage("running the query")
            if as_json:
                print_rows_as_json(result.schema.names, result.batches)
            else:
                print_table(result.schema.names, result.batches)


def _standard_input() -> str:
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise QueryError("the query on standard input is not UTF-8: write it again in UTF-8") from error
