"""Judge a ranked run by signals that need no true labels: trust it, use the order alone, or do not use it.

`gwaudit.analysis.run_signals` measures the signals; `judge` compares them with the thresholds that stand here. It reads
nothing else, so that thresholds can be set on recorded signals without training again.

The levels, and what a ranking offers at each:

| level | order | count | probabilities | cleaned data |
|---|---|---|---|---|
| trust it | yes | the fitted cut | yes | yes |
| use the order | yes | yours alone (`top`, `budget`, `cut`) | no | with a count of yours |
| do not use | no | yours alone | no | no |
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self, get_args

Level = Literal["trust it", "use the order", "do not use"]
LEVELS: tuple[Level, ...] = get_args(Level)
"""The levels, the best first."""


@dataclass(frozen=True)
class Signals:
    """Hold what is measured of a run to judge it; None where it was not recorded.

    Shares are of the recorded rows, in [0, 1].

    Attributes:
        rows: number of recorded rows: of samples, or of pairs of sample and class in a multi-label run.
        classes: number of classes that rows have.
        epochs: number of training epochs.
        steps: number of optimizer steps of the training.
        accuracy: share of the rows whose given label most epochs of the window predict.
        last_accuracy: share of the given labels that the last epoch predicted.
        largest_class: share of the most frequent given label.
        first_loss: mean cross entropy of the given labels in the first epoch, in nats.
        last_loss: that of the last epoch.
        prior_loss: cross entropy of the shares of the classes, the loss of a model that ignores its inputs, in nats.
        unlearned: share of the rows in classes of which no row was predicted right.
        flagged: share of the rows above the fitted cut.
        flagged_class: the highest share of a class above the fitted cut.
        expected_wrong: expected share of wrong labels.
    """

    rows: int
    classes: int
    epochs: int
    steps: int | None = None
    accuracy: float | None = None
    last_accuracy: float | None = None
    largest_class: float | None = None
    first_loss: float | None = None
    last_loss: float | None = None
    prior_loss: float | None = None
    unlearned: float | None = None
    flagged: float | None = None
    flagged_class: float | None = None
    expected_wrong: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the signals as JSON can hold them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the signals that `to_dict` gave; those of other versions are left out."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})


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
        return asdict(self)

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


def judge(signals: Signals) -> Verdict:
    """Return the verdict on a run, from its signals alone."""
    findings = [finding for check in _CHECKS for finding in check(signals)]
    findings.sort(key=lambda finding: -LEVELS.index(finding.level))
    return Verdict(findings[0].level if findings else "trust it", tuple(findings), signals)


MOST_FLAGGED = 0.5
"""Data of which people use the labels are mostly right: a cut that flags more shows a network that has not learned."""

DIVERGED = 2.0
"""The last loss, as a multiple of that of a model that ignores its inputs, above which the weights have diverged."""


def _diverged(s: Signals) -> Iterator[Finding]:
    if s.last_loss is not None and s.prior_loss and s.last_loss > DIVERGED * s.prior_loss:
        yield Finding(
            "last_loss",
            s.last_loss,
            "do not use",
            f"the training diverged: the last loss is {s.last_loss:.3g} nats, a model that ignores its inputs has "
            f"{s.prior_loss:.3g}",
            "train with a lower `learning_rate`",
        )


def _flags_most(s: Signals) -> Iterator[Finding]:
    share = max(s.flagged or 0.0, s.expected_wrong or 0.0)
    if share > MOST_FLAGGED:
        yield Finding(
            "flagged",
            share,
            "do not use",
            f"{share:.0%} of the labels look wrong: the network has hardly learned these data",
            "train for more `epochs`, or with another `model`, `head` or `learning_rate`",
        )


_CHECKS: tuple[Callable[[Signals], Iterator[Finding]], ...] = (_diverged, _flags_most)
