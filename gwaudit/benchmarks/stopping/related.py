"""Compare the alignment of the head with measures that need gradients of the whole network, in small runs.

After each epoch it measures a fixed set of samples: stiffness, and the alignment of the head and of all parameters. On
the batch of them it measures the direction alignment: how far the descent direction points to the final weights. These
are known only at the end of the run, so the weights and gradients of every epoch are kept in `snapshots/`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from gwaudit.analysis.monitor import readings
from gwaudit.benchmarks.results import write_results
from gwaudit.benchmarks.stopping.images import as_test, given_labels, load_images
from gwaudit.benchmarks.stopping.probe import StoppingProbe
from gwaudit.benchmarks.stopping.settings import StoppingSettings
from gwaudit.core.errors import SettingsError
from gwaudit.core.files import write_atomically, writing
from gwaudit.core.json import without_nan
from gwaudit.core.settings import split_commas
from gwaudit.data.dataset import LabeledDataset
from gwaudit.recording.network import (
    batch_gradient,
    direction_alignment,
    flat_weights,
    head_and_network_alignment,
    stiffness,
)
from gwaudit.store.store import TrajectoryStore
from gwaudit.training.progress import Progress
from gwaudit.training.trainer import train

MEASURES = (
    "directional_alignment", "gwa", "head_alignment", "network_alignment", "head_network_correlation",
    "direction_alignment", "stiffness_cosine", "stiffness_sign", "stiffness_cosine_within", "stiffness_cosine_between",
)  # fmt: skip


@dataclass(frozen=True)
class RelatedEpoch:
    """Hold the measures of one epoch. Stiffness and alignments are means over the watched samples, or pairs of them.

    Attributes:
        epoch: Number of the epoch, from 1.
        test_accuracy: Test accuracy in [0, 1].
        directional_alignment, gwa: E and GWA of all samples, as recorded while training.
        head_alignment, network_alignment: Mean γ with the head's weight and with all parameters, after the epoch.
        head_network_correlation: Pearson's correlation of the two over the watched samples.
        direction_alignment: Cosine of the descent direction and the direction to the final weights; None in the last
            epoch, whose weights are final.
        stiffness_cosine, stiffness_sign: As in `gwaudit.recording.network.Stiffness`.
        stiffness_cosine_within, stiffness_cosine_between: Mean over pairs with the same given label, and with two.
    """

    epoch: int
    test_accuracy: float
    directional_alignment: float
    gwa: float | None
    head_alignment: float
    network_alignment: float
    head_network_correlation: float | None
    direction_alignment: float | None
    stiffness_cosine: float
    stiffness_sign: float
    stiffness_cosine_within: float | None
    stiffness_cosine_between: float | None


def related(
    source: str,
    folder: Path,
    settings: StoppingSettings,
    *,
    watched: int = 64,
    labels: Path | None = None,
    progress: Progress | None = None,
) -> list[RelatedEpoch]:
    """Train the first model on the first label variant of the settings, and measure after every epoch.

    Args:
        source: Images with their right labels.
        folder: Folder that keeps the run, the snapshots, `related.json` and `related.md`.
        settings: Settings of data and training.
        watched: Number of samples to measure on; all their gradients are held in memory.
        labels: Label file with the keys.
        progress: Receives the progress of the training.

    Raises:
        SettingsError: There are fewer than two samples to watch, or the run in the folder has other settings.
    """
    if watched < 2:
        raise SettingsError(f"`watched` must be at least 2 samples, not {watched}")
    dataset, test, _ = load_images(source, settings)
    _, dataset = given_labels(split_commas(settings.label_variants)[0], dataset, labels, settings)
    training = replace(settings.training, model=split_commas(settings.models)[0])
    accuracies = StoppingProbe({"test": as_test(test)}, training)
    ids = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(training.seed))[:watched]
    snapshots = folder / "snapshots"
    with writing(snapshots):
        snapshots.mkdir(parents=True, exist_ok=True)
    probe = _RelatedProbe(accuracies, dataset, ids, snapshots)
    train(dataset, folder / "run", training, resume=True, progress=progress, probe=probe)
    with TrajectoryStore.open(folder / "run") as store:
        signals = readings(store)
    directions = _directions(snapshots, len(signals))
    columns = [name for name in RelatedEpoch.__dataclass_fields__ if name not in ("epoch", "direction_alignment")]
    rows = [
        RelatedEpoch(
            epoch=epoch + 1,
            direction_alignment=directions[epoch],
            **without_nan(signals.loc[epoch, columns].to_dict()),
        )
        for epoch in range(len(signals))
    ]
    write_results(folder / "related.json", rows, table=markdown(rows))
    return rows


def markdown(rows: Sequence[RelatedEpoch]) -> str:
    """Return a table of one row an epoch, and below it the correlation of each measure with test accuracy."""
    names = ("test_accuracy", *MEASURES)
    lines = [
        "| epoch | " + " | ".join(name.replace("_", " ") for name in names) + " |",
        "|---" * (len(names) + 1) + "|",
    ]
    for row in rows:
        values = (getattr(row, name) for name in names)
        lines.append(f"| {row.epoch} | " + " | ".join("–" if v is None else f"{v:.3f}" for v in values) + " |")
    cells = ["–", *(_with_accuracy(rows, name) for name in MEASURES)]
    return "\n".join([*lines, "| R | " + " | ".join(cells) + " |"]) + "\n"


def _with_accuracy(rows: Sequence[RelatedEpoch], name: str) -> str:
    pairs = [(getattr(row, name), row.test_accuracy) for row in rows if getattr(row, name) is not None]
    if len(pairs) < 3 or len({a for a, _ in pairs}) == 1 or len({b for _, b in pairs}) == 1:
        return "–"
    return f"{float(np.corrcoef(np.array(pairs).T)[0, 1]):+.2f}"


class _RelatedProbe:
    """Measure accuracy and the watched samples, and write a snapshot of weights and gradient."""

    def __init__(self, accuracies: StoppingProbe, dataset: LabeledDataset, ids: Tensor, snapshots: Path) -> None:
        self._accuracies, self._dataset, self._ids, self._snapshots = accuracies, dataset, ids, snapshots

    def measure(self, epoch: int, model: nn.Module, prepared: Callable[[Tensor], Tensor]) -> Mapping[str, float]:
        """Return the numbers of an epoch; see `gwaudit.training.progress.EpochProbe`."""
        inputs = prepared(self._dataset.read(self._ids))
        labels = torch.from_numpy(self._dataset.labels)[self._ids].to(inputs.device)
        alignments, stiff = head_and_network_alignment(model, inputs, labels), stiffness(model, inputs, labels)
        state = {"weights": flat_weights(model).cpu(), "gradient": batch_gradient(model, inputs, labels).cpu()}
        path = _snapshot(self._snapshots, epoch)
        write_atomically(path, lambda temporary: torch.save(state, temporary))
        return {
            **self._accuracies.measure(epoch, model, prepared),
            "head_alignment": float(alignments.head.mean()),
            "network_alignment": float(alignments.network.mean()),
            "head_network_correlation": alignments.correlation,
            "stiffness_cosine": stiff.cosine,
            "stiffness_sign": stiff.sign,
            "stiffness_cosine_within": stiff.cosine_within,
            "stiffness_cosine_between": stiff.cosine_between,
        }


def _snapshot(folder: Path, epoch: int) -> Path:
    return folder / f"epoch-{epoch:05d}.pt"


def _directions(folder: Path, epochs: int) -> list[float | None]:
    """Return the direction alignment of each epoch, from its snapshot and that of the last epoch."""
    final: Tensor = torch.load(_snapshot(folder, epochs - 1), weights_only=True)["weights"]
    directions: list[float | None] = []
    for epoch in range(epochs - 1):
        state = torch.load(_snapshot(folder, epoch), weights_only=True)
        directions.append(direction_alignment(state["gradient"], state["weights"], final))
    return [*directions, None]
