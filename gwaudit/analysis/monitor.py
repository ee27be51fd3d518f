"""E, K and GWA of each epoch, of all samples and of groups, from a finished run or while it is made.

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

A reading is made from the epoch's rows in the store, so that a live one and one of a finished run (`readings`) are the
same numbers. Beside the exact moments stand those of the recorder's moving averages, which need no store.
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
"""What is told of each group."""


@dataclass(frozen=True)
class EpochReading:
    """What an epoch's alignments come to.

    Attributes:
        epoch: from 0.
        signals: by name. `directional_alignment` (E), `dispersion` (K), `gwa` (NaN where K is at its pole);
            `floored_gwa`, `bounded_gwa` and `quantile_gwa` of `gwaudit.recording.moments`; `prediction_changes`, the
            samples
            whose prediction is not that of the epoch before (NaN for the first); and all numbers that were committed
            with the epoch, as `accuracy_on_given`, `mean_loss`, and the estimates of moving averages:
            `moving_directional_alignment`, `moving_dispersion`, `moving_gwa`.
        groups: a row a group, index `group`, with `GROUP_COLUMNS`; None where no groups were given.
        decisions: what each rule says, by its name.
    """

    epoch: int
    signals: Mapping[str, float]
    groups: pd.DataFrame | None = None
    decisions: Mapping[str, StoppingDecision] = field(default_factory=dict)


class AlignmentMonitor:
    """Reads each epoch as it is committed, and asks stopping rules about it.

    Args:
        store: the run, as the recorder writes it or opened for reading. Epochs that it has already, as a resumed one
            does, are read first.
        rules: names of `gwaudit.analysis.stopping`.
        total_epochs: that the training is planned for, which rules refer to.
        patience: epochs that a rule's choice has to stand before it says stop.
        groups: [n] what group each sample is of, by its id: any values; or "class" for the given labels. Where samples
            have any number of classes: of each pair, [n C]; "class" for its class.
        on_epoch: called with each new reading.

    Raises:
        SettingsError: an unknown rule, or not a group for each sample.
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
        self._store = store
        self._groups = _checked_groups(store, groups)
        self._stopping = {
            name: OnlineStopping(stopping_rule(name, patience=patience), total_epochs=total_epochs) for name in rules
        }
        self._on_epoch = on_epoch
        self._needs = {signal for stopping in self._stopping.values() for signal in stopping.rule.signals}
        self._before: NDArray[Any] | None = None
        self.readings: list[EpochReading] = []
        for _ in store.training_epochs:
            self._read({})

    def end_epoch(self, signals: Mapping[str, float] | None = None) -> EpochReading:
        """Read the epoch that has just been committed.

        Args:
            signals: what is measured elsewhere, as `validation_accuracy` or `gradient_disparity` for the rules that
                need them. To have them there when the run is resumed, commit them: `recorder.end_epoch(signals)`.

        Raises:
            SettingsError: no epoch was committed since the last reading, or a rule lacks a signal.
        """
        if len(self.readings) >= len(self._store.training_epochs):
            raise SettingsError(
                f"{self._store.path} has no epoch after the {len(self.readings)} read: call the recorder's end_epoch() "
                "first, then the monitor's"
            )
        reading = self._read(signals or {})
        if self._on_epoch is not None:
            self._on_epoch(reading)
        return reading

    def _read(self, extra: Mapping[str, float]) -> EpochReading:
        epoch = len(self.readings)
        alignment, predicted = _read_rows(self._store, epoch)
        signals = {**_signals(self._store, epoch, alignment, predicted, self._before), **extra}
        reading = EpochReading(
            epoch,
            signals,
            None if self._groups is None else group_aggregates(alignment, self._groups),
            {name: stopping.update(signals) for name, stopping in self._stopping.items()},
        )
        self._before = predicted
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
    """The signals of every training epoch of a run: a row an epoch, index `epoch`, columns as in `EpochReading`.

    Example:
        >>> readings(TrajectoryStore.open("runs/worse"))["gwa"].index.name
        'epoch'
    """
    made = AlignmentMonitor(store).readings
    return pd.DataFrame([reading.signals for reading in made], index=pd.RangeIndex(len(made), name="epoch"))


