"""Hold the verdict on a ranked run: trust it, use the order alone, or do not use it, each with the reasons.

`gwaudit.analysis.verdict_checks` gives it. The levels, and what a ranking offers at each:

| level | order | count | probabilities | cleaned data |
|---|---|---|---|---|
| trust it | yes | the fitted cut | yes | yes |
| use the order | yes | yours alone (`top`, `budget`, `cut`) | no | with a count of yours |
| do not use | no | yours alone | no | no |
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self, get_args

from gwaudit.analysis.signals import Signals

Level = Literal["trust it", "use the order", "do not use"]
LEVELS: tuple[Level, ...] = get_args(Level)
"""The levels, the best first."""


@dataclass(frozen=True)
class Finding:
    """Describe one reason not to trust a run.

    Attributes:
        signal: name of the field of `Signals`.
        value: its value.
        level: the best level that the run can have with it.
        reason: sentence about the run.
        remedy: sentence about what to do.
    """

    signal: str
    value: float
    level: Level
    reason: str
    remedy: str


@dataclass(frozen=True)
class Verdict:
    """Hold the verdict on a run.

    Attributes:
        level: the level; the worst of the findings.
        findings: the reasons, the worst first; none for a run to trust.
        signals: the signals that were judged; None for an audit that was made by hand.
    """

    level: Level = "trust it"
    findings: tuple[Finding, ...] = ()
    signals: Signals | None = None

    @property
    def is_trusted(self) -> bool:
        """Return whether cut, counts and probabilities can be trusted."""
        return self.level == "trust it"

    @property
    def headline(self) -> str:
        """Return the verdict as one sentence."""
        return HEADLINES[self.level]

    @property
    def short_reason(self) -> str:
        """Return the level and, below trust, the first reason, on one line."""
        return self.level if not self.findings else f"{self.level}: {self.findings[0].reason}"

    def to_dict(self) -> dict[str, Any]:
        """Return level, findings and signals as JSON can hold them."""
        return {**asdict(self), "signals": None if self.signals is None else self.signals.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the verdict that `to_dict` gave.

        Raises:
            ValueError: There is no such level.
        """
        if values["level"] not in LEVELS:
            raise ValueError(f"there is no verdict {values['level']!r}")
        signals = values["signals"]
        return cls(
            values["level"],
            tuple(Finding(**finding) for finding in values["findings"]),
            None if signals is None else Signals.from_dict(signals),
        )


UNJUDGED = Verdict()
"""The verdict of an audit that was made by hand, without a run: it is trusted."""

HEADLINES: Mapping[Level, str] = {
    "trust it": "Trust it: the signals of this run agree.",
    "use the order": "Use the order, not the count: the most suspicious stand first, but no cut can be trusted.",
    "do not use": "Do not use this ranking: it says little or nothing about the labels.",
}
