"""Arrays in `.npz` files are found by the usual names, of a split where they have several."""

import numpy as np
import pytest

from gwaudit.core.errors import DataError
from gwaudit.data.loading import load_dataset

X, Y = np.random.default_rng(0).standard_normal((12, 3)), np.arange(12) % 3


@pytest.mark.parametrize(
    ("arrays", "labels", "classes"),
    [
        ({"X": X, "Y": Y}, "Y", ("0", "1", "2")),
        ({"data": X, "target": Y, "target_names": np.array(["a", "b", "c"])}, "target", ("a", "b", "c")),
        ({"X_train": X, "Y_train": Y, "X_test": X[:3], "Y_test": Y[:3]}, "Y_train", ("0", "1", "2")),
        ({"train_images": X, "train_labels": Y[:, None], "val_images": X, "val_labels": Y[:, None]}, "train_labels",
         ("0", "1", "2")),
    ],
)  # fmt: skip
def test_labels_are_found_and_named_as_they_are_written(tmp_path, arrays, labels, classes):
    np.savez(tmp_path / "a.npz", **arrays)
    dataset = load_dataset(tmp_path / "a.npz")
    assert dataset.notes.columns_used["labels"] == [labels]
    assert dataset.class_names == classes
    assert dataset.labels.tolist() == Y.tolist()


def test_arrays_without_labels_are_listed(tmp_path):
    np.savez(tmp_path / "a.npz", x=X, outcome=Y)
    with pytest.raises(DataError, match=r"has no labels .*its arrays are x, outcome\. Write them under one of these"):
        load_dataset(tmp_path / "a.npz")
    np.save(tmp_path / "y.npy", Y)
    assert load_dataset(tmp_path / "a.npz", labels=tmp_path / "y.npy").labels.tolist() == Y.tolist()


def test_indices_that_are_counted_from_1_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", x=X, y=Y + 1, class_names=np.array(["a", "b", "c"]))
    with pytest.raises(DataError, match="numbers from 1 to 3, but indices of the 3 classes are counted from 0"):
        load_dataset(tmp_path / "a.npz", on_error="skip")
    np.savez(tmp_path / "b.npz", x=X, y=Y + 1)
    assert load_dataset(tmp_path / "b.npz").class_names == ("1", "2", "3")
    with pytest.raises(DataError, match="counted from 0"):
        load_dataset(tmp_path / "b.npz", classes=["a", "b", "c"], on_error="skip")
    np.savez(tmp_path / "c.npz", x=X, y=Y, class_names=np.array(["a", "b", "c"]))
    assert load_dataset(tmp_path / "c.npz").labels.tolist() == Y.tolist()
