"""Make selections, correlations and verdicts from measurements of the stopping benchmark, without reading a run."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gwaudit.analysis.stopping import PATIENCE, RULES, OnlineStopping, StoppingRule, stopping_rule
from gwaudit.benchmarks.stopping.benchmark import FULL, StoppingMeasurement
from gwaudit.benchmarks.stopping.probe import DISPARITY_BATCHES
from gwaudit.benchmarks.stopping.trajectory_groups import Curve

CLOSE = 0.005
"""Largest accuracy difference to the best epoch of a close selection: half a point."""

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
"""The signals that are correlated with test accuracy, and their names in the tables."""

PHASES = ("early", "overfitting", "whole")
"""Epochs up to the best test accuracy, epochs from it on, and all epochs."""

_FALL = 0.01  # of test accuracy: a smaller fall is no overfitting
_FEWEST = 4  # epochs that a correlation needs


@dataclass(frozen=True)
class StoppingRow:
    """Hold the result of one rule on one label variant and network. Epochs count from 1; accuracies are fractions.

    Attributes:
        label_variant, model, seed: Label variant, network and seed.
        rule: Name of the rule; "validation-10" is validation with a tenth held out.
        withheld: Share of the samples that the training lacks.
        epoch: Epoch that the rule selects in hindsight, from the whole run.
        test, corrupted: Accuracy in this epoch on test images, and on corrupted ones.
        gap: Test accuracy in the best epoch of the run on all samples, minus `test`.
        online_epoch: Epoch that the rule selects while training.
        stopped: Number of epochs trained then; all if it never stops.
        online_test, online_corrupted, online_gap: The same numbers for the online epoch.
        seconds: Seconds per epoch that the rule takes.
        overhead: These seconds over those of the epoch's training.
        memory: Bytes that the rule holds besides the model and one checkpoint.
    """

    label_variant: str
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
    """Hold a claim, whether it held on a label variant, and the numbers. `held` is None if that is undecided."""

    label_variant: str
    model: str
    claim: str
    held: bool | None
    numbers: str


def stopping_rows(measured: StoppingMeasurement, *, patience: int = PATIENCE) -> list[StoppingRow]:
    """Return the selection of each rule, in hindsight and online, and its cost."""
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
    """Return Pearson's correlation of each predictor with test accuracy, by name and phase of `PHASES`.

    It is NaN if fewer than four epochs of a phase have both numbers.
    """
    test = np.array(curve(measured, FULL, "test_accuracy"))
    best = int(test.argmax())
    phases = {"early": slice(0, best + 1), "overfitting": slice(best, None), "whole": slice(None)}
    table = {}
    for signal, name in PREDICTORS.items():
        if signal not in measured.runs[FULL]:
            continue
        values = np.array(curve(measured, FULL, signal))
        table[name] = {phase: _pearson(values[epochs], test[epochs]) for phase, epochs in phases.items()}
    return table


def verdicts(measured: StoppingMeasurement, *, patience: int = PATIENCE) -> list[Verdict]:
    """Compare the papers' claims with the numbers of this label variant."""
    rows = {row.rule: row for row in stopping_rows(measured, patience=patience)}
    claims = [_close_to_the_best(rows), _no_worse_than_validation(rows), _follows_accuracy(measured),
              _mislabelled_stay_negative(measured, rows), _memorised_turn_late(measured)]  # fmt: skip
    return [Verdict(measured.label_variant, measured.model, *claim) for claim in claims if claim is not None]


Claim = tuple[str, bool | None, str]
"""A claim, whether it held, and the numbers."""


def _close_to_the_best(rows: Mapping[str, StoppingRow]) -> Claim:
    gap = rows["gwa-scratch"].gap
    return "GWA chooses an epoch within half a point of the best", gap <= CLOSE, f"{points(gap)} points behind"


def _no_worse_than_validation(rows: Mapping[str, StoppingRow]) -> Claim | None:
    if "validation-10" not in rows:
        return None
    gwa, validation = rows["gwa-scratch"].test, rows["validation-10"].test
    numbers = f"test accuracy {gwa:.1%} against {validation:.1%}"
    return "GWA is no worse than a 10 % validation split", gwa >= validation, numbers


