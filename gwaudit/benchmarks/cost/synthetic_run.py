"""Write a run of any size without a training: a tenth of its labels is wrong."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gwaudit.store.store import TrajectoryStore

_DRAWN = 2**22
_THREADS = 2
_KEPT_ALTERNATIVE = 0.6

Array = NDArray[Any]


def write_synthetic_run(run: Path, *, samples: int, epochs: int, classes: int, seed: int = 0) -> None:
    """Write a run in which every number changes between epochs as in a training.

    Random numbers are drawn once, and each block of each epoch takes them from another position on. Each file is
    compressed by itself, so its size is that of numbers drawn anew.

    Args:
        run: New folder.
        samples, epochs, classes: Size of the run.
        seed: Seed of its numbers.
    """
    random = np.random.default_rng(seed)
    labels = _Labels(
        random.integers(classes, size=samples, dtype=np.int32),
        random.integers(classes, size=samples, dtype=np.int32),
        random.random(samples, np.float32) < 0.1,
    )
    drawn = _Drawn(
        random.normal(0, 0.05, 2 * _DRAWN).astype(np.float32),
        random.random(2 * _DRAWN, np.float32) < _KEPT_ALTERNATIVE,
        random.integers(classes, size=2 * _DRAWN, dtype=np.int32),
    )
    names = [f"class {i}" for i in range(classes)]
    with (
        TrajectoryStore.create(run, given_labels=labels.given, class_names=names) as store,
        ThreadPoolExecutor(_THREADS) as threads,
    ):
        for epoch in range(epochs):
            writer = store.begin_epoch(epoch)
            blocks = range(store.n_blocks)
            signals = (
                _signals(labels, drawn, store.block_range(block), random.integers(_DRAWN, size=4)) for block in blocks
            )
            for _ in threads.map(writer.write_block, blocks, signals):
                pass
            writer.commit()


@dataclass(frozen=True, eq=False)
class _Labels:
    """Hold the given label of each sample, the one that fits else, and whether the given one is wrong, [n] each."""

    given: Array
    alternative: Array
    is_wrong: Array


@dataclass(frozen=True, eq=False)
class _Drawn:
    """Hold random numbers to take from: deviations, whether an epoch keeps the alternative label, other labels."""

    deviations: Array
    keeps: Array
    strays: Array


def _signals(labels: _Labels, drawn: _Drawn, rows: range, positions: NDArray[np.int64]) -> dict[str, Array]:
    """Return the signals of a block of an epoch, with random numbers from four positions on."""

    def take(numbers: Array, position: int) -> Array:
        return np.resize(numbers[position : position + _DRAWN], len(rows))

    own, other, kept, stray = positions.tolist()
    held = slice(rows.start, rows.stop)
    level = np.where(labels.is_wrong[held], np.float32(-0.05), np.float32(0.1))
    alignment = level + take(drawn.deviations, own)
    alternative = -level + take(drawn.deviations, other)
    label = np.where(take(drawn.keeps, kept), labels.alternative[held], take(drawn.strays, stray))
    margin = 20 * (alignment - alternative)
    probability = 1 / (1 + np.exp(-margin))
    return {
        "alignment": alignment,
        "alternative_label": label,
        "alternative_alignment": alternative,
        "margin": margin,
        "loss": np.logaddexp(np.float32(0), -margin),
        "given_probability": probability,
        "el2n": np.float32(2**0.5) * (1 - probability),
        "predicted_label": np.where(margin > 0, labels.given[held], label),
    }
