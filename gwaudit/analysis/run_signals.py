"""Measure the signals by which `gwaudit.analysis.verdict` judges a run; no true label is read."""

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gwaudit.analysis.verdict import Signals
from gwaudit.store.store import TrajectoryStore


def measure_signals(
    store: TrajectoryStore, statistics: pd.DataFrame, probability: NDArray[np.float64], flagged: NDArray[np.bool_]
) -> Signals:
    """Measure the signals of a run.

    Args:
        store: the run.
        statistics: the statistics of the window, a row for each of the n rows of the store.
        probability: [n] probability of being wrong; NaN for rows that were not recorded.
        flagged: [n] whether the fitted cut flags the row.
    """
    recorded = np.isfinite(probability)
    given = store.given_labels()[recorded]
    counts = np.bincount(given)
    shares = counts[counts > 0] / max(len(given), 1)
    right = statistics["predicted_label"].to_numpy()[recorded] == given
    right_of_class = np.bincount(given, right)
    by_class = np.bincount(given, flagged[recorded])[counts > 0] / counts[counts > 0]
    return Signals(
        rows=len(given),
        classes=len(shares),
        epochs=len(store.training_epochs),
        accuracy=_mean(right),
        largest_class=float(shares.max()) if len(shares) else None,
        prior_loss=float(-(shares * np.log(shares)).sum()) if len(shares) else None,
        unlearned=float(shares[right_of_class[counts > 0] == 0].sum()),
        flagged=_mean(flagged[recorded]),
        flagged_class=float(by_class.max()) if len(by_class) else None,
        expected_wrong=_mean(probability[recorded]),
        last_accuracy=_metric(store, -1, "accuracy_on_given"),
        first_loss=_metric(store, 0, "mean_loss"),
        last_loss=_metric(store, -1, "mean_loss"),
    )


def _metric(store: TrajectoryStore, epoch: int, name: str) -> float | None:
    """Return a metric of a training epoch, which may be counted from the end."""
    return _number(store.commit(store.training_epochs[epoch]).metrics.get(name))


def _mean(values: NDArray[np.bool_] | NDArray[np.float64]) -> float | None:
    return float(np.mean(values)) if len(values) else None


def _number(value: float | None) -> float | None:
    """Return a number that JSON can hold: None for NaN and what was not recorded."""
    return None if value is None or math.isnan(value) else float(value)
