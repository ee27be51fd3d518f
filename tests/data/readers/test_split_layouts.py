"""Splits are found in every layout, are never taken for classes, and one that does not exist is refused."""

import io
import json
import tarfile

import numpy as np
import pandas as pd
import pytest
from pyarrow import ipc

from gwaudit.core.errors import DataError
from gwaudit.data.loading import load_dataset
from helpers.making import make_parquet, picture, png

datasets = pytest.importorskip("datasets", reason="needs the extra hf")


def make_images(root, *folders):
    for number, folder in enumerate(folders):
        (root / folder).mkdir(parents=True, exist_ok=True)
        picture(number).save(root / folder / "0.png")
    return root


def read(source, split="train", **options):
    dataset = load_dataset(source, split=split, **options)
    return dataset.split, dataset.class_names, sorted(dataset.keys)


@pytest.mark.parametrize(("names", "asked", "found"), [
    (("Train", "Test"), "train", "Train"),
    (("Train", "Test"), "test", "Test"),
    (("train", "val"), "validation", "val"),
    (("training", "valid", "eval"), "dev", "valid"),
    (("training_set", "test_set"), "train", "training_set"),
    (("train2017", "val2017"), "val", "val2017"),
    (("TRAIN",), "train", "TRAIN"),
    (("fold1", "fold2"), "fold1", "fold1"),
])  # fmt: skip
def test_folders_of_splits_are_no_classes(tmp_path, names, asked, found):
    make_images(tmp_path, *(f"{name}/{label}" for name in names for label in ("cat", "dog")))
    assert read(tmp_path, asked) == (found, ("cat", "dog"), [f"{found}/cat/0.png", f"{found}/dog/0.png"])


def test_splits_in_every_class_are_no_part_of_it(tmp_path):
    make_images(tmp_path, "cat/train", "cat/test", "dog/train", "dog/test")
    assert read(tmp_path, "test") == ("test", ("cat", "dog"), ["cat/test/0.png", "dog/test/0.png"])


def test_an_archive_that_repeats_its_folder_is_read_below_it(tmp_path):
    make_images(tmp_path, "train/train/cat", "train/train/dog", "test/test/cat", "test/test/dog")
    assert read(tmp_path)[1] == ("cat", "dog")


def test_a_class_may_be_called_train(tmp_path):
    make_images(tmp_path, "train", "plane", "car")
    assert read(tmp_path)[1] == ("car", "plane", "train")


def test_a_folder_that_may_be_a_split_or_a_class_is_refused(tmp_path):
    make_images(tmp_path, "train/2019", "train/2020", "plane/2019")
    with pytest.raises(DataError, match="'train', which may be a split or a class, beside plane"):
        load_dataset(tmp_path)


def test_splits_without_class_folders_are_refused(tmp_path):
    make_images(tmp_path, "train", "test")
    with pytest.raises(DataError, match="the split 'train' without a folder for each class"):
        load_dataset(tmp_path)


def test_classes_that_hold_the_same_folders_are_suspicious(tmp_path):
    make_images(tmp_path, "seg_a/cat", "seg_a/dog", "seg_b/cat", "seg_b/dog")
    assert "each of them holds the folders cat, dog" in load_dataset(tmp_path).notes.warnings[0]


def test_folds_that_hold_splits_are_suspicious(tmp_path):
    make_images(tmp_path, *(f"{fold}/train/{label}" for fold in ("fold1", "fold2") for label in ("a", "b")))
    assert "each of them holds the folders a, b" in load_dataset(tmp_path).notes.warnings[0]


def test_longer_names_of_splits_that_hold_the_same_folders(tmp_path):
    for name in ("seg_train", "seg_test"):
        make_images(tmp_path, f"{name}/{name}/cat", f"{name}/{name}/dog")
    make_images(tmp_path, "seg_pred/seg_pred")
    assert read(tmp_path, "test")[:2] == ("seg_test", ("cat", "dog"))


