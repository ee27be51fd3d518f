"""Build data sets whose names, keys and texts no program should trust."""

import numpy as np
import torch

from gwaudit import LabeledDataset
from gwaudit.data.inputs import InMemory, Texts

HOSTILE = (
    "<script>alert(1)</script>",
    "=cmd()|' /C calc'!A0",
    "\u202eleft to right\u200f",
    "x" * 10_000,
    "../up/a\\b",
    "control\x00\x01\x1f\x7f",
    "control␀␁␟\x7f",
    "quo\"te's",
    "R & D &amp; &#10;",
    "line\nbreak\r\nand\ttab",
    "$image",
    "＄image",
    " blank ",
    "blank",
    "]]>",
    "猫😀",
    "true",
    "_",
    "",
)


def hostile_dataset(modality="images"):
    """Return a data set with one sample per class, whose class names, keys and texts are all hostile."""
    n = len(HOSTILE)
    random = torch.Generator().manual_seed(0)
    inputs = {
        "images": lambda: InMemory(torch.randint(0, 256, (n, 3, 8, 8), dtype=torch.uint8, generator=random)),
        "features": lambda: InMemory(torch.randn((n, 4), generator=random)),
        "texts": lambda: Texts(list(HOSTILE)),
    }[modality]()
    keys = [f"{name}{i}" for i, name in enumerate(HOSTILE)]
    texts = list(HOSTILE) if modality == "texts" else None
    return LabeledDataset(f"hostile {modality}", inputs, np.arange(n), HOSTILE, keys, texts=texts)


def with_hostile_names(dataset):
    """Return the same samples with five hostile classes, and hostile keys."""
    few = HOSTILE[:5]
    names = (*few, *dataset.class_names[len(few) :])
    keys = [f"{few[i % len(few)]}{i}" for i in range(len(dataset))]
    return type(dataset)(**{**vars(dataset), "class_names": names, "keys": keys})
