"""The digits are scikit-learn's, in its order."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from gwaudit.core.errors import DataError
from gwaudit.data.loading import load_dataset
from helpers.making import all_pixels


def test_digits_are_scikit_learns():
    dataset = load_dataset("digits")
    assert dataset.input_shape == (1, 8, 8)
    np.testing.assert_array_equal(dataset.labels, load_digits().target)
    grey = all_pixels(dataset)[:, 0] / 255 * 16
    np.testing.assert_allclose(grey, load_digits().images, atol=0.04)


def test_a_folder_of_the_same_name_is_not_passed_over(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    with pytest.raises(DataError, match=r"\./digits"):
        load_dataset("digits")
    (tmp_path / "digits" / "run.json").touch()  # a run that was named after its data
    assert len(load_dataset("digits")) == 1797
