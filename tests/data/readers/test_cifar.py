"""The original batches of CIFAR-10 and CIFAR-100 are read in their order, and nothing in them is executed."""

import pickle

import numpy as np
import pytest

from gwaudit.core.errors import DataError
from gwaudit.data.loading import load_dataset
from helpers.making import Malicious, all_pixels, make_cifar_batches


def test_the_original_batches_in_order(tmp_path):
    pixels, labels = make_cifar_batches(tmp_path / "cifar-10-batches-py")
    dataset = load_dataset(tmp_path / "cifar-10-batches-py")
    np.testing.assert_array_equal(all_pixels(dataset), pixels)
    assert dataset.labels.tolist() == labels
    assert dataset.class_names[3] == "class 3"
    assert len(load_dataset(tmp_path / "cifar-10-batches-py", split="test")) == 4


def test_cifar_100s_fine_labels(tmp_path):
    data = np.arange(2 * 3072, dtype=np.uint64).astype(np.uint8).reshape(2, 3072)
    for name in ("train", "test"):
        batch = {b"data": data, b"fine_labels": [1, 0], b"coarse_labels": [0, 0]}
        (tmp_path / name).write_bytes(pickle.dumps(batch, protocol=2))
    (tmp_path / "meta").write_bytes(pickle.dumps({b"fine_label_names": [b"apple", b"bee"]}, protocol=2))
    dataset = load_dataset(tmp_path)
    assert (dataset.labels.tolist(), dataset.class_names) == ([1, 0], ("apple", "bee"))


def test_a_batch_with_code_in_it_is_refused_and_not_run(tmp_path):
    make_cifar_batches(tmp_path / "c")
    (tmp_path / "c" / "data_batch_2").write_bytes(pickle.dumps({b"data": Malicious(tmp_path / "pwned")}))
    with pytest.raises(DataError, match=r"data_batch_2 is not a CIFAR batch, nothing in it was executed"):
        load_dataset(tmp_path / "c")
    assert not (tmp_path / "pwned").exists()


def test_missing_and_cut_batches_are_named(tmp_path):
    make_cifar_batches(tmp_path / "c")
    batch = tmp_path / "c" / "data_batch_4"
    batch.write_bytes(batch.read_bytes()[:500])
    with pytest.raises(DataError, match="data_batch_4"):
        load_dataset(tmp_path / "c")
    batch.unlink()
    with pytest.raises(DataError, match=r"data_batch_4 is missing"):
        load_dataset(tmp_path / "c")
