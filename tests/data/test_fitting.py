"""An image of any size becomes a square in the way that was chosen, and the part that the network sees is known."""

import numpy as np
import pytest
from PIL import Image, ImageOps
from timm.data import create_transform

from gwaudit.core.settings import DataSettings, Resizing
from gwaudit.data.fitting import ImageFit
from gwaudit.data.loading import load_dataset
from helpers.making import all_pixels, picture

FITS = ("crop", "pad", "squash")


def panorama(left=0):
    """Return a black image of 640x200 with a red square of 200 pixels."""
    image = Image.new("RGB", (640, 200))
    image.paste((255, 0, 0), (left, 0, left + 200, 200))
    return image


def red(image):
    pixels = np.asarray(image).astype(int)
    return int(((pixels[..., 0] > 200) & (pixels[..., 1] < 50)).sum())


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("side", [16, 37, 224])
def test_square_images_are_resized_alike(fit, side):
    image = picture(0, (64, 64))
    expected = ImageOps.fit(image, (side, side), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(ImageFit(side, fit).apply(image), expected)
    assert ImageFit(side, fit).seen_box(64, 64) == (0, 0, 64, 64)


def test_an_object_at_the_edge_is_seen_unless_the_image_is_cropped():
    seen = {fit: red(ImageFit(64, fit).apply(panorama())) for fit in FITS}
    assert seen["crop"] == 0
    assert seen["pad"] == pytest.approx(20 * 20, rel=0.15)
    assert seen["squash"] == pytest.approx(20 * 64, rel=0.1)


@pytest.mark.parametrize("size", [(640, 200), (200, 640), (90, 89), (300, 300)])
@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("share", [1.0, 0.875])
def test_the_box_holds_exactly_what_the_network_sees(size, fit, share):
    """Each row and column of the original has a value of its own, which the corners of the square show again."""
    x, y = np.meshgrid(np.linspace(0, 255, size[0]), np.linspace(0, 255, size[1]))
    image = Image.fromarray(np.stack([x, y, np.full_like(x, 255)], 2).round().astype(np.uint8))
    seen = np.asarray(ImageFit(64, fit, Resizing("bilinear", share)).apply(image)).astype(int)
    inside = seen[..., 2] > 250  # not the border
    left, top, right, bottom = ImageFit(64, fit, Resizing("bilinear", share)).seen_box(*size)
    for channel, (low, high), length in ((0, (left, right), size[0]), (1, (top, bottom), size[1])):
        values = seen[..., channel][inside]
        assert (values.min(), values.max()) == pytest.approx((255 * low / length, 255 * high / length), abs=7)


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize(("side", "share"), [(224, 0.875), (32, 0.9), (240, 1.0)])
def test_a_square_image_is_cropped_as_timm_does(interpolation, side, share):
    image = picture(1, (300, 300))
    timm = create_transform((3, side, side), interpolation=interpolation, crop_pct=share, normalize=False)
    for fit in FITS:
        ours = np.asarray(ImageFit(side, fit, Resizing(interpolation, share)).apply(image))
        np.testing.assert_array_equal(ours.transpose(2, 0, 1), timm(image).numpy())


def photos(folder, image):
    for label, name in enumerate(("cat", "dog")):
        (folder / name).mkdir(parents=True)
        for i in range(2):
            image = image.copy()
            middle = (image.width // 2, image.height // 2)
            image.paste((0, 0, 60 * (2 * label + i)), (*middle, middle[0] + 15, middle[1] + 15))  # all differ
            image.save(folder / name / f"{i}.png")
    return folder


def test_by_default_the_whole_image_is_seen(tmp_path):
    dataset = load_dataset(photos(tmp_path, panorama()), image_size=64)
    assert red(all_pixels(dataset)[0].transpose(1, 2, 0)) > 1000
    assert dataset.seen_box(640, 200) == (0, 0, 640, 200)
    cropped = load_dataset(tmp_path, image_size=64, fit="crop")
    assert cropped.seen_box(640, 200) == (220, 0, 420, 200)
    assert cropped.fingerprint != dataset.fingerprint


def test_runs_without_the_setting_cropped_their_images():
    before = DataSettings("photos").to_dict()
    del before["fit"], before["resizing"]
    assert DataSettings.from_dict(before).fit == "crop"
    assert DataSettings.from_dict(DataSettings("photos", resizing=Resizing("bilinear", 0.9)).to_dict()) == (
        DataSettings("photos", resizing=Resizing("bilinear", 0.9))
    )


def test_small_images_of_one_size_are_not_changed(tmp_path):
    dataset = load_dataset(photos(tmp_path, picture(3, (64, 48))))
    assert dataset.input_shape == (3, 48, 64)
    assert dataset.seen_box(64, 48) == (0, 0, 64, 48)


def test_images_that_are_decoded_on_read_are_fitted_alike(tmp_path, monkeypatch):
    photos(tmp_path, panorama(440))
    for fit in FITS:
        in_memory = load_dataset(tmp_path, image_size=48, fit=fit)
        with monkeypatch.context() as patch:
            patch.setattr("gwaudit.data.images.IN_MEMORY_BYTES", 0)
            on_read = load_dataset(tmp_path, image_size=48, fit=fit)
        np.testing.assert_array_equal(all_pixels(on_read), all_pixels(in_memory))
        assert on_read.seen_box(640, 200) == in_memory.seen_box(640, 200)


def test_small_images_decoded_on_read_keep_their_own_size(tmp_path, monkeypatch):
    monkeypatch.setattr("gwaudit.data.images.IN_MEMORY_BYTES", 0)
    dataset = load_dataset(photos(tmp_path, picture(3, (64, 48))))
    assert all_pixels(dataset).shape == (4, 3, 48, 64)
