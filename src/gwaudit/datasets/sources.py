"""What every source gives: samples as they are stored, with their labels, before anything is decoded or left out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gwaudit.datasets.images import Encoded


@dataclass(frozen=True, eq=False)
class RawSamples:
    """The rows of a source, in the source's own order.

    Attributes:
        name: what the source is called.
        split: the split that was read.
        images: decoded [n, C, H, W] uint8, or what is to be decoded: paths or file contents.
        labels: [n] int64.
        class_names: of the labels.
        keys: [n] what a person knows each row by.
    """

    name: str
    split: str
    images: NDArray[np.uint8] | Sequence[Encoded]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    keys: Sequence[str]

    def __len__(self) -> int:
        return len(self.labels)


def named(path: Path) -> str:
    """The name that a folder or file gives to the data in it."""
    return path.resolve().stem
