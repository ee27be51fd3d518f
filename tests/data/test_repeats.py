"""One input under several labels is a finding: the samples keep keys of their own, and the contradiction is listed."""

import io
import tarfile

import numpy as np
import pandas as pd
import pytest
import torch

from gwaudit.core.errors import DataError
from gwaudit.data import images
from gwaudit.data.loading import load_dataset
from gwaudit.data.reading_notes import Contradiction
from helpers.command import FAST, gwaudit
from helpers.making import make_photo_table, make_tree, picture


def contradictions(dataset):
    return [list(zip(found.keys, found.labels, strict=True)) for found in dataset.notes.contradictions]


@pytest.mark.parametrize("held", [True, False])
def test_one_path_under_two_labels(tmp_path, monkeypatch, held):
    if not held:
        monkeypatch.setattr(images, "IN_MEMORY_BYTES", 0)
    source = make_photo_table(tmp_path, [("0.png", "dog", ""), ("1.png", "dog", ""), ("2.png", "", "")])
    table = pd.read_csv(source, keep_default_na=False).drop(columns="id")
    table.to_csv(source, index=False)
    dataset = load_dataset(source)
    assert list(dataset.keys[-2:]) == ["0.png#2", "1.png#2"]
    assert contradictions(dataset) == [[("0.png", "cat"), ("0.png#2", "dog")]]
    assert (
        "Inputs that occur several times with different labels: 1, such as 0.png (cat), 0.png#2 (dog)"
        in dataset.notes.warnings[0]
    )
    assert "rows that repeat the key of another row: 3" in " ".join(dataset.notes.remarks)


def test_one_photo_in_two_class_folders(tmp_path):
    make_tree(tmp_path)
    picture(7).save(tmp_path / "cat" / "same.png")
    picture(7).save(tmp_path / "dog" / "copy.png")
    picture(8).save(tmp_path / "dog" / "first.png")
    picture(8).save(tmp_path / "dog" / "second.png")
    assert contradictions(load_dataset(tmp_path)) == [[("cat/same.png", "cat"), ("dog/copy.png", "dog")]]


def test_images_of_one_colour_do_not_contradict_each_other(tmp_path):
    make_tree(tmp_path)
    for name in ("cat", "dog"):
        picture(0).point(lambda value: 0).save(tmp_path / name / "black.png")
    assert contradictions(load_dataset(tmp_path)) == []


def test_texts_features_and_ids(tmp_path):
    pd.DataFrame({"text": ["a", " a ", "b"], "label": ["x", "y", "y"]}).to_csv(tmp_path / "t.csv", index=False)
    assert contradictions(load_dataset(tmp_path / "t.csv")) == [[("train/000000", "x"), ("train/000001", "y")]]
    np.savez(tmp_path / "a.npz", x=np.eye(3)[[0, 1, 0]], y=[0, 1, 1], keys=["k", "l", "k"])
    assert contradictions(load_dataset(tmp_path / "a.npz")) == [[("k", "0"), ("k#2", "1")]]
    np.savez(tmp_path / "b.npz", x=np.eye(3), y=[0, 1, 1], keys=["k", "l", "k"])
    assert contradictions(load_dataset(tmp_path / "b.npz")) == [[("k", "0"), ("k#2", "1")]]
    same = torch.utils.data.Subset(torch.utils.data.TensorDataset(torch.eye(3), torch.tensor([0, 1, 1])), [0, 1, 1])
    assert list(load_dataset(same).keys) == ["0", "1", "1#2"]


def test_an_image_saved_again_contradicts_the_first(tmp_path):
    make_tree(tmp_path)
    picture(7).save(tmp_path / "cat" / "same.png", compress_level=9)
    picture(7).save(tmp_path / "dog" / "again.png", compress_level=0)
    assert contradictions(load_dataset(tmp_path)) == [[("cat/same.png", "cat"), ("dog/again.png", "dog")]]


