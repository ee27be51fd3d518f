"""Multi-label data give the same matrix from lists, separated texts, columns, and vectors of 0 and 1."""

import json
import tarfile

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gwaudit import load_dataset
from gwaudit.core.errors import BrokenRowsError, DataError
from gwaudit.data.feature_scaling import scale_matrix
from gwaudit.data.labels import matrix_of_class_sets, matrix_of_vectors, parse_labels
from gwaudit.training.preprocessing import with_scaled_features
from helpers.making import png

NAMES = ("bird", "cat", "dog")
MATRIX = np.array([[0, 1, 1], [0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 1], [0, 0, 1]])
SETS = [[NAMES[c] for c in np.flatnonzero(row)] for row in MATRIX]
X = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
LISTS = [row.tolist() for row in X]


def csv_of_texts(folder):
    pd.DataFrame(X, columns=list("abcd")).assign(tags=["|".join(s) for s in SETS]).to_csv(folder / "t.csv", index=False)
    return load_dataset(folder / "t.csv", label_column="tags", label_separator="|")


def csv_of_columns(folder):
    frame = pd.DataFrame(X, columns=list("abcd"))
    for i, name in enumerate(NAMES):
        frame[name] = MATRIX[:, i]
    frame.to_csv(folder / "t.csv", index=False)
    return load_dataset(folder / "t.csv", label_column="bird, cat,dog")


def json_lines_of_lists(folder):
    rows = [json.dumps({"features": x, "labels": s}) for x, s in zip(LISTS, SETS, strict=True)]
    (folder / "t.jsonl").write_text("\n".join(rows))
    return load_dataset(folder / "t.jsonl")


def parquet_of_class_indices(folder):
    classes = {"_type": "List", "feature": {"_type": "ClassLabel", "names": list(NAMES)}}
    indices = [np.flatnonzero(row).tolist() for row in MATRIX]
    table = pa.table({"features": LISTS, "labels": pa.array(indices, pa.list_(pa.int64()))})
    metadata = {"huggingface": json.dumps({"info": {"features": {"labels": classes}}})}
    pq.write_table(table.replace_schema_metadata(metadata), folder / "train.parquet")
    return load_dataset(folder)


def parquet_of_vectors(folder):
    pq.write_table(pa.table({"features": LISTS, "labels": MATRIX.astype(np.float32).tolist()}), folder / "t.parquet")
    return load_dataset(folder / "t.parquet", classes=NAMES)


def hugging_face(folder):
    several = datasets.Sequence(datasets.ClassLabel(names=list(NAMES)))
    features = datasets.Features({"features": datasets.Sequence(datasets.Value("float32")), "labels": several})
    return load_dataset(datasets.Dataset.from_dict({"features": LISTS, "labels": SETS}, features=features))


def arrays(folder):
    np.savez(folder / "t.npz", x=X, y=MATRIX.astype(bool), class_names=NAMES)
    return load_dataset(folder / "t.npz")


def label_file(folder):
    np.save(folder / "x.npy", X)
    np.save(folder / "y.npy", MATRIX.astype(np.float32))
    return load_dataset(folder / "x.npy", labels=folder / "y.npy", classes=NAMES)


def torch_data_set(folder):
    data = torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(MATRIX).float())
    return load_dataset(data, classes=NAMES)


@pytest.mark.parametrize(
    "load",
    [
        csv_of_texts, csv_of_columns, json_lines_of_lists, parquet_of_class_indices, parquet_of_vectors, hugging_face,
        arrays, label_file, torch_data_set,
    ],
)  # fmt: skip
def test_every_source_gives_the_same_matrix(load, tmp_path):
    dataset = load(tmp_path)
    assert dataset.is_multi_label
    assert dataset.class_names == NAMES
    np.testing.assert_array_equal(dataset.labels, MATRIX)
    np.testing.assert_allclose(with_scaled_features(dataset).read(torch.arange(6)), scale_matrix(X), atol=1e-6)
    assert dataset[4][1].tolist() == [1, 1, 1]


def test_shards_hold_lists_or_separated_texts(tmp_path):
    with tarfile.open(tmp_path / "0.tar", "w") as tar:
        for i, names in enumerate(SETS):
            label = json.dumps({"label": names}) if i % 2 else ";".join(names)
            (tmp_path / "picture").write_bytes(png(i))
            (tmp_path / "label").write_text(label)
            tar.add(tmp_path / "picture", f"{i}.png")
            tar.add(tmp_path / "label", f"{i}{'.json' if i % 2 else '.cls'}")
    dataset = load_dataset(tmp_path / "0.tar", label_separator=";")
    np.testing.assert_array_equal(dataset.labels, MATRIX)


