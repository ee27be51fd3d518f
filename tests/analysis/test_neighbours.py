"""Neighbours are exact, whatever the blocks, and no close pair is missed."""

import numpy as np
import pytest

from gwaudit.analysis import neighbours
from gwaudit.analysis.neighbours import centred, close_pairs, groups_of, nearest


@pytest.fixture(params=[3, 1000])
def blocks(request, monkeypatch):
    monkeypatch.setattr(neighbours, "_BLOCK", request.param)


def latents(n=40, width=100):
    random = np.random.default_rng(0)
    values = np.abs(random.standard_normal((n, width))) + 5
    values[7] = values[3] + 0.05 * random.standard_normal(width)
    values[30] = values[3] + 0.05 * random.standard_normal(width)
    return values


def test_the_nearest_are_those_of_all_products(blocks):
    values = centred(latents())
    similarity = values @ values.T
    np.fill_diagonal(similarity, -2)
    ids, found = nearest(values, np.array([3, 0, 7, 21]), 5)
    np.testing.assert_array_equal(ids, np.argsort(-similarity[[3, 0, 7, 21]], axis=1)[:, :5])
    np.testing.assert_allclose(found, np.take_along_axis(similarity[[3, 0, 7, 21]], ids, 1), atol=1e-6)
    assert set(ids[0, :2]) == {7, 30}


@pytest.mark.parametrize("limit", [0.05, 0.9])
def test_close_pairs_are_those_of_all_products(blocks, limit):
    values = centred(latents())
    first, second = np.nonzero(np.triu(1 - values @ values.T <= limit, 1))
    assert sorted(map(tuple, close_pairs(values, limit).tolist())) == sorted(zip(first, second, strict=True))


def test_few_samples_have_fewer_neighbours():
    ids, _ = nearest(centred(np.eye(3)), np.arange(3), 8)
    assert ids.shape == (3, 2)


def test_groups_are_what_pairs_connect():
    assert groups_of(np.array([[4, 9], [1, 2], [9, 12]]), 20) == [[1, 2], [4, 9, 12]]
    assert groups_of(np.empty((0, 2), np.int64), 20) == []
