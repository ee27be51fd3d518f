"""How many planted errors an audit finds where samples have any number of classes.

Two sets are made here: one to three of scikit-learn's digits side by side in an image, labelled with the digits that
are there; and customer questions, labelled with the words of their intent ("card_arrival" is card and arrival). Of the
given labels a share is taken away, and others that are not true are given.
"""

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
from gwaudit.core.settings import TrainingSettings
from gwaudit.data.dataset import LabeledDataset
from gwaudit.data.inputs import Texts, features
from gwaudit.data.label_noise import add_multilabel_noise
from gwaudit.data.loading import load_dataset
from gwaudit.store.store import TrajectoryStore
from gwaudit.training.frozen_features import embed_texts
from gwaudit.training.trainer import train

RATES = ((0.0, 0.0), (0.05, 0.05), (0.1, 0.1), (0.2, 0.05), (0.2, 0.2))
"""Missing and superfluous labels, as shares of the given ones."""

_FEWEST_INTENTS = 3
_PLACES = 4


@dataclass(frozen=True)
class PairRow:
    """What an audit found, of one data set, its planted errors, and one seed.

    Attributes:
        name: of the data set.
        missing, superfluous: shares of the given labels that were taken away, and given though not true.
        seed: of what was planted and of the training.
        n_wrong: wrong pairs of sample and class.
        n_suspects: pairs flagged.
        expected_wrong: wrong pairs that the audit expected.
        average_precision, f1, best_f1: of all pairs.
        missing_precision, superfluous_precision: average precision among the pairs not given, and given.
    """

    name: str
    missing: float
    superfluous: float
    seed: int
    n_wrong: int
    n_suspects: int
    expected_wrong: float
    average_precision: float
    f1: float
    best_f1: float
    missing_precision: float
    superfluous_precision: float


def composed_digits(n: int = 4000, seed: int = 0) -> LabeledDataset:
    """One to three digits at random places of an image of four, as features [256] in [0, 1]; labels [n, 10]."""
    digits, random = load_dataset("digits"), np.random.default_rng(seed)
    pixels = digits.read(torch.arange(len(digits)))[:, 0].float().numpy() / 255
    images = np.zeros((n, 8, 8 * _PLACES), np.float32)
    labels = np.zeros((n, 10), np.int64)
    for image, given in zip(images, labels, strict=True):
        count = int(random.integers(1, 4))
        chosen = random.integers(0, len(digits), count)
        for place, digit in zip(random.permutation(_PLACES)[:count], chosen, strict=True):
            image[:, 8 * place : 8 * place + 8] = pixels[digit]
            given[digits.labels[digit]] = 1
    keys = [f"composed/{i:06d}" for i in range(n)]
    return LabeledDataset(
        "composed digits", features(torch.from_numpy(images).flatten(1)), labels, digits.class_names, keys
    )


def tagged_questions(path: Path, encoder: str) -> LabeledDataset:
    """The questions of a table with columns `text` and `category`, embedded; tags are words of three intents or more.

    Raises:
        DataError: the table has no such columns, or no such words.
    """
    table = pd.read_csv(path)
    if not {"text", "category"} <= set(table.columns):
        raise DataError(f"{path} needs the columns text and category; it has {', '.join(map(str, table.columns))}")
    words = {intent: set(re.findall("[a-z]{4,}", str(intent).lower())) for intent in table["category"].unique()}
    counts = Counter(word for found in words.values() for word in found)
    tags = sorted(word for word, count in counts.items() if count >= _FEWEST_INTENTS)
    if len(tags) < 2:
        raise DataError(f"{path}: the categories share no words to be tags")
    labels = np.array([[int(tag in words[intent]) for tag in tags] for intent in table["category"]], np.int64)
    texts = [str(text) for text in table["text"]]
    keys = [f"question/{i:06d}" for i in range(len(texts))]
    return embed_texts(
        LabeledDataset("tagged questions", Texts(texts), labels, tuple(tags), keys, texts=texts), encoder
    )


def measure_pairs(output: Path, *, questions: Path | None, encoder: str, seeds: Sequence[int]) -> list[PairRow]:
    """Measure the audits of one data set, for each seed.

    Args:
        output: the folder of the runs.
        questions: a CSV file of texts with their intents; None for images of several digits.
        encoder: the model that embeds the texts.
        seeds: the seeds of the label noise and of the training.

    Returns:
        A row per seed and rates of label noise.
    """
    rows: list[PairRow] = []
    for seed in seeds:
        if questions is None:
            dataset = composed_digits(seed=seed)
            training = TrainingSettings(epochs=20, batch_size=128, learning_rate=0.1, head="mlp", seed=seed)
        else:
            dataset, training = tagged_questions(questions, encoder), TrainingSettings(seed=seed)
        rows += pairs(dataset, output, training)
    return rows


def pairs(
    dataset: LabeledDataset,
    folder: Path,
    training: TrainingSettings,
    *,
    rates: Sequence[tuple[float, float]] = RATES,
) -> list[PairRow]:
    """Audit a data set under planted errors, once for each rate.

    Args:
        dataset: with its right labels, of any number of classes.
        folder: keeps the runs; it must have none of these yet.
        training: how to train; its seed is that of the errors too.
        rates: shares of missing and superfluous labels.
    """
    rows = []
    for missing, superfluous in rates:
        given = add_multilabel_noise(dataset.labels, missing=missing, extra=superfluous, seed=training.seed)
        run = folder / f"{dataset.name.replace(' ', '-')}-{missing:g}-{superfluous:g}-{training.seed}"
        train(dataset.with_labels(given, true_labels=dataset.labels), run, training)
        with TrajectoryStore.open(run) as store:
            found = evaluate(rank(store), dataset.labels)
        assert found.missing is not None
        assert found.superfluous is not None
        rows.append(
            PairRow(
                name=dataset.name,
                missing=missing,
                superfluous=superfluous,
                seed=training.seed,
                n_wrong=found.n_wrong,
                n_suspects=found.n_suspects,
                expected_wrong=found.expected_wrong,
                average_precision=found.average_precision,
                f1=found.f1,
                best_f1=found.best_f1,
                missing_precision=found.missing.average_precision,
                superfluous_precision=found.superfluous.average_precision,
            )
        )
    return rows


def markdown(rows: Sequence[PairRow]) -> str:
    """The rows as a table."""
    lines = [
        "| data | missing | superfluous | seed | wrong | expected | flagged | AP | of missing | of superfluous "
        "| F1 at its cut | best possible F1 |",
        "|---" * 12 + "|",
    ]
    for row in rows:
        scores = (row.average_precision, row.missing_precision, row.superfluous_precision, row.f1, row.best_f1)
        shown = " | ".join("–" if score != score else f"{score:.3f}" for score in scores)
        lines.append(
            f"| {row.name} | {row.missing:.0%} | {row.superfluous:.0%} | {row.seed} | {row.n_wrong:,} | "
            f"{row.expected_wrong:,.0f} | {row.n_suspects:,} | {shown} |"
        )
    return "\n".join(lines)
