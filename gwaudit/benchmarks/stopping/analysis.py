"""From what the stopping runs recorded to choices, correlations and verdicts: pure, no run is read and none is made."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gwaudit.analysis.stopping import PATIENCE, RULES, OnlineStopping, StoppingRule, stopping_rule
from gwaudit.benchmarks.stopping.benchmark import FULL, StoppingMeasurement
from gwaudit.benchmarks.stopping.probe import DISPARITY_BATCHES
from gwaudit.benchmarks.stopping.trajectory_groups import Curve

CLOSE = 0.005
"""How far from the best epoch a choice may be: half a point of accuracy."""

PREDICTORS = {
    "gwa": "GWA",
    "floored_gwa": "floored GWA",
    "bounded_gwa": "bounded GWA",
    "quantile_gwa": "quantile GWA",
    "directional_alignment": "E",
    "accuracy_on_given": "train accuracy",
    "prediction_changes": "prediction changes",
    "gradient_norm": "gradient norm",
    "gradient_disparity": "gradient disparity",
}
"""What test accuracy is correlated with, and how it is called."""

PHASES = ("early", "overfitting", "whole")
"""Up to the best test accuracy, from there on, and all epochs."""

_FALL = 0.01  # of test accuracy: with less there is no overfitting to follow
_FEWEST = 4  # epochs that a correlation needs to mean anything


@dataclass(frozen=True)
class StoppingRow:
    """One rule on one label set and network. Epochs count from 1; accuracies and shares are fractions.

    Attributes:
        label_set, model, seed: which.
        rule: its name; "validation-10" is that with a tenth held out.
        withheld: share of the samples that the training does without.
        epoch: chosen in hindsight, of the whole run.
        test, corrupted: accuracy there.
        gap: test accuracy at the best epoch of the run on all samples, less `test`.
        online_epoch: chosen while training.
        stopped: epochs trained then, all where it never stops.
        online_test, online_corrupted, online_gap: the same there.
        seconds: that the rule takes an epoch, and `overhead` that over the epoch's training.
        memory: bytes that it holds beside the model and one checkpoint.
    """

    label_set: str
    model: str
    seed: int
    rule: str
    withheld: float
    epoch: int
    test: float
    corrupted: float
    gap: float
    online_epoch: int
    stopped: int
    online_test: float
    online_corrupted: float
    online_gap: float
    seconds: float
    overhead: float
    memory: float


@dataclass(frozen=True)
class Verdict:
    """A claim, whether it held on a label set, and the numbers. `held` is None where it cannot be told."""

    label_set: str
    model: str
    claim: str
    held: bool | None
    numbers: str


def stopping_rows(measured: StoppingMeasurement, *, patience: int = PATIENCE) -> list[StoppingRow]:
    """Every rule's choice, in hindsight and online, and what it costs."""
    best = max(curve(measured, FULL, "test_accuracy"))
    rows = []
    for name in RULES:
        if name == "validation":
            rows += [
                _row(
                    measured,
                    f"validation-{run.removeprefix('held-out-')}",
                    stopping_rule(name, patience=patience),
                    run,
                    best,
                )
                for run in measured.runs
                if run != FULL
            ]
        elif set(stopping_rule(name).signals) <= set(measured.runs[FULL]):
            rows.append(_row(measured, name, stopping_rule(name, patience=patience), FULL, best))
    return rows


def correlations(measured: StoppingMeasurement) -> dict[str, dict[str, float]]:
    """Pearson's correlation of each predictor with test accuracy, by its name and the phase of `PHASES`.

    NaN where a phase has fewer than four epochs that have both.
    """
    test = np.array(curve(measured, FULL, "test_accuracy"))
    best = int(test.argmax())
    parts = {"early": slice(0, best + 1), "overfitting": slice(best, None), "whole": slice(None)}
    table = {}
    for signal, name in PREDICTORS.items():
        if signal not in measured.runs[FULL]:
            continue
        values = np.array(curve(measured, FULL, signal))
        table[name] = {phase: _pearson(values[part], test[part]) for phase, part in parts.items()}
    return table


