"""Measure how many synthetic label errors an audit of multi-label data finds.

There are two data sets: images of one to three of scikit-learn's digits, labelled with the digits in them; and customer
questions, labelled with the words of their intent ("card_arrival" is card and arrival). A share of the given labels is
removed, and others that are not true are added.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from gwaudit.analysis.evaluation import evaluate
from gwaudit.analysis.ranking import rank
from gwaudit.core.errors import DataError
from gwaudit.core.settings import RankingSettings, TrainingSettings
from gwaudit.data.dataset import LabeledDataset
from gwaudit.data.inputs import Texts, features
from gwaudit.data.label_noise import add_multilabel_noise
from gwaudit.data.loading import load_dataset
from gwaudit.store.store import TrajectoryStore
from gwaudit.training.frozen_features import embed_texts
from gwaudit.training.trainer import train

RATES = ((0.0, 0.0), (0.05, 0.05), (0.1, 0.1), (0.2, 0.05), (0.2, 0.2))
"""Rates of missing and of extra labels, as shares of the given ones."""

_FEWEST_INTENTS = 3
_SLOTS = 4


@dataclass(frozen=True)
class MultilabelRow:
    """Hold the result of an audit of one data set with label noise and one seed; its labels are of (sample, class).

    Attributes:
        name: Name of the data set.
        missing, extra: Shares of the given labels that were removed, and of wrong ones that were added.
        seed: Seed of the label noise and of the training.
        n_wrong: Number of wrong labels.
        n_suspects: Number of suspects.
        expected_wrong: Number of wrong labels that the audit expects.
        average_precision, f1, best_f1: Quality on all labels.
        missing_precision, extra_precision: Average precision among the labels "absent", and among those "present".
    """

    name: str
    missing: float
    extra: float
    seed: int
    n_wrong: int
    n_suspects: int
    expected_wrong: float
    average_precision: float
    f1: float
    best_f1: float
    missing_precision: float
    extra_precision: float


def multilabel(
    folder: Path, *, questions: Path | None, encoder: str, seeds: Sequence[int] = (0,)
) -> list[MultilabelRow]:
    """Audit one of the two data sets under every rate of `RATES`, with each seed.

    Args:
        folder: Folder for the runs; it must have none of these yet.
        questions: CSV file with the columns `text` and `category`; None for the images of digits.
        encoder: Model that embeds the texts.
        seeds: Seeds of the label noise and of the trainings.

    Returns:
        One row per seed and rate.
    """
    rows: list[MultilabelRow] = []
    for seed in seeds:
        dataset = composed_digits(seed=seed) if questions is None else tagged_questions(questions, encoder)
        rows += audit_under_noise(dataset, folder, TrainingSettings(seed=seed))
    return rows


def audit_under_noise(
    dataset: LabeledDataset,
    folder: Path,
    training: TrainingSettings,
    *,
    rates: Sequence[tuple[float, float]] = RATES,
) -> list[MultilabelRow]:
    """Audit a multi-label data set under synthetic label noise, once for each pair of rates.

    Args:
        dataset: Multi-label data set with its right labels.
        folder: Folder for the runs; it must have none of these yet.
        training: Settings of each training; its seed is also that of the label noise.
        rates: Rates of missing and of extra labels.
    """
    rows = []
    for missing, extra in rates:
        given = add_multilabel_noise(dataset.labels, missing=missing, extra=extra, seed=training.seed)
        run = folder / f"{dataset.name.replace(' ', '-')}-{missing:g}-{extra:g}-{training.seed}"
        train(dataset.with_labels(given, true_labels=dataset.labels), run, training)
        with TrajectoryStore.open(run) as store:
            evaluation = evaluate(rank(store, RankingSettings(force=True)), dataset.labels)
        assert evaluation.missing is not None
        assert evaluation.extra is not None
        rows.append(
            MultilabelRow(
                name=dataset.name,
                missing=missing,
                extra=extra,
                seed=training.seed,
                n_wrong=evaluation.n_wrong,
                n_suspects=evaluation.n_suspects,
                expected_wrong=evaluation.expected_wrong,
                average_precision=evaluation.average_precision,
                f1=evaluation.f1,
                best_f1=evaluation.best_f1,
                missing_precision=evaluation.missing.average_precision,
                extra_precision=evaluation.extra.average_precision,
            )
        )
    return rows


def composed_digits(n: int = 4000, seed: int = 0) -> LabeledDataset:
    """Return n images of one to three digits in random slots of four, as features [256] in [0, 1]; labels [n, 10]."""
    digits, random = load_dataset("digits"), np.random.default_rng(seed)
    pixels = digits.read(torch.arange(len(digits)))[:, 0].float().numpy() / 255
    images = np.zeros((n, 8, 8 * _SLOTS), np.float32)
    labels = np.zeros((n, 10), np.int64)
    for image, given in zip(images, labels, strict=True):
        count = int(random.integers(1, 4))
        digit_ids = random.integers(0, len(digits), count)
        for slot, digit in zip(random.permutation(_SLOTS)[:count], digit_ids, strict=True):
            image[:, 8 * slot : 8 * slot + 8] = pixels[digit]
            given[digits.labels[digit]] = 1
    keys = [f"composed/{i:06d}" for i in range(n)]
    return LabeledDataset(
        "composed digits", features(torch.from_numpy(images).flatten(1)), labels, digits.class_names, keys
    )


def tagged_questions(path: Path, encoder: str) -> LabeledDataset:
    """Return the embedded questions of a table, tagged with the words that three intents or more contain.

    Args:
        path: CSV file with the columns `text` and `category`; the category is the intent.
        encoder: Model that embeds the texts.

    Raises:
        DataError: The table does not have these columns, or has no such words.
    """
    table = pd.read_csv(path)
    if not {"text", "category"} <= set(table.columns):
        raise DataError(f"{path} needs the columns text and category; it has {', '.join(map(str, table.columns))}")
    words = {intent: set(re.findall("[a-z]{4,}", str(intent).lower())) for intent in table["category"].unique()}
    counts = Counter(word for of_intent in words.values() for word in of_intent)
    tags = sorted(word for word, count in counts.items() if count >= _FEWEST_INTENTS)
    if len(tags) < 2:
        raise DataError(f"{path}: the categories share no words to be tags")
    labels = np.array([[int(tag in words[intent]) for tag in tags] for intent in table["category"]], np.int64)
    texts = [str(text) for text in table["text"]]
    keys = [f"question/{i:06d}" for i in range(len(texts))]
    return embed_texts(
        LabeledDataset("tagged questions", Texts(texts), labels, tuple(tags), keys, texts=texts), encoder
    )


def markdown(rows: Sequence[MultilabelRow]) -> str:
    """Return the rows as a table."""
    lines = [
        "| data | missing | extra | seed | wrong | expected | flagged | AP | of missing | of extra "
        "| F1 at its cut | best possible F1 |",
        "|---" * 12 + "|",
    ]
    for row in rows:
        scores = (row.average_precision, row.missing_precision, row.extra_precision, row.f1, row.best_f1)
        shown = " | ".join("–" if math.isnan(score) else f"{score:.3f}" for score in scores)
        lines.append(
            f"| {row.name} | {row.missing:.0%} | {row.extra:.0%} | {row.seed} | {row.n_wrong:,} | "
            f"{row.expected_wrong:,.0f} | {row.n_suspects:,} | {shown} |"
        )
    return "\n".join(lines)
