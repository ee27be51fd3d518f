"""What every source gives: samples as they are stored, with their labels, before anything is decoded or left out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gwaudit.data.image_files import EncodedImage
from gwaudit.data.inputs import Inputs


@dataclass(frozen=True, eq=False)
class RawSamples:
    """The rows of a source, in the source's own order.

    Attributes:
        name: what the source is called.
        split: the split that was read.
        inputs: what training reads, or images that are to be decoded: paths or file contents.
        labels: [n] int64, or [n, C] of 0 and 1 where a row has any number of classes; `UNLABELLED` where it has none.
        class_names: of the labels.
        keys: [n] what a person knows each row by.
        broken: what is wrong with a row, by its number from 0.
    """

    name: str
    split: str
    inputs: Inputs | Sequence[EncodedImage]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    keys: Sequence[str]
    broken: Mapping[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)


def source_name(path: Path) -> str:
    """The name that a folder or file gives to the data in it."""
    return path.resolve().stem


def default_keys(split: str, n: int) -> list[str]:
    """Keys of rows that have none of their own."""
    return [f"{split}/{row:06d}" for row in range(n)]
