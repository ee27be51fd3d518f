"""Show what was read of a source: samples, classes, columns, files passed over, warnings."""

from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from gwaudit.cli.errors import with_flags
from gwaudit.cli.show.console import one_line

if TYPE_CHECKING:  # for its type alone: help does not wait for torch
    from gwaudit.data.summary import DataSummary


def print_data(summary: "DataSummary", console: Console) -> None:
    """Print the facts of a data set, a line each, and the warnings below them."""
    facts = summary.facts()
    width = max(len(name) for name, _ in facts)
    for name, value in facts:
        text = f"{name:<{width}}  {one_line(with_flags(value))}"
        console.print(escape(text), highlight=False, soft_wrap=True)
    for warning in summary.warnings:
        text = f"warning: {one_line(with_flags(warning))}"
        console.print(escape(text), style="yellow", highlight=False, soft_wrap=True)
