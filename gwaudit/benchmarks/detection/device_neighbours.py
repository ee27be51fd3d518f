"""Find nearest neighbours on a GPU, for the detectors of a benchmark that vote by them."""

from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from gwaudit.analysis.detectors import RecordedRun
from gwaudit.analysis.latent_scores import NEIGHBOURS
from gwaudit.store.store import TrajectoryStore

_BLOCK = 2048


class RecordedRunOnDevice(RecordedRun):
    """Read what a run recorded, as `RecordedRun`, and search neighbours on a device.

    Args:
        store: a run with at least one epoch.
        device: the device; on a CPU the search is that of `RecordedRun`.
    """

    def __init__(self, store: TrajectoryStore, device: torch.device) -> None:
        super().__init__(store)
        self._device = device

    @cached_property
    def neighbours(self) -> NDArray[np.int64]:
        """Return the ids of the nearest neighbours of each sample, [n, 10], the nearest first."""
        return super().neighbours if self._device.type == "cpu" else nearest_on_device(self.latents, self._device)


def nearest_on_device(latents: NDArray[np.float32], device: torch.device, k: int = NEIGHBOURS) -> NDArray[np.int64]:
    """Return the k nearest neighbours of every sample by cosine distance, the nearest first, [n, k].

    Args:
        latents: [n, D] of length 1.
        device: Device to compute on.
        k: Number of neighbours; n - 1 where there are fewer samples.
    """
    values = torch.from_numpy(latents).to(device)
    found = []
    for start in range(0, len(values), _BLOCK):
        block = values[start : start + _BLOCK]
        similarity = block @ values.T
        rows = torch.arange(len(block), device=device)
        similarity[rows, start + rows] = -torch.inf
        found.append(similarity.topk(min(k, len(values) - 1), dim=1).indices.cpu())
    return torch.cat(found).numpy()
