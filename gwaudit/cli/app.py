"""Assemble the command line: every module of commands registers itself when it is imported."""

from gwaudit.cli import audit, benchmark, estimate, monitor, review  # noqa: F401  # they register their commands
from gwaudit.cli.command import app, main

__all__ = ["app", "main"]
