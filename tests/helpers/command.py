"""Run the command line as it is typed: in this process, or in one of its own."""

import os
import subprocess
import sys

from typer.testing import CliRunner

from helpers.forking import Done, Forked

COMMAND = [sys.executable, "-m", "gwaudit"]

# Seconds on the digits.
FAST = ["--epochs", "4", "--batch-size", "128", "--augment", "none", "--learning-rate", "0.05"]


def gwaudit(*arguments):
    """Run a command within this process, which has imported torch already."""
    from gwaudit.cli.app import app

    result = CliRunner(env={"COLUMNS": "120"}).invoke(app, [*map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Done(result.exit_code, result.stdout, result.stderr)


def gwaudit_process(*arguments):
    """Run a command as a new program."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "120"}
    done = subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, env=environment)
    return Done(done.returncode, done.stdout, done.stderr)


def start_gwaudit(*arguments, before=None, **options):
    """Start a command in a forked process, which takes Ctrl-C as a program does; `before` is called first."""
    return Forked(run_command, *arguments, before=before, **options)


def run_command(*arguments):
    """Run a command as the program that this process is."""
    from gwaudit.__main__ import main

    sys.argv = ["gwaudit", *map(str, arguments)]
    main()
