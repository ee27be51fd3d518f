"""The columns of a table become inputs, labels and keys; each row that cannot be used is named with its reason."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from gwaudit.core.errors import BrokenRowsError, DataError
from gwaudit.data.loading import load_dataset
from helpers.making import make_photo_table, picture


def test_each_kind_of_broken_image_row_is_said_with_its_number(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "secret.png").write_bytes(b"x")
    (tmp_path / "data" / "cut.png").write_bytes(b"\x89PNG")
    source = make_photo_table(tmp_path / "data", [
        ("cut.png", "cat", "a"), ("nowhere.png", "dog", "b"), ("../secret.png", "dog", "c"), ("1.png", "cta", "d"),
        ("2.png", "dog", "id3"), ("", "dog", "e"), ("4.png", "", "f"), ("5.png", "dog", ""),
    ])  # fmt: skip
    with pytest.raises(BrokenRowsError, match=r"row 10 \(a\).*first of 6 broken rows") as stopped:
        load_dataset(source, classes=["cat", "dog"])
    assert [sample.row for sample in stopped.value.rows] == [10, 11, 12, 13, 15, 17]
    dataset = load_dataset(source, classes=["cat", "dog"], on_error="skip")
    reasons = {sample.row: sample.reason for sample in dataset.skipped}
    assert "cannot be read" in reasons[10]
    assert "no file 'nowhere.png'" in reasons[11]
    assert "leads out of" in reasons[12]
    assert "`root`" in reasons[12]
    assert "none of the 2 classes (did you mean 'cat'?)" in reasons[13]
    assert "has no image" in reasons[15]
    assert reasons[16] == "has no label"
    assert "column 'id' is empty" in reasons[17]
    assert list(dataset.keys) == [*(f"id{i}" for i in range(10)), "id3#2"]
    assert len(load_dataset(source, classes=["cat", "dog"], on_error="skip", root=tmp_path / "data")) == 11


def test_a_wider_root_lets_paths_in(tmp_path):
    (tmp_path / "data").mkdir()
    picture(5).save(tmp_path / "beside.png")
    for i in range(3):
        picture(i).save(tmp_path / "data" / f"{i}.png")
    rows = [(f"data/{i}.png", "cat") for i in range(3)] + [("beside.png", "dog")]
    pd.DataFrame(rows, columns=["path", "label"]).to_csv(tmp_path / "data" / "mine.csv", index=False)
    assert len(load_dataset(tmp_path / "data" / "mine.csv", root=tmp_path)) == 4


def test_arrays_with_a_nan_are_refused(tmp_path):
    values = np.arange(20.0).reshape(5, 4)
    values[3, 2] = np.nan
    np.savez(tmp_path / "mine.npz", x=values, y=[0, 1, 0, 1, 0])
    with pytest.raises(DataError, match=r"row 3 .*feature 2 is nan"):
        load_dataset(tmp_path / "mine.npz")


@pytest.mark.parametrize("kind", [pa.list_(pa.float64()), pa.list_(pa.int32(), 2), pa.large_list(pa.float32())])
def test_lists_of_features_may_be_of_any_type_but_of_one_length(tmp_path, kind):
    rows = [[1, 2], [3, 4], None, [5, 6]]
    table = pa.table({"embedding": pa.array(rows, kind), "label": ["a", "b", "a", "a"]})
    with pa.ipc.new_file(tmp_path / "mine.arrow", table.schema) as file:  # Parquet's writer refuses some of them
        file.write_table(table)
    dataset = load_dataset(tmp_path / "mine.arrow", on_error="skip")
    assert [s.row for s in dataset.skipped] == [2]
    np.testing.assert_array_equal(dataset.read(torch.arange(3)), [[1, 2], [3, 4], [5, 6]])
    texts = pa.table({"embedding": [["x", "y"], ["z", "z"]], "label": ["a", "b"]})
    pq.write_table(texts, tmp_path / "texts.parquet")
    with pytest.raises(DataError, match="must hold lists of numbers"):
        load_dataset(tmp_path / "texts.parquet")


def test_lists_under_any_name_and_as_texts_are_features(tmp_path):
    rows = [[0.5, 1.5], [2.5, 3.5], [4.5, 5.5], [6.5, 7.5]]
    frame = pd.DataFrame({"clip": rows, "age": [3, 9, 3, 9], "label": list("abab")})
    frame.to_parquet(tmp_path / "t.parquet")
    dataset = load_dataset(tmp_path / "t.parquet")
    np.testing.assert_array_equal(dataset.read(torch.arange(4)), rows)
    assert dataset.notes.columns_left_out == {"not used beside the features": ["age"]}
    frame.assign(clip2=rows).to_parquet(tmp_path / "two.parquet")
    with pytest.raises(DataError, match=r"several columns of lists \(clip, clip2\): name one with `feature_columns`"):
        load_dataset(tmp_path / "two.parquet")
    written = pd.DataFrame(
        {"embedding": ["[0.5, 1.5]", "[2.5 3.5]", "[4.5,5.5]", "[ 6.5  7.5 ]"], "label": list("abab")}
    )
    written.to_csv(tmp_path / "t.csv", index=False)
    np.testing.assert_array_equal(load_dataset(tmp_path / "t.csv").read(torch.arange(4)), rows)
    frame.assign(features=[1, 0, 1, 0]).drop(columns="clip").to_csv(tmp_path / "count.csv", index=False)
    assert load_dataset(tmp_path / "count.csv").notes.columns_used["features"] == ["age", "features"]


def test_columns_that_are_not_used_are_noted(tmp_path):
    frame = pd.DataFrame({"text": ["one", "two"], "stars": [3, 5], "id": ["a", "b"], "Label": ["p", "q"]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    notes = load_dataset(tmp_path / "t.csv").notes
    assert notes.columns_used == {"labels": ["Label"], "keys": ["id"], "texts": ["text"]}
    assert notes.columns_left_out == {"not used beside the texts": ["stars"]}


def test_paths_of_other_systems_find_their_files(tmp_path):
    (tmp_path / "d").mkdir()
    for i, name in enumerate(["a.png", "cafe\u0301.png", "b.png"]):
        picture(i).save(tmp_path / "d" / name)
    rows = [("d\\a.png", "cat"), ("d/caf\u00e9.png", "dog"), ("d/b.png", "cat"), ("https://x.org/c.png", "dog")]
    pd.DataFrame(rows, columns=["path", "label"]).to_csv(tmp_path / "t.csv", index=False)
    dataset = load_dataset(tmp_path / "t.csv", on_error="skip")
    assert list(dataset.keys) == ["d\\a.png", "d/caf\u00e9.png", "d/b.png"]
    assert "download the images first" in dataset.skipped[0].reason
    assert any("1 paths in the column path are read with / in place" in remark for remark in dataset.notes.remarks)
    assert any("another Unicode form (NFD)" in remark for remark in dataset.notes.remarks)


def test_unused_categories_are_no_classes_and_are_noted(tmp_path):
    kinds = pd.Categorical(["cat", "dog", "cat"], categories=["cat", "cow", "dog"])
    pd.DataFrame({"x": [0.5, 2.5, 1.5], "label": kinds}).to_parquet(tmp_path / "t.parquet")
    dataset = load_dataset(tmp_path / "t.parquet")
    assert dataset.class_names == ("cat", "dog")
    assert any("left out: cow" in remark for remark in dataset.notes.remarks)
    assert load_dataset(tmp_path / "t.parquet", classes="cat,cow,dog").class_names == ("cat", "cow", "dog")


def test_labels_that_are_dictionaries_are_refused_by_their_column(tmp_path):
    rows = [{"x": float(i), "z": i % 3, "tags": {"even": i % 2, "high": int(i > 4)}} for i in range(20)]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(DataError, match="the column 'tags' holds dictionaries"):
        load_dataset(tmp_path / "t.jsonl", label_column="tags")


def test_a_table_without_labels_takes_them_from_a_label_file(tmp_path):
    pd.DataFrame({"x": [0.5, 2.5, 1.5], "id": list("uvw")}).to_csv(tmp_path / "t.csv", index=False)
    (tmp_path / "labels.csv").write_text("key,label\nw,dog\nu,cat\n")
    dataset = load_dataset(tmp_path / "t.csv", labels=tmp_path / "labels.csv")
    assert [dataset.class_names[label] for label in dataset.labels] == ["cat", "dog"]


def test_keys_and_labels_that_a_spreadsheet_changed_are_named(tmp_path):
    frame = pd.DataFrame({"x": [0.5, 2.5, 1.5], "id": ["1.23E+11", "1-Mar", "c"], "label": ["7", "12", "7"]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    (warning,) = load_dataset(tmp_path / "t.csv").notes.warnings
    assert warning.startswith("2 keys in the column id may have been written by a spreadsheet program")
    with pytest.raises(DataError, match=r"label '7' is none of .*a spreadsheet program may have changed '007'"):
        load_dataset(tmp_path / "t.csv", classes="007,12")


def test_the_label_is_no_feature_and_an_empty_column_no_input(tmp_path):
    table = pa.table({"x": [0.5, 2.5, 1.5], "image": pa.nulls(3), "label": [1, 2, 1]})
    pq.write_table(table, tmp_path / "t.parquet")
    assert load_dataset(tmp_path / "t.parquet").notes.columns_left_out == {"without a value": ["image"]}
    with pytest.raises(DataError, match="the column 'label' holds the labels: leave it out of `feature_columns`"):
        load_dataset(tmp_path / "t.parquet", feature_columns="x,label")


LABELS = ["cat", "dog"] * 10


@pytest.mark.parametrize(
    ("columns", "role", "used"),
    [
        ({"Text": [f"good {i}" for i in range(20)], "length": range(20)}, "texts", "Text"),
        ({"image_name": [f"{i}.png" for i in range(20)], "width": range(20)}, "images", "image_name"),
        ({"id": [f"{i}.png" for i in range(20)]}, "images", "id"),
        ({"Filename": [f"{i}.png" for i in range(20)]}, "images", "Filename"),
        ({"image": [f"{i}" for i in range(20)]}, "images", "image"),
        ({"content": np.arange(20) / 7}, "features", "content"),
        ({"path": np.arange(20) / 7, "file": np.arange(20) % 3}, "features", "path"),
        ({"embedding": [str([np.float64(i), np.float64(0.5)]) for i in range(20)]}, "features", "embedding"),
    ],
)
def test_the_column_of_inputs_is_found_by_its_name_in_any_case_and_by_its_content(tmp_path, columns, role, used):
    for i in range(20 * (role == "images")):
        picture(i).save(tmp_path / f"{i}.png")
    pd.DataFrame({**columns, "Label": LABELS}).to_csv(tmp_path / "mine.csv", index=False)
    dataset = load_dataset(tmp_path / "mine.csv")
    assert dataset.notes.columns_used[role][0] == used
    assert dataset.modality == role
    assert dataset.class_names == ("cat", "dog")
    assert len(dataset) == 20
    assert not dataset.notes.warnings


def test_files_are_found_whose_suffix_the_table_leaves_out(tmp_path):
    for i in range(4):
        picture(i).save(tmp_path / f"a{i}.jpg")
    pd.DataFrame({"path": [f"a{i}" for i in range(4)], "label": list("xyxy")}).to_csv(tmp_path / "t.csv", index=False)
    dataset = load_dataset(tmp_path / "t.csv")
    assert dataset.keys == ["a0", "a1", "a2", "a3"]
    assert dataset.notes.remarks == ["4 paths in the column path are read with the suffix .jpg, which the files have"]


def test_a_table_without_a_header_is_named_as_one(tmp_path):
    pd.DataFrame({"a": np.arange(9) / 7, "b": list("xyz") * 3}).to_csv(tmp_path / "t.csv", index=False, header=False)
    with pytest.raises(DataError, match="write a line with the names of the columns"):
        load_dataset(tmp_path / "t.csv")


def test_a_text_that_is_no_list_of_numbers_is_named_as_one(tmp_path):
    pd.DataFrame({"embedding": ["[one, two]"] * 4, "label": list("xyxy")}).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match=r"'embedding' holds no lists of numbers, such as \[0.5, 1.5\]"):
        load_dataset(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("columns", "role", "left_out"),
    [
        ({"embedding": [[1.0, 2.0], [2.0, 3.0]] * 3, "path": ["x.png", "y.png"] * 3}, "features", "path"),
        ({"embedding": [[1.0, 2.0], [2.0, 3.0]] * 3, "made_of": ["x.png", "y.png"] * 3}, "features", "made_of"),
        ({"text": ["one", "two", "six"] * 2, "image_name": ["x.png", "y.png"] * 3}, "texts", "image_name"),
    ],
)
def test_names_of_images_beside_embeddings_and_texts_are_not_read(tmp_path, columns, role, left_out):
    pd.DataFrame({**columns, "label": list("abbaba")}).to_parquet(tmp_path / "t.parquet")
    dataset = load_dataset(tmp_path / "t.parquet")
    assert dataset.modality == role
    assert dataset.notes.columns_left_out == {f"not used beside the {role}": [left_out]}


def test_names_of_images_without_files_are_warned_about_beside_numbers(tmp_path):
    names = [f"{i}.png" for i in range(6)]
    pd.DataFrame({"image_name": names, "width": [3, 4, 3, 9, 4, 4], "label": list("ababab")}).to_csv(
        tmp_path / "t.csv", index=False
    )
    dataset = load_dataset(tmp_path / "t.csv")
    assert dataset.notes.columns_left_out == {"names of image files, of which none is below the root": ["image_name"]}
    assert "image_name" in dataset.notes.warnings[0]
