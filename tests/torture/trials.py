"""Name the trials of the torture, and the ways in which they end."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .commands import Case
from .workplace import Workplace

FAILURE = "failure"


@dataclass(frozen=True)
class Trial:
    """Describe one disturbance of one command.

    Attributes:
        part: Name of the part of the torture.
        case: Name of the command, or of the pair of commands.
        variant: What is disturbed, where the part disturbs more than one thing.
        number: Number of the step, or of the draw.
    """

    part: str
    case: str
    variant: str = ""
    number: int = 0

    @property
    def key(self) -> str:
        return "/".join(str(text) for text in (self.part, self.case, self.variant, self.number) if text != "")

    def draw(self, seed: int) -> random.Random:
        """Return a generator of its own, so that a trial is the same in whichever order the trials are taken."""
        return random.Random(f"{seed}/{self.key}")


@dataclass(frozen=True)
class Outcome:
    """Hold how a trial ended, and why where it ended wrongly."""

    name: str
    why: str = ""


def failure(why: str) -> Outcome:
    return Outcome(FAILURE, why)


@dataclass(frozen=True)
class Part:
    """Describe a part of the torture.

    Attributes:
        title: What is done.
        trials: Lists the trials for some of the commands.
        take: Takes one of them.
        is_short: Whether the short form has a trial.
    """

    title: str
    trials: Callable[[Workplace, Sequence[Case]], list[Trial]]
    take: Callable[[Workplace, Trial], Outcome]
    is_short: Callable[[Trial], bool] = lambda trial: False
