"""What a data set's inputs are to everyone who reads them: n tensors of one shape, by their ids."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from gwaudit.core.errors import DataError


class Digest(Protocol):
    """A checksum under way, as of hashlib."""

    def update(self, data: bytes, /) -> None:
        """Take in more."""


class Inputs(Protocol):
    """n inputs of one shape: images (C, H, W), or features (D,)."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one input."""

    def __len__(self) -> int: ...

    def read(self, sample_ids: Tensor) -> Tensor:
        """[B, *shape]: images as uint8 (or float32 where they came so), features as float32."""

    def add_to(self, digest: Digest) -> None:
        """Have the checksum depend on these inputs."""


@dataclass(frozen=True, eq=False)
class InMemory:
    """Inputs as one tensor [n, *shape]: uint8 images [n, C, H, W], float32 features [n, D]."""

    values: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one input."""
        return tuple(self.values.shape[1:])

    def __len__(self) -> int:
        return len(self.values)

    def read(self, sample_ids: Tensor) -> Tensor:
        """[B, *shape]."""
        # Not values[ids], which wakes all threads for a single row: 13 ms rather than 0.05 on busy cores.
        return self.values.index_select(0, sample_ids)

    def add_to(self, digest: Digest) -> None:
        """By every value."""
        digest.update(memoryview(self.values.numpy()).cast("B"))  # type: ignore[arg-type]  # any buffer will do


@dataclass(frozen=True, eq=False)
class Texts:
    """Texts, which become features before anything trains on them (`gwaudit.training.frozen_features.embed_texts`)."""

    texts: Sequence[str]

    @property
    def shape(self) -> tuple[int, ...]:
        """None yet."""
        return ()

    def __len__(self) -> int:
        return len(self.texts)

    def read(self, sample_ids: Tensor) -> Tensor:
        """Refused: a text is no tensor.

        Raises:
            DataError: always.
        """
        raise DataError(
            "texts are not numbers yet: embed them first with "
            "gwaudit.training.frozen_features.embed_texts(dataset, encoder)"
        )

    def add_to(self, digest: Digest) -> None:
        """By every text."""
        for text in self.texts:
            digest.update(text.encode("utf-8", "surrogatepass") + b"\0")


@dataclass(frozen=True, eq=False)
class SubsetInputs:
    """Some of other inputs, in an order of their own: the ids [n] of `inputs`."""

    inputs: Inputs
    ids: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one input."""
        return self.inputs.shape

    def __len__(self) -> int:
        return len(self.ids)

    def read(self, sample_ids: Tensor) -> Tensor:
        """[B, *shape]."""
        return self.inputs.read(self.ids[sample_ids])

    def add_to(self, digest: Digest) -> None:
        """By all of the inputs, and which were chosen."""
        self.inputs.add_to(digest)
        digest.update(self.ids.numpy().tobytes())


def features(values: Tensor) -> InMemory:
    """Features [n, D] of any real dtype as float32 inputs."""
    return InMemory(values.to(torch.float32).contiguous())
