"""Augmented batches hold shifted, mirrored versions of their own images, drawn from the given generator alone."""

import pytest
import torch
from torch.nn import functional

from gwaudit.training import augmentation
from gwaudit.training.augmentation import BatchPart, alternating_flips, augment, draw, normalise, sample_seeds

IMAGES = torch.randint(1, 256, (12, 3, 16, 24), generator=torch.Generator().manual_seed(3)).byte()
KINDS = ["crop-flip", "shift-flip", "strong", "resized-crop", "randaugment", "crop", "none"]


def augmented(images, kind, seed=0, part=None, flipped=None):
    part = BatchPart(slice(None), len(images)) if part is None else part
    generator = torch.Generator().manual_seed(seed)
    seeds = sample_seeds(seed, 0, torch.arange(part.batch_size)[part.indices])
    draws = draw(kind, tuple(images.shape[2:]), generator, part, flipped=flipped, seeds=seeds)
    return augment(images, kind, draws)


def test_every_crop_is_a_window_of_its_own_padded_image():
    cropped = augmented(IMAGES, "crop")
    padded = functional.pad(IMAGES, (3, 3, 2, 2))
    shifts = set()
    for before, after in zip(padded, cropped, strict=True):
        found = [(y, x) for y in range(5) for x in range(7) if torch.equal(before[:, y : y + 16, x : x + 24], after)]
        assert len(found) == 1
        shifts.add(found[0])
    assert len(shifts) > 4


def test_flips_mirror_about_half_of_the_images():
    images = IMAGES.repeat(20, 1, 1, 1)
    cropped, flipped = augmented(images, "crop"), augmented(images, "crop-flip")  # their windows are drawn first
    mirrored = 0
    for before, after in zip(cropped, flipped, strict=True):
        is_mirrored = torch.equal(before.flip(2), after)
        assert is_mirrored or torch.equal(before, after)
        mirrored += is_mirrored
    assert 80 < mirrored < 160


def test_every_shift_is_a_window_of_its_own_reflected_image():
    shifted = augmented(IMAGES, "shift-flip")
    padded = functional.pad(IMAGES.float(), (1, 1, 1, 1), mode="reflect").byte()
    shifts = set()
    for before, after in zip(padded, shifted, strict=True):
        found = [(y, x) for y in range(3) for x in range(3) if torch.equal(before[:, y : y + 16, x : x + 24], after)]
        assert len(found) == 1
        shifts.add(found[0])
    assert len(shifts) > 4


def test_strong_augmentation_recolours_three_fifths_and_hides_a_square():
    images = torch.randint(80, 180, (400, 3, 32, 32), generator=torch.Generator().manual_seed(1)).byte()
    strong = augmented(images, "strong")
    padded = functional.pad(images.float(), (2, 2, 2, 2), mode="reflect").byte()
    windows = [padded[:, :, y : y + 32, x : x + 32] for y in range(5) for x in range(5)]
    is_weak = torch.stack([(strong == window).flatten(1).all(1) for window in windows]).any(0)
    assert 120 < is_weak.sum() < 200
    before, after = images[~is_weak].float(), strong[~is_weak].float()
    shifts = (after.mean((2, 3)) - before.mean((2, 3))) / before.std((1, 2, 3))[:, None]
    assert 0.2 < shifts.std() < 0.45
    assert abs(shifts.mean()) < 0.05
    flat = (after[:, :, 1:, 1:] == after[:, :, :-1, :-1]).all(1).sum((1, 2))
    assert ((flat > 20) & (flat <= 12 * 12)).all(), "a square of 12 pixels a side is hidden, if only in part"


def test_strong_augmentation_moves_the_images_it_changes_further():
    rows, columns = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    ramp = torch.stack([rows, rows, columns]).expand(300, 3, 32, 32)
    draws = draw("strong", (32, 32), torch.Generator().manual_seed(0), BatchPart(slice(None), 300))
    assert draws.top is not None
    assert draws.strong is not None
    moved = (draws.top - 2).abs()
    assert moved[~draws.strong].max() == 2
    assert moved[draws.strong].max() == 4
    unchanged = augment(ramp, "strong", draws)[~draws.strong]
    assert torch.equal(unchanged[:, 0], unchanged[:, 1])
    assert unchanged.dtype == torch.float32


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_images_of_any_number_of_channels_are_augmented_strongly(channels):
    images = torch.randint(1, 256, (20, channels, 8, 8), generator=torch.Generator().manual_seed(3)).byte()
    assert augmented(images, "strong").shape == images.shape


