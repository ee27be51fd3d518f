"""Turn columns of numbers and of categories into one matrix of features, without a look at the labels.

A column of numbers becomes one feature of mean 0 and variance 1 (`feature_scaling`). Missing numbers get the median,
and a further feature marks them. A column of categories becomes a feature for each category, 1 in its rows and 0
elsewhere; its features together have the variance 1, so that it weighs about as much as one column of numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from gwaudit.data.class_names import listed
from gwaudit.data.feature_scaling import SMALLEST_STD, scale_numbers
from gwaudit.data.readers.column_cells import Cells, Numbers
from gwaudit.data.reading_notes import ReadingNotes

MOST_CATEGORIES = 64
"""Largest number of features that one column of categories becomes."""

FEWEST_ROWS = 3
"""Number of rows below which a category has no feature of its own."""

CONSTANT = "one value in all rows"
"""Reason for which a constant column is left out."""

_FEWEST_FEATURES = 8  # of a column of categories, in a table that is large
_MOST_VALUES = 2**28  # of a matrix, 1 GiB in float32


@dataclass(frozen=True, eq=False)
class FeatureColumn:
    """Hold a column that describes the samples: of numbers, or of categories.

    Attributes:
        name: Name of the column.
        values: Its numbers, or its distinct categories.
    """

    name: str
    values: Numbers | Cells

    @property
    def is_missing(self) -> NDArray[np.bool_]:
        """Return which rows have no value, [n]."""
        return np.isnan(self.values.values) if isinstance(self.values, Numbers) else self.values.codes < 0


class Features(NamedTuple):
    """Hold the features of a table.

    Attributes:
        names: Names of the columns that they were made of.
        matrix: [n, D] float32, finite, with a mean of 0; its mean square is about 1.
        broken: Reason for each row without a value in any of the columns, by the row's number.
    """

    names: tuple[str, ...]
    matrix: NDArray[np.float32]
    broken: dict[int, str]


class _NumberBlock(NamedTuple):
    """Hold the features of a column of numbers: the scaled values [n], and which rows have none [n], if some have."""

    values: NDArray[np.float64]
    is_missing: NDArray[np.bool_] | None

    @property
    def width(self) -> int:
        return 1 if self.is_missing is None else 2

    def write(self, matrix: NDArray[np.float32]) -> None:
        matrix[:, 0] = self.values
        if self.is_missing is not None:
            matrix[:, 1] = self.is_missing - self.is_missing.mean()


class _CategoryBlock(NamedTuple):
    """Hold the features of a column of categories: the number of the feature that is 1 in each row, [n]."""

    slots: NDArray[np.int64]
    width: int

    def write(self, matrix: NDArray[np.float32]) -> None:
        shares = np.bincount(self.slots, minlength=self.width) / len(self.slots)
        std = max(float(np.sqrt((shares * (1 - shares)).sum())), SMALLEST_STD)
        matrix[:] = -shares / std
        matrix[np.arange(len(matrix)), self.slots] = ((1 - shares) / std)[self.slots]


@dataclass
class _Encoded:
    """Collect the names of columns, by what was done to them."""

    missing: list[str] = field(default_factory=list)
    long_tails: list[str] = field(default_factory=list)
    times: list[str] = field(default_factory=list)
    commas: list[str] = field(default_factory=list)
    categories: list[str] = field(default_factory=list)
    rare: list[str] = field(default_factory=list)
    hashed: list[str] = field(default_factory=list)
    missing_categories: list[str] = field(default_factory=list)


def encode_features(columns: Sequence[FeatureColumn], n_rows: int, notes: ReadingNotes) -> Features:
    """Return the features that columns become; those with one value in all rows are left out, and noted.

    Args:
        columns: Columns of n rows.
        n_rows: Number of rows n.
        notes: Notes of the reading, which receive what was done to the columns.
    """
    n_numbers = sum(isinstance(column.values, Numbers) for column in columns)
    room = (_MOST_VALUES // max(1, n_rows) - n_numbers) // max(1, len(columns) - n_numbers)
    most_features = min(MOST_CATEGORIES, max(_FEWEST_FEATURES, room))
    done = _Encoded()
    blocks: dict[str, _NumberBlock | _CategoryBlock] = {}
    has_value = np.zeros(n_rows, bool)
    for column in columns:
        name, values = column.name, column.values
        block = (
            _number_block(name, values, done)
            if isinstance(values, Numbers)
            else _category_block(name, values, most_features, done)
        )
        if block is None:
            notes.leave_out_columns(CONSTANT, [name])
            continue
        blocks[name] = block
        has_value |= ~column.is_missing
        if isinstance(values, Numbers):
            _warn_of_unread(name, values, notes)
    _note(done, notes)
    reason = f"has no value in the columns of features ({listed(list(blocks))})"
    broken = dict.fromkeys(np.flatnonzero(~has_value).tolist(), reason) if blocks else {}
    return Features(tuple(blocks), _matrix(list(blocks.values()), n_rows), broken)


def _number_block(name: str, numbers: Numbers, done: _Encoded) -> _NumberBlock | _CategoryBlock | None:
    is_missing = np.isnan(numbers.values)
    n_missing = int(is_missing.sum())
    scaled = scale_numbers(numbers.values)
    if scaled is None and n_missing in (0, len(is_missing)):
        return None
    if n_missing:
        infinite = f", {numbers.infinite:,} of them infinite" if numbers.infinite else ""
        done.missing.append(f"{name} ({n_missing:,}{infinite})")
    if numbers.form != "number":
        (done.times if numbers.form == "time" else done.commas).append(name)
    if scaled is None:  # one number, or none: the rows differ in that
        return _CategoryBlock(is_missing.astype(np.int64), 2)
    if scaled.has_long_tails:
        done.long_tails.append(name)
    return _NumberBlock(scaled.values, is_missing if n_missing else None)


def _category_block(name: str, cells: Cells, most_features: int, done: _Encoded) -> _CategoryBlock | None:
    """Return the features of a column of categories, of which the rows without a value are one."""
    n_values, n_missing = len(cells.values), int((cells.codes < 0).sum())
    counts = np.append(cells.counts, n_missing)
    texts = [*cells.values, ""]
    frequent = [i for i in range(n_values + 1) if counts[i] >= FEWEST_ROWS]
    frequent.sort(key=lambda i: (-counts[i], texts[i]))  # not in the order of the rows
    n_rare = int((counts > 0).sum()) - len(frequent)
    slot_of = np.zeros(n_values + 1, np.int64)
    width = len(frequent) + (n_rare > 0)
    if width > most_features:
        own = most_features // 2
        shared = most_features - own
        for i, text in enumerate(texts):
            slot_of[i] = own + crc32(text.encode("utf-8", "surrogatepass")) % shared
        frequent, width = frequent[:own], most_features
        done.hashed.append(f"{name} ({n_values:,} values)")
    else:
        slot_of[:] = len(frequent)
        if n_rare > 1:
            done.rare.append(f"{name} ({n_rare:,} values)")
    slot_of[frequent] = np.arange(len(frequent))
    slots = slot_of[cells.codes]
    if len(np.unique(slots)) < 2:
        return None
    done.categories.append(f"{name} ({n_values:,} values)")
    if n_missing:
        done.missing_categories.append(f"{name} ({n_missing:,})")
    return _CategoryBlock(slots, width)


def _warn_of_unread(name: str, numbers: Numbers, notes: ReadingNotes) -> None:
    if numbers.unread:
        examples = ", ".join(repr(text) for text in list(numbers.unread)[:3])
        notes.warn(
            f"cells of the column {name} that are no numbers are taken as missing: {sum(numbers.unread.values()):,}, "
            f"such as {examples}. Correct them if they have a value"
        )


def _note(done: _Encoded, notes: ReadingNotes) -> None:
    sentences = (
        (done.commas, "commas are read as decimal points in the columns {}"),
        (done.times, "dates and times are read as numbers: {}"),
        (done.missing, "missing numbers are filled with the median of their column, and a feature marks them: {}"),
        (done.long_tails, "columns with long tails are replaced by the normal scores of their ranks: {}"),
        (done.categories, "columns of categories become a feature for each value: {}"),
        (done.missing_categories, "rows without a category are a category of their own: {}"),
        (done.rare, f"values in fewer than {FEWEST_ROWS} rows share a feature: {{}}"),
        (done.hashed, "of columns with many values, the rarer ones share features by a hash: {}"),
    )
    for names, sentence in sentences:
        if names:
            notes.remark(sentence.format(listed(names)))


def _matrix(blocks: Sequence[_NumberBlock | _CategoryBlock], n_rows: int) -> NDArray[np.float32]:
    """Return the features of all columns side by side, scaled to a mean square of about 1."""
    width = sum(block.width for block in blocks)
    matrix = np.empty((n_rows, width), np.float32)
    start = 0
    for block in blocks:
        block.write(matrix[:, start : start + block.width])
        start += block.width
    if width > len(blocks):  # heads divide features by the root of their number: each column keeps its weight
        matrix *= np.float32(np.sqrt(width / len(blocks)))
    return matrix
