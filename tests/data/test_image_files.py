"""The original file of a sample is found, and shown as it was audited."""

import errno
import os

import numpy as np
from PIL import Image

from gwaudit.data.image_files import image_file_of
from gwaudit.data.loading import load_dataset
from gwaudit.export.label_studio import _embedded
from helpers.making import all_pixels, make_tree, picture


def test_an_original_with_16_bits_is_shown_in_the_range_of_its_data_set(tmp_path):
    for path in make_tree(tmp_path):
        grey = np.asarray(Image.open(path).convert("L"))
        Image.fromarray(grey.astype(np.uint16) * 16).save(path)
    dataset = load_dataset(tmp_path)
    original = image_file_of(dataset, 0, None)
    assert not original.is_plain
    np.testing.assert_array_equal(np.asarray(original.decode()).transpose(2, 0, 1), all_pixels(dataset)[0])
    assert _embedded(original).startswith("data:image/jpeg")  # browsers show the file itself as black


def test_a_plain_original_is_passed_on_unchanged_and_decoded_upright_and_smaller(tmp_path):
    make_tree(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "cat" / "photo.jpg"
    picture(0, (800, 400)).save(path, exif=exif)
    dataset = load_dataset(tmp_path, image_size=24)
    original = image_file_of(dataset, list(dataset.keys).index("cat/photo.jpg"), None)
    assert original.is_plain
    assert original.source == path
    assert original.decode().size == (400, 800)
    assert original.decode(100).size == (100, 200)


def test_a_file_is_copied_where_links_cannot_be_made(tmp_path, monkeypatch):
    def refuse(*_args, **_options):
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    make_tree(tmp_path / "photos", {"a": 2, "b": 2})
    file = image_file_of(load_dataset(tmp_path / "photos"), 0, tmp_path / "photos")
    monkeypatch.setattr(os, "symlink", refuse)
    file.save(tmp_path / "copy.png", copy=False)
    assert not (tmp_path / "copy.png").is_symlink()
    assert (tmp_path / "copy.png").read_bytes() == file.open().read()
