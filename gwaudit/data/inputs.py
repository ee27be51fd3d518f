"""Define the inputs of a data set: n tensors of one shape, read by their ids."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from gwaudit.core.errors import DataError
from gwaudit.data.feature_scaling import in_float32


class Digest(Protocol):
    """Describe a checksum that is being computed, as those of `hashlib`."""

    def update(self, data: bytes, /) -> None:
        """Add data."""


class Inputs(Protocol):
    """Describe n inputs of one shape: images (C, H, W), or features (D,)."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of one input."""

    def __len__(self) -> int: ...

    def read(self, sample_ids: Tensor) -> Tensor:
        """Return the inputs of these ids, [B, *shape]: images as stored, features in float32 or float64."""

    def add_to(self, digest: Digest) -> None:
        """Add the inputs to a checksum."""


@dataclass(frozen=True, eq=False)
class InMemory:
    """Hold inputs as one tensor [n, *shape]: images [n, C, H, W], or features [n, D] as `features` returns."""

    values: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of one input."""
        return tuple(self.values.shape[1:])

    def __len__(self) -> int:
        return len(self.values)

    def read(self, sample_ids: Tensor) -> Tensor:
        """Return the inputs of these ids, [B, *shape]."""
        # Not values[ids], which starts all threads for a single row: 13 ms in place of 0.05 ms on busy cores.
        return self.values.index_select(0, sample_ids)

    def add_to(self, digest: Digest) -> None:
        """Add every value to a checksum."""
        if self.values.numel():  # of none, there is no view
            digest.update(memoryview(self.values.numpy()).cast("B"))  # type: ignore[arg-type]  # any buffer works


@dataclass(frozen=True, eq=False)
class Texts:
    """Hold texts, which are embedded before a training (`gwaudit.training.frozen_features.embed_texts`)."""

    texts: Sequence[str]

    @property
    def shape(self) -> tuple[int, ...]:
        """Return (): a text is not a tensor yet."""
        return ()

    def __len__(self) -> int:
        return len(self.texts)

    def read(self, sample_ids: Tensor) -> Tensor:
        """Raise DataError: a text is not a tensor.

        Raises:
            DataError: Always.
        """
        raise DataError(
            "texts must be embedded before a training reads them: call "
            "gwaudit.training.frozen_features.embed_texts(dataset, encoder)"
        )

    def add_to(self, digest: Digest) -> None:
        """Add every text to a checksum."""
        for text in self.texts:
            digest.update(text.encode("utf-8", "surrogatepass") + b"\0")


@dataclass(frozen=True, eq=False)
class SubsetInputs:
    """Hold a subset of other inputs: the ids [n] in `inputs`, in their order."""

    inputs: Inputs
    ids: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of one input."""
        return self.inputs.shape

    def __len__(self) -> int:
        return len(self.ids)

    def read(self, sample_ids: Tensor) -> Tensor:
        """Return the inputs of these ids, [B, *shape]."""
        return self.inputs.read(self.ids[sample_ids])

    def add_to(self, digest: Digest) -> None:
        """Add all of the inputs, and the ids of the subset, to a checksum."""
        self.inputs.add_to(digest)
        digest.update(self.ids.numpy().tobytes())


def are_in_memory(inputs: Inputs) -> bool:
    """Return whether reading inputs only copies memory."""
    return isinstance(inputs, InMemory) or (isinstance(inputs, SubsetInputs) and are_in_memory(inputs.inputs))


def features(values: Tensor) -> InMemory:
    """Return features [n, D] of any real dtype as inputs in float32, or in float64 where float32 would lose rows."""
    if values.dtype in (torch.float16, torch.bfloat16):
        values = values.float()
    return InMemory(torch.from_numpy(in_float32(values.numpy())))
