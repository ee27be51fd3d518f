"""Describe the result of every reader: samples as the source stores them, before any is decoded or left out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from torch.utils.data import Dataset

from gwaudit.data.image_decoding import EncodedImage
from gwaudit.data.inputs import Inputs
from gwaudit.data.reading_notes import ReadingNotes

Source = str | Path | Dataset[Any]
"""A path, a name, or a data set in memory."""

_LISTED = 5

BrokenRows = dict[int, str]
"""Reason for each row that cannot be used, by its number from 0."""


@dataclass(frozen=True, eq=False)
class RawSamples:
    """Hold the rows of a source, in the source's own order.

    Attributes:
        name: Name of the data set.
        split: Split that was read.
        inputs: Inputs of the training, or images that are not decoded yet: their paths or their contents.
        labels: [n] int64 class indices, or [n, C] of 0 and 1 (multi-label); `UNLABELLED` where a row has none.
        class_names: Names of the C classes; empty where the source has no labels.
        keys: [n] keys, by which people identify the rows.
        broken: Reason for each row that cannot be used, by its number from 0.
        notes: Notes on the reading, to which the reader adds.
        rows: [n] numbers of the rows in the source, from 0, where the source has others too; None where these are all.
        are_scaled: Whether the inputs are features that the reader scaled, so that a training takes them as they are.
        cells: Cells of the columns that the features were encoded from, as a person reads them; None for other inputs.
    """

    name: str
    split: str
    inputs: Inputs | Sequence[EncodedImage]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    keys: Sequence[str]
    broken: Mapping[int, str] = field(default_factory=dict)
    notes: ReadingNotes = field(default_factory=ReadingNotes)
    rows: NDArray[np.int64] | None = None
    are_scaled: bool = False
    cells: pa.Table | None = None

    def __len__(self) -> int:
        return len(self.labels)


def source_name(path: Path) -> str:
    """Return the name of the data set in a folder or file."""
    return path.resolve().stem


def default_keys(split: str, n: int) -> list[str]:
    """Return keys for n rows without keys of their own: `train/000000`, `train/000001`, ..."""
    return [f"{split}/{row:06d}" for row in range(n)]


def note_constant_features(matrix: NDArray[Any], notes: ReadingNotes) -> None:
    """Record the features that have one value in all rows of a matrix [n, D]: they do not change an audit."""
    constant = np.flatnonzero((matrix == matrix[:1]).all(0)).tolist() if len(matrix) > 1 else []
    if constant:
        first = ", ".join(map(str, constant[:_LISTED])) + (", ..." if len(constant) > _LISTED else "")
        notes.remark(
            f"{len(constant):,} of {matrix.shape[1]:,} features have one value in all rows and are not used: {first} "
            "(counted from 0)"
        )


def rows_not_finite(matrix: NDArray[np.floating[Any]]) -> BrokenRows:
    """Return the rows of features [n, D] that hold a NaN or an infinity, with its position."""
    broken: BrokenRows = {}
    for row in np.flatnonzero(~np.isfinite(matrix).all(1)).tolist():
        feature = int(np.argmin(np.isfinite(matrix[row])))
        broken[row] = f"feature {feature} is {matrix[row, feature]}"
    return broken