@pytest.mark.parametrize("kind", ["features", "texts", "images"])
def test_identical_inputs_are_refused_if_all_are_and_warned_of_once_if_many_are(tmp_path, kind):
    different = {
        "features": np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32),
        "texts": np.array([f"text {i}" for i in range(12)]),
        "images": np.random.default_rng(0).integers(0, 255, (12, 8, 8), np.uint8),
    }[kind]
    name = {"features": "rows"}.get(kind, kind)

    def source(inputs):
        labels = ["cat", "dog", "cat", "cat"] * 3
        if kind == "texts":
            pd.DataFrame({"text": inputs, "label": labels}).to_csv(tmp_path / "a.csv", index=False)
            return tmp_path / "a.csv"
        np.savez(tmp_path / "a.npz", x=inputs, y=labels)
        return tmp_path / "a.npz"

    assert load_dataset(source(different)).notes.warnings == []
    half = different.copy()
    half[:6] = different[0]
    notes = load_dataset(source(half)).notes
    (warning,) = notes.warnings
    examples = "train/000000, train/000001, train/000002, ..."
    assert warning.startswith(
        f"6 of 12 {name} are identical ({examples}) under 2 different labels (contradictions.csv): "
    )
    assert len(notes.contradictions) == 1
    with pytest.raises(DataError, match="the inputs of all 12 samples are identical, so nothing can be learned"):
        load_dataset(source(np.repeat(different[:1], 12, axis=0)))


def test_one_input_under_one_label_is_said_with_its_share(tmp_path):
    inputs = np.random.default_rng(0).normal(size=(12, 3))
    inputs[[0, 2, 3]] = 0.0, -0.0, 0.0
    np.savez(tmp_path / "a.npz", x=inputs, y=["cat", "dog", "cat", "cat"] * 3)
    (warning,) = load_dataset(tmp_path / "a.npz").notes.warnings
    assert warning.startswith("3 of 12 rows are identical (train/000000, train/000002, train/000003): ")
    inputs[3] = 1
    np.savez(tmp_path / "a.npz", x=inputs, y=["cat", "dog", "cat", "cat"] * 3)
    notes = load_dataset(tmp_path / "a.npz").notes
    assert notes.warnings == []
    assert "rows that repeat another one exactly: 1, such as train/000002 and train/000000" in notes.remarks


def test_sets_of_classes_contradict_each_other(tmp_path):
    pd.DataFrame({"text": ["a", "a", "b"], "label": ["x|y", "", "y"]}).to_csv(tmp_path / "t.csv", index=False)
    found = load_dataset(tmp_path / "t.csv", label_separator="|").notes.contradictions
    assert found == [Contradiction(["train/000000", "train/000001"], ["x, y", "(none)"])]


def test_shards_that_number_their_samples_alike_keep_them_all(tmp_path):
    for name in ("s0", "s1"):
        with tarfile.open(tmp_path / f"{name}.tar", "w") as tar:
            for key, label in (("0", "cat"), ("1", "dog"), ("1", "cat")):
                for suffix, content in (("txt", f"{name} {key}"), ("cls", label)):
                    member = tarfile.TarInfo(f"{key}.{suffix}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content.encode()))
    dataset = load_dataset(tmp_path)
    assert list(dataset.keys) == ["s0/0", "s0/1", "s0/1#2", "s1/0", "s1/1", "s1/1#2"]
    assert contradictions(dataset)[0] == [("s0/1", "dog"), ("s0/1#2", "cat")]


def test_an_audit_warns_and_lists_them(tmp_path):
    make_tree(tmp_path / "data", per_class=6)
    picture(3).save(tmp_path / "data" / "dog" / "copy.png")
    done = gwaudit("audit", tmp_path / "data", "-o", tmp_path / "run", *FAST)
    assert done.returncode == 0, done.stderr
    assert "warning: Inputs that occur several times with different labels: 1," in done.stderr
    table = pd.read_csv(tmp_path / "run" / "contradictions.csv")
    assert table["key"].tolist() == ["cat/003.png", "dog/copy.png"]
    assert "with different labels: 1," in gwaudit("show", tmp_path / "run").stdout
