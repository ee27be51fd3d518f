"""What the stopping benchmark measures of a network after each epoch: accuracies, and gradient disparity."""

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
    """Images to evaluate on: [n, C, H, W] uint8 with labels [n], perhaps in parts [n] that are also told one by one."""

    __test__ = False  # not a test, whatever pytest makes of its name

    images: Tensor
    labels: Tensor
    parts: NDArray[np.int64] | None = None


class StoppingProbe:
    """Measures accuracies on test sets, and the disparity of a few batches' gradients, with the time that each takes.

    Gives `NAME_accuracy` and `NAME_seconds` for each test set (and `NAME_accuracy_PART` for its parts),
    `gradient_disparity`, `gradient_norm` and `disparity_seconds`.

    Args:
        tests: the test sets by name.
        training: how the network is trained, for precision and seed.
        dataset: what it is trained on, where disparity is asked for.
        disparity_batch: samples of each of the batches; 0 to leave it out.
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
        """As `gwaudit.training.trainer.EpochProbe` has it."""
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
        found = []
        with torch.no_grad():
            for images in torch.split(test.images, _EVALUATED_AT_ONCE):
                inputs = prepared(images)
                with autocast(self._training.dtype, inputs.device):
                    found.append(model(inputs).argmax(1).cpu())
        return (torch.cat(found) == test.labels).numpy()

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
        found = gradient_disparity(model, batches)
        return {
            "gradient_disparity": found.disparity,
            "gradient_norm": found.gradient_norm,
            "disparity_seconds": time.perf_counter() - began,
        }
