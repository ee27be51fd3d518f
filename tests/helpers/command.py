"""Run the command line as it is typed: in this process, or in one of its own."""

import os
import subprocess
import sys
from dataclasses import dataclass

from typer.testing import CliRunner

COMMAND = [sys.executable, "-m", "gwaudit"]

# Seconds on the digits.
FAST = ["--epochs", "4", "--batch-size", "128", "--augment", "none", "--learning-rate", "0.05"]


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


def gwaudit(*arguments):
    """Run a command within this process, which has imported torch already."""
    from gwaudit.cli.app import app

    result = CliRunner(env={"COLUMNS": "120"}).invoke(app, [*map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Done(result.exit_code, result.stdout, result.stderr)


def gwaudit_process(*arguments, cwd=None, preexec_fn=None):
    """Run a command in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "120"}
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment,
        preexec_fn=preexec_fn,
    )
    return Done(done.returncode, done.stdout, done.stderr)
