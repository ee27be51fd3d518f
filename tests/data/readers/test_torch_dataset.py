"""Data sets of torch are read with the labels and keys that people give them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from gwaudit.core.errors import DataError
from gwaudit.data.dataset import LabeledDataset
from gwaudit.data.inputs import features
from gwaudit.data.loading import load_dataset

INPUTS = torch.randn((6, 4), generator=torch.Generator().manual_seed(0))
CLASSES = torch.tensor([0, 2, 1, 1, 0, 2])
ONE_HOT = torch.nn.functional.one_hot(CLASSES)


class Items(torch.utils.data.Dataset):
    def __init__(self, labels, **attributes):
        self.labels = labels
        vars(self).update(attributes)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return INPUTS[index], self.labels[index]


@pytest.mark.parametrize("labels", [ONE_HOT, ONE_HOT.float(), ONE_HOT.bool(), ONE_HOT.numpy(), ONE_HOT.tolist(),
                                    CLASSES[:, None], CLASSES[:, None].numpy()])  # fmt: skip
def test_one_hot_labels_and_labels_in_one_column_are_one_class_a_row(labels):
    assert load_dataset(Items(labels)).labels.tolist() == CLASSES.tolist()


def test_vectors_of_several_classes_stay_multi_label():
    labels = ONE_HOT.clone()
    labels[0, 1] = 1
    assert load_dataset(Items(labels)).labels.tolist() == labels.tolist()


def test_one_hot_arrays_are_one_class_a_row(tmp_path):
    np.savez(tmp_path / "a.npz", x=INPUTS, y=ONE_HOT.float(), class_names=["x", "y", "z"])
    dataset = load_dataset(tmp_path / "a.npz")
    assert (dataset.labels.tolist(), dataset.class_names) == (CLASSES.tolist(), ("x", "y", "z"))
    assert "(one-hot)" in dataset.notes.remarks[0]


@pytest.mark.parametrize("name", ["/data/cat/{}.png", b"/data/cat/%d.png", Path("/data/cat"), 7])
def test_keys_of_any_kind_are_text(name):
    make = {str: lambda i: name.format(i), bytes: lambda i: name % i, int: lambda i: name + i}.get(
        type(name), lambda i: name / f"{i}.png"
    )
    dataset = load_dataset(Items(CLASSES, samples=[(make(i), 0) for i in range(6)], root=Path("/data")))
    assert dataset.keys[1] == ("8" if name == 7 else "cat/1.png")


@pytest.mark.parametrize(
    "keys", [range(6), np.arange(6), [Path(str(i)) for i in range(6)], [b"%d" % i for i in range(6)]]
)
def test_a_data_set_of_ones_own_keeps_its_keys_as_text(keys):
    dataset = LabeledDataset("mine", features(INPUTS), CLASSES.tolist(), ("x", "y", "z"), keys)
    assert list(dataset.keys) == ["0", "1", "2", "3", "4", "5"]
    assert len(dataset.fingerprint) == 16


def test_other_keys_and_items_are_refused():
    with pytest.raises(DataError, match="the key None is a NoneType"):
        LabeledDataset("mine", features(INPUTS), CLASSES.numpy(), ("x", "y", "z"), [None] * 6)
    mapping = [{"image": INPUTS[0], "label": 0}] * 3
    with pytest.raises(DataError, match=r"is a dict with image, label: give items \(input, label\)"):
        load_dataset(mapping)


def test_random_augmentation_is_warned_about():
    class Noisy(Items):
        def __getitem__(self, index):
            return INPUTS[index] + torch.rand(4), self.labels[index]

    warning = load_dataset(Noisy(CLASSES)).notes.warnings[0]
    assert "another input each time that item 0 is read: leave out its random augmentation" in warning
    assert not load_dataset(Items(CLASSES)).notes.warnings


@pytest.mark.parametrize(("source", "way_on"), [
    (pd.DataFrame({"x": [1.0, 2.0], "label": ["a", "b"]}), "a DataFrame .* write it to a Parquet file"),
    ((INPUTS.numpy(), CLASSES.numpy()), r"a tuple is no data set: give a `torch\.utils\.data\.TensorDataset"),
    (INPUTS, "a Tensor is no data set"),
    (3, "a int is no source: give a path"),
])  # fmt: skip
def test_objects_that_are_no_data_set_are_refused_with_the_way_on(source, way_on):
    with pytest.raises(DataError, match=way_on):
        load_dataset(source)
    assert load_dataset(torch.utils.data.TensorDataset(INPUTS, CLASSES)).class_names == ("0", "1", "2")
