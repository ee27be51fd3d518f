"""Define the application, and the decorator that makes a function one of its commands."""

import errno
import functools
import inspect
import io
import os
import shlex
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Annotated, Any

import typer

import gwaudit
from gwaudit.cli.errors import flags_of
from gwaudit.cli.interrupts import INTERRUPTED, raise_between_imports
from gwaudit.cli.options import AT_URLS, RUNS, takes_settings
from gwaudit.cli.show.console import err
from gwaudit.cli.show.problems import print_error, print_problems, print_rows
from gwaudit.core.errors import BrokenRowsError, GwauditError, UnresolvedDecisionsError
from gwaudit.core.shown_paths import path_at
from gwaudit.core.urls import redacted, require_local, restored_url
from gwaudit.store.working_copies import run_folder

BAD_INPUT, BROKEN_PIPE = 2, 141
_OUTPUT_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EIO)
_GRACE = 15.0  # seconds

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Find the wrong labels in a data set from one ordinary training run.",
    epilog="Start with `gwaudit demo`; then `gwaudit audit FOLDER --output runs/mine`.",
)
benchmark = typer.Typer(no_args_is_help=True, help="Measure what gwaudit finds and what it costs.")
app.add_typer(benchmark, name="benchmark")


def main() -> None:
    """Run the command line. Of the processes that torchrun starts, the first prints for all."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # of a pipe on Windows, which may have no γ
    if not sys.warnoptions:
        warnings.filterwarnings("ignore", module="PIL")  # those of decoders stand in the notes of the reading
    if int(os.environ.get("RANK", "0")) == 0:
        app(prog_name="gwaudit")
        return
    errors = io.StringIO()
    try:
        # A traceback is printed after this block, when standard error is restored.
        with redirect_stdout(io.StringIO()), redirect_stderr(errors):
            app(prog_name="gwaudit")
    except SystemExit as end:
        if end.code:
            # torchrun ends all processes when one fails. Let the first one fail first, after it has printed why; if it
            # goes on, the error is of this process alone.
            time.sleep(_GRACE)
            print(errors.getvalue(), end="", file=sys.stderr)
        raise


def command(group: typer.Typer, name: str, epilog: str = "") -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that registers a function as a command.

    Settings become options; an error that the user can fix becomes one line and exit code 2.

    Args:
        group: the application, or a group of its commands.
        name: the name of the command.
        epilog: the text below its help.
    """

    def register(function: Callable[..., None]) -> Callable[..., None]:
        inner = takes_settings(function)
        annotations = inspect.signature(function, eval_str=True).parameters.values()
        runs = {parameter.name for parameter in annotations if parameter.annotation in RUNS}
        at_urls = {
            parameter.name for parameter in annotations if AT_URLS in getattr(parameter.annotation, "__metadata__", ())
        }

        @functools.wraps(inner)
        def guarded(context: typer.Context, **values: Any) -> None:
            with flags_of(context):
                try:
                    raise_between_imports()
                    inner(context, **_local_paths(values, runs, at_urls))
                except GwauditError as error:
                    print_error(str(error))
                    if isinstance(error, BrokenRowsError) and len(error.rows) > 1:
                        print_rows(error.rows, err)
                    if isinstance(error, UnresolvedDecisionsError):
                        print_problems(error.problems, err)
                    raise typer.Exit(BAD_INPUT) from error
                except BrokenPipeError:  # `| head`: no result of the command, as 1 is for some
                    _ignore_output()
                    raise typer.Exit(BROKEN_PIPE) from None
                except OSError as error:
                    if error.errno in _OUTPUT_FULL and error.filename is None:
                        _ignore_output()
                        print_error(f"the output cannot be written: {error.strerror}")
                        raise typer.Exit(BAD_INPUT) from error
                    if error.errno != errno.ENAMETOOLONG or error.filename is None:
                        raise
                    print_error(f"{error.filename}: the name is too long to be that of a file or folder")
                    raise typer.Exit(BAD_INPUT) from error
                except MemoryError as error:
                    print_error(
                        f"this needs more memory than there is: {error or 'close other programs, or use less data'}"
                    )
                    raise typer.Exit(BAD_INPUT) from error
                except KeyboardInterrupt:
                    _ignore_interrupts()
                    print_error(f"interrupted; {_what_is_kept(values)}")
                    raise typer.Exit(INTERRUPTED) from None

        guarded.__signature__ = inner.__signature__  # type: ignore[attr-defined]  # typer reads it
        guarded.__annotations__ = inner.__annotations__
        group.command(name, epilog=epilog or None)(guarded)
        return function

    return register


def _local_paths(values: dict[str, Any], runs: set[str], at_urls: set[str]) -> dict[str, Any]:
    """Return the values of a command with the working copies of runs at URLs.

    Args:
        values: The values by parameter.
        runs: The parameters that are folders of runs.
        at_urls: The parameters that are other files and folders, at URLs too.

    Raises:
        SettingsError: A URL was typed for a file or folder of this machine.
        StoreError: A run's store cannot be reached.
    """
    copies = {name: _each(values[name], run_folder) for name in runs}
    return {
        name: copies[name]
        if name in runs
        else _each(value, functools.partial(_local_path, allows_urls=name in at_urls))
        for name, value in values.items()
    }


def _each(value: Any, local: Callable[[Path], Path]) -> Any:
    """Return a value with `local` of each path in it."""
    if isinstance(value, list | tuple):
        return type(value)(_each(item, local) for item in value)
    return local(value) if isinstance(value, Path) else value


def _local_path(path: Path, *, allows_urls: bool) -> Path:
    if (copy := path_at(restored_url(path))) is not None:  # of a run that the command names too
        return Path(copy)
    if not allows_urls:
        require_local(path)
    return path


def _ignore_output() -> None:
    """Let the end of the process write nothing more to an output that takes nothing."""
    with suppress(OSError, ValueError):  # where standard output is no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _ignore_interrupts() -> None:
    """Let no further Ctrl-C end the last steps of an interrupted command with a traceback."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _what_is_kept(values: dict[str, Any]) -> str:
    if "resume" not in values:
        return "nothing was replaced: earlier results and files are as they were"
    arguments = [argument for argument in sys.argv[1:] if argument != "--resume"]
    return f"complete epochs are kept. Continue with: gwaudit {redacted(shlex.join([*arguments, '--resume']))}"


def _version(wanted: bool) -> None:
    if wanted:
        print(gwaudit.__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass
