"""Measure a network after each epoch of the stopping benchmark: accuracies, and gradient disparity."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gwaudit.core.settings import TrainingSettings
from gwaudit.data.dataset import LabeledDataset
from gwaudit.recording.network import gradient_disparity
from gwaudit.training.device import autocast

DISPARITY_BATCHES = 5
_EVALUATED_AT_ONCE = 512


@dataclass(frozen=True, eq=False)
class TestSet:
    """Hold images to evaluate on: [n, C, H, W] uint8, labels [n], and optional parts [n] that are evaluated apart."""

    __test__ = False  # for pytest, which would collect it by its name

    images: Tensor
    labels: Tensor
    parts: NDArray[np.int64] | None = None


class StoppingProbe:
    """Measure accuracies on test sets and the disparity of the gradients of a few batches, with the time of each.

    It returns `NAME_accuracy` and `NAME_seconds` for each test set (and `NAME_accuracy_PART` for its parts),
    `gradient_disparity`, `gradient_norm` and `disparity_seconds`.

    Args:
        tests: Test sets by name.
        training: Settings of the training, for number format and seed.
        dataset: Training data, if disparity is to be measured.
        disparity_batch: Samples of each of the batches; 0 for none.
    """

    def __init__(
        self,
        tests: Mapping[str, TestSet],
        training: TrainingSettings,
        dataset: LabeledDataset | None = None,
        disparity_batch: int = 0,
    ) -> None:
        self._tests, self._training = tests, training
        self._dataset, self._disparity_batch = dataset, disparity_batch

    def measure(self, epoch: int, model: nn.Module, prepared: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """Return the numbers of an epoch; see `gwaudit.training.progress.EpochProbe`."""
        numbers: dict[str, float] = {}
        model.eval()
        try:
            for name, test in self._tests.items():
                began = time.perf_counter()
                right = self._right(test, model, prepared)
                numbers[f"{name}_seconds"] = time.perf_counter() - began
                numbers[f"{name}_accuracy"] = float(right.mean())
                if test.parts is not None:
                    for part in np.unique(test.parts):
                        numbers[f"{name}_accuracy_{part}"] = float(right[test.parts == part].mean())
        finally:
            model.train()
        return numbers | self._disparity(epoch, model, prepared)

    def _right(self, test: TestSet, model: nn.Module, prepared: Callable[[Tensor], Tensor]) -> NDArray[np.bool_]:
        predicted = []
        with torch.no_grad():
            for images in torch.split(test.images, _EVALUATED_AT_ONCE):
                inputs = prepared(images)
                with autocast(self._training.dtype, inputs.device):
                    predicted.append(model(inputs).argmax(1).cpu())
        return (torch.cat(predicted) == test.labels).numpy()

    def _disparity(self, epoch: int, model: nn.Module, prepared: Callable[[Tensor], Tensor]) -> dict[str, float]:
        dataset = self._dataset
        if dataset is None or not self._disparity_batch:
            return {}
        began = time.perf_counter()
        size = min(self._disparity_batch, len(dataset) // DISPARITY_BATCHES)
        generator = torch.Generator().manual_seed(self._training.seed * 1_000_003 + epoch)
        drawn = torch.randperm(len(dataset), generator=generator)[: size * DISPARITY_BATCHES]
        batches = []
        for ids in torch.split(drawn, size):
            inputs = prepared(dataset.read(ids))
            batches.append((inputs, torch.from_numpy(dataset.labels)[ids].to(inputs.device)))
        gradients = gradient_disparity(model, batches)
        return {
            "gradient_disparity": gradients.disparity,
            "gradient_norm": gradients.gradient_norm,
            "disparity_seconds": time.perf_counter() - began,
        }
