"""Copies of samples are found in another split, of each kind of inputs, and none that are equal by chance."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from gwaudit import load_dataset
from gwaudit.core.errors import DataError
from gwaudit.core.settings import ResolvedTrainingSettings
from gwaudit.data.inputs import InMemory, features
from gwaudit.training import copies_across_splits
from gwaudit.training.copies_across_splits import find_split_copies

TRAINED = ResolvedTrainingSettings()


def keys_of(groups):
    return [(group.keys, group.labels, group.nearly) for group in groups]


def found(dataset, other, settings=TRAINED):
    return keys_of(find_split_copies(dataset, other, settings, None))


def splits_of(path):
    return load_dataset(path), load_dataset(path, split="test")


def test_rows_are_compared_by_their_cells(tmp_path):
    random = np.random.default_rng(0)
    table = pd.DataFrame(random.normal(size=(30, 4)).round(4), columns=list("abcd"))
    table["n"], table["kind"], table["label"] = np.arange(30), list("uvw") * 10, ["no", "yes"] * 15
    table["split"] = ["train"] * 20 + ["test"] * 10
    table.loc[25] = [*table.loc[3, [*"abcd", "n", "kind"]], "maybe", "test"]
    table.loc[27] = table.loc[4]
    table.loc[27, "split"] = "test"
    table["n"] = table["n"].astype(object)
    table.loc[26, "n"] = None  # so that the whole numbers of this split are read as floats
    table.to_csv(tmp_path / "table.csv", index=False)
    assert [labels for _, labels, _ in found(*splits_of(tmp_path / "table.csv"))] == [["yes", "maybe"], ["no", "no"]]
    coarse = pd.DataFrame(
        {"a": list("uvw") * 20, "label": ["no", "yes"] * 30, "split": ["train", "train", "test"] * 20}
    )
    coarse["a"] = random.permutation(coarse["a"])
    coarse.to_csv(tmp_path / "coarse.csv", index=False)
    assert found(*splits_of(tmp_path / "coarse.csv")) == []


def test_texts_are_compared_by_their_words(tmp_path):
    lines = ["where is it?,a,train", "who is it,b,train", "Where is it,b,test", "what now,a,test"]
    (tmp_path / "texts.csv").write_text("\n".join(["text,label,split", *lines]))
    dataset, other = splits_of(tmp_path / "texts.csv")
    embedded = replace(dataset, inputs=features(torch.randn(2, 4)))
    assert [labels for _, labels, _ in found(embedded, other)] == [["a", "b"]]


def test_images_are_equal_and_with_a_frozen_backbone_nearly_so(monkeypatch):
    random = np.random.default_rng(0)
    digits = load_dataset("digits")
    images = torch.from_numpy(random.integers(0, 256, (8, 1, 20, 20), np.uint8))
    images[4], images[5] = images[0], (images[1].float() * 0.9).byte()
    whole = replace(digits.subset(np.arange(8)), inputs=InMemory(images))
    dataset, other = whole.subset([0, 1, 2, 3]), replace(whole.subset([4, 5, 6, 7]), split="test")
    equal = (["digits/0000", "digits/0004"], ["0", "4"], False)
    assert found(dataset, other) == [equal]
    latents = random.standard_normal((8, 20)).astype(np.float32)
    latents[4], latents[5], latents[6] = latents[0], latents[1], latents[2]  # 2 and 6 have other pixels
    split = {"train": latents[:4], "test": latents[4:]}
    monkeypatch.setattr(
        copies_across_splits,
        "extract_features",
        lambda d, *_: replace(d, inputs=features(torch.from_numpy(split[d.split]))),
    )
    nearly = (["digits/0001", "digits/0005"], ["1", "5"], True)
    assert found(dataset, other, ResolvedTrainingSettings(backbone="frozen")) == [equal, nearly]


def test_splits_that_cannot_be_compared_are_refused(tmp_path):
    for name, width in (("a", 3), ("b", 4)):
        np.savez(tmp_path / f"{name}.npz", X=np.random.default_rng(0).normal(size=(6, width)), y=np.arange(6) % 2)
    with pytest.raises(DataError, match=r"shapes \(3,\) and \(4,\)"):
        found(*(load_dataset(tmp_path / f"{name}.npz") for name in "ab"))
