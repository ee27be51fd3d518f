"""How alignment went over the epochs, for the whole, for each category, and for the samples that are shown."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gwaudit.store.store import TrajectoryStore

PHASES = ("early", "middle", "late")
"""The thirds of a training; each is shown by its middle epoch."""

_BINS = 80
_QUANTILES = np.linspace(0.005, 0.995, 199)


@dataclass(frozen=True, eq=False)
class Phase:
    """The distribution of the samples' alignment in one epoch.

    Attributes:
        name: of `PHASES`.
        epoch: counted from 0.
        edges: [bins + 1] of the histogram.
        density: [bins] its integral is 1.
        levels: [q] in (0, 1).
        quantiles: [q] the alignments, less their mean and by their standard deviation.
    """

    name: str
    epoch: int
    edges: NDArray[np.float64]
    density: NDArray[np.float64]
    levels: NDArray[np.float64]
    quantiles: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Trajectories:
    """What one pass over a run's epochs gives.

    Attributes:
        paths: [k, epochs] alignment of the chosen samples, NaN where it was not recorded.
        by_group: a row a group and epoch: `group`, `epoch`, `samples`, `mean`, `lower` and `upper` quartile.
        by_class: [C, epochs] mean alignment (E) of each given class; of each class's pairs, where samples have any
            number of classes. NaN for classes without a sample.
        phases: the distributions, of as many phases as there are epochs for.
    """

    paths: NDArray[np.float32]
    by_group: pd.DataFrame
    by_class: NDArray[np.float64]
    phases: tuple[Phase, ...]


def alignment_trajectories(
    store: TrajectoryStore, sample_ids: NDArray[np.int64], groups: Mapping[str, NDArray[np.int64]]
) -> Trajectories:
    """Read each epoch's alignments once: memory O(samples), whatever the number of epochs.

    Args:
        store: a run with at least one epoch.
        sample_ids: [k] whose paths are wanted.
        groups: by name, the ids of its samples.
    """
    epochs = store.training_epochs
    shown = {epochs[(2 * i + 1) * len(epochs) // 6]: name for i, name in enumerate(PHASES)}
    classes, n_classes = _classes(store)
    by_class = np.full((n_classes, len(epochs)), np.nan)
    paths = np.full((len(sample_ids), len(epochs)), np.nan, np.float32)
    rows, phases = [], []
    for epoch in epochs:
        blocks = [store.read_block(epoch, b, ["alignment"])["alignment"] for b in range(store.n_blocks)]
        alignment = np.concatenate(blocks).astype(np.float32, copy=False)
        paths[:, epoch] = alignment[sample_ids]
        for name, ids in groups.items():
            values = alignment[ids]
            values = values[np.isfinite(values)]
            if len(values):
                lower, upper = np.quantile(values, (0.25, 0.75))
                rows.append((name, epoch, len(values), float(values.mean()), float(lower), float(upper)))
        recorded = np.isfinite(alignment)
        counts = np.bincount(classes[recorded], minlength=n_classes)
        sums = np.bincount(classes[recorded], alignment[recorded], minlength=n_classes)
        np.divide(sums, counts, out=by_class[:, epoch], where=counts > 0)
        if epoch in shown and recorded.any():
            phases.append(_phase(shown[epoch], epoch, alignment[recorded]))
    by_group = pd.DataFrame(rows, columns=["group", "epoch", "samples", "mean", "lower", "upper"])
    return Trajectories(paths, by_group, by_class, tuple(phases))


def _classes(store: TrajectoryStore) -> tuple[NDArray[np.int64], int]:
    """The class of each row, and how many there are."""
    if store.is_multi_label:
        return store.layout.class_of(np.arange(store.n_rows)), len(store.class_names)
    return store.given_labels().astype(np.int64), len(store.class_names)


def _phase(name: str, epoch: int, alignment: NDArray[np.float32]) -> Phase:
    values = alignment.astype(np.float64)
    density, edges = np.histogram(values, bins=_BINS, density=True)
    spread = float(values.std()) or 1.0
    quantiles = (np.quantile(values, _QUANTILES) - values.mean()) / spread
    return Phase(name, epoch, edges, density, _QUANTILES, quantiles)
