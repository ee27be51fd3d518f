"""Images that hold no picture, or the same picture, are warned of with counts and examples."""

import numpy as np
import pytest
from PIL import Image

from gwaudit.data.loading import load_dataset
from helpers.making import make_tree, picture


def test_sane_images_are_not_warned_of(tmp_path):
    make_tree(tmp_path)
    assert load_dataset(tmp_path).notes.warnings == []


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
def test_images_of_one_colour_are_counted(tmp_path, fit):
    make_tree(tmp_path, per_class=8, size=(30, 16))
    for i in range(2):
        Image.new("RGB", (30, 16), (9, 200 + i, 9)).save(tmp_path / "dog" / f"00{i}.png")
    warnings = load_dataset(tmp_path, fit=fit, image_size=24).notes.warnings
    assert warnings == ["2 of 16 images have one colour all over (dog/000.png, dog/001.png): look at them"]


def test_a_placeholder_is_warned_of_and_a_few_repeats_are_noted(tmp_path):
    make_tree(tmp_path, per_class=8)
    picture(0).save(tmp_path / "cat" / "007.png")
    notes = load_dataset(tmp_path).notes
    assert notes.warnings == []
    assert "images that repeat another one exactly: 1, such as cat/007.png and cat/000.png" in notes.remarks
    for i in range(4):
        picture(0).save(tmp_path / "dog" / f"00{i}.png")
    assert load_dataset(tmp_path).notes.warnings == [
        "6 of 16 images are identical (cat/000.png, cat/007.png, dog/000.png, ...) under 2 different labels "
        "(contradictions.csv): is it a placeholder?"
    ]


def test_arrays_are_checked_too(tmp_path):
    masks = np.random.default_rng(0).integers(0, 2, (6, 8, 8), np.uint8)
    np.savez(tmp_path / "a.npz", x=masks, y=np.arange(6) % 2)
    assert load_dataset(tmp_path / "a.npz").notes.warnings == [
        "the largest value in all images is 1 of 255: they look black in the report"
    ]
    shades = np.broadcast_to(np.arange(90, 96, dtype=np.uint8)[:, None, None], (6, 8, 8))
    np.savez(tmp_path / "b.npz", x=shades, y=np.arange(6) % 2)
    assert load_dataset(tmp_path / "b.npz").notes.warnings == [
        "6 of 6 images have one colour all over (train/000000, train/000001, train/000002, ...): look at them"
    ]
