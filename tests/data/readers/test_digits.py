"""The digits are scikit-learn's, in its order."""

import numpy as np
from sklearn.datasets import load_digits

from gwaudit.data.loading import load_dataset
from helpers.making import all_pixels


def test_digits_are_scikit_learns():
    dataset = load_dataset("digits")
    assert dataset.input_shape == (1, 8, 8)
    np.testing.assert_array_equal(dataset.labels, load_digits().target)
    grey = all_pixels(dataset)[:, 0] / 255 * 16
    np.testing.assert_allclose(grey, load_digits().images, atol=0.04)