def verdicts(measured: StoppingMeasurement, *, patience: int = PATIENCE) -> list[Verdict]:
    """The papers' claims, each against this label set's numbers."""
    rows = {row.rule: row for row in stopping_rows(measured, patience=patience)}
    found = []

    def judge(claim: str, held: bool | None, numbers: str) -> None:
        found.append(Verdict(measured.label_set, measured.model, claim, held, numbers))

    gwa = rows["gwa-scratch"]
    judge("GWA chooses an epoch within half a point of the best", gwa.gap <= CLOSE, f"{points(gwa.gap)} points behind")
    if "validation-10" in rows:
        ten = rows["validation-10"]
        judge(
            "GWA is no worse than a 10 % validation split",
            gwa.test >= ten.test,
            f"test accuracy {gwa.test:.1%} against {ten.test:.1%}",
        )
    r = {name: row["overfitting"] for name, row in correlations(measured).items()}
    moved = r["GWA"]
    fall = max(curve(measured, FULL, "test_accuracy")) - curve(measured, FULL, "test_accuracy")[-1]
    judge(
        "GWA rises and falls with test accuracy while overfitting (paper: R = .97)",
        None if math.isnan(moved) or fall < _FALL else moved >= 0.9,
        f"R = {correlation(moved)} while test accuracy falls {points(fall)} points; "
        f"floored {correlation(r['floored GWA'])}, bounded {correlation(r['bounded GWA'])}, "
        f"quantile {correlation(r['quantile GWA'])}, E {correlation(r['E'])}",
    )
    if "mislabelled" in measured.trajectories:
        mean = numbers_of(measured.trajectories["mislabelled"]["mean"])
        below = sum(value < 0 for value in mean)
        judge(
            "The mean alignment of mislabelled samples stays below zero",
            below == len(mean),
            f"in {below} of {len(mean)} epochs; {mean[gwa.epoch - 1]:+.3f} in the one that GWA chooses, "
            f"{mean[-1]:+.3f} in the last",
        )
    if "memorised" in measured.turning:
        late, soon = measured.turning["memorised"], measured.turning["not memorised"]
        known = late["epoch"] is not None and soon["epoch"] is not None
        judge(
            "Memorised samples turn late",
            float(late["epoch"] or 0) > float(soon["epoch"] or 0) if known else None,
            f"above zero for good from epoch {_epoch(late['epoch'])} on average, the others from "
            f"{_epoch(soon['epoch'])}; rank correlation "
            f"{correlation((measured.memorisation or {}).get('correlation'))}",
        )
    return found


def as_frame(measurements: Sequence[StoppingMeasurement], *, patience: int = PATIENCE) -> pd.DataFrame:
    """Every row of every measurement."""
    rows = [row for measured in measurements for row in stopping_rows(measured, patience=patience)]
    return pd.DataFrame([asdict(row) for row in rows])


def _row(measured: StoppingMeasurement, name: str, found: StoppingRule, run: str, best: float) -> StoppingRow:
    curves = {signal: curve(measured, run, signal) for signal in found.signals}
    test = curve(measured, run, "test_accuracy")
    corrupted = curve(measured, run, "corrupted_accuracy", len(test))
    chosen = found.choose(curves or {"": test}, measured.epochs).epoch
    online, stopped = OnlineStopping(found, total_epochs=measured.epochs), len(test)
    for epoch in range(len(test)):
        if online.update({signal: values[epoch] for signal, values in curves.items()}).stop:
            stopped = epoch + 1
            break
    live = online.decision.choice.epoch
    seconds, memory = _cost(measured, name, run)
    return StoppingRow(
        measured.label_set,
        measured.model,
        measured.seed,
        name,
        withheld=measured.withheld[run] / measured.samples,
        epoch=chosen + 1,
        test=test[chosen],
        corrupted=corrupted[chosen],
        gap=best - test[chosen],
        online_epoch=live + 1,
        stopped=stopped,
        online_test=test[live],
        online_corrupted=corrupted[live],
        online_gap=best - test[live],
        seconds=seconds,
        overhead=seconds / measured.costs["training"],
        memory=memory,
    )


def _cost(measured: StoppingMeasurement, name: str, run: str) -> tuple[float, float]:
    """Seconds an epoch, and bytes held."""
    if name == "last":
        return 0.0, 0.0
    if name.startswith("validation"):
        return float(np.median(curve(measured, run, "validation_seconds"))), 0.0
    if name == "labelwave":
        return measured.costs["labelwave"], 2 * 4.0 * measured.samples
    if name == "gradient-disparity":
        seconds = float(np.median(curve(measured, run, "disparity_seconds")))
        return seconds, DISPARITY_BATCHES * 4.0 * measured.costs["parameters"]
    # An id of eight bytes, and nine numbers of four: the recorder's rows until they are committed.
    return measured.costs["recording"], (8 + 9 * 4.0) * measured.samples


def curve(measured: StoppingMeasurement, run: str, signal: str, length: int = 0) -> list[float]:
    """A signal of a run, NaN where an epoch has none; `length` NaN where the run has no such signal."""
    return numbers_of(measured.runs[run].get(signal, [None] * length))


def numbers_of(values: Curve) -> list[float]:
    """A curve of JSON as numbers, NaN where there is none."""
    return [math.nan if value is None else float(value) for value in values]


def _pearson(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    known = ~np.isnan(a) & ~np.isnan(b)
    if known.sum() < _FEWEST or np.ptp(a[known]) == 0 or np.ptp(b[known]) == 0:
        return math.nan
    return float(np.corrcoef(a[known], b[known])[0, 1])


def points(gap: float) -> str:
    """A share of accuracy in percentage points."""
    return f"{100 * gap:.1f}"


def correlation(value: float | None) -> str:
    """A correlation to read, a dash where there is none."""
    return "–" if value is None or math.isnan(value) else f"{value:+.2f}"


def _epoch(value: float | None) -> str:
    return "never" if value is None else f"{value + 1:.1f}"
