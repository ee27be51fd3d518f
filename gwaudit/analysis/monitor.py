"""Read E, K and GWA of each epoch, of all samples and of groups, from a finished run or while it is trained.

    monitor = AlignmentMonitor(store, rules=["gwa-scratch", "labelwave"], total_epochs=30, on_epoch=print)
    with AlignmentRecorder(model, store) as recorder:
        for epoch in range(30):
            ...
            recorder.end_epoch()
            reading = monitor.end_epoch()
            if reading.decisions["gwa-scratch"].keep:
                torch.save(model.state_dict(), "best.pt")
            if reading.decisions["gwa-scratch"].stop:
                break

A reading is computed from the rows of the epoch in the store, so a live reading and one of a finished run (`readings`)
are the same numbers. Beside the exact moments it has those of the recorder's moving averages, which need no store.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray

from gwaudit.analysis.stopping import (
    PATIENCE,
    RULES,
    Curves,
    OnlineStopping,
    SelectedEpoch,
    StoppingDecision,
    placeholder_curves,
    stopping_rule,
    training_rule,
)
from gwaudit.core.errors import SettingsError
from gwaudit.recording.moments import bounded_gwa, epoch_moments, floored_gwa, quantile_gwa
from gwaudit.store.store import MISSING_LABEL, TrajectoryStore

GROUP_COLUMNS = (
    "count", "directional_alignment", "dispersion", "gwa", "floored_gwa", "bounded_gwa", "quantile_gwa",
)  # fmt: skip
"""The columns of the readings of a group."""


@dataclass(frozen=True)
class EpochReading:
    """Hold what the alignments of one epoch show.

    Attributes:
        epoch: the epoch, counted from 0.
        signals: numbers by name. `directional_alignment` (E), `dispersion` (K), `gwa` (NaN if K is near its
            singularity); `floored_gwa`, `bounded_gwa` and `quantile_gwa` of `gwaudit.recording.moments`;
            `prediction_changes`, the number of samples whose prediction differs from that of the epoch before (NaN for
            the first); and all numbers that were committed with the epoch, as `accuracy_on_given`, `mean_loss`, and
            the estimates by moving averages, `moving_directional_alignment`, `moving_dispersion`, `moving_gwa`.
        groups: a row a group, index `group`, with `GROUP_COLUMNS`; None without groups.
        decisions: the decision of each rule, by its name.
    """

    epoch: int
    signals: Mapping[str, float]
    groups: pd.DataFrame | None = None
    decisions: Mapping[str, StoppingDecision] = field(default_factory=dict)


class AlignmentMonitor:
    """Read each epoch as it is committed, and apply stopping rules to it.

    Args:
        store: the run, as the recorder writes it or opened for reading. Epochs that it has already, as a resumed run,
            are read first.
        rules: names of `gwaudit.analysis.stopping.RULES`.
        total_epochs: number of epochs that the training is planned for.
        patience: epochs that the choice of a rule has to stand before it stops.
        groups: [n] the group of each sample by its id, any values; or "class" for the given labels. In a multi-label
            run [n C], the group of each (sample, class); "class" for its class.
        on_epoch: called with each new reading.

    Raises:
        SettingsError: There is no such rule, rules are no list of names, or groups are not one for each sample.
    """

    def __init__(
        self,
        store: TrajectoryStore,
        *,
        rules: Sequence[str] = (),
        total_epochs: int = 1,
        patience: int = PATIENCE,
        groups: ArrayLike | str | None = None,
        on_epoch: Callable[[EpochReading], None] | None = None,
    ) -> None:
        if isinstance(rules, str):
            raise SettingsError(f"rules: expected a list of names, not a text: [{rules!r}]")
        self._store = store
        self._groups = _checked_groups(store, groups)
        self._stopping = {
            name: OnlineStopping(stopping_rule(name, patience=patience), total_epochs=total_epochs) for name in rules
        }
        self._on_epoch = on_epoch
        self._predicted: NDArray[Any] | None = None
        self.readings: list[EpochReading] = []
        for _ in store.training_epochs:
            self._read({})

    def end_epoch(self, signals: Mapping[str, float] | None = None) -> EpochReading:
        """Read the epoch that has just been committed.

        Args:
            signals: numbers that are measured elsewhere, as `validation_accuracy` or `gradient_disparity` for the
                rules that read them. Commit them, by `recorder.end_epoch(signals)`, for a resumed run to have them.

        Raises:
            SettingsError: No epoch was committed since the last reading, or a rule lacks a signal.
        """
        if len(self.readings) >= len(self._store.training_epochs):
            raise SettingsError(
                f"{self._store.path} has no epoch after the {len(self.readings)} read: call end_epoch() of the "
                "recorder first, then end_epoch() of the monitor"
            )
        reading = self._read(signals or {})
        if self._on_epoch is not None:
            self._on_epoch(reading)
        return reading

    def _read(self, extra: Mapping[str, float]) -> EpochReading:
        epoch = len(self.readings)
        alignment, predicted = _read_rows(self._store, epoch)
        signals = {**_signals(self._store, epoch, alignment, predicted, self._predicted), **extra}
        reading = EpochReading(
            epoch,
            signals,
            None if self._groups is None else group_aggregates(alignment, self._groups),
            {name: stopping.update(signals) for name, stopping in self._stopping.items()},
        )
        self._predicted = predicted
        self.readings.append(reading)
        return reading


class RecordedCurves:
    """Read the signals of a rule from a run, each epoch once.

    Args:
        store: the run; epochs may be added to it between two reads.
        signals: names of `gwaudit.analysis.stopping.RECORDED_SIGNALS`.
    """

    def __init__(self, store: TrajectoryStore, signals: Sequence[str]) -> None:
        self._store = store
        self._curves: dict[str, list[float]] = {name: [] for name in signals}
        self._n_epochs = 0
        self._predicted: NDArray[Any] | None = None

    def read(self) -> Curves:
        """Return the curves of all training epochs of the run."""
        for epoch in range(self._n_epochs, len(self._store.training_epochs)):
            signals: Mapping[str, float] = self._store.commit(epoch).metrics
            if not set(self._curves) <= set(signals):  # the commit has E, K and GWA; the others come from the rows
                alignment, predicted = _read_rows(self._store, epoch)
                signals = _signals(self._store, epoch, alignment, predicted, self._predicted)
                self._predicted = predicted
            for name, curve in self._curves.items():
                curve.append(signals[name])
        self._n_epochs = len(self._store.training_epochs)
        return self._curves or placeholder_curves(self._n_epochs)


def selected_epoch(store: TrajectoryStore, rule: str, *, total_epochs: int) -> SelectedEpoch:
    """Return the epoch that a rule selects of all training epochs of a run.

    Args:
        store: a run with at least one epoch.
        rule: its name.
        total_epochs: number of epochs that the training was planned for.

    Raises:
        SettingsError: There is no such rule, or it reads a signal that runs do not have.
    """
    found = training_rule(rule)
    return found.choose(RecordedCurves(store, found.signals).read(), total_epochs)


def readings(store: TrajectoryStore) -> pd.DataFrame:
    """Return the signals of every training epoch of a run: a row an epoch, index `epoch`, as in `EpochReading`.

    Example:
        >>> readings(TrajectoryStore.open("runs/worse"))["gwa"].index.name
        'epoch'
    """
    epochs = AlignmentMonitor(store).readings
    return pd.DataFrame([reading.signals for reading in epochs], index=pd.RangeIndex(len(epochs), name="epoch"))


@dataclass(frozen=True)
class RuleChoice:
    """Hold the epochs that a stopping rule selects of a run.

    Attributes:
        rule: name of the rule.
        hindsight: the epoch that it selects of all epochs.
        online: the epoch that it would have selected while the run was trained.
        trained: number of epochs that would have been trained then; all of them if the rule never stops.
    """

    rule: str
    hindsight: SelectedEpoch
    online: SelectedEpoch
    trained: int

    def to_dict(self) -> dict[str, Any]:
        """Return the choice as JSON can hold it, epochs counted from 1."""
        return {
            "rule": self.rule,
            "epoch": self.hindsight.epoch + 1,
            "reason": self.hindsight.reason,
            "online_epoch": self.online.epoch + 1,
            "online_trained": self.trained,
        }


def rule_choices(signals: pd.DataFrame, *, total_epochs: int, patience: int = PATIENCE) -> list[RuleChoice]:
    """Return the choices of all rules whose signals a run has, without `last`.

    Args:
        signals: as `readings` returns them, of at least one epoch.
        total_epochs: number of epochs that the training was planned for.
        patience: epochs that a choice has to stand before a rule stops.
    """
    choices = []
    for name in RULES:
        rule = stopping_rule(name, patience=patience)
        if name == "last" or not {*rule.signals} <= {*signals.columns}:
            continue
        online, trained = OnlineStopping(rule, total_epochs=total_epochs), 0
        for reading in signals.to_dict("records"):
            trained += 1
            if online.update({str(key): float(value) for key, value in reading.items()}).stop:
                break
        curves = {key: signals[key].tolist() for key in rule.signals}
        choices.append(RuleChoice(name, rule.choose(curves, total_epochs), online.decision.choice, trained))
    return choices


@dataclass(frozen=True, eq=False)
class RunAlignment:
    """Hold the alignment of a run by epoch, the choices of stopping rules, and the alignment of groups.

    Attributes:
        signals: a row an epoch, as `readings` returns them.
        choices: the choices of the stopping rules.
        groups: a row an epoch and group, as `group_readings` returns them; None without groups.
    """

    signals: pd.DataFrame
    choices: list[RuleChoice]
    groups: pd.DataFrame | None = None

    def table(self) -> pd.DataFrame:
        """Return a row an epoch, or an epoch and group if there are groups; epochs are counted from 1."""
        rows = self.signals if self.groups is None else self.groups
        return rows.reset_index().assign(epoch=lambda frame: frame["epoch"] + 1)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON can hold it (but NaN); epochs are counted from 1."""
        epochs = self.signals.reset_index().assign(epoch=self.signals.index + 1).to_dict("records")
        groups = {} if self.groups is None else {"groups": self.table().to_dict("records")}
        return {"epochs": epochs, "rules": [choice.to_dict() for choice in self.choices], **groups}


