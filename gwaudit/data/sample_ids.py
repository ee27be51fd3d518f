"""Add ids to the samples of any data set, which batches must carry to the recorder."""

import operator
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch

from gwaudit.core.errors import DataError

SAMPLE_ID = "sample_id"
"""Key of the id in samples and batches that are mappings."""


class _Indexed(Protocol):
    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Any: ...


class WithSampleIds(torch.utils.data.Dataset[Any]):
    """Wrap a data set so that each sample also holds its own index, which is its id in a run over this data set.

    A tuple gets the id as its last element, a mapping under the key `sample_id`. Indexed by several samples at once, as
    by a `BatchSampler` under `batch_size=None`, the batch gets their ids. All other attributes, such as `classes` and
    `targets`, are those of the data set.

    Args:
        dataset: Data set with a length, whose samples are tuples, lists or mappings.

    Raises:
        DataError: The data set is a stream without indices; or, on access, a sample is of another kind or has a
            `sample_id` of its own.

    Example:
        >>> WithSampleIds([("a photo", 0), ("another", 1)])[1]
        ('another', 1, 1)
    """

    def __init__(self, dataset: _Indexed) -> None:
        stream = isinstance(dataset, torch.utils.data.IterableDataset)
        if stream or not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
            raise DataError(
                f"{type(dataset).__name__} is a stream: an audit needs each sample's index; use a data set that has "
                "a length and is read by index"
            )
        self.dataset: Any = dataset

    @property
    def transform(self) -> Any:
        """Return the transform of the wrapped data set; timm's `create_loader` sets it."""
        return self.dataset.transform

    @transform.setter
    def transform(self, transform: Any) -> None:
        self.dataset.transform = transform

    def __len__(self) -> int:
        return len(self.dataset)

    def __getattr__(self, name: str) -> Any:
        if name == "dataset" or name.startswith("__"):  # while it is copied or unpickled
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __getitem__(self, index: Any) -> Any:
        """Return the sample with its id; for a sequence or a slice of indices, the batch with its ids [B], int64."""
        if isinstance(index, str):  # a column of a `datasets.Dataset`
            return self.dataset[index]
        sample = self.dataset[index]
        if not isinstance(index, slice | Sequence | np.ndarray | torch.Tensor) or getattr(index, "ndim", 1) == 0:
            number = operator.index(index)
            return _with_id(sample, number + len(self) if number < 0 else number)
        if not isinstance(index, slice):
            index = torch.as_tensor(index)
        return _with_ids(sample, torch.arange(len(self))[index])

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Return the samples of a batch: a `DataLoader` asks for them at once, and some data sets read them at once."""
        read = getattr(self.dataset, "__getitems__", None)
        samples = [self.dataset[index] for index in indices] if read is None else read(indices)
        return [_with_id(sample, int(index)) for sample, index in zip(samples, indices, strict=True)]


def _with_ids(batch: Any, indices: torch.Tensor) -> Any:
    """Return a batch with the ids of its samples: a list of samples, or columns in a tuple, a list or a mapping."""
    if isinstance(batch, list) and len(batch) == len(indices) and all(isinstance(s, tuple | Mapping) for s in batch):
        return [_with_id(sample, index) for sample, index in zip(batch, indices.tolist(), strict=True)]
    return _with_id(batch, indices)


def _with_id(sample: Any, index: int | torch.Tensor) -> Any:
    if isinstance(sample, tuple | list):
        return (*sample, index)
    if not isinstance(sample, Mapping):
        raise DataError(f"sample {index} is a {type(sample).__name__}, expected a tuple or a mapping with its label")
    if SAMPLE_ID in sample:
        raise DataError(f"sample {index} already has a {SAMPLE_ID!r}: rename that column")
    return {**sample, SAMPLE_ID: index}