def test_a_split_of_one_class_is_refused_with_the_others(tmp_path):
    make_images(tmp_path, "train/good", "test/good", "test/bad")
    with pytest.raises(DataError, match=r"one class only .*or choose another split \(test, train\)"):
        load_dataset(tmp_path)


def test_images_beside_tables_are_mentioned(tmp_path, monkeypatch):
    make_parquets(make_images(tmp_path / "both", "cat", "dog"), "rows")
    notes = load_dataset(tmp_path / "both").notes
    assert notes.remarks[0] == "the rows are read from rows.parquet"
    assert "only the tables are read" in notes.warnings[0]
    make_images(tmp_path / "listed", "a", "b", "c")
    frame = pd.DataFrame({"file_name": ["a/0.png", "b/0.png"], "label": ["cat", "dog"]})
    frame.to_csv(tmp_path / "listed" / "metadata.csv", index=False)
    monkeypatch.chdir(tmp_path)
    for source in (tmp_path / "listed", "listed"):
        passed = load_dataset(source).notes.files_passed_over
        assert passed["metadata.csv does not list it"].examples == ["c/0.png"]


def test_other_folders_beside_splits_are_passed_over(tmp_path):
    make_images(tmp_path, "train/cat", "train/dog", "test/cat", "test/dog", "docs")
    assert load_dataset(tmp_path).notes.files_passed_over["it is in no split"].examples == ["docs/0.png"]


@pytest.mark.parametrize("make", [
    lambda root: make_images(root, "train/cat", "train/dog", "test/cat", "test/dog"),
    lambda root: make_table(root / "t.csv", ["train", "train", "test", "test"]),
    lambda root: make_arrays(root / "a.npz"),
    lambda root: make_shards(root, "x-train-0.tar", "x-test-0.tar"),
    lambda root: make_parquets(root, "train-00000-of-00001", "test-00000-of-00001"),
])  # fmt: skip
def test_a_split_that_does_not_exist_is_refused_with_those_that_do(tmp_path, make):
    source = make(tmp_path)
    with pytest.raises(DataError, match=r"has no split 'validation': it has (train, test|test, train)\. Choose"):
        load_dataset(source, split="validation")


@pytest.mark.parametrize("make", [
    lambda root: make_images(root, "cat", "dog"),
    lambda root: make_table(root / "t.csv", None),
    lambda root: make_shards(root, "0.tar"),
    lambda root: make_parquets(root, "data-00000-of-00001"),
    lambda root: "digits",
])  # fmt: skip
def test_a_split_of_a_source_without_splits_is_refused(tmp_path, make):
    source = make(tmp_path)
    assert len(load_dataset(source)) > 1
    with pytest.raises(DataError, match="has no splits, so there is no 'test'"):
        load_dataset(source, split="test")


