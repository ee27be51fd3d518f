"""Alignment of the head beside its relatives that need gradients of the whole network, epoch by epoch: for small runs.

On some samples that are watched throughout: stiffness, and the alignment of the head beside that of all parameters. On
the batch of them: how far the descent direction points to the final weights, which only the end of the run tells; for
that the weights and gradients of every epoch are kept in `snapshots/`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from gwaudit.analysis.monitor import readings
from gwaudit.benchmarks.results import write_results
from gwaudit.benchmarks.stopping.benchmark import as_test, given_labels, images_of
from gwaudit.benchmarks.stopping.probe import StoppingProbe
from gwaudit.benchmarks.stopping.settings import StoppingSettings
from gwaudit.core.errors import SettingsError
from gwaudit.core.files import write_atomically, writing
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
    """One epoch. Stiffness and alignments are means over the watched samples, or pairs of them.

    Attributes:
        epoch: from 1.
        test_accuracy: a fraction.
        directional_alignment, gwa: E and GWA of all samples, as recorded while training.
        head_alignment, network_alignment: mean γ with the head's weight and with all parameters, after the epoch.
        head_network_correlation: Pearson's, of the two over the watched samples.
        direction_alignment: cosine of the descent direction with the way to the final weights; None in the last epoch,
            where there is no way left.
        stiffness_cosine, stiffness_sign: as in `gwaudit.recording.network.Stiffness`.
        stiffness_cosine_within, stiffness_cosine_between: over pairs of one given label, and of two.
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
    """Train once, on the first label set and with the first model of the settings, and measure after every epoch.

    Args:
        source: images with their right labels.
        folder: keeps the run and the snapshots, and gets `related.json` and `related.md`.
        settings: what to train, and how.
        watched: samples to measure on; all their gradients are held at once.
        labels: the label file that keys are of.
        progress: told how the training goes.

    Raises:
        SettingsError: fewer than two samples to watch, or a run in the folder that was made otherwise.
    """
    if watched < 2:
        raise SettingsError(f"watched: expected at least 2 samples, got {watched}")
    dataset, test, _ = images_of(source, settings)
    _, dataset = given_labels(settings.sets.split(",")[0].strip(), dataset, labels, settings)
    training = settings.training(settings.models.split(",")[0].strip())
    accuracies = StoppingProbe({"test": as_test(test)}, training)
    ids = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(settings.seed))[:watched]
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
            **{name: None if np.isnan(value) else float(value) for name, value in signals.loc[epoch, columns].items()},  # type: ignore[arg-type]  # NaN of no other
        )
        for epoch in range(len(signals))
    ]
    write_results(folder / "related.json", rows, table=markdown(rows))
    return rows


def markdown(rows: Sequence[RelatedEpoch]) -> str:
    """A row an epoch, and below each measure's correlation with test accuracy over the epochs."""
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
    """Accuracy, the measures on the watched samples, and a snapshot."""

    def __init__(self, accuracies: StoppingProbe, dataset: LabeledDataset, ids: Tensor, snapshots: Path) -> None:
        self._accuracies, self._dataset, self._ids, self._snapshots = accuracies, dataset, ids, snapshots

    def measure(self, epoch: int, model: nn.Module, prepared: Callable[[Tensor], Tensor]) -> Mapping[str, float]:
        inputs = prepared(self._dataset.read(self._ids))
        labels = torch.from_numpy(self._dataset.labels)[self._ids].to(inputs.device)
        both, stiff = head_and_network_alignment(model, inputs, labels), stiffness(model, inputs, labels)
        state = {"weights": flat_weights(model).cpu(), "gradient": batch_gradient(model, inputs, labels).cpu()}
        path = _snapshot(self._snapshots, epoch)
        write_atomically(path, lambda temporary: torch.save(state, temporary))
        return {
            **self._accuracies.measure(epoch, model, prepared),
            "head_alignment": float(both.head.mean()),
            "network_alignment": float(both.network.mean()),
            "head_network_correlation": both.correlation,
            "stiffness_cosine": stiff.cosine,
            "stiffness_sign": stiff.sign,
            "stiffness_cosine_within": stiff.cosine_within,
            "stiffness_cosine_between": stiff.cosine_between,
        }


def _snapshot(folder: Path, epoch: int) -> Path:
    return folder / f"epoch-{epoch:05d}.pt"


def _directions(folder: Path, epochs: int) -> list[float | None]:
    final: Tensor = torch.load(_snapshot(folder, epochs - 1), weights_only=True)["weights"]
    found: list[float | None] = []
    for epoch in range(epochs - 1):
        state = torch.load(_snapshot(folder, epoch), weights_only=True)
        found.append(direction_alignment(state["gradient"], state["weights"], final))
    return [*found, None]
