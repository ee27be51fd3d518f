"""Feed the batches of training and evaluation passes: draw their order, read the inputs, augment images."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from gwaudit.core.settings import TrainingSettings
from gwaudit.data.dataset import LabeledDataset
from gwaudit.recording.distributed import process_rank, rank_slice, world_size
from gwaudit.training.augmentation import BatchPart, alternating_flips, augment


class Batch(NamedTuple):
    """Hold a batch of a training, and this rank's part of it.

    Attributes:
        ids: Ids of its samples, [B].
        own_ids: Ids of the samples that this rank computes, [b].
        n_own: Number of these that count: b, or 0 for a rank without a part, which computes samples of others.
        inputs: Their inputs, [b, *shape], images augmented.
    """

    ids: Tensor
    own_ids: Tensor
    n_own: int
    inputs: Tensor


class BatchFeed:
    """Read the batches of a data set for one training.

    Args:
        dataset: The data set, with the inputs that the model takes.
        settings: `batch_size`, `augment` and `seed`.
        weights: Weight of each sample in the draw of an epoch's samples, [n]; None for each sample once.
    """

    def __init__(self, dataset: LabeledDataset, settings: TrainingSettings, weights: Tensor | None = None) -> None:
        assert settings.batch_size != "auto"  # it is resolved
        self.dataset, self.settings, self.weights = dataset, settings, weights
        self.batch_size = settings.batch_size
        self.batch_sizes = [len(batch) for batch in self._cut(torch.arange(len(dataset)))]

    @property
    def n_steps(self) -> int:
        """Return the number of batches in an epoch."""
        return len(self.batch_sizes)

    def training_batches(self, epoch: int) -> Iterator[Batch]:
        """Yield the batches of an epoch, whose random draws are those of (seed, epoch).

        Args:
            epoch: The epoch, counted from 0.
        """
        generator = torch.Generator().manual_seed(self.settings.seed * 1_000_003 + epoch)
        batches = self._cut(self._draw_order(generator))
        flipped = alternating_flips(len(self.dataset), epoch, self.settings.seed)
        for ids in batches:
            own = rank_slice(len(ids))
            n_own = own.stop - own.start
            # All ranks must take part in a step: one without a part computes samples of others, with the weight 0.
            indices = own if n_own else slice(0, 2)
            own_ids, part = ids[indices], BatchPart(indices, len(ids))
            inputs = self.dataset.read(own_ids)
            if self.dataset.modality == "images":
                inputs = augment(inputs, self.settings.augment, generator, flipped=flipped[own_ids], part=part)
            yield Batch(ids, own_ids, n_own, inputs)

    def evaluation_batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the sample ids and the inputs of this rank's batches of a pass over all samples, in order.

        Args:
            size: Number of samples in a batch.
        """
        for ids in torch.split(torch.arange(len(self.dataset)), size)[process_rank() :: world_size()]:
            yield ids, self.dataset.read(ids)

    def _draw_order(self, generator: torch.Generator) -> Tensor:
        """Return the ids of the samples of an epoch, in their order."""
        if self.weights is None:
            return torch.randperm(len(self.dataset), generator=generator)
        return torch.multinomial(self.weights, len(self.dataset), replacement=True, generator=generator)

    def _cut(self, order: Tensor) -> list[Tensor]:
        """Cut the order into batches; a single leftover joins the batch before, as batch norm needs two samples."""
        batches = list(torch.split(order, self.batch_size))
        if len(batches) > 1 and len(batches[-1]) == 1:
            batches[-2:] = [torch.cat(batches[-2:])]
        return batches