def test_a_resized_crop_enlarges_a_part_of_its_own_image():
    rows, columns = torch.meshgrid(torch.arange(48), torch.arange(48), indexing="ij")
    ramp = torch.stack([rows, columns, rows + columns]).byte().expand(30, 3, 48, 48)  # shows which part is seen
    crops = augmented(ramp, "resized-crop")
    heights = crops[:, 0].flatten(1).float().aminmax(dim=1)
    widths = crops[:, 1].flatten(1).float().aminmax(dim=1)
    areas = (heights.max - heights.min + 1) * (widths.max - widths.min + 1) / 48**2
    assert 0.3 < areas.min() < areas.max() <= 1.02
    assert areas.std() > 0.1
    mirrored = crops[:, 1, :, 0].float().mean(1) > crops[:, 1, :, -1].float().mean(1)
    assert 5 < mirrored.sum() < 25


def test_the_seed_of_a_sample_depends_on_training_epoch_and_sample():
    ids = torch.arange(50)
    seeds = torch.cat([sample_seeds(seed, epoch, ids) for seed in (0, 1) for epoch in (0, 1)])
    assert len(seeds.unique()) == 200
    assert (seeds < 2**32).all()
    assert torch.equal(sample_seeds(1, 1, ids[40:]), seeds[190:])


def test_alternating_flips_show_every_sample_both_ways_in_two_epochs():
    first, second, third = (alternating_flips(1000, epoch, seed=4) for epoch in range(3))
    assert torch.equal(first, ~second)
    assert torch.equal(first, third)
    assert 400 < first.sum() < 600
    assert not torch.equal(first, alternating_flips(1000, 0, seed=5))
    shifted = augmented(IMAGES, "shift-flip")
    mirrored = augmented(IMAGES, "shift-flip", flipped=torch.ones(12, dtype=torch.bool))
    assert torch.equal(shifted.flip(3), mirrored)


@pytest.mark.parametrize("kind", KINDS)
def test_shape_and_type_stay_and_a_seed_repeats(kind):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    results = [augmented(IMAGES, kind, seed=1) for _ in range(2)]
    assert torch.equal(*results)
    assert results[0].shape == IMAGES.shape
    assert results[0].dtype == torch.uint8
    assert torch.equal(results[0], IMAGES) is (kind == "none")
    assert torch.equal(torch.rand(3), expected)  # dropout draws from the global generator


@pytest.mark.parametrize("kind", KINDS)
def test_the_parts_of_a_batch_are_augmented_as_the_whole_is(kind):
    whole = augmented(IMAGES, kind)
    for places in (slice(0, 7), slice(7, 12)):
        part = augmented(IMAGES[places], kind, part=BatchPart(places, len(IMAGES)))
        assert torch.equal(part, whole[places])


def test_normalised_images_have_mean_zero_and_deviation_one():
    mean, std = IMAGES.float().mean((0, 2, 3)), IMAGES.float().std((0, 2, 3))
    normal = normalise(IMAGES, mean, std)
    torch.testing.assert_close(normal.mean((0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(normal.std((0, 2, 3)), torch.ones(3), atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", ["crop-flip", "shift-flip", "strong", "crop", "none"])
def test_images_on_another_device_are_augmented_there(kind):
    generator = torch.Generator().manual_seed(0)
    draws = draw(kind, (16, 24), generator, BatchPart(slice(None), 12), flipped=torch.arange(12) % 2 == 0)
    augmented = augment(IMAGES.to("meta"), kind, draws)  # a device that computes shapes alone
    assert (augmented.device.type, augmented.shape, augmented.dtype) == ("meta", IMAGES.shape, torch.uint8)


def test_crops_by_indices_as_on_a_gpu_are_those_by_slices(monkeypatch):
    monkeypatch.setattr(augmentation, "_padded", lambda images, top, left: augmentation._take(
        functional.pad(images, (3, 3, 2, 2)), top + torch.arange(16), left + torch.arange(24)
    ))  # fmt: skip
    by_indices = augmented(IMAGES, "crop-flip")
    monkeypatch.undo()
    assert torch.equal(augmented(IMAGES, "crop-flip"), by_indices)
