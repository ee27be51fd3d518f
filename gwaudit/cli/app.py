"""Assemble the command line: every module of commands registers itself when it is imported."""

from gwaudit.cli import audit, benchmark, check_data, estimate, monitor, review, sql  # noqa: F401  # they register commands
from gwaudit.cli.command import app, main

__all__ = ["app", "main"]
