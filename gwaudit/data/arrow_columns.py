"""Hold the keys and the paths of many samples in Arrow, in a tenth of the memory of Python's texts and paths."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar, cast, overload

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike

_CHUNK = 10_000

T = TypeVar("T")


class TextColumn(Sequence[str]):
    """Hold texts, which can be written as UTF-8. It equals a list of the same texts.

    Args:
        texts: The texts, or an Arrow array of them.

    Example:
        >>> TextColumn(["cat/1.png", "cat/2.png"])[1]
        'cat/2.png'
    """

    def __init__(self, texts: Iterable[str] | pa.LargeStringArray) -> None:
        is_array = isinstance(texts, pa.LargeStringArray)
        self.array: pa.LargeStringArray = texts if is_array else pa.array(texts, pa.large_string())

    def __len__(self) -> int:
        return len(self.array)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> "TextColumn": ...
    def __getitem__(self, index: int | slice) -> "str | TextColumn":
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        text: str = self.array[int(index)].as_py()
        return text

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), _CHUNK):
            yield from self.array[start : start + _CHUNK].to_pylist()

    def __eq__(self, other: object) -> bool:
        if isinstance(other, TextColumn):
            return bool(self.array.equals(other.array))
        return isinstance(other, list) and list(self) == other

    __hash__ = None  # type: ignore[assignment]  # as a list

    def __repr__(self) -> str:
        return f"TextColumn({self[:3].array.to_pylist()}{', ...' if len(self) > 3 else ''})"

    def take(self, indices: ArrayLike) -> "TextColumn":
        """Return the texts of these indices, in this order."""
        return TextColumn(self.array.take(pa.array(np.asarray(indices, np.int64))))


class PathColumn(Sequence[Path]):
    """Hold the paths of files below one folder.

    Args:
        root: The folder.
        names: Paths of the files, relative to the folder, with "/" between the parts.
    """

    def __init__(self, root: Path, names: Iterable[str] | pa.LargeBinaryArray) -> None:
        self.root = root
        is_array = isinstance(names, pa.LargeBinaryArray)
        # Bytes: names of files may be in any encoding.
        self.names: pa.LargeBinaryArray = names if is_array else pa.array(map(os.fsencode, names), pa.large_binary())

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> Path: ...
    @overload
    def __getitem__(self, index: slice) -> "PathColumn": ...
    def __getitem__(self, index: int | slice) -> "Path | PathColumn":
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        return self.root / os.fsdecode(self.names[int(index)].as_py())

    def take(self, indices: ArrayLike) -> "PathColumn":
        """Return the paths of these indices, in this order."""
        return PathColumn(self.root, self.names.take(pa.array(np.asarray(indices, np.int64))))


def taken(values: Sequence[T], indices: ArrayLike) -> Sequence[T]:
    """Return the values of these indices, in this order: a column of a column, of other sequences a list."""
    positions = np.asarray(indices, np.int64)
    if not isinstance(values, TextColumn | PathColumn):
        return [values[i] for i in positions.tolist()]
    is_whole = np.array_equal(positions, np.arange(len(values)))
    return cast("Sequence[T]", values if is_whole else values.take(positions))
