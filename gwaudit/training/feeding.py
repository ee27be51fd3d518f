"""Draw the batches of training and evaluation passes, read their inputs, and augment images.

Worker processes read and augment, where the data set has some. Images in memory are augmented on the GPU, if there is
one, by operations on whole batches: a processor crops and mirrors fewer images a second than a GPU learns. All that is
drawn is drawn in this process, in the order of the batches, so that a run does not depend on the number of workers.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from gwaudit.core.settings import TrainingSettings
from gwaudit.data.dataset import LabeledDataset
from gwaudit.data.inputs import are_in_memory
from gwaudit.data.workers import WorkerPool
from gwaudit.recording.distributed import process_rank, rank_slice, world_size
from gwaudit.training.augmentation import BatchPart, Draws, alternating_flips, augment, draw, sample_seeds
from gwaudit.training.device import MEASURED_IMAGES

_OF_BATCHES = ("crop-flip", "shift-flip", "strong", "crop", "none")  # the others transform image by image


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


class _Part(NamedTuple):
    """Describe what to read of a batch: sample ids [b], and what was drawn for their augmentation, if any."""

    ids: Tensor
    draws: Draws | None = None


class BatchFeed:
    """Read the batches of a data set for one training.

    Args:
        dataset: The data set, with the inputs that the model takes.
        settings: `batch_size`, `augment` and `seed`.
        weights: Weight of each sample in the draw of an epoch's samples, [n]; None for each sample once.
        device: Device of the training; by default the CPU. For a GPU inputs are put into pinned memory, from which it
            reads faster.
    """

    def __init__(
        self,
        dataset: LabeledDataset,
        settings: TrainingSettings,
        weights: Tensor | None = None,
        *,
        device: torch.device | None = None,
    ) -> None:
        assert settings.batch_size != "auto"  # it is resolved
        self.dataset, self.settings, self.weights = dataset, settings, weights
        self.batch_size = settings.batch_size
        self.batch_sizes = [len(batch) for batch in self._cut(torch.arange(len(dataset)))]
        on_gpu = device is not None and device.type == "cuda"
        is_cheap = dataset.modality != "images" or settings.augment == "none"
        is_cheap = is_cheap or (on_gpu and settings.augment in _OF_BATCHES)
        workers = 0 if is_cheap and are_in_memory(dataset.inputs) else dataset.workers
        self._device = device if on_gpu and not workers and settings.augment in _OF_BATCHES else None
        self._pool: WorkerPool[_Part, Tensor] = WorkerPool(self._read, workers, pin_memory=on_gpu)

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
        # All ranks must take part in a step: one without a part computes samples of others, with the weight 0.
        own = [rank_slice(len(ids)) for ids in batches]
        computed = [indices if indices.stop > indices.start else slice(0, 2) for indices in own]

        def parts() -> Iterator[_Part]:
            for ids, indices in zip(batches, computed, strict=True):
                yield self._drawn(ids, BatchPart(indices, len(ids)), epoch, generator, flipped)

        inputs = self._pool.map(parts())
        for ids, counted, indices, values in zip(batches, own, computed, inputs, strict=True):
            yield Batch(ids, ids[indices], counted.stop - counted.start, values)

    def trial_batch(self, device: torch.device) -> Tensor:
        """Return the ids of the samples of a step that is timed: a few on a CPU, a batch on a GPU."""
        n = MEASURED_IMAGES if device.type == "cpu" else max(self.batch_size, MEASURED_IMAGES)
        return torch.arange(n) % len(self.dataset)

    def evaluation_batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the sample ids and the inputs of this rank's batches of a pass over all samples, in order.

        Args:
            size: Number of samples in a batch.
        """
        batches = torch.split(torch.arange(len(self.dataset)), size)[process_rank() :: world_size()]
        yield from zip(batches, self._pool.map(_Part(ids) for ids in batches), strict=True)

    def close(self) -> None:
        """End the workers."""
        self._pool.close()

    def _drawn(self, ids: Tensor, part: BatchPart, epoch: int, generator: torch.Generator, flipped: Tensor) -> _Part:
        """Return the part of a batch that this rank reads, with the draws of its augmentation."""
        own = ids[part.indices]
        if self.dataset.modality != "images":
            return _Part(own)
        kind, seed = self.settings.augment, self.settings.seed
        seeds = sample_seeds(seed, epoch, own) if kind in ("randaugment", "resized-crop") else None
        size = (self.dataset.input_shape[1], self.dataset.input_shape[2])
        return _Part(own, draw(kind, size, generator, part, flipped=flipped[own], seeds=seeds))

    def _read(self, part: _Part) -> Tensor:
        inputs = self.dataset.read(part.ids)
        if self._device is not None:  # while it computes the step before
            inputs = inputs.pin_memory().to(self._device, non_blocking=True)
        return inputs if part.draws is None else augment(inputs, self.settings.augment, part.draws)

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