def run_alignment(
    store: TrajectoryStore, groups: ArrayLike | str | None = None, *, patience: int = PATIENCE
) -> RunAlignment:
    """Read the alignment of a run by epoch, and apply all stopping rules whose signals it has.

    Args:
        store: a run with at least one epoch.
        groups: "class" for the given labels, or the group of each row, as `AlignmentMonitor` takes them.
        patience: epochs that a choice has to stand before a rule stops.

    Raises:
        SettingsError: The run has no epoch, or the groups do not fit it.
    """
    signals = readings(store)
    if signals.empty:
        raise SettingsError(f"{store.path} has no epoch yet: train it first")
    planned = store.settings.get("training", {}).get("epochs", len(signals))
    choices = rule_choices(signals, total_epochs=planned, patience=patience)
    if groups is None:
        return RunAlignment(signals, choices)
    return RunAlignment(signals, choices, group_readings(store, groups))


def group_readings(store: TrajectoryStore, groups: ArrayLike | str = "class") -> pd.DataFrame:
    """Return E, K, GWA and its variants by epoch and group.

    Args:
        store: a run.
        groups: [n] the group of each sample by its id, or "class"; as `AlignmentMonitor` takes them.

    Returns:
        A row an epoch and group, index (`epoch`, `group`), columns `GROUP_COLUMNS`.
    """
    epochs = AlignmentMonitor(store, groups=groups).readings
    frames = {reading.epoch: reading.groups for reading in epochs if reading.groups is not None}
    if not frames:
        return pd.DataFrame(columns=list(GROUP_COLUMNS))
    return pd.concat(frames, names=["epoch"])


