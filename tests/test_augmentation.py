"""Augmented batches hold shifted, mirrored versions of their own images, drawn from the given generator alone."""

import pytest
import torch
from torch.nn import functional

from gwaudit.augmentation import augment, normalise, random_crop, random_flip

IMAGES = torch.randint(1, 256, (12, 3, 16, 24), generator=torch.Generator().manual_seed(3)).byte()


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_every_crop_is_a_window_of_its_own_padded_image():
    cropped = random_crop(IMAGES, generator())
    padded = functional.pad(IMAGES, (3, 3, 2, 2))
    shifts = set()
    for before, after in zip(padded, cropped, strict=True):
        found = [(y, x) for y in range(5) for x in range(7) if torch.equal(before[:, y : y + 16, x : x + 24], after)]
        assert len(found) == 1
        shifts.add(found[0])
    assert len(shifts) > 4


def test_flips_mirror_about_half_of_the_images():
    flipped = random_flip(IMAGES.repeat(20, 1, 1, 1), generator())
    mirrored = 0
    for before, after in zip(IMAGES.repeat(20, 1, 1, 1), flipped, strict=True):
        is_mirrored = torch.equal(before.flip(2), after)
        assert is_mirrored or torch.equal(before, after)
        mirrored += is_mirrored
    assert 80 < mirrored < 160


@pytest.mark.parametrize("kind", ["crop-flip", "randaugment", "none"])
def test_shape_and_type_stay_and_a_seed_repeats(kind):
    results = []
    for _ in range(2):
        torch.manual_seed(5)
        results.append(augment(IMAGES, kind, generator(1)))
    assert torch.equal(*results)
    assert results[0].shape == IMAGES.shape
    assert results[0].dtype == torch.uint8
    assert torch.equal(results[0], IMAGES) is (kind == "none")


def test_normalised_images_have_mean_zero_and_deviation_one():
    mean, std = IMAGES.float().mean((0, 2, 3)), IMAGES.float().std((0, 2, 3))
    normal = normalise(IMAGES, mean, std)
    torch.testing.assert_close(normal.mean((0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(normal.std((0, 2, 3)), torch.ones(3), atol=1e-4, rtol=0)
