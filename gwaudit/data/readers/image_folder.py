"""A tree of images with a folder a class."""

from pathlib import Path

import numpy as np

from gwaudit.core.errors import DataError
from gwaudit.data.readers.raw_samples import RawSamples, source_name

EXTENSIONS = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}


def read_image_folder(root: Path, split: str) -> RawSamples:
    """The images under `root/split`, or under `root` where there is no such folder.

    A class is a folder there; its images may lie deeper. Samples are ordered by their path below `root`, which is
    their key.

    Raises:
        DataError: no images, or fewer than two class folders.
    """
    base = root / split if (root / split).is_dir() else root
    folders = sorted(folder for folder in base.iterdir() if folder.is_dir() and not folder.name.startswith("."))
    paths: list[Path] = []
    labels: list[int] = []
    names: list[str] = []
    for folder in folders:
        found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in EXTENSIONS and path.is_file())
        if found:
            paths += found
            labels += [len(names)] * len(found)
            names.append(folder.name)
    if not paths:
        raise DataError(
            f"{root} holds no data set: expected Parquet files, CIFAR batches, or a folder a class with images "
            f"({', '.join(sorted(EXTENSIONS))})"
        )
    if len(names) < 2:
        raise DataError(f"{base} has images of one class only ({names[0]!r}); an audit needs at least two")
    keys = [path.relative_to(root).as_posix() for path in paths]
    split = split if base != root else "all"
    return RawSamples(source_name(root), split, paths, np.array(labels, np.int64), tuple(names), keys)