def test_broken_class_sets_are_named_by_row_and_an_empty_one_is_a_label(tmp_path):
    labels = [["cat"], [], None, ["cta"], ["dog", None], ["cat", "dog"]]
    rows = [json.dumps({"features": x, "labels": s}) for x, s in zip(LISTS, labels, strict=True)]
    (tmp_path / "t.jsonl").write_text("\n".join(rows))
    with pytest.raises(BrokenRowsError) as stopped:
        load_dataset(tmp_path / "t.jsonl", classes=["cat", "dog"])
    assert [row.row for row in stopped.value.rows] == [3, 4]
    dataset = load_dataset(tmp_path / "t.jsonl", classes=["cat", "dog"], on_error="skip")
    reasons = {sample.row: sample.reason for sample in dataset.skipped}
    assert "none of the 2 classes (did you mean 'cat'?)" in reasons[3]
    assert "is empty" in reasons[4]
    assert reasons[2] == "has no label"
    assert dataset.labels.tolist() == [[1, 0], [0, 0], [1, 1]]


def test_broken_vectors_are_named_by_row(tmp_path):
    labels = [[1, 0, 1], [0, 0], [0, 2, 1], [0.5, 0, 0], [-1, -1, -1], [0, 0, 1]]
    data = [(torch.tensor(x), torch.tensor(y)) for x, y in zip(X, labels, strict=True)]
    dataset = load_dataset(ListOf(data), on_error="skip", classes=NAMES)
    reasons = {sample.row: sample.reason for sample in dataset.skipped}
    assert "shape (2,), not one for each of the 3 classes" in reasons[1]
    assert "'cat' is 2, not 0 or 1" in reasons[2]
    assert "'bird' is 0.5" in reasons[3]
    assert reasons[4] == "has no label"
    assert dataset.labels.tolist() == [[1, 0, 1], [0, 0, 1]]


def test_rows_with_other_values_than_0_and_1_are_named(tmp_path):
    frame = pd.DataFrame({"a": X[:, 0], "cat": ["1", "x", "", "true", "0", "1"], "dog": ["0", "1", "", "0", "1.0", ""]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    dataset = load_dataset(tmp_path / "t.csv", label_column="cat,dog", on_error="skip")
    reasons = {sample.row: sample.reason for sample in dataset.skipped}
    assert reasons == {1: "'cat' is 'x', not 0 or 1", 2: "has no label", 5: "'dog' is '', not 0 or 1"}
    assert dataset.labels.tolist() == [[1, 0], [1, 0], [0, 1]]


def test_impossible_labels_are_refused(tmp_path):
    np.savez(tmp_path / "t.npz", x=X, y=MATRIX[:, 0])
    with pytest.raises(DataError, match="`label_separator`"):
        load_dataset(tmp_path / "t.npz", label_separator="|")
    with pytest.raises(DataError, match="none of the classes"):
        load_dataset(ListOf([(torch.tensor(x), torch.zeros(3)) for x in X]))
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", MATRIX)
    np.savez(tmp_path / "two.npz", x=X, y=MATRIX[:, :2])
    with pytest.raises(DataError, match="3 columns for the 2 classes"):
        load_dataset(tmp_path / "two.npz", labels=tmp_path / "y.npy")
    one = [(torch.tensor(x), y[:1]) for x, y in zip(X, torch.tensor(MATRIX), strict=True)]
    with pytest.raises(DataError, match="one class only"):
        load_dataset(ListOf(one), classes=["a"])


@given(st.lists(st.sets(st.sampled_from(NAMES)), min_size=1, max_size=20).filter(any))
def test_lists_separated_texts_and_vectors_say_the_same(sets):
    matrix = np.array([[int(name in chosen) for name in NAMES] for chosen in sets])
    for values, separator in (([list(s) for s in sets], None), (["; ".join(s) for s in sets], ";")):
        labels, names, broken, _ = matrix_of_class_sets(values, NAMES, separator)
        assert (labels == matrix).all()
        assert names == NAMES
        assert not broken
    assert (matrix_of_vectors(list(matrix), NAMES)[0] == matrix).all()
    if len(sets) > 2 and any(len(chosen) != 1 for chosen in sets):  # else they are one-hot: one class a row
        assert (parse_labels(matrix.tolist(), NAMES)[0] == matrix).all()  # no set holds 0 or 1 twice


class ListOf(torch.utils.data.Dataset):
    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]
