"""A data set has a fingerprint of its inputs and labels, and the statistics of its channels."""

import shutil

import numpy as np

from gwaudit.data.loading import load_dataset
from helpers.making import all_pixels, make_tree, picture


def test_the_fingerprint_depends_on_inputs_and_given_labels(tmp_path):
    make_tree(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    first = load_dataset(tmp_path / "a")
    assert load_dataset(tmp_path / "b").fingerprint == first.fingerprint
    assert first.with_labels(1 - first.labels).fingerprint != first.fingerprint
    assert first.with_labels(first.labels, true_labels=1 - first.labels).fingerprint == first.fingerprint
    picture(999).save(tmp_path / "b" / "cat" / "000.png")
    assert load_dataset(tmp_path / "b").fingerprint != first.fingerprint


def test_channel_statistics_are_numpys(tmp_path):
    make_tree(tmp_path, per_class=20)
    dataset = load_dataset(tmp_path)
    mean, std = dataset.channel_statistics()
    pixels = all_pixels(dataset).astype(np.float64)
    np.testing.assert_allclose(mean, pixels.mean((0, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(std, pixels.std((0, 2, 3)), rtol=1e-5)


def test_a_data_set_is_shown_in_one_line():
    assert repr(load_dataset("digits")) == "<LabeledDataset 'digits': 1,797 images of shape (1, 8, 8), 10 classes>"
