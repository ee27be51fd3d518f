"""Keep columns that are larger than memory in temporary files, of which one is read at a time."""

import os
import tempfile
import weakref
from collections.abc import Mapping
from contextlib import ExitStack
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from gwaudit.core.files import writing_temporary_files

_MOST_IN_MEMORY = 2**23  # bytes of a column


class ColumnFiles:
    """Hold columns of equal length that are written block by block, each in a file; short ones in memory.

    The files lie in the folder for temporary files (`TMPDIR`) and have no names: they end with this object, and with
    the process, however it ends.

    Example:
        >>> columns = ColumnFiles()
        >>> columns.append({"a": np.arange(3)})
        >>> columns.append({"a": np.arange(2)})
        >>> columns["a"], columns.read("a", range(1, 4)).tolist()
        (array([0, 1, 2, 0, 1]), [1, 2, 0])
    """

    def __init__(self) -> None:
        self._files: dict[str, tuple[IO[bytes], np.dtype[Any]]] = {}
        self._open = ExitStack()
        weakref.finalize(self, self._open.close)

    def append(self, block: Mapping[str, NDArray[Any]]) -> None:
        """Write the next rows of every column.

        Args:
            block: [rows] each, with the names and types of the first block.

        Raises:
            StoreError: They cannot be written.
        """
        with writing_temporary_files():
            for name, values in block.items():
                if name not in self._files:
                    file = tempfile.SpooledTemporaryFile(_MOST_IN_MEMORY)  # noqa: SIM115  # closed with this object
                    self._open.callback(file.close)
                    self._files[name] = file, values.dtype
                target, dtype = self._files[name]
                target.seek(0, os.SEEK_END)
                target.write(np.ascontiguousarray(values, dtype).tobytes())

    def __contains__(self, name: object) -> bool:
        return name in self._files

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Read a column, [n]."""
        file, dtype = self._files[name]
        return self.read(name, range(file.seek(0, os.SEEK_END) // dtype.itemsize))

    def read(self, name: str, rows: range) -> NDArray[Any]:
        """Read consecutive rows of a column, [rows]."""
        file, dtype = self._files[name]
        file.seek(rows.start * dtype.itemsize)
        values = np.empty(len(rows), dtype)
        values.data.cast("B")[:] = file.read(values.nbytes)
        return values
