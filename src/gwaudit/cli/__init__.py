"""The command line: parses, calls, prints. What the commands do is in the modules that they call."""

from gwaudit.cli import auditing, benchmarks, monitoring, reviewing  # noqa: F401  # their commands register themselves
from gwaudit.cli.application import app, main

__all__ = ["app", "main"]
