"""Count trials and what failed in them."""

import sys
from collections import Counter
from dataclasses import dataclass, field

from .forked import Ended


@dataclass
class Tally:
    """Hold the counts of one part of the torture.

    Attributes:
        part: What was done.
        trials: Number of trials.
        outcomes: Number of trials by how they ended.
        failures: A line for each trial that ended wrongly.
    """

    part: str
    trials: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def add(self, outcome: str) -> None:
        self.trials += 1
        self.outcomes[outcome] += 1

    def fail(self, where: str, why: str) -> None:
        self.add("failure")
        self.failures.append(f"{self.part}: {where}: {why}")
        print(self.failures[-1], file=sys.stderr, flush=True)

    def row(self) -> str:
        """Return the counts as a row of a Markdown table."""
        counts = ", ".join(
            f"{count} {name}" for name, count in self.outcomes.most_common() if count and name != "failure"
        )
        return f"| {self.part} | {self.trials} | {counts} | {self.outcomes['failure']} |"


def last_lines(ended: Ended, n: int = 4) -> str:
    lines = [line for line in ended.output.splitlines() if line.strip()]
    return f"exit {ended.code}: " + " / ".join(lines[-n:])