def group_aggregates(alignment: NDArray[np.float32], groups: NDArray[Any]) -> pd.DataFrame:
    """Return E, K, GWA and its variants of the alignments [n] of each group: a row a group, in the order of names."""
    frame = pd.DataFrame({"alignment": alignment, "group": groups})
    rows = {group: _aggregates(members.to_numpy()) for group, members in frame.groupby("group")["alignment"]}
    table = pd.DataFrame.from_dict(rows, orient="index", columns=list(GROUP_COLUMNS))
    table.index.name = "group"
    return table


@dataclass(frozen=True)
class Agreement:
    """Compare the moving averages of a run with the exact numbers.

    Attributes:
        signal: name of E, K or GWA.
        epochs: number of epochs that have both.
        largest_difference: the largest absolute difference of the two over the epochs.
        correlation: Pearson's correlation over the epochs; NaN for fewer than three.
    """

    signal: str
    epochs: int
    largest_difference: float
    correlation: float


def moving_agreement(signals: pd.DataFrame) -> list[Agreement]:
    """Compare the estimates by moving averages with the exact E, K and GWA.

    Args:
        signals: as `readings` returns them.
    """
    agreements = []
    for name in ("directional_alignment", "dispersion", "gwa"):
        both = signals.reindex(columns=[name, f"moving_{name}"]).dropna()
        exact, moving = both.iloc[:, 0].to_numpy(np.float64), both.iloc[:, 1].to_numpy(np.float64)
        varied = len(both) > 2 and np.ptp(exact) > 0 and np.ptp(moving) > 0
        agreements.append(
            Agreement(
                name,
                len(both),
                float(np.abs(exact - moving).max()) if len(both) else math.nan,
                float(np.corrcoef(exact, moving)[0, 1]) if varied else math.nan,
            )
        )
    return agreements