def make_table(path, splits, column="split"):
    n = 6 if splits is None else len(splits)
    frame = pd.DataFrame({"x": np.arange(n) + 0.5, "label": ["cat", "dog"] * (n // 2)})
    if splits is not None:
        frame[column] = splits
    frame.to_csv(path, index=False)
    return path


@pytest.mark.parametrize(("column", "values", "asked", "rows"), [
    ("split", ["train", "train", "val", "val", "", "test"], "train", [0, 1]),
    ("split", ["train", "train", "val", "val", "", "test"], "validation", [2, 3]),
    ("Usage", ["Training", "Training", "PublicTest", "PublicTest", "PrivateTest", "PrivateTest"], "PublicTest", [2, 3]),
    ("data set", ["test"] * 6, "train", [0, 1, 2, 3, 4, 5]),
    ("split", ["a", "a", "b", "b", "b", "b"], "b", [2, 3, 4, 5]),
])  # fmt: skip
def test_a_column_of_splits_chooses_the_rows(tmp_path, column, values, asked, rows):
    dataset = load_dataset(make_table(tmp_path / "t.csv", values, column), split=asked)
    assert dataset.rows.tolist() == rows
    assert len(dataset) == len(rows)
    assert dataset.notes.columns_used["split"] == [column]


def test_a_broken_row_of_a_split_has_its_number_in_the_table(tmp_path):
    lines = ['{"x": 1, "label": "a", "split": "test"}', '{"x": 1, "label": "a", "split": "train"}',
             '{"x": "no", "label": "a", "split": "train"}', '{"x": 2, "label": "b", "split": "train"}']  # fmt: skip
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    dataset = load_dataset(tmp_path / "t.jsonl", on_error="skip")
    assert ([s.row for s in dataset.skipped], dataset.rows.tolist()) == ([2], [1, 3])


def make_arrays(path, **more):
    arrays = {"x_train": np.ones((4, 2)), "y_train": [0, 1, 0, 1], "x_test": np.ones((2, 2)), "y_test": [1, 0]}
    np.savez(path, **{**arrays, **more})
    return path


def test_arrays_of_splits(tmp_path):
    dataset = load_dataset(make_arrays(tmp_path / "a.npz", class_names=["cat", "dog"]), split="test")
    assert (dataset.labels.tolist(), dataset.class_names, dataset.split) == ([1, 0], ("cat", "dog"), "test")
    assert list(dataset.keys) == ["test/000000", "test/000001"]
    with pytest.raises(DataError, match="with and without a split in their names"):
        load_dataset(make_arrays(tmp_path / "b.npz", x=np.ones((4, 2))))


def make_shards(root, *names):
    for name in names:
        (root / name).parent.mkdir(exist_ok=True)
        with tarfile.open(root / name, "w") as tar:
            for key, label in (("a", "cat"), ("b", "dog")):
                for suffix, content in (("txt", f"{name} {key}"), ("cls", label)):
                    member = tarfile.TarInfo(f"{key}.{suffix}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content.encode()))
    return root


@pytest.mark.parametrize("names", [("x-train-0.tar", "x-val-0.tar"), ("train/0.tar", "val/0.tar")])
def test_shards_of_splits(tmp_path, names):
    assert load_dataset(make_shards(tmp_path, *names)).texts == [f"{names[0]} a", f"{names[0]} b"]
    assert load_dataset(tmp_path, split="validation").split == "val"
    assert load_dataset(tmp_path, split="validation").texts == [f"{names[1]} a", f"{names[1]} b"]


def make_parquets(root, *stems):
    for number, stem in enumerate(stems):
        make_parquet(root / f"{stem}.parquet", [png(number), png(number + 50)], [0, 1], ("cat", "dog"))
    return root


def test_parquet_files_in_folders_of_splits(tmp_path):
    make_parquets(tmp_path / "default", "train/0000", "validation/0000")
    assert read(tmp_path / "default", "val") == (
        "validation",
        ("cat", "dog"),
        ["validation/000000", "validation/000001"],
    )


def saved(values):
    return datasets.Dataset.from_dict({"text": [f"{v}" for v in values], "label": [v % 2 for v in values]})


def test_a_saved_data_set_is_read_as_its_state_lists_it(tmp_path):
    saved(range(4)).save_to_disk(tmp_path / "one")
    again = datasets.load_from_disk(tmp_path / "one")
    again.map(lambda row: {"text": row["text"] + "!"})  # writes cache-*.arrow beside the data
    assert len(list((tmp_path / "one").glob("*.arrow"))) == 2
    dataset = load_dataset(tmp_path / "one")
    assert dataset.texts == ["0", "1", "2", "3"]
    assert sum(files.count for files in dataset.notes.files_passed_over.values()) == 1
    (tmp_path / "one" / "data-00000-of-00001.arrow").unlink()
    with pytest.raises(DataError, match=r"state\.json lists data-00000-of-00001\.arrow, which is missing"):
        load_dataset(tmp_path / "one")


def test_a_saved_data_set_with_splits(tmp_path):
    datasets.DatasetDict({"train": saved(range(4)), "valid": saved(range(6, 9))}).save_to_disk(tmp_path / "both")
    assert load_dataset(tmp_path / "both").texts == ["0", "1", "2", "3"]
    assert load_dataset(tmp_path / "both", split="validation").texts == ["6", "7", "8"]
    (tmp_path / "both" / "dataset_dict.json").unlink()
    assert load_dataset(tmp_path / "both", split="validation").texts == ["6", "7", "8"]
    assert load_dataset(tmp_path / "both" / "valid").texts == ["6", "7", "8"]


def test_indices_of_a_saved_data_set_choose_and_order_its_rows(tmp_path):
    """Earlier versions of the library saved a selection as such a file."""
    saved(range(6)).save_to_disk(tmp_path / "one")
    indices = datasets.Dataset.from_dict({"indices": [5, 2, 3]}).data.table
    with ipc.new_stream(str(tmp_path / "one" / "indices.arrow"), indices.schema) as writer:
        writer.write_table(indices)
    state = json.loads((tmp_path / "one" / "state.json").read_text())
    (tmp_path / "one" / "state.json").write_text(
        json.dumps({**state, "_indices_data_files": [{"filename": "indices.arrow"}]})
    )
    assert load_dataset(tmp_path / "one").texts == ["5", "2", "3"]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_metadata_names_files_below_its_own_folder(tmp_path, suffix):
    make_images(tmp_path, "train/a", "train/b", "test/a", "test/b")
    for split in ("train", "test"):
        frame = pd.DataFrame({"file_name": ["a/0.png", "b/0.png"], "label": ["cat", "dog"]})
        path = tmp_path / split / f"metadata.{suffix}"
        write = {"csv": frame.to_csv, "jsonl": frame.to_json, "parquet": frame.to_parquet}[suffix]
        write(path, **({"orient": "records", "lines": True} if suffix == "jsonl" else {"index": False}))
    assert read(tmp_path, "test") == ("test", ("cat", "dog"), ["test/a/0.png", "test/b/0.png"])
    assert len(load_dataset(tmp_path / "train")) == 2


def test_metadata_of_all_splits_in_one_file(tmp_path):
    make_images(tmp_path, "train/a", "train/b", "test/a", "test/b")
    names = [f"{split}/{folder}/0.png" for split in ("train", "test") for folder in "ab"]
    pd.DataFrame({"file_name": names, "label": ["cat", "dog"] * 2}).to_csv(tmp_path / "metadata.csv", index=False)
    assert read(tmp_path, "test") == ("test", ("cat", "dog"), ["test/a/0.png", "test/b/0.png"])


@pytest.mark.parametrize(
    ("column", "values", "warned"),
    [
        ("partition", [0, 1, 2], True), ("Split", ["a", "b", "a"], True), ("is_train", [True, False, True], True),
        ("set", [0, 1, 2], False), ("phase", ["solid", "liquid", "gas"], False), ("is_tall", [1, 0, 1], False),
    ],
)  # fmt: skip
def test_a_column_that_may_say_the_split_is_warned_about(tmp_path, column, values, warned):
    frame = pd.DataFrame(
        {"x": np.arange(12) / 7, column: values * 4, "label": ["a", "b", "b"] * 2 + ["a", "a", "b"] * 2}
    )
    frame.to_csv(tmp_path / "t.csv", index=False)
    dataset = load_dataset(tmp_path / "t.csv")
    assert len(dataset) == 12
    assert any("may say the split" in warning for warning in dataset.notes.warnings) == warned


def test_folders_of_images_whose_names_hold_words_of_splits_are_classes(tmp_path):
    make_images(tmp_path, "dev_board", "test_tube", "train_station")
    dataset = load_dataset(tmp_path)
    assert dataset.class_names == ("dev_board", "test_tube", "train_station")
    assert "are read as classes, though some have names of splits" in dataset.notes.warnings[0]
