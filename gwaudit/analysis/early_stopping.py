"""Which epoch to keep, from the alignments of the training set alone: no validation data.

The rules of gradient-weight alignment (arXiv 2510.25480), over the epochs' E (mean), K (excess kurtosis) and GWA:

- `gwa-scratch`, training from scratch: skip the first 10 % of the epochs, then the largest GWA;
- `gwa-finetune`, fine-tuning: the first minimum of GWA, then the largest GWA after it;
- `dispersion`: the smallest K after the peak of E;
- `last`: the last epoch.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gwaudit.core.errors import SettingsError
from gwaudit.core.settings import RULES, Rule
from gwaudit.recording.moments import EpochMoments
from gwaudit.store.store import TrajectoryStore

SKIPPED_SHARE = 0.1


@dataclass(frozen=True)
class SelectedEpoch:
    """An epoch, counted from 0, why it is the one, and whether no later epoch can change that."""

    epoch: int
    reason: str
    settled: bool = False


def recorded_moments(store: TrajectoryStore) -> list[EpochMoments]:
    """The moments of a run's epochs of training, as they were committed."""
    commits = [store.commit(epoch) for epoch in store.training_epochs]
    return [
        EpochMoments(
            store.n_rows - commit.missing,
            commit.metrics["directional_alignment"],
            commit.metrics["dispersion"],
            commit.metrics["gwa"],
            math.isnan(commit.metrics["gwa"]),
        )
        for commit in commits
    ]


def select_epoch(rule: Rule, moments: Sequence[EpochMoments], *, total_epochs: int) -> SelectedEpoch:
    """The epoch that a rule keeps, of those seen so far.

    Args:
        rule: one of `RULES`.
        moments: of epochs 0 to k-1, k >= 1. Epochs whose GWA is NaN (two-humped) are never the largest.
        total_epochs: that the run is planned for, which the skipped share refers to.

    Raises:
        SettingsError: an unknown rule.
    """
    last = len(moments) - 1
    if rule == "last":
        return SelectedEpoch(last, "the last epoch")
    if rule == "gwa-scratch":
        skipped = min(math.ceil(SKIPPED_SHARE * total_epochs), last)
        return _largest_gwa(moments, skipped, f"after the first {skipped} epochs")
    if rule == "gwa-finetune":
        minimum = _first_minimum([m.gwa for m in moments])
        if minimum is None:
            return SelectedEpoch(last, "the last epoch: GWA has no minimum yet")
        return _largest_gwa(moments, minimum, f"after its first minimum (epoch {minimum + 1})")
    if rule == "dispersion":
        peak = max(range(len(moments)), key=lambda epoch: _or_low(moments[epoch].directional_alignment))
        least = min(range(peak, len(moments)), key=lambda epoch: -_or_low(-moments[epoch].dispersion))
        return SelectedEpoch(least, f"the smallest K after the peak of E (epoch {peak + 1})")
    raise SettingsError(f"unknown selection rule {rule!r}: choose from {', '.join(RULES)}")


def should_stop(rule: Rule, moments: Sequence[EpochMoments], *, patience: int, total_epochs: int) -> bool:
    """Whether the rule's choice has stood for `patience` epochs, as seen while the training runs."""
    if rule == "last" or len(moments) <= math.ceil(SKIPPED_SHARE * total_epochs):
        return False
    return len(moments) - 1 - select_epoch(rule, moments, total_epochs=total_epochs).epoch >= patience


def _largest_gwa(moments: Sequence[EpochMoments], start: int, where: str) -> SelectedEpoch:
    best = max(range(start, len(moments)), key=lambda epoch: _or_low(moments[epoch].gwa))
    if math.isnan(moments[best].gwa):
        return SelectedEpoch(len(moments) - 1, f"the last epoch: K makes every GWA {where} meaningless")
    return SelectedEpoch(best, f"the largest GWA {where}")


def _first_minimum(values: Sequence[float]) -> int | None:
    for epoch in range(len(values) - 1):
        if values[epoch] < values[epoch + 1] and (epoch == 0 or values[epoch] <= values[epoch - 1]):
            return epoch
    return None


def _or_low(value: float) -> float:
    return -math.inf if math.isnan(value) else value
