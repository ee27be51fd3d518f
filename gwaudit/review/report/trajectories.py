"""Read the alignment over the epochs: of all samples, of each category and class, and of the samples shown."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gwaudit.store.store import TrajectoryStore

PHASES = ("early", "middle", "late")
"""The thirds of a training; the middle epoch of each is shown."""

_BINS = 80
_QUANTILES = np.linspace(0.005, 0.995, 199)


@dataclass(frozen=True, eq=False)
class Phase:
    """Hold the distribution of alignment in one epoch.

    Attributes:
        name: Name of the phase, one of `PHASES`.
        epoch: Number of the epoch, counted from 0.
        edges: [bins + 1] edges of the histogram.
        density: [bins] density of the histogram; its integral is 1.
        levels: [q] levels of the quantiles, in (0, 1).
        quantiles: [q] quantiles of the standardised alignment (minus its mean, divided by its standard deviation).
    """

    name: str
    epoch: int
    edges: NDArray[np.float64]
    density: NDArray[np.float64]
    levels: NDArray[np.float64]
    quantiles: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Trajectories:
    """Hold the alignment over the epochs.

    Attributes:
        by_sample: [k, epochs] alignment of the chosen samples, NaN where it was not recorded.
        by_group: One row per group and epoch: `group`, `epoch`, `samples`, `mean`, `lower` and `upper` quartile.
        by_class: [C, epochs] mean alignment (E) of the samples of each given class, or of the (sample, class) rows of
            each class in a multi-label run; NaN for classes without a sample.
        phases: Distributions early, midway and late in the training; fewer in a training of one or two epochs.
    """

    by_sample: NDArray[np.float32]
    by_group: pd.DataFrame
    by_class: NDArray[np.float64]
    phases: tuple[Phase, ...]


def alignment_trajectories(
    store: TrajectoryStore, rows: NDArray[np.int64], groups: Mapping[str, NDArray[np.int64]]
) -> Trajectories:
    """Read the alignment of a run, each epoch once; the memory is O(rows of the store) for any number of epochs.

    Args:
        store: A run with at least one epoch.
        rows: [k] rows of the store whose own alignment is wanted.
        groups: Rows of the store, by name of the group.
    """
    epochs = store.training_epochs
    shown = {epochs[(2 * i + 1) * len(epochs) // 6]: name for i, name in enumerate(PHASES)}
    classes, n_classes = _classes(store)
    by_class = np.full((n_classes, len(epochs)), np.nan)
    by_sample = np.full((len(rows), len(epochs)), np.nan, np.float32)
    group_rows, phases = [], []
    for epoch in epochs:
        blocks = [store.read_block(epoch, b, ["alignment"])["alignment"] for b in range(store.n_blocks)]
        alignment = np.concatenate(blocks).astype(np.float32, copy=False)
        by_sample[:, epoch] = alignment[rows]
        for name, members in groups.items():
            values = alignment[members]
            values = values[np.isfinite(values)]
            if len(values):
                lower, upper = np.quantile(values, (0.25, 0.75))
                group_rows.append((name, epoch, len(values), float(values.mean()), float(lower), float(upper)))
        recorded = np.isfinite(alignment)
        counts = np.bincount(classes[recorded], minlength=n_classes)
        sums = np.bincount(classes[recorded], alignment[recorded], minlength=n_classes)
        np.divide(sums, counts, out=by_class[:, epoch], where=counts > 0)
        if epoch in shown and recorded.any():
            phases.append(_phase(shown[epoch], epoch, alignment[recorded]))
    by_group = pd.DataFrame(group_rows, columns=["group", "epoch", "samples", "mean", "lower", "upper"])
    return Trajectories(by_sample, by_group, by_class, tuple(phases))


def _classes(store: TrajectoryStore) -> tuple[NDArray[np.int64], int]:
    """Return the class of each row of the store, and the number of classes."""
    if store.is_multi_label:
        return store.layout.class_of(np.arange(store.n_rows)), len(store.class_names)
    return store.given_labels().astype(np.int64), len(store.class_names)


def _phase(name: str, epoch: int, alignment: NDArray[np.float32]) -> Phase:
    values = alignment.astype(np.float64)
    density, edges = np.histogram(values, bins=_BINS, density=True)
    spread = float(values.std()) or 1.0
    quantiles = (np.quantile(values, _QUANTILES) - values.mean()) / spread
    return Phase(name, epoch, edges, density, _QUANTILES, quantiles)
