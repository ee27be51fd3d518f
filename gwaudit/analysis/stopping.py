"""Choose the epoch to keep and the epoch to stop at: every stopping rule that gwaudit has, in one registry.

A rule reads recorded curves, a number an epoch, and selects the epoch to keep from those seen so far. Over a whole run
that is its choice in hindsight. `OnlineStopping` gives it one epoch at a time, as in a training: after each epoch it
says whether to keep the weights and whether to stop. Every rule selects either the epoch that has just ended or the one
that it selected before, so that one checkpoint is enough.

| rule | signals | selects |
|---|---|---|
| `last` | none | the last epoch |
| `gwa-scratch` | E, K, GWA | the largest GWA after the first tenth of the epochs (arXiv 2510.25480) |
| `gwa-finetune` | E, K, GWA | the largest GWA after its first minimum (the same paper) |
| `dispersion` | E, K, GWA | the smallest K after the peak of E (the same paper) |
| `floored-gwa`, `bounded-gwa`, `quantile-gwa` | variants of GWA without its singularity | as `gwa-scratch` |
| `labelwave` | prediction changes | the first minimum of their moving average (Yuan et al., ICLR 2024) |
| `gradient-disparity` | gradient disparity | where it has risen five times (Forouzesh and Thiran, ECML 2021) |
| `validation` | validation accuracy | the largest, on samples that are held out of the training |

To add one, write a function and one line of `RULES`: `TrainingSettings.select`, `gwaudit.AlignmentMonitor` and the
stopping benchmark then take it by its name.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from gwaudit.core.errors import SettingsError

Curves = Mapping[str, Sequence[float]]
"""Signals by name, a number an epoch each, all of one length; NaN where an epoch has none."""

RECORDED_SIGNALS = (
    "directional_alignment", "dispersion", "gwa", "floored_gwa", "bounded_gwa", "quantile_gwa", "prediction_changes",
)  # fmt: skip
"""The signals that every recorded run has. Rules that read others need a training that measures them."""

SKIPPED_SHARE = 0.1
PATIENCE = 5
WAVE_WINDOW = 3
WAVE_PATIENCE = 3
DISPARITY_RISES = 5

_MOMENTS = ("directional_alignment", "dispersion", "gwa")


@dataclass(frozen=True)
class SelectedEpoch:
    """Hold the epoch that a rule selects.

    Attributes:
        epoch: counted from 0.
        reason: why this one.
        settled: whether no later epoch can change the choice.
    """

    epoch: int
    reason: str
    settled: bool = False


@dataclass(frozen=True)
class StoppingRule:
    """Describe a rule, as it stands in the registry.

    Attributes:
        name: its name.
        signals: the curves that it reads.
        choose: takes the curves of epochs 0 to k-1, k >= 1, and the number of epochs that the run is planned for;
            returns the epoch selected so far.
        patience: epochs that the choice has to stand before the training stops; None where the rule itself settles its
            choice, or never stops.
    """

    name: str
    signals: tuple[str, ...]
    choose: Callable[[Curves, int], SelectedEpoch]
    patience: int | None = PATIENCE

    def stops(self, curves: Curves, total_epochs: int) -> bool:
        """Return whether a training with these curves ends here; never within the first tenth of the epochs."""
        choice, seen = self.choose(curves, total_epochs), _n_epochs(curves)
        if choice.settled:
            return True
        if self.patience is None or seen <= math.ceil(SKIPPED_SHARE * total_epochs):
            return False
        return seen - 1 - choice.epoch >= self.patience


@dataclass(frozen=True)
class StoppingDecision:
    """Hold what a rule decides after an epoch.

    Attributes:
        choice: the epoch selected so far.
        keep: whether it is the epoch that has just ended: keep these weights.
        stop: whether to stop the training.
    """

    choice: SelectedEpoch
    keep: bool
    stop: bool


class OnlineStopping:
    """Apply a rule while a training runs, one epoch at a time.

    Args:
        rule: the rule, or its name in `RULES`.
        total_epochs: number of epochs that the training is planned for.

    Raises:
        SettingsError: total_epochs is below 1, or there is no such rule.

    Example:
        >>> stopping = OnlineStopping(stopping_rule("validation", patience=2), total_epochs=10)
        >>> [stopping.update({"validation_accuracy": value}).stop for value in (0.5, 0.7, 0.6, 0.65)]
        [False, False, False, True]
        >>> stopping.decision.choice.epoch
        1
    """

    def __init__(self, rule: StoppingRule | str, *, total_epochs: int) -> None:
        if total_epochs < 1:
            raise SettingsError(f"total_epochs: expected at least 1, got {total_epochs}")
        self.rule = rule = stopping_rule(rule) if isinstance(rule, str) else rule
        self._total = total_epochs
        self._curves: dict[str, list[float]] = {name: [] for name in rule.signals}
        self._seen = 0
        self._decision: StoppingDecision | None = None

    @property
    def decision(self) -> StoppingDecision:
        """Return the decision of the last epoch.

        Raises:
            SettingsError: No epoch has been seen.
        """
        if self._decision is None:
            raise SettingsError(f"{self.rule.name} has seen no epoch yet: call update() after each")
        return self._decision

    def update(self, reading: Mapping[str, float]) -> StoppingDecision:
        """Add an epoch and return the decision. After a decision to stop, nothing changes any more.

        Args:
            reading: the rule's signals (others are ignored).

        Raises:
            SettingsError: A signal is missing.
        """
        if self._decision is not None and self._decision.stop:
            return self._decision
        for name, curve in self._curves.items():
            if name not in reading:
                raise SettingsError(f"{self.rule.name} needs {name!r} of every epoch; got {', '.join(sorted(reading))}")
            curve.append(float(reading[name]))
        self._seen += 1
        curves = self._curves or placeholder_curves(self._seen)
        choice = self.rule.choose(curves, self._total)
        self._decision = StoppingDecision(choice, choice.epoch == self._seen - 1, self.rule.stops(curves, self._total))
        return self._decision


def stopping_rule(name: str, *, patience: int = PATIENCE) -> StoppingRule:
    """Return the rule of a name.

    Args:
        name: a name of `RULES`.
        patience: epochs that a choice has to stand; ignored by rules that settle their choice themselves.

    Raises:
        SettingsError: There is no such rule, or patience is below 1.
    """
    if name not in RULES:
        raise SettingsError(f"unknown stopping rule {name!r}: choose from {', '.join(RULES)}")
    if patience < 1:
        raise SettingsError(f"patience: expected at least 1 epoch, got {patience}")
    rule = RULES[name]
    return rule if rule.patience is None else replace(rule, patience=patience)


def recorded_rules() -> tuple[str, ...]:
    """Return the names of the rules that every recorded run has the signals of."""
    return tuple(name for name, rule in RULES.items() if set(rule.signals) <= set(RECORDED_SIGNALS))


def training_rule(name: str, *, patience: int = PATIENCE) -> StoppingRule:
    """Return the rule of a name, for a training that measures nothing but what every run records.

    Raises:
        SettingsError: There is no such rule, or it reads a signal that the training does not measure.
    """
    rule = stopping_rule(name, patience=patience)
    missing = [signal for signal in rule.signals if signal not in RECORDED_SIGNALS]
    if missing:
        raise SettingsError(
            f"`select`: the rule {name!r} reads {missing[0]}, which this training does not measure; choose from "
            f"{', '.join(recorded_rules())}, or use AlignmentMonitor in a training loop of your own that measures it"
        )
    return rule


def placeholder_curves(n_epochs: int) -> Curves:
    """Return curves of a number of epochs for a rule that reads no signal."""
    return {"": [math.nan] * n_epochs}


def last(curves: Curves, total_epochs: int) -> SelectedEpoch:
    """Select the last epoch."""
    return SelectedEpoch(_n_epochs(curves) - 1, "the last epoch")


def gwa_scratch(curves: Curves, total_epochs: int) -> SelectedEpoch:
    """Select the largest GWA after the first tenth of the planned epochs (training from scratch)."""
    skipped = _skipped(curves["gwa"], total_epochs)
    return _largest_gwa(curves["gwa"], skipped, f"after the first {skipped} epochs")


def gwa_finetune(curves: Curves, total_epochs: int) -> SelectedEpoch:
    """Select the largest GWA after its first minimum (fine-tuning)."""
    gwa = curves["gwa"]
    minimum = _first_minimum(gwa)
    if minimum is None:
        return SelectedEpoch(len(gwa) - 1, "the last epoch: GWA has no minimum yet")
    return _largest_gwa(gwa, minimum, f"after its first minimum (epoch {minimum + 1})")


def dispersion(curves: Curves, total_epochs: int) -> SelectedEpoch:
    """Select the smallest K after the peak of E."""
    e, k = curves["directional_alignment"], curves["dispersion"]
    peak = max(range(len(e)), key=lambda epoch: _nan_as_lowest(e[epoch]))
    least = min(range(peak, len(k)), key=lambda epoch: -_nan_as_lowest(-k[epoch]))
    return SelectedEpoch(least, f"the smallest K after the peak of E (epoch {peak + 1})")


def floored_gwa(curves: Curves, total_epochs: int) -> SelectedEpoch:
    """Select the largest floored GWA after the first tenth of the planned epochs."""
    return _largest(curves, "floored_gwa", _skipped(curves["floored_gwa"], total_epochs))


def bounded_gwa(curves: Curves, total_epochs: int) -> SelectedEpoch:
    """Select the largest bounded GWA after the first tenth of the planned epochs."""
    return _largest(curves, "bounded_gwa", _skipped(curves["bounded_gwa"], total_epochs))


def quantile_gwa(curves: Curves, total_epochs: int) -> SelectedEpoch:
    """Select the largest quantile GWA after the first tenth of the planned epochs."""
    return _largest(curves, "quantile_gwa", _skipped(curves["quantile_gwa"], total_epochs))


def labelwave(curves: Curves, total_epochs: int) -> SelectedEpoch:
    """Select the first minimum of the prediction changes, averaged over 3 epochs, that stands for 3 epochs."""
    waves = moving_average(curves["prediction_changes"], WAVE_WINDOW)
    least = 0
    for epoch, wave in enumerate(waves):
        if math.isnan(waves[least]) or wave < waves[least]:
            least = epoch
        if epoch - least >= WAVE_PATIENCE:
            reason = f"the first minimum of prediction changes, {WAVE_WINDOW} epochs averaged"
            return SelectedEpoch(least, reason, settled=True)
    return SelectedEpoch(least, "the fewest prediction changes so far")


def gradient_disparity(curves: Curves, total_epochs: int) -> SelectedEpoch:
    """Select the epoch at which gradient disparity has risen for the fifth time."""
    curve, rises = curves["gradient_disparity"], 0
    for epoch in range(1, len(curve)):
        rises += curve[epoch] > curve[epoch - 1]
        if rises == DISPARITY_RISES:
            return SelectedEpoch(epoch, f"gradient disparity has risen {rises} times", settled=True)
    return SelectedEpoch(len(curve) - 1, f"gradient disparity has risen {rises} times so far")


def validation(curves: Curves, total_epochs: int) -> SelectedEpoch:
    """Select the largest validation accuracy."""
    return _largest(curves, "validation_accuracy")


RULES: dict[str, StoppingRule] = {
    rule.name: rule
    for rule in (
        StoppingRule("gwa-scratch", _MOMENTS, gwa_scratch),
        StoppingRule("gwa-finetune", _MOMENTS, gwa_finetune),
        StoppingRule("dispersion", _MOMENTS, dispersion),
        StoppingRule("floored-gwa", ("floored_gwa",), floored_gwa),
        StoppingRule("bounded-gwa", ("bounded_gwa",), bounded_gwa),
        StoppingRule("quantile-gwa", ("quantile_gwa",), quantile_gwa),
        StoppingRule("labelwave", ("prediction_changes",), labelwave, patience=None),
        StoppingRule("gradient-disparity", ("gradient_disparity",), gradient_disparity, patience=None),
        StoppingRule("validation", ("validation_accuracy",), validation),
        StoppingRule("last", (), last, patience=None),
    )
}
"""Every stopping rule, by name."""


def moving_average(values: Sequence[float], window: int) -> list[float]:
    """Return the mean of each value and up to window - 1 values before it, without NaN; NaN where all of them are."""
    means = []
    for end in range(1, len(values) + 1):
        known = [value for value in values[max(0, end - window) : end] if not math.isnan(value)]
        means.append(sum(known) / len(known) if known else math.nan)
    return means


def _n_epochs(curves: Curves) -> int:
    return len(next(iter(curves.values())))


def _skipped(curve: Sequence[float], total_epochs: int) -> int:
    """Return the number of epochs at the start that are not selected, at most all but one."""
    return min(math.ceil(SKIPPED_SHARE * total_epochs), len(curve) - 1)


def _largest_gwa(gwa: Sequence[float], start: int, where: str) -> SelectedEpoch:
    best = max(range(start, len(gwa)), key=lambda epoch: _nan_as_lowest(gwa[epoch]))
    if math.isnan(gwa[best]):
        return SelectedEpoch(len(gwa) - 1, f"the last epoch: K makes every GWA {where} meaningless")
    return SelectedEpoch(best, f"the largest GWA {where}")


def _largest(curves: Curves, signal: str, skipped: int | None = None) -> SelectedEpoch:
    curve, name = curves[signal], signal.replace("_", " ")
    best = max(range(skipped or 0, len(curve)), key=lambda epoch: _nan_as_lowest(curve[epoch]))
    if math.isnan(curve[best]):
        return SelectedEpoch(len(curve) - 1, f"the last epoch: there is no {name} yet")
    return SelectedEpoch(
        best, f"the largest {name}" + ("" if skipped is None else f" after the first {skipped} epochs")
    )


def _first_minimum(values: Sequence[float]) -> int | None:
    for epoch in range(len(values) - 1):
        if values[epoch] < values[epoch + 1] and (epoch == 0 or values[epoch] <= values[epoch - 1]):
            return epoch
    return None


def _nan_as_lowest(value: float) -> float:
    return -math.inf if math.isnan(value) else value
