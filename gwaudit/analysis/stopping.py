"""Stopping rules on one interface: those of alignment, and those that they are compared with.

A rule reads recorded curves, a number an epoch, and says which epoch to keep: a pure function of what has been seen.
Over a whole run that is its choice in hindsight. `OnlineStopping` feeds it an epoch at a time, as in real life: it says
after each epoch whether to keep its weights and whether to stop. Any rule chooses either the epoch that has just ended
or the one it chose before, so that one checkpoint is all that it needs.

| rule | reads | chooses |
|---|---|---|
| `gwa-scratch`, `gwa-finetune`, `dispersion` | E, K, GWA | as `gwaudit.analysis.early_stopping` says |
| `floored-gwa`, `bounded-gwa`, `quantile-gwa` | `gwaudit.recording.moments` | as `gwa-scratch`, without GWA's pole |
| `labelwave` | prediction changes | the first minimum of their moving average (Yuan et al., ICLR 2024) |
| `gradient-disparity` | gradient disparity | where it has risen five times (Forouzesh and Thiran, ECML 2021) |
| `validation` | validation accuracy | the largest, on samples that are kept out of the training |
| `last` | nothing | the last epoch |
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from gwaudit.analysis.early_stopping import SKIPPED_SHARE, SelectedEpoch, select_epoch
from gwaudit.core.errors import SettingsError
from gwaudit.core.settings import Rule
from gwaudit.recording.moments import EpochMoments

Curves = Mapping[str, Sequence[float]]
"""Signals by name, a number an epoch each, all of one length; NaN where an epoch has none."""

PATIENCE = 5
WAVE_WINDOW = 3
WAVE_PATIENCE = 3
DISPARITY_RISES = 5

_MOMENTS = ("directional_alignment", "dispersion", "gwa")


@dataclass(frozen=True)
class StoppingRule:
    """What chooses an epoch.

    Attributes:
        name: what it is called.
        signals: the curves that it reads.
        choose: the curves of epochs 0 to k-1, k >= 1, and the epochs that the run is planned for -> its choice.
        patience: epochs that the choice has to stand before the training stops; None where the rule itself says when
            its choice is settled, or never.
    """

    name: str
    signals: tuple[str, ...]
    choose: Callable[[Curves, int], SelectedEpoch]
    patience: int | None = PATIENCE

    def stops(self, curves: Curves, total_epochs: int) -> bool:
        """Whether a training that has seen these curves ends here; never within the first tenth of the epochs."""
        choice = self.choose(curves, total_epochs)
        seen = _length(curves, self.signals)
        if choice.settled:
            return True
        if self.patience is None or seen <= math.ceil(SKIPPED_SHARE * total_epochs):
            return False
        return seen - 1 - choice.epoch >= self.patience


@dataclass(frozen=True)
class StoppingDecision:
    """What a rule says after an epoch: its choice so far, whether these weights are it, and whether to stop."""

    choice: SelectedEpoch
    keep: bool
    stop: bool


class OnlineStopping:
    """A rule as a training meets it: fed an epoch at a time, it never sees what is to come.

    Args:
        rule: the rule.
        total_epochs: that the training is planned for.

    Example:
        >>> stopping = OnlineStopping(rule("validation", patience=2), total_epochs=10)
        >>> [stopping.update({"validation_accuracy": value}).stop for value in (0.5, 0.7, 0.6, 0.65)]
        [False, False, False, True]
        >>> stopping.decision.choice.epoch
        1
    """

    def __init__(self, rule: StoppingRule, *, total_epochs: int) -> None:
        if total_epochs < 1:
            raise SettingsError(f"total_epochs: expected at least 1, got {total_epochs}")
        self.rule = rule
        self._total = total_epochs
        self._curves: dict[str, list[float]] = {name: [] for name in rule.signals}
        self._seen = 0
        self._decision: StoppingDecision | None = None

    @property
    def decision(self) -> StoppingDecision:
        """The last one.

        Raises:
            SettingsError: no epoch has been seen.
        """
        if self._decision is None:
            raise SettingsError(f"{self.rule.name} has seen no epoch yet: call update() after each")
        return self._decision

    def update(self, reading: Mapping[str, float]) -> StoppingDecision:
        """Take in an epoch. After a decision to stop nothing changes any more.

        Args:
            reading: the rule's signals (others are ignored).

        Raises:
            SettingsError: a signal is missing.
        """
        if self._decision is not None and self._decision.stop:
            return self._decision
        for name, curve in self._curves.items():
            if name not in reading:
                raise SettingsError(f"{self.rule.name} needs {name!r} of every epoch; got {', '.join(sorted(reading))}")
            curve.append(float(reading[name]))
        self._seen += 1
        curves: Curves = self._curves or {"": [math.nan] * self._seen}
        choice = self.rule.choose(curves, self._total)
        self._decision = StoppingDecision(choice, choice.epoch == self._seen - 1, self.rule.stops(curves, self._total))
        return self._decision


def stopping_rule(name: str, *, patience: int = PATIENCE) -> StoppingRule:
    """A rule by its name.

    Args:
        name: one of `RULE_NAMES`.
        patience: of rules that stop when their choice has stood for so many epochs.

    Raises:
        SettingsError: an unknown rule, or patience below 1.
    """
    if name not in _RULES:
        raise SettingsError(f"unknown stopping rule {name!r}: choose from {', '.join(_RULES)}")
    if patience < 1:
        raise SettingsError(f"patience: expected at least 1 epoch, got {patience}")
    found = _RULES[name]
    return found if found.patience is None else replace(found, patience=patience)


def moving_average(values: Sequence[float], window: int) -> list[float]:
    """The mean of each value and up to window - 1 before it, NaN left out (and where there is nothing else)."""
    means = []
    for end in range(1, len(values) + 1):
        known = [value for value in values[max(0, end - window) : end] if not math.isnan(value)]
        means.append(sum(known) / len(known) if known else math.nan)
    return means


def _length(curves: Curves, signals: Sequence[str]) -> int:
    return len(curves[signals[0]]) if signals else len(next(iter(curves.values())))


def _by_moments(name: Rule) -> StoppingRule:
    def choose(curves: Curves, total_epochs: int) -> SelectedEpoch:
        rows = zip(*(curves[signal] for signal in _MOMENTS), strict=True)
        moments = [EpochMoments(0, e, k, gwa, math.isnan(gwa)) for e, k, gwa in rows]
        return select_epoch(name, moments, total_epochs=total_epochs)

    return StoppingRule(name, _MOMENTS, choose)


def _by_largest(name: str, signal: str, *, skip: bool) -> StoppingRule:
    def choose(curves: Curves, total_epochs: int) -> SelectedEpoch:
        curve = curves[signal]
        last = len(curve) - 1
        start = min(math.ceil(SKIPPED_SHARE * total_epochs), last) if skip else 0
        best = max(range(start, last + 1), key=lambda epoch: -math.inf if math.isnan(curve[epoch]) else curve[epoch])
        what = signal.replace("_", " ")
        if math.isnan(curve[best]):
            return SelectedEpoch(last, f"the last epoch: there is no {what} yet")
        return SelectedEpoch(best, f"the largest {what}" + (f" after the first {start} epochs" if skip else ""))

    return StoppingRule(name, (signal,), choose)


def _labelwave() -> StoppingRule:
    def choose(curves: Curves, total_epochs: int) -> SelectedEpoch:
        waves = moving_average(curves["prediction_changes"], WAVE_WINDOW)
        least = 0
        for epoch, wave in enumerate(waves):
            if math.isnan(waves[least]) or wave < waves[least]:
                least = epoch
            if epoch - least >= WAVE_PATIENCE:
                reason = f"the first minimum of prediction changes, {WAVE_WINDOW} epochs averaged"
                return SelectedEpoch(least, reason, settled=True)
        return SelectedEpoch(least, "the fewest prediction changes so far")

    return StoppingRule("labelwave", ("prediction_changes",), choose, patience=None)


def _gradient_disparity() -> StoppingRule:
    def choose(curves: Curves, total_epochs: int) -> SelectedEpoch:
        curve, rises = curves["gradient_disparity"], 0
        for epoch in range(1, len(curve)):
            rises += curve[epoch] > curve[epoch - 1]
            if rises == DISPARITY_RISES:
                return SelectedEpoch(epoch, f"gradient disparity has risen {rises} times", settled=True)
        return SelectedEpoch(len(curve) - 1, f"gradient disparity has risen {rises} times so far")

    return StoppingRule("gradient-disparity", ("gradient_disparity",), choose, patience=None)


def _last() -> StoppingRule:
    def choose(curves: Curves, total_epochs: int) -> SelectedEpoch:
        return SelectedEpoch(_length(curves, ()) - 1, "the last epoch")

    return StoppingRule("last", (), choose, patience=None)


_RULES: dict[str, StoppingRule] = {
    found.name: found
    for found in (
        _by_moments("gwa-scratch"),
        _by_moments("gwa-finetune"),
        _by_moments("dispersion"),
        _by_largest("floored-gwa", "floored_gwa", skip=True),
        _by_largest("bounded-gwa", "bounded_gwa", skip=True),
        _by_largest("quantile-gwa", "quantile_gwa", skip=True),
        _labelwave(),
        _gradient_disparity(),
        _by_largest("validation", "validation_accuracy", skip=False),
        _last(),
    )
}
RULE_NAMES: tuple[str, ...] = tuple(_RULES)
"""All rules."""
