"""Read a folder of images with a folder for each class."""

from pathlib import Path

import numpy as np

from gwaudit.core.errors import DataError
from gwaudit.core.settings import DataSettings
from gwaudit.data.readers.raw_samples import RawSamples, Source, source_name

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}


def recognises(source: Source, settings: DataSettings) -> bool:
    """Return whether the source is a folder."""
    return Path(settings.source).is_dir()


def read(source: Source, settings: DataSettings) -> RawSamples:
    """Read the images in the folder of the split, or in the folder itself where it has no folder of this name.

    Each folder in it is a class; its images may lie deeper. Samples are ordered by their path below the source, which
    is their key.

    Raises:
        DataError: There are no images, or fewer than two classes.
    """
    root, split = Path(settings.source), settings.split
    base = root / split if (root / split).is_dir() else root
    folders = sorted(folder for folder in base.iterdir() if folder.is_dir() and not folder.name.startswith("."))
    paths: list[Path] = []
    labels: list[int] = []
    names: list[str] = []
    for folder in folders:
        images = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
        if images:
            paths += images
            labels += [len(names)] * len(images)
            names.append(folder.name)
    if not paths:
        raise DataError(
            f"{root} holds no data set: expected Parquet files, CIFAR batches, or a folder for each class with images "
            f"({', '.join(sorted(SUFFIXES))})"
        )
    if len(names) < 2:
        raise DataError(f"{base} has images of one class only ({names[0]!r}); an audit needs at least two")
    return RawSamples(
        name=source_name(root),
        split=split if base != root else "all",
        inputs=paths,
        labels=np.array(labels, np.int64),
        class_names=tuple(names),
        keys=[path.relative_to(root).as_posix() for path in paths],
    )
