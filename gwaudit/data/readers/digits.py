"""scikit-learn's handwritten digits: 1,797 images of 8x8 grey pixels, part of the library, no download."""

import numpy as np
import torch
from sklearn.datasets import load_digits

from gwaudit.data.inputs import InMemory
from gwaudit.data.readers.raw_samples import RawSamples


def read_digits() -> RawSamples:
    """All digits in the library's order; the 17 grey levels are spread over 0 to 255."""
    bunch = load_digits()
    images = np.round(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
    labels = bunch.target.astype(np.int64)
    return RawSamples(
        "digits",
        "train",
        InMemory(torch.from_numpy(images)),
        labels,
        tuple("0123456789"),
        [f"digits/{i:04d}" for i in range(len(labels))],
    )
