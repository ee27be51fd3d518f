"""Say where the rows of a run lie: its folder, its blocks, and the row of each sample or (sample, class)."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from gwaudit.core.errors import StoreError

FORMAT_VERSION = 2
"""The version of the files that are written; `gwaudit.store.version_1` says what was different before."""

DEFAULT_BLOCK_ROWS = 2**20  # about 40 MB a file, which is compared with its checksum as a whole

ANSWERS = ("absent", "present")
"""The names of the two labels of a row, 0 and 1, in a multi-label run."""

Rows = TypeVar("Rows", int, NDArray[np.int64])


@dataclass(frozen=True)
class RunLayout:
    """Describe which rows a run has and in which block each lies.

    A single-label run has one row a sample: the row's id is the sample's id. A multi-label run has one row a
    (sample, class): the row of sample i and class c is `i * C + c`. A block is a fixed range of rows, the unit that is
    written and read.

    Attributes:
        path: The run's folder.
        n_samples: Number of samples; their ids are 0 to n_samples - 1.
        class_names: The names of the C classes.
        is_multi_label: Whether a sample has any number of the classes, rather than exactly one.
        block_rows: Number of rows of each block but the last.
        format_version: Version of the files in the folder.

    Example:
        >>> layout = RunLayout(Path("runs/tags"), 4, ("cat", "dog", "eel"), is_multi_label=True, block_rows=10)
        >>> layout.n_rows, layout.n_blocks, layout.block_range(1)
        (12, 2, range(10, 12))
        >>> layout.rows_of(2), layout.row_of(2, 1), layout.sample_of(7), layout.class_of(7)
        (range(6, 9), 7, 2, 1)
    """

    path: Path
    n_samples: int
    class_names: tuple[str, ...]
    is_multi_label: bool = False
    block_rows: int = DEFAULT_BLOCK_ROWS
    format_version: int = FORMAT_VERSION

    @property
    def n_classes(self) -> int:
        """Return the number of classes, C."""
        return len(self.class_names)

    @property
    def n_rows(self) -> int:
        """Return the number of rows: n, or n C in a multi-label run."""
        return self.n_samples * self._rows_a_sample

    @property
    def answers(self) -> tuple[str, ...]:
        """Return the names of the labels that a row can have: the classes, or `ANSWERS` in a multi-label run."""
        return ANSWERS if self.is_multi_label else self.class_names

    @property
    def id_column(self) -> str:
        """Return the name of the Parquet column that numbers the rows: `sample_id`, `row_id` in a multi-label run."""
        return "row_id" if self.is_multi_label else "sample_id"

    @property
    def n_blocks(self) -> int:
        """Return the number of blocks."""
        return -(-self.n_rows // self.block_rows)

    def block_range(self, block: int) -> range:
        """Return the rows of a block.

        Raises:
            StoreError: There is no such block.
        """
        if not 0 <= block < self.n_blocks:
            raise StoreError(f"{self.path} has blocks 0 to {self.n_blocks - 1}, not {block}")
        return range(block * self.block_rows, min((block + 1) * self.block_rows, self.n_rows))

    def rows_of(self, sample_id: int) -> range:
        """Return the rows of a sample: one, or one a class in a multi-label run."""
        return range(sample_id * self._rows_a_sample, (sample_id + 1) * self._rows_a_sample)

    def sample_of(self, rows: Rows) -> Rows:
        """Return the sample of a row, or of each row of an array."""
        return rows // self._rows_a_sample

    def class_of(self, rows: Rows) -> Rows:
        """Return the class of a row of a multi-label run, or of each row of an array."""
        return rows % self._rows_a_sample

    def row_of(self, sample_ids: Rows, class_ids: Rows) -> Rows:
        """Return the row of a (sample, class) of a multi-label run, or of each (sample, class) of two arrays."""
        return sample_ids * self._rows_a_sample + class_ids

    def find_row(self, sample_id: int, class_name: str | None = None) -> int:
        """Return the row of a sample, or of a sample and a class in a multi-label run.

        Args:
            sample_id: The sample's id.
            class_name: The name of the class in a multi-label run, None in a single-label run.

        Raises:
            StoreError: There is no such sample or class, or a class is missing or given where none is expected.
        """
        self.check_sample(sample_id)
        if not self.is_multi_label and class_name is not None:
            raise StoreError(f"{self.path} has one label a sample: leave out the class {class_name!r}")
        if not self.is_multi_label:
            return sample_id
        if class_name not in self.class_names:
            asked = "no class was given" if class_name is None else f"it has no class {class_name!r}"
            raise StoreError(
                f"{self.path} has a row for each sample and class, and {asked}: give one of "
                f"{', '.join(self.class_names[:20])}"
            )
        return self.row_of(sample_id, self.class_names.index(class_name))

    def check_sample(self, sample_id: int) -> None:
        """Check that a sample exists.

        Raises:
            StoreError: It does not.
        """
        if not 0 <= sample_id < self.n_samples:
            raise StoreError(f"{self.path} has no sample {sample_id}: ids are 0 to {self.n_samples - 1}")

    @property
    def _rows_a_sample(self) -> int:
        return self.n_classes if self.is_multi_label else 1
