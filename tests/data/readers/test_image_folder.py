"""A folder of images with a folder for each class is read in the order of its paths, in any mode and size."""

import numpy as np
import pytest
from PIL import Image

from gwaudit.core.errors import DataError
from gwaudit.data import images
from gwaudit.data.loading import load_dataset
from helpers.making import all_pixels, make_tree, picture


def test_ids_follow_the_paths_and_keys_are_the_paths(tmp_path):
    paths = make_tree(tmp_path, ("b", "a"))
    dataset = load_dataset(tmp_path)
    assert dataset.class_names == ("a", "b")
    assert list(dataset.keys) == sorted(p.relative_to(tmp_path).as_posix() for p in paths)
    assert dataset.labels.tolist() == [0, 0, 0, 1, 1, 1]
    for sample_id, key in enumerate(dataset.keys):
        expected = np.asarray(Image.open(tmp_path / key))
        np.testing.assert_array_equal(np.asarray(dataset.image(sample_id)), expected)


def test_a_folder_named_as_the_split_is_used(tmp_path):
    make_tree(tmp_path / "train")
    make_tree(tmp_path / "val", per_class=1)
    assert len(load_dataset(tmp_path)) == 6
    validation = load_dataset(tmp_path, split="val")
    assert (len(validation), validation.split) == (2, "val")
    assert validation.keys[0] == "val/cat/000.png"


def test_any_mode_and_size_become_rgb_of_one_side(tmp_path):
    make_tree(tmp_path, per_class=1)
    for i, mode in enumerate(("L", "RGBA", "P", "CMYK", "1", "LA", "I;16")):
        saved = tmp_path / "cat" / f"m{i}.{'tif' if mode in ('CMYK', 'I;16') else 'png'}"
        (picture(i, (40, 30)).convert("L") if mode == "I;16" else picture(i, (40, 30), mode)).save(saved)
    dataset = load_dataset(tmp_path, image_size=24)
    assert dataset.input_shape == (3, 24, 24)
    assert len(dataset) == 9
    assert load_dataset(tmp_path).input_shape == (3, 224, 224)


def test_a_photo_turned_by_its_camera_is_turned_back(tmp_path):
    make_tree(tmp_path, per_class=1)
    upright = np.zeros((16, 16, 3), np.uint8)
    upright[:8] = 255
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(upright[::-1, ::-1].copy()).save(tmp_path / "cat" / "turned.png", exif=exif)
    dataset = load_dataset(tmp_path)
    np.testing.assert_array_equal(np.asarray(dataset.image(list(dataset.keys).index("cat/turned.png"))), upright)


def test_a_broken_image_stops_with_its_path(tmp_path):
    paths = make_tree(tmp_path)
    paths[1].write_bytes(paths[1].read_bytes()[:200])
    with pytest.raises(DataError, match=r"row 1 \(cat/001\.png\) cannot be used.*`on_error='skip'`"):
        load_dataset(tmp_path)


def test_skipped_images_are_listed_and_never_replaced(tmp_path):
    paths = make_tree(tmp_path)
    whole = all_pixels(load_dataset(tmp_path))
    paths[1].write_bytes(b"")
    paths[4].write_bytes(b"not an image")
    dataset = load_dataset(tmp_path, on_error="skip")
    assert [s.key for s in dataset.skipped] == ["cat/001.png", "dog/001.png"]
    assert all(s.reason for s in dataset.skipped)
    np.testing.assert_array_equal(all_pixels(dataset), whole[[0, 2, 3, 5]])
    assert dataset.labels.tolist() == [0, 0, 1, 1]


def test_images_that_do_not_fit_in_memory_read_the_same(tmp_path, monkeypatch):
    make_tree(tmp_path, per_class=5, size=(20, 30))
    held = load_dataset(tmp_path, image_size=32)
    monkeypatch.setattr(images, "IN_MEMORY_BYTES", 0)
    decoded_each_time = load_dataset(tmp_path, image_size=32)
    assert type(held.inputs) is not type(decoded_each_time.inputs)
    np.testing.assert_array_equal(all_pixels(held), all_pixels(decoded_each_time))
    assert held.labels.tolist() == decoded_each_time.labels.tolist()


@pytest.mark.parametrize(("make", "message"), [
    (lambda root: root.mkdir(), "holds no data set"),
    (lambda root: make_tree(root, ("cat",)), "one class only"),
    (lambda root: None, "no data set at"),
    (lambda root: root.write_text("x"), "is not a data set: files are"),
])  # fmt: skip
def test_what_is_no_data_set_is_refused(tmp_path, make, message):
    make(tmp_path / "data")
    with pytest.raises(DataError, match=message):
        load_dataset(tmp_path / "data")


def test_a_folder_of_tables_without_images_names_the_table_to_give(tmp_path):
    for name in ("test.csv", "train.csv"):
        (tmp_path / name).write_text("a,label\n1,x\n2,y\n")
    with pytest.raises(DataError, match=r"it holds tables \(test.csv, train.csv\).*as .*train\.csv$"):
        load_dataset(tmp_path)
