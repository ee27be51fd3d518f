"""Find label errors by second-split forgetting: wrong labels are forgotten first when a network learns other data."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from gwaudit.analysis.detectors import Detection
from gwaudit.core.errors import SettingsError
from gwaudit.core.files import write_atomically
from gwaudit.core.settings import TrainingSettings
from gwaudit.data.dataset import LabeledDataset
from gwaudit.store.store import TrajectoryStore
from gwaudit.training.checkpoints import best_checkpoint
from gwaudit.training.device import autocast
from gwaudit.training.progress import Progress
from gwaudit.training.tensor_files import read_tensors
from gwaudit.training.trainer import train

_AT_ONCE = 512


def second_split_runs(folder: Path) -> list[Path]:
    """Return the folders of the four trainings in a folder."""
    return [folder / f"second-split-{half}-{turn}" for half in range(2) for turn in ("first", "second")]


def second_split_forgetting(
    dataset: LabeledDataset, folder: Path, training: TrainingSettings, *, progress: Progress | None = None
) -> Detection:
    """Score by the negative second-split forgetting time (SSFT; Maini et al., NeurIPS 2022, arXiv 2210.15031, sec. 3).

    A network learns a random half of the data, and goes on with the other half. The forgetting time of a sample of the
    first half is the first epoch of the second training from which on all epochs predict another label than the given
    one; the number of epochs, where the last one predicts the given label. The halves change roles, so that each sample
    has a time. The recipe of both trainings is the same.

    Args:
        dataset: Images with given labels.
        folder: Folder that keeps the runs; runs that are there are resumed.
        training: Settings of each training, resolved.
        progress: Receives the progress of each training.

    Raises:
        SettingsError: The samples are not images, so that a training cannot go on from the weights of another one.
    """
    if dataset.modality != "images":
        raise SettingsError(f"the training 'second-split' needs images, and {dataset.name} holds {dataset.modality}")
    order = np.random.default_rng(training.seed).permutation(len(dataset))
    halves = np.sort(order[: len(order) // 2]), np.sort(order[len(order) // 2 :])
    runs, score = second_split_runs(folder), np.full(len(dataset), np.nan)
    for half, ids in enumerate(halves):
        first, second = runs[2 * half : 2 * half + 2]
        learned, others = dataset.subset(ids), dataset.subset(halves[1 - half])
        train(learned, first, training, resume=True, progress=progress)
        weights = folder / f"second-split-{half}.safetensors"
        if not weights.exists():
            _write_weights(first, weights)
        goes_on = replace(training, checkpoint=str(weights), pretrained=False)
        predictions = _PredictionsOf(learned, folder / f"second-split-{half}-predictions", training.dtype)
        train(others, second, goes_on, resume=True, progress=progress, probe=predictions)
        score[ids] = -forgetting_times(predictions.read(), learned.labels)
    return Detection(score)


def forgetting_times(predicted: NDArray[np.int64], given: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the first epoch from which on all epochs predict another label than the given one, [n].

    Args:
        predicted: [epochs, n] predicted labels.
        given: [n] given labels.

    Example:
        >>> forgetting_times(np.array([[0, 0, 1], [0, 1, 0], [0, 1, 1]]), np.array([0, 0, 0]))
        array([3, 1, 2])
    """
    wrong_from_here = np.logical_and.accumulate((predicted != given)[::-1], axis=0)
    return np.asarray(len(predicted) - wrong_from_here.sum(0))


class _PredictionsOf:
    """Keep the predictions of a network on other samples than it learns, a file an epoch."""

    def __init__(self, dataset: LabeledDataset, folder: Path, dtype: str) -> None:
        self._dataset, self._folder, self._dtype = dataset, folder, dtype

    def measure(self, epoch: int, model: nn.Module, prepared: Callable[[Tensor], Tensor]) -> Mapping[str, float]:
        """Write the predictions after an epoch; see `gwaudit.training.progress.EpochProbe`."""
        predicted = []
        model.eval()
        try:
            with torch.no_grad():
                for ids in torch.split(torch.arange(len(self._dataset)), _AT_ONCE):
                    inputs = prepared(self._dataset.read(ids))
                    with autocast(self._dtype, inputs.device):
                        predicted.append(model(inputs).argmax(1).cpu())
        finally:
            model.train()
        values = torch.cat(predicted).numpy()

        def write(temporary: Path) -> None:
            with temporary.open("wb") as file:
                np.save(file, values, allow_pickle=False)

        write_atomically(self._folder / f"epoch-{epoch:05d}.npy", write)
        return {}

    def read(self) -> NDArray[np.int64]:
        """Return the predictions of every epoch, [epochs, n]."""
        return np.stack([np.load(path, allow_pickle=False) for path in sorted(self._folder.glob("epoch-*.npy"))])


def _write_weights(run: Path, path: Path) -> None:
    """Write the weights of a finished run into a file that `checkpoint` takes."""
    with TrajectoryStore.open(run) as store:
        values = read_tensors(best_checkpoint(store))
    state: dict[str, Tensor] = values["ema"] or values["model"]
    write_atomically(path, lambda temporary: save_file(state, temporary))
