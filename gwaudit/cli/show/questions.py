"""Show questions for the labelling guideline: pairs of classes, and groups, to decide about once."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from gwaudit.cli.show.console import one_line, out

if TYPE_CHECKING:  # for their types alone
    from gwaudit.analysis.guidelines import GroupQuestion, GuidelineQuestion


def print_questions(questions: "Sequence[GuidelineQuestion]", groups: "Sequence[GroupQuestion]") -> None:
    """Print the questions, with examples of both classes, or that there are none."""
    if not questions and not groups:
        out.print("No question to settle once: no pair of classes disagrees far above the rest.")
    if questions:
        table = Table(title="Questions to settle once, for all samples of a pair", box=SIMPLE_HEAD)
        for name in ("given", "looks like"):
            table.add_column(name, overflow="fold")
        for name in ("samples", "of the class", "elsewhere"):
            table.add_column(name, justify="right")
        for name in ("such as", "clearly of that class"):
            table.add_column(name, overflow="fold")
        for q in questions:
            examples = (", ".join(one_line(key, 40) for key in keys) for keys in (q.examples, q.examples_of_other))
            numbers = (f"{q.samples:,}", f"{q.share:.1%}", f"{q.usual:.2%}")
            table.add_row(escape(q.given), escape(q.other), *numbers, *map(escape, examples))
        out.print(table)
    for group in groups:
        out.print(
            f"{escape(group.column)} {escape(group.group)}: {group.samples:,} labels look wrong, {group.share:.1%} of "
            f"the group, against {group.usual:.1%} elsewhere.",
            highlight=False,
            soft_wrap=True,
        )
