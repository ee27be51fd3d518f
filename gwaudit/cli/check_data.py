"""Define the command that checks a source before an audit."""

import typer

from gwaudit.cli.command import app, command
from gwaudit.cli.options import AsJson
from gwaudit.cli.show.console import out, print_json
from gwaudit.cli.show.data import print_data
from gwaudit.cli.show.problems import print_rows
from gwaudit.cli.show.stages import StageDisplay
from gwaudit.core.settings import DataSettings

_BROKEN = 1
_SHOWN = 1000


@command(app, "check-data", "For example: gwaudit check-data photos/")
def check_data_command(data: DataSettings, as_json: AsJson = False) -> None:
    """Decode every image of a source, and list what cannot be used. The exit code is 1 where there is something."""
    from gwaudit.pipeline.check_data import check_data

    with StageDisplay() as display:
        check = check_data(data, display)
    if as_json:
        print_json(check.to_dict())
    elif check.summary is not None:
        print_data(check.summary, out)
        out.print("every other row can be used" if check.summary.left_out else "every row can be used")
    else:
        out.print(f"rows that cannot be used: {len(check.broken):,}", highlight=False)
        print_rows(check.broken, out, most=_SHOWN)
    if check.broken:
        raise typer.Exit(_BROKEN)