def _follows_accuracy(measured: StoppingMeasurement) -> Claim:
    r = {name: row["overfitting"] for name, row in correlations(measured).items()}
    test = curve(measured, FULL, "test_accuracy")
    fall = max(test) - test[-1]
    return (
        "GWA rises and falls with test accuracy while overfitting (paper: R = .97)",
        None if math.isnan(r["GWA"]) or fall < _FALL else r["GWA"] >= 0.9,
        f"R = {correlation(r['GWA'])} while test accuracy falls {points(fall)} points; "
        f"floored {correlation(r['floored GWA'])}, bounded {correlation(r['bounded GWA'])}, "
        f"quantile {correlation(r['quantile GWA'])}, E {correlation(r['E'])}",
    )


def _mislabelled_stay_negative(measured: StoppingMeasurement, rows: Mapping[str, StoppingRow]) -> Claim | None:
    if "mislabelled" not in measured.trajectories:
        return None
    mean = numbers_of(measured.trajectories["mislabelled"]["mean"])
    below = sum(value < 0 for value in mean)
    return (
        "The mean alignment of mislabelled samples stays below zero",
        below == len(mean),
        f"in {below} of {len(mean)} epochs; {mean[rows['gwa-scratch'].epoch - 1]:+.3f} in the one that GWA chooses, "
        f"{mean[-1]:+.3f} in the last",
    )


def _memorised_turn_late(measured: StoppingMeasurement) -> Claim | None:
    if "memorised" not in measured.turning:
        return None
    late, soon = measured.turning["memorised"]["epoch"], measured.turning["not memorised"]["epoch"]
    return (
        "Memorised samples turn late",
        None if late is None or soon is None else late > soon,
        f"above zero for good from epoch {_epoch(late)} on average, the others from {_epoch(soon)}; rank correlation "
        f"{correlation((measured.memorisation or {}).get('correlation'))}",
    )


def as_frame(measurements: Sequence[StoppingMeasurement], *, patience: int = PATIENCE) -> pd.DataFrame:
    """Return every row of every measurement."""
    rows = [row for measured in measurements for row in stopping_rows(measured, patience=patience)]
    return pd.DataFrame([asdict(row) for row in rows])


def _row(measured: StoppingMeasurement, name: str, rule: StoppingRule, run: str, best: float) -> StoppingRow:
    curves = {signal: curve(measured, run, signal) for signal in rule.signals}
    test = curve(measured, run, "test_accuracy")
    corrupted = curve(measured, run, "corrupted_accuracy", len(test))
    hindsight = rule.choose(curves or {"": test}, measured.epochs).epoch
    online, stopped = OnlineStopping(rule, total_epochs=measured.epochs), len(test)
    for epoch in range(len(test)):
        if online.update({signal: values[epoch] for signal, values in curves.items()}).stop:
            stopped = epoch + 1
            break
    live = online.decision.choice.epoch
    seconds, memory = _cost(measured, name, run)
    return StoppingRow(
        measured.label_variant,
        measured.model,
        measured.seed,
        name,
        withheld=measured.withheld[run] / measured.samples,
        epoch=hindsight + 1,
        test=test[hindsight],
        corrupted=corrupted[hindsight],
        gap=best - test[hindsight],
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
    """Return the seconds per epoch and the bytes that a rule takes."""
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
    """Return a signal of a run, NaN in epochs without it; `length` times NaN if the run does not have the signal."""
    return numbers_of(measured.runs[run].get(signal, [None] * length))


def numbers_of(values: Curve) -> list[float]:
    """Return a curve of JSON as numbers, NaN in place of None."""
    return [math.nan if value is None else float(value) for value in values]


def _pearson(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    known = ~np.isnan(a) & ~np.isnan(b)
    if known.sum() < _FEWEST or np.ptp(a[known]) == 0 or np.ptp(b[known]) == 0:
        return math.nan
    return float(np.corrcoef(a[known], b[known])[0, 1])


def points(gap: float) -> str:
    """Return a difference of accuracies in percentage points, as text."""
    return f"{100 * gap:.1f}"


def correlation(value: float | None) -> str:
    """Return a correlation as text, a dash if there is none."""
    return "–" if value is None or math.isnan(value) else f"{value:+.2f}"


def _epoch(value: float | None) -> str:
    return "never" if value is None else f"{value + 1:.1f}"