def _read_rows(store: TrajectoryStore, epoch: int) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Return the alignments and the predicted labels of an epoch, [n] each."""
    columns = store.read_epoch(epoch, ["alignment", "predicted_label"])
    return columns["alignment"].to_numpy(), columns["predicted_label"].fill_null(MISSING_LABEL).to_numpy()


def _signals(
    store: TrajectoryStore,
    epoch: int,
    alignment: NDArray[np.float32],
    predicted: NDArray[np.int32],
    predicted_before: NDArray[np.int32] | None,
) -> dict[str, float]:
    """Return all signals of an epoch: those of its rows, and the metrics that were committed with it."""
    changes = _changes(predicted_before, predicted)
    return {**store.commit(epoch).metrics, **_aggregates(alignment), "prediction_changes": changes}


def _aggregates(alignment: NDArray[np.float32]) -> dict[str, float]:
    moments = epoch_moments(torch.from_numpy(np.array(alignment, np.float32)))
    return {
        "count": moments.count,
        "directional_alignment": moments.directional_alignment,
        "dispersion": moments.dispersion,
        "gwa": moments.gwa,
        "floored_gwa": floored_gwa(moments.directional_alignment, moments.dispersion),
        "bounded_gwa": bounded_gwa(moments.directional_alignment, moments.dispersion),
        "quantile_gwa": quantile_gwa(alignment),
    }


def _changes(before: NDArray[Any] | None, now: NDArray[Any]) -> float:
    if before is None:
        return math.nan
    return float(((before != now) & (before != MISSING_LABEL) & (now != MISSING_LABEL)).sum())


def _checked_groups(store: TrajectoryStore, groups: ArrayLike | str | None) -> NDArray[Any] | None:
    if groups is None:
        return None
    if isinstance(groups, str):
        if groups != "class":
            raise SettingsError(f"`groups` must be [n] values, or 'class' for the given labels, not {groups!r}")
        if store.is_multi_label:
            return np.tile(np.asarray(store.class_names, object), store.n_samples)
        return np.asarray(store.class_names, object)[store.given_labels()]
    values = np.asarray(groups)
    if values.shape != (store.n_rows,):
        unit = "rows" if store.is_multi_label else "samples"
        raise SettingsError(
            f"`groups` must be one value for each of the {store.n_rows} {unit} of {store.path}, by id, not an array "
            f"of shape {list(values.shape)}"
        )
    return values
