"""Corrupted test sets: fifteen corruptions, five severities, the same every time; CIFAR-10-C's own files."""

import dataclasses

import numpy as np
import pytest
import torch

from gwaudit.benchmarks.stopping.corrupted import CORRUPTIONS, corrupted_by_library, corrupted_from_files
from gwaudit.core.errors import DataError
from gwaudit.data.inputs import InMemory
from gwaudit.data.loading import load_dataset


def pictures(n, size=32, channels=3):
    """Smooth colour gradients under ten labels."""
    digits = load_dataset("digits")
    ramp = torch.linspace(40, 215, size)
    images = torch.stack(
        [(ramp[None, :, None] * 0.5 + ramp[None, None] * (0.1 + i % 5 / 10)).expand(channels, -1, -1) for i in range(n)]
    )
    return dataclasses.replace(
        digits, inputs=InMemory(images.to(torch.uint8)), labels=np.arange(n) % 10, keys=[str(i) for i in range(n)]
    )


@pytest.fixture(scope="module")
def made():
    return corrupted_by_library(pictures(300), seed=3)


def test_every_corruption_and_severity_has_its_share(made):
    assert np.bincount(made.corruption).tolist() == [20] * len(CORRUPTIONS)
    assert np.bincount(made.severity)[1:].tolist() == [60] * 5
    assert (made.images.shape, made.images.dtype) == ((300, 3, 32, 32), torch.uint8)


def test_images_are_changed_and_more_so_where_it_is_more_severe(made):
    distance = (made.images.float() - pictures(300).inputs.values.float()).square().mean((1, 2, 3)).sqrt().numpy()
    noise = np.isin(made.corruption, [CORRUPTIONS.index(name) for name in ("gaussian_noise", "shot_noise")])
    by_severity = [distance[noise & (made.severity == severity)].mean() for severity in range(1, 6)]
    assert (np.diff(by_severity) > 0).all()
    assert all(distance[made.corruption == number].mean() > 0.1 for number in range(len(CORRUPTIONS)))


def test_the_same_seed_makes_the_same_images_and_leaves_numpys_generator_alone(made):
    np.random.seed(5)
    before = np.random.get_state()[1].copy()
    again = corrupted_by_library(pictures(300), seed=3)
    assert torch.equal(made.images, again.images)
    assert (np.random.get_state()[1] == before).all()
    assert not torch.equal(made.images, corrupted_by_library(pictures(300), seed=4).images)


def test_small_grey_images_keep_their_size():
    made = corrupted_by_library(pictures(30, size=8, channels=1))
    assert made.images.shape == (30, 1, 8, 8)


@pytest.fixture
def cifar_10_c(tmp_path):
    """The files of 20 test images, each pixel telling corruption, severity and image."""
    labels = np.arange(20) % 10
    np.save(tmp_path / "labels.npy", np.tile(labels, 5))
    for number, name in enumerate(CORRUPTIONS):
        content = np.zeros((100, 32, 32, 3), np.uint8)
        content[..., 0] = number
        content[..., 1] = (np.arange(100) // 20 + 1)[:, None, None]
        content[..., 2] = (np.arange(100) % 20)[:, None, None]
        np.save(tmp_path / f"{name}.npy", content)
    return tmp_path


def test_cifar_10_c_is_read_by_corruption_severity_and_image(cifar_10_c):
    ids = np.array([3, 17, 0, 9, 12])
    made = corrupted_from_files(cifar_10_c, pictures(20).subset(ids), ids)
    assert made.images[:, 0, 5, 7].tolist() == made.corruption.tolist()
    assert made.images[:, 1, 0, 0].tolist() == made.severity.tolist()
    assert made.images[:, 2, 31, 31].tolist() == ids.tolist()
    assert made.labels.tolist() == (ids % 10).tolist()


def test_files_of_other_images_are_refused(cifar_10_c):
    with pytest.raises(DataError, match="in another order"):
        corrupted_from_files(cifar_10_c, pictures(20).subset([4, 3]), np.array([3, 4]))
    (cifar_10_c / "labels.npy").unlink()
    with pytest.raises(DataError, match=r"labels\.npy cannot be read"):
        corrupted_from_files(cifar_10_c, pictures(20), np.arange(20))
    with pytest.raises(DataError, match="only 8-bit images"):
        corrupted_by_library(dataclasses.replace(pictures(20), inputs=InMemory(torch.zeros(20, 4))))
