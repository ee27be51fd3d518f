"""Copy files of a file system of fsspec to this machine, many at a time, each complete or not at all."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gwaudit.core.partial_files import TEMPORARY
from gwaudit.core.urls import retrying

_BATCH = 256  # files at a time


def download(file_system: Any, files: Mapping[str, Path], sizes: Mapping[str, int | None]) -> None:
    """Copy files, which have their names when they are complete.

    Args:
        file_system: The file system of fsspec.
        files: The path here of each file, by its path there.
        sizes: The size in bytes of each file, by its path there; None where it is not known.

    Raises:
        FileNotFoundError: One is not there.
        ConnectionError: One is shorter or longer than it should be, after some attempts.
        Exception: Any other of the library that reaches the files.
    """
    paths = list(files)
    for start in range(0, len(paths), _BATCH):
        _download({path: files[path] for path in paths[start : start + _BATCH]}, file_system, sizes)


def _download(files: Mapping[str, Path], file_system: Any, sizes: Mapping[str, int | None]) -> None:
    ending = f".{os.getpid()}{TEMPORARY}"
    partial = {path: target.with_name(f".{target.name[:200]}{ending}") for path, target in files.items()}

    def get() -> None:
        file_system.get(list(partial), [str(target) for target in partial.values()])
        for path, target in partial.items():
            if (size := sizes[path]) is not None and target.stat().st_size != size:
                raise ConnectionError(f"{path} has {size} bytes, and {target.stat().st_size} arrived")

    try:
        for target in files.values():
            target.parent.mkdir(parents=True, exist_ok=True)
        retrying(get)
        for path, target in files.items():
            partial[path].replace(target)
    finally:
        for target in partial.values():
            target.unlink(missing_ok=True)