@dataclass(frozen=True)
class Verdict:
    """What a stopping rule says of a run.

    Attributes:
        rule: its name.
        hindsight: its choice, of all epochs.
        online: its choice as it would have been while the run was made.
        trained: how many epochs that had taken; all where it never said stop.
    """

    rule: str
    hindsight: SelectedEpoch
    online: SelectedEpoch
    trained: int


def verdicts(signals: pd.DataFrame, *, total_epochs: int, patience: int = PATIENCE) -> list[Verdict]:
    """What all rules say whose signals a run has.

    Args:
        signals: as `readings` gives them, of at least one epoch.
        total_epochs: that the training was planned for.
        patience: epochs that a choice has to stand before a rule stops.
    """
    found = []
    for name in RULES:
        judge = stopping_rule(name, patience=patience)
        if name == "last" or not {*judge.signals} <= {*signals.columns}:
            continue
        online, trained = OnlineStopping(judge, total_epochs=total_epochs), 0
        for reading in signals.to_dict("records"):
            trained += 1
            if online.update({str(key): float(value) for key, value in reading.items()}).stop:
                break
        curves = {key: signals[key].tolist() for key in judge.signals}
        found.append(Verdict(name, judge.choose(curves, total_epochs), online.decision.choice, trained))
    return found


def group_readings(store: TrajectoryStore, groups: ArrayLike | str = "class") -> pd.DataFrame:
    """E, K, GWA and their like, group by group and epoch by epoch.

    Args:
        store: a run.
        groups: [n] what group each sample is of, or "class".

    Returns:
        A row an epoch and group, index (`epoch`, `group`), columns `GROUP_COLUMNS`.
    """
    made = AlignmentMonitor(store, groups=groups).readings
    frames = {reading.epoch: reading.groups for reading in made if reading.groups is not None}
    if not frames:
        return pd.DataFrame(columns=list(GROUP_COLUMNS))
    return pd.concat(frames, names=["epoch"])


def group_aggregates(alignment: NDArray[np.float32], groups: NDArray[Any]) -> pd.DataFrame:
    """The aggregates of each group's alignments [n], a row a group in the order of their names."""
    frame = pd.DataFrame({"alignment": alignment, "group": groups})
    rows = {group: _aggregates(members.to_numpy()) for group, members in frame.groupby("group")["alignment"]}
    table = pd.DataFrame.from_dict(rows, orient="index", columns=list(GROUP_COLUMNS))
    table.index.name = "group"
    return table


@dataclass(frozen=True)
class Agreement:
    """How near the moving averages of a run come to the exact numbers.

    Attributes:
        signal: E, K or GWA, by its name.
        epochs: that have both.
        largest_difference: between the two, over the epochs.
        correlation: Pearson's, over the epochs; NaN for fewer than three.
    """

    signal: str
    epochs: int
    largest_difference: float
    correlation: float


def moving_agreement(signals: pd.DataFrame) -> list[Agreement]:
    """How well the streaming estimate follows, for E, K and GWA.

    Args:
        signals: as `readings` gives them.
    """
    found = []
    for name in ("directional_alignment", "dispersion", "gwa"):
        both = signals.reindex(columns=[name, f"moving_{name}"]).dropna()
        exact, moving = both.iloc[:, 0].to_numpy(np.float64), both.iloc[:, 1].to_numpy(np.float64)
        varied = len(both) > 2 and np.ptp(exact) > 0 and np.ptp(moving) > 0
        found.append(
            Agreement(
                name,
                len(both),
                float(np.abs(exact - moving).max()) if len(both) else math.nan,
                float(np.corrcoef(exact, moving)[0, 1]) if varied else math.nan,
            )
        )
    return found


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
            raise SettingsError(f"groups are [n] values, or 'class' for the given labels, not {groups!r}")
        if store.is_multi_label:
            return np.tile(np.asarray(store.class_names, object), store.n_samples)
        return np.asarray(store.class_names, object)[store.given_labels()]
    values = np.asarray(groups)
    if values.shape != (store.n_rows,):
        unit = "rows" if store.is_multi_label else "samples"
        raise SettingsError(
            f"groups must be one value for each of the {store.n_rows} {unit} of {store.path}, by id, not an array "
            f"of shape {list(values.shape)}"
        )
    return values
