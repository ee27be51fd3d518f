"""Add ids to the samples of any data set, which batches must carry to the recorder."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch

from gwaudit.core.errors import DataError

SAMPLE_ID = "sample_id"
"""Key of the id in samples and batches that are mappings."""


class _Indexed(Protocol):
    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Any: ...


class WithSampleIds(torch.utils.data.Dataset[Any]):
    """Wrap a data set so that each sample also holds its own index, which is its id in a run over this data set.

    A tuple gets the id as its last element, a mapping under the key `sample_id`.

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

    def __getitem__(self, index: int) -> Any:
        """Return the sample with its id."""
        return _with_id(self.dataset[index], int(index))

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Return the samples of a batch: a `DataLoader` asks for them at once, and some data sets read them at once."""
        read = getattr(self.dataset, "__getitems__", None)
        samples = [self.dataset[index] for index in indices] if read is None else read(indices)
        return [_with_id(sample, int(index)) for sample, index in zip(samples, indices, strict=True)]


def _with_id(sample: Any, index: int) -> Any:
    if isinstance(sample, tuple | list):
        return (*sample, index)
    if not isinstance(sample, Mapping):
        raise DataError(f"sample {index} is a {type(sample).__name__}, expected a tuple or a mapping with its label")
    if SAMPLE_ID in sample:
        raise DataError(f"sample {index} already has a {SAMPLE_ID!r}: rename that column")
    return {**sample, SAMPLE_ID: index}
