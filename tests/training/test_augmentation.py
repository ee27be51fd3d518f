"""Augmented batches hold shifted, mirrored versions of their own images, drawn from the given generator alone."""

import pytest
import torch
from torch.nn import functional

from gwaudit.training.augmentation import (
    BatchPart,
    alternating_flips,
    augment,
    normalise,
    random_crop,
    random_flip,
    random_shift,
)

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


def test_every_shift_is_a_window_of_its_own_reflected_image():
    shifted = random_shift(IMAGES, generator())
    padded = functional.pad(IMAGES.float(), (1, 1, 1, 1), mode="reflect").byte()
    shifts = set()
    for before, after in zip(padded, shifted, strict=True):
        found = [(y, x) for y in range(3) for x in range(3) if torch.equal(before[:, y : y + 16, x : x + 24], after)]
        assert len(found) == 1
        shifts.add(found[0])
    assert len(shifts) > 4


def test_alternating_flips_show_every_sample_both_ways_in_two_epochs():
    first, second, third = (alternating_flips(1000, epoch, seed=4) for epoch in range(3))
    assert torch.equal(first, ~second)
    assert torch.equal(first, third)
    assert 400 < first.sum() < 600
    assert not torch.equal(first, alternating_flips(1000, 0, seed=5))
    shifted = augment(IMAGES, "shift-flip", generator(2))
    mirrored = augment(IMAGES, "shift-flip", generator(2), flipped=torch.ones(12, dtype=torch.bool))
    assert torch.equal(shifted.flip(3), mirrored)


@pytest.mark.parametrize("kind", ["crop-flip", "shift-flip", "randaugment", "crop", "none"])
def test_shape_and_type_stay_and_a_seed_repeats(kind):
    results = []
    for _ in range(2):
        torch.manual_seed(5)
        results.append(augment(IMAGES, kind, generator(1)))
    assert torch.equal(*results)
    assert results[0].shape == IMAGES.shape
    assert results[0].dtype == torch.uint8
    assert torch.equal(results[0], IMAGES) is (kind == "none")


@pytest.mark.parametrize("kind", ["crop-flip", "shift-flip", "crop"])
def test_the_parts_of_a_batch_are_augmented_as_the_whole_is(kind):
    whole = augment(IMAGES, kind, generator(1))
    for places in (slice(0, 7), slice(7, 12)):
        part = augment(IMAGES[places], kind, generator(1), part=BatchPart(places, len(IMAGES)))
        assert torch.equal(part, whole[places])


def test_normalised_images_have_mean_zero_and_deviation_one():
    mean, std = IMAGES.float().mean((0, 2, 3)), IMAGES.float().std((0, 2, 3))
    normal = normalise(IMAGES, mean, std)
    torch.testing.assert_close(normal.mean((0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(normal.std((0, 2, 3)), torch.ones(3), atol=1e-4, rtol=0)
