"""Read NumPy files, whoever wrote them: nothing is executed, and no more memory is taken than the file can fill."""

import math
import os
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from gwaudit.core.errors import DataError

_SUFFIX = ".npy"
_LAST_CHARACTER = 0x10FFFF
_MOST_COMPRESSED = 1040  # deflate makes no file smaller than a 1032nd


def read_array(path: Path) -> NDArray[Any]:
    """Read an `.npy` file.

    Raises:
        DataError: The file cannot be read as an array, or its array is larger than the file or the memory.
    """
    return _read_file(path)[path.name]


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read all arrays of an `.npz` file, by their names.

    Raises:
        DataError: As `read_array`.
    """
    return _read_file(path)


def _read_file(path: Path) -> dict[str, NDArray[Any]]:
    try:
        size = path.stat().st_size
        if path.suffix.lower() == _SUFFIX:
            with path.open("rb") as file:
                return {path.name: _read(file, size, path.name)}
        arrays: dict[str, NDArray[Any]] = {}
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if not member.is_dir():
                    room = min(member.file_size, _MOST_COMPRESSED * size)
                    with archive.open(member) as file:
                        arrays[member.filename.removesuffix(_SUFFIX)] = _read(file, room, member.filename)
        return arrays
    except Exception as error:  # damaged files make the decoders of zip and NumPy raise any of Python's exceptions
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(f"{path} cannot be read as a NumPy file ({reason}): write it again") from error


def _read(file: IO[bytes], room: int, name: str) -> NDArray[Any]:
    """Return the array of an open file of `room` bytes, once its header is found to be true."""
    version = npy.read_magic(file)
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read_header(file)
    if dtype.hasobject:
        raise ValueError(f"{name} holds Python objects, as columns of text of pandas do: convert it by `.astype(str)`")
    n_bytes, rest = math.prod(shape) * dtype.itemsize, room - file.tell()
    if min(shape, default=0) < 0 or n_bytes > rest:
        raise ValueError(f"the header of {name} names the shape {shape}, more than the file holds")
    if n_bytes > _memory():
        raise ValueError(f"{name} needs {n_bytes / 1e9:,.0f} GB of memory, more than this machine has")
    file.seek(0)
    array: NDArray[Any] = npy.read_array(file, allow_pickle=False)
    if dtype.kind == "U" and n_bytes:
        codes = np.ascontiguousarray(array).view(np.dtype(np.uint32).newbyteorder(dtype.byteorder))
        if codes.max() > _LAST_CHARACTER:  # Python fails at any use of such a text
            raise ValueError(f"{name} holds text with characters that do not exist")
    return array


def _memory() -> float:
    """Return the memory of this machine in bytes; infinity where the system does not say it."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return math.inf
