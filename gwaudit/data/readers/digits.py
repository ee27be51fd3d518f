"""Read scikit-learn's handwritten digits: 1,797 images of 8x8 grey pixels, part of the library, no download."""

from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits

from gwaudit.core.errors import DataError
from gwaudit.core.outputs import MANIFEST
from gwaudit.core.settings import DataSettings
from gwaudit.data.inputs import InMemory
from gwaudit.data.readers.raw_samples import RawSamples, Source
from gwaudit.data.reading_notes import ReadingNotes
from gwaudit.data.splits import choose_split

PARTS: tuple[str, ...] = ()
"""Settings that name parts of such a source."""


def recognises(source: Source, settings: DataSettings) -> bool:
    """Return whether the source is the name `digits`; the path of a folder of this name is not."""
    return source == "digits"


def read(source: Source, settings: DataSettings) -> RawSamples:
    """Read all digits in the library's order, with their 17 grey levels scaled to 0 to 255.

    Raises:
        DataError: A file or folder here, which is no run, has the name of the source.
    """
    here = Path("digits")
    if here.exists() and not (here / MANIFEST).exists():
        raise DataError(
            "'digits' is the name of scikit-learn's digits, and here is a file or folder of that name too: give its "
            "path (./digits), or run this in another folder"
        )
    notes = ReadingNotes()
    choose_split(settings.split, (), "digits", notes)
    bunch = load_digits()
    images = np.round(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
    labels = bunch.target.astype(np.int64)
    return RawSamples(
        name="digits",
        split="train",
        inputs=InMemory(torch.from_numpy(images)),
        labels=labels,
        class_names=tuple("0123456789"),
        keys=[f"digits/{row:04d}" for row in range(len(labels))],
        notes=notes,
    )
