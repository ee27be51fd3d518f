"""Print the trials that have ended as a table of Markdown."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from .trials import FAILURE


def table(rows: Iterable[Mapping[str, Any]], titles: Mapping[str, str]) -> str:
    """Return a line for each part: how many of its trials were taken, how they ended, and the failures.

    Args:
        rows: A row for each trial, with `part`, `of` (number of the trials of the part in full) and `outcome`.
        titles: What each part does.
    """
    lines = ["| part | trials | of | ended | failures |", "|---|--:|--:|---|--:|"]
    outcomes: dict[str, Counter[str]] = {part: Counter() for part in titles}
    of: dict[str, int] = {}
    for row in rows:
        outcomes[row["part"]][row["outcome"]] += 1
        of[row["part"]] = row["of"]
    for part in of:
        counts = outcomes[part]
        ended = ", ".join(f"{count:,} {name}" for name, count in counts.most_common() if name != FAILURE)
        lines.append(f"| {titles[part]} | {counts.total():,} | {of[part]:,} | {ended} | {counts[FAILURE]} |")
    return "\n".join(lines)
