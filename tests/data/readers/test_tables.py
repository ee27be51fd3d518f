"""Tables in one file or several are read in order, and lines and files that cannot be read are named."""

import io

import numpy as np
import pytest
from PIL import Image

from gwaudit.core.errors import DataError
from gwaudit.data.loading import load_dataset
from helpers.making import make_parquet, png


def test_rows_of_all_files_in_order(tmp_path):
    make_parquet(tmp_path / "data" / "train-00000-of-00002.parquet", [png(0), png(1)], [1, 0], ("cat", "dog"))
    make_parquet(tmp_path / "data" / "train-00001-of-00002.parquet", [png(2)], [1], ("cat", "dog"))
    make_parquet(tmp_path / "data" / "test-00000-of-00001.parquet", [png(3), png(4)], [0, 1], ("cat", "dog"))
    dataset = load_dataset(tmp_path)
    assert dataset.labels.tolist() == [1, 0, 1]
    assert dataset.class_names == ("cat", "dog")
    assert list(dataset.keys) == ["train/000000", "train/000001", "train/000002"]
    for sample_id in range(3):
        expected = np.asarray(Image.open(io.BytesIO(png(sample_id))))
        np.testing.assert_array_equal(np.asarray(dataset.image(sample_id)), expected)
    assert len(load_dataset(tmp_path, split="test")) == 2
    with pytest.raises(DataError, match="has no split 'validation': it has test, train"):
        load_dataset(tmp_path, split="validation")


def test_a_single_file_with_paths_and_fine_labels(tmp_path):
    file = make_parquet(
        tmp_path / "some.parquet", [png(0), png(1)], [0, 2], image="image", label="fine_label", paths=["x.png", "y"]
    )
    dataset = load_dataset(file)
    assert list(dataset.keys) == ["x.png", "y"]
    assert dataset.class_names == ("0", "2")  # the labels that occur


def test_a_truncated_file_is_named(tmp_path):
    file = make_parquet(tmp_path / "train.parquet", [png(i) for i in range(20)], [0, 1] * 10)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"train\.parquet cannot be read as Parquet"):
        load_dataset(tmp_path)


@pytest.mark.parametrize(("contents", "labels", "columns", "message"), [
    ([png(0), None], [0, 1], {}, r"row 1 \(train/000001\) cannot be used: has no image"),
    ([png(0), png(1)], [0, 7], {}, r"row 1 \(train/000001\) cannot be used: label '7' is none of the 2 classes"),
    ([png(0), png(1)], [None, -1], {}, "none of the 2 rows has a label"),
    ([png(0), png(1)], [0, 0], {}, "all 2 samples have one class"),
    ([png(0), png(1)], [0, 1], {"label": "truth"}, "no column of labels"),
])  # fmt: skip
def test_missing_values_and_columns_are_named(tmp_path, contents, labels, columns, message):
    make_parquet(tmp_path / "train.parquet", contents, labels, ("a", "b"), **columns)
    with pytest.raises(DataError, match=message):
        load_dataset(tmp_path)


def test_texts_and_lines_that_are_empty_or_cut(tmp_path):
    lines = ['{"text": "one", "label": "a"}', '{"text": "  ", "label": "b"}', '{"text": "two", "la', '["no object"]',
             '{"text": "three", "label": "b"}', '{"text": "four", "label": null}']  # fmt: skip
    (tmp_path / "mine.jsonl").write_text("\n".join(lines))
    dataset = load_dataset(tmp_path / "mine.jsonl", on_error="skip")
    assert [(s.row, s.reason.partition(":")[0]) for s in dataset.skipped] == [
        (1, "has an empty text"), (2, "is not a JSON object"), (3, "is not a JSON object"), (5, "has no label"),
    ]  # fmt: skip
    assert dataset.texts == ["one", "three"]
