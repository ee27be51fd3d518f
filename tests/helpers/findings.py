"""Audits made by hand, and names that are hard on whatever writes or reads them."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from gwaudit import LabeledDataset
from gwaudit.analysis.audit import Audit
from gwaudit.core.settings import RankingSettings
from gwaudit.data.inputs import InMemory, Texts

SUSPECTS = [1, 6]
SUGGESTED = 2

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


def make_audit(dataset, suspects=SUSPECTS, suggested=SUGGESTED):
    """An audit that suspects these samples, and says the same of each."""
    n = len(dataset)
    suspect = np.isin(np.arange(n), suspects)
    names = np.array(dataset.class_names, object)
    others = np.where(suspect, suggested, (dataset.labels + 1) % len(names))
    frame = pd.DataFrame(
        {
            "sample_id": np.arange(n),
            "key": list(dataset.keys),
            "given_label": dataset.labels,
            "given_name": names[dataset.labels],
            "suggested_label": others,
            "suggested_name": names[others],
            "log_odds_wrong": np.where(suspect, 0.2, -0.2).astype(np.float32),
            "suspect": suspect,
            "category": np.where(suspect, "suspect", "fine"),
            "mean_alignment": np.where(suspect, -0.1, 0.1).astype(np.float32),
            "probability_wrong": np.where(suspect, 0.9, 0.1).astype(np.float32),
            "share_negative": np.where(suspect, 1.0, 0.0),
            "predicted_label": dataset.labels,
        }
    )
    frame = frame.sort_values("log_odds_wrong", ascending=False, kind="stable", ignore_index=True)
    frame.insert(0, "rank", np.arange(1, n + 1))
    return Audit(frame, dataset.class_names, RankingSettings(), (0, 1), 0.0, Path("run"), dataset.fingerprint)


def hostile(modality="images"):
    """A data set with a sample a class, whose class names, keys and texts are all hard."""
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
