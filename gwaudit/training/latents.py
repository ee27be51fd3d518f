"""Compute the latents that a run keeps, and find images that are nearly equal with them."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from gwaudit.analysis.neighbours import Floats, centred, close_pairs, groups_of
from gwaudit.core.settings import TrainingSettings
from gwaudit.data.dataset import LabeledDataset
from gwaudit.recording.head import find_head
from gwaudit.store.latents import MOST_SAMPLES, has_latents, write_latents

MOST_DISTANCE = 0.15
"""Largest cosine distance of nearly equal images. 100 images of CIFAR-10 were saved again as JPEG with quality 75, or
at two thirds or half of their size: all copies were nearer than this. Of 2,000 images no two different ones were."""

LEAST_CORRELATION = 0.9
"""Least correlation of nearly equal images, of 16x16 pixels, as they are or mirrored. Latents alone are no proof: those
of images of one subject can be close too."""

_SIDE = 16


def keep_latents(
    run: Path,
    dataset: LabeledDataset,
    settings: TrainingSettings,
    compute: Callable[[], Tensor],
    find_equal: Callable[[], list[list[int]]],
) -> None:
    """Keep the latents of all samples in a run, as its settings ask for them.

    Args:
        run: Folder of the run.
        dataset: The data set that is audited.
        settings: `latents` and `backbone`.
        compute: Returns the latents, [n, D].
        find_equal: Returns the groups of nearly equal images (`nearly_equal`).

    Raises:
        StoreError: A file cannot be written.
        DataError: An image can no longer be read.
    """
    if not keeps_latents(dataset, settings) or has_latents(run):
        return
    latents = compute().numpy().astype(np.float32)
    write_latents(run, latents, {"nearly_equal": find_equal()})


def keeps_latents(dataset: LabeledDataset, settings: TrainingSettings) -> bool:
    """Return whether a run on a data set keeps its latents, as its settings ask for them.

    Args:
        dataset: The data set that is audited.
        settings: `latents` and `backbone`, resolved.
    """
    wanted = settings.latents == "keep" or (settings.latents == "auto" and _is_frozen(dataset, settings))
    return wanted and len(dataset) <= MOST_SAMPLES


def _is_frozen(dataset: LabeledDataset, settings: TrainingSettings) -> bool:
    return dataset.modality == "images" and settings.backbone == "frozen"


def latents_of(model: nn.Module, batches: Iterable[Tensor]) -> Tensor:
    """Return the inputs [n, D] of the head of a network, in evaluation mode.

    Args:
        model: The network.
        batches: The inputs, as the network takes them.
    """
    seen: list[Tensor] = []
    hook = find_head(model).module.register_forward_pre_hook(
        lambda _, inputs: seen.append(inputs[0].detach().float().flatten(1).cpu())
    )
    was_training = model.training
    try:
        with torch.no_grad():
            for inputs in batches:
                model.eval()(inputs)
    finally:
        hook.remove()
        model.train(was_training)
    return torch.cat(seen)


def nearly_equal(dataset: LabeledDataset, latents: Floats) -> list[list[int]]:
    """Return the groups of nearly equal images of a data set, by their ids.

    Two images are nearly equal if their latents and their pixels are: see `MOST_DISTANCE` and `LEAST_CORRELATION`.

    Args:
        dataset: The images.
        latents: [n, D] features of a pretrained network, which are far apart for different images of one class.
    """
    pairs = close_pairs(centred(latents), MOST_DISTANCE)
    return groups_of(pairs[look_alike(dataset, pairs[:, 0], dataset, pairs[:, 1])], len(dataset))


def look_alike(
    dataset: LabeledDataset, first: NDArray[np.int64], other: LabeledDataset, second: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return which pairs of images have nearly equal pixels (`LEAST_CORRELATION`), [m].

    Args:
        dataset: The images of the first ids.
        first: [m] ids of one image of each pair.
        other: The images of the second ids, with as many channels.
        second: [m] ids of the other image of each pair.
    """
    channels = dataset.input_shape[0]
    images, position = _small(dataset, first)
    others, other_position = _small(other, second)
    mirrored = images.reshape(len(images), channels, _SIDE, _SIDE).flip(3).flatten(1)
    similarity = [(views[position] * others[other_position]).sum(1) for views in (images, mirrored)]
    return np.asarray((torch.maximum(*similarity) >= LEAST_CORRELATION).numpy())


def _small(dataset: LabeledDataset, sample_ids: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Return images of 16x16 pixels, less their mean and of length 1, [k, C * 256], and the row of each id, [m]."""
    ids, position = np.unique(sample_ids, return_inverse=True)
    if not len(ids):
        return torch.empty(0, dataset.input_shape[0] * _SIDE**2), torch.from_numpy(position)
    chunks = [dataset.read(chunk).float() for chunk in torch.split(torch.from_numpy(ids), 256)]
    small = torch.cat([functional.adaptive_avg_pool2d(images, _SIDE).flatten(1) for images in chunks])
    return functional.normalize(small - small.mean(1, keepdim=True), dim=1), torch.from_numpy(position)
