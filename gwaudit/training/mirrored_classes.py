"""Find classes that mirroring exchanges, such as arrows to the left and to the right, before a network is trained.

A network that sees mirrored images cannot separate such classes, and would agree with itself on every image and its
mirror image. So a linear classifier is asked that never sees a mirrored image: ridge regression on histograms of
oriented gradients (Dalal and Triggs, 2005; with signed gradients) and on small grey images, fitted on one half of a
sample and applied to the other half, as it is and mirrored. A class that it cannot separate is not found.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from gwaudit.core.settings import Augmentation
from gwaudit.data.dataset import LabeledDataset

_SIDE, _CELLS, _ORIENTATIONS, _GREY_SIDE = 32, 4, 8, 8
_FEWEST_SAMPLES, _MOST_SAMPLES, _PER_CLASS = 2000, 5000, 20
_RIDGE = 0.1
_CHUNK = 256
_SHOWN = 5
# Of digits, CIFAR-10 and letters, only pairs such as b and d or p and q pass these (docs/howto/photos.md).
_MEAN_SHARE, _LEAST_SHARE, _STANDARD_ERRORS = 0.7, 0.3, 3.0


@dataclass(frozen=True)
class ExchangedClasses:
    """Describe two classes that mirroring exchanges.

    Attributes:
        first, second: Names of the classes.
        share: Share of the mirrored images that the classifier moves to the other class, relative to the share of that
            class's own images that it recognises; the mean of both directions, in [0, 1].
    """

    first: str
    second: str
    share: float


def exchanged_classes(dataset: LabeledDataset) -> list[ExchangedClasses]:
    """Return the pairs of classes that mirroring exchanges, the clearest first.

    Mirrored images of each class must be taken for the other class, by far more often than its images as they are. The
    result does not change the state of any random generator.

    Args:
        dataset: A data set of images with one class a sample. At most 5,000 of its samples are read.
    """
    n, n_classes = len(dataset), len(dataset.class_names)
    most = min(n, max(_FEWEST_SAMPLES, min(_PER_CLASS * n_classes, _MOST_SAMPLES)))
    ids = torch.randperm(n, generator=torch.Generator().manual_seed(0))[:most]
    labels = torch.from_numpy(dataset.labels)[ids]
    own, mirrored = _predictions(dataset, ids, labels, n_classes)
    counts = torch.bincount(labels, minlength=n_classes).double().clamp_min(1)[:, None].numpy()
    before, after = (_confusions(labels, predicted, n_classes) / counts for predicted in (own, mirrored))
    gain = after - before
    error = np.sqrt((after + before) / counts) + 1e-9
    recognised = np.maximum(np.diag(before)[None, :] - before, 1e-9)  # [a, b]: more often in b than in a
    share = np.where((gain > _STANDARD_ERRORS * error) & (recognised > 0.02), np.clip(gain / recognised, 0, 1), 0.0)
    both = (share + share.T) / 2
    found = np.argwhere(np.triu((both >= _MEAN_SHARE) & (np.minimum(share, share.T) >= _LEAST_SHARE), 1)).tolist()
    pairs = [ExchangedClasses(dataset.class_names[a], dataset.class_names[b], float(both[a, b])) for a, b in found]
    return sorted(pairs, key=lambda pair: -pair.share)


def describe_exchange(pairs: Sequence[ExchangedClasses], augment: Augmentation | None) -> str:
    """Return a warning that a training mirrors images whose class mirroring changes.

    Args:
        pairs: At least one pair of classes.
        augment: The augmentation of the training; None where a frozen backbone sees mirrored views.
    """
    shown = "; ".join(f"{pair.first!r} and {pair.second!r}" for pair in pairs[:_SHOWN])
    more = f" and {len(pairs) - _SHOWN} more pairs" if len(pairs) > _SHOWN else ""
    found = f"mirrored images of one of these classes look like the other: {shown}{more}. "
    if augment is None:
        return found + "The features are those of mirrored images too, and hardly separate these classes. Use `views=1`"
    return (
        f"{found}The augmentation {augment} mirrors images, so the network cannot separate these classes, and their "
        "labels are not audited. Use `augment='crop'`, which does not mirror, or `augment='none'`"
    )


def _confusions(labels: Tensor, predicted: Tensor, n_classes: int) -> NDArray[np.float64]:
    """Return how often each class (row) is predicted as each class (column), [C, C]."""
    cells = torch.bincount(labels * n_classes + predicted, minlength=n_classes**2)
    return cells.reshape(n_classes, n_classes).double().numpy()


def _predictions(dataset: LabeledDataset, ids: Tensor, labels: Tensor, n_classes: int) -> tuple[Tensor, Tensor]:
    """Return the predicted classes [m] of images as they are and mirrored, each by the half that it is not part of."""
    chunks = [dataset.read(chunk).float() for chunk in torch.split(ids, _CHUNK)]
    own = torch.cat([_describe(images) for images in chunks])
    mirrored = torch.cat([_describe(images.flip(3)) for images in chunks])
    targets = functional.one_hot(labels, n_classes).double()
    predicted = torch.empty(len(ids), dtype=torch.long), torch.empty(len(ids), dtype=torch.long)
    half = torch.arange(len(ids)) % 2 == 0
    for test in (half, ~half):
        mean, prior = own[~test].mean(0), targets[~test].mean(0)
        centred = own[~test] - mean
        ridge = _RIDGE * centred.square().sum(0).mean().clamp_min(1e-9)
        system = centred.T @ centred + ridge * torch.eye(centred.shape[1], dtype=torch.float64)
        weights = torch.linalg.solve(system, centred.T @ (targets[~test] - prior))
        for result, described in zip(predicted, (own, mirrored), strict=True):
            result[test] = ((described[test] - mean) @ weights + prior).argmax(1)
    return predicted


def _describe(images: Tensor) -> Tensor:
    """Return histograms of oriented gradients and small grey images of images [B, C, H, W], [B, D] float64."""
    grey = functional.interpolate(images.mean(1, keepdim=True), (_SIDE, _SIDE), mode="bilinear", antialias=True)
    across = functional.pad(grey[..., 2:] - grey[..., :-2], (1, 1))
    down = functional.pad(grey[..., 2:, :] - grey[..., :-2, :], (0, 0, 1, 1))
    direction = torch.atan2(down, across) / (2 * torch.pi) * _ORIENTATIONS % _ORIENTATIONS
    lower = direction.floor()
    share = direction - lower
    strength, lower = (across.square() + down.square()).sqrt(), lower.long() % _ORIENTATIONS
    histogram = torch.zeros(len(grey), _ORIENTATIONS, _SIDE, _SIDE)
    histogram.scatter_add_(1, lower, strength * (1 - share))
    histogram.scatter_add_(1, (lower + 1) % _ORIENTATIONS, strength * share)
    cells = functional.avg_pool2d(histogram, _SIDE // _CELLS).flatten(1)
    small = functional.avg_pool2d(grey, _SIDE // _GREY_SIDE).flatten(1)
    small = small - small.mean(1, keepdim=True)
    return torch.cat([functional.normalize(cells, dim=1), functional.normalize(small, dim=1)], 1).double()
