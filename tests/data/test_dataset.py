"""Every layout loads as one kind of data set, with ids and keys that stay, and says what it cannot read."""

import io
import pickle
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from gwaudit.core.errors import DataError
from gwaudit.data import images
from gwaudit.data.loading import load_dataset
from helpers.making import Malicious, make_cifar_batches, make_parquet, make_tree, picture, png


def all_pixels(dataset):
    return dataset.read(torch.arange(len(dataset))).numpy()


def test_digits_are_scikit_learns():
    dataset = load_dataset("digits")
    assert dataset.input_shape == (1, 8, 8)
    np.testing.assert_array_equal(dataset.labels, load_digits().target)
    grey = all_pixels(dataset)[:, 0] / 255 * 16
    np.testing.assert_allclose(grey, load_digits().images, atol=0.04)


class TestImageFolder:
    def test_ids_follow_the_paths_and_keys_are_the_paths(self, tmp_path):
        paths = make_tree(tmp_path, ("b", "a"))
        dataset = load_dataset(tmp_path)
        assert dataset.class_names == ("a", "b")
        assert list(dataset.keys) == sorted(p.relative_to(tmp_path).as_posix() for p in paths)
        assert dataset.labels.tolist() == [0, 0, 0, 1, 1, 1]
        for sample_id, key in enumerate(dataset.keys):
            expected = np.asarray(Image.open(tmp_path / key))
            np.testing.assert_array_equal(np.asarray(dataset.image(sample_id)), expected)

    def test_a_folder_named_as_the_split_is_used(self, tmp_path):
        make_tree(tmp_path / "train")
        make_tree(tmp_path / "val", per_class=1)
        assert len(load_dataset(tmp_path)) == 6
        validation = load_dataset(tmp_path, split="val")
        assert (len(validation), validation.split) == (2, "val")
        assert validation.keys[0] == "val/cat/000.png"

    def test_any_mode_and_size_become_rgb_of_one_side(self, tmp_path):
        make_tree(tmp_path, per_class=1)
        for i, mode in enumerate(("L", "RGBA", "P", "CMYK", "1", "LA", "I;16")):
            saved = tmp_path / "cat" / f"m{i}.{'tif' if mode in ('CMYK', 'I;16') else 'png'}"
            (picture(i, (40, 30)).convert("L") if mode == "I;16" else picture(i, (40, 30), mode)).save(saved)
        dataset = load_dataset(tmp_path, image_size=24)
        assert dataset.input_shape == (3, 24, 24)
        assert len(dataset) == 9
        assert load_dataset(tmp_path).input_shape == (3, 224, 224)

    def test_a_photo_turned_by_its_camera_is_turned_back(self, tmp_path):
        make_tree(tmp_path, per_class=1)
        upright = np.zeros((16, 16, 3), np.uint8)
        upright[:8] = 255
        exif = Image.Exif()
        exif[0x0112] = 3
        Image.fromarray(upright[::-1, ::-1].copy()).save(tmp_path / "cat" / "turned.png", exif=exif)
        dataset = load_dataset(tmp_path)
        np.testing.assert_array_equal(np.asarray(dataset.image(list(dataset.keys).index("cat/turned.png"))), upright)

    def test_a_broken_image_stops_with_its_path(self, tmp_path):
        paths = make_tree(tmp_path)
        paths[1].write_bytes(paths[1].read_bytes()[:200])
        with pytest.raises(DataError, match=r"row 1 \(cat/001\.png\) cannot be used.*`on_error='skip'`"):
            load_dataset(tmp_path)

    def test_skipped_images_are_listed_and_never_replaced(self, tmp_path):
        paths = make_tree(tmp_path)
        whole = all_pixels(load_dataset(tmp_path))
        paths[1].write_bytes(b"")
        paths[4].write_bytes(b"not an image")
        dataset = load_dataset(tmp_path, on_error="skip")
        assert [s.key for s in dataset.skipped] == ["cat/001.png", "dog/001.png"]
        assert all(s.reason for s in dataset.skipped)
        np.testing.assert_array_equal(all_pixels(dataset), whole[[0, 2, 3, 5]])
        assert dataset.labels.tolist() == [0, 0, 1, 1]

    def test_images_that_do_not_fit_in_memory_read_the_same(self, tmp_path, monkeypatch):
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
    def test_what_is_no_data_set_is_refused(self, tmp_path, make, message):
        make(tmp_path / "data")
        with pytest.raises(DataError, match=message):
            load_dataset(tmp_path / "data")


class TestParquet:
    def test_rows_of_all_files_in_order(self, tmp_path):
        make_parquet(tmp_path / "data" / "train-00000-of-00002.parquet", [png(0), png(1)], [1, 0], ("cat", "dog"))
        make_parquet(tmp_path / "data" / "train-00001-of-00002.parquet", [png(2)], [1], ("cat", "dog"))
        make_parquet(tmp_path / "data" / "test-00000-of-00001.parquet", [png(3), png(4)], [0, 1], ("cat", "dog"))
        dataset = load_dataset(tmp_path)
        assert dataset.labels.tolist() == [1, 0, 1]
        assert dataset.class_names == ("cat", "dog")
        assert list(dataset.keys) == ["train/000000", "train/000001", "train/000002"]
        for sample_id in range(3):
            expected = np.asarray(Image.open(io.BytesIO(png(sample_id))))
            np.testing.assert_array_equal(np.asarray(dataset.image(sample_id)), expected)
        assert len(load_dataset(tmp_path, split="test")) == 2
        with pytest.raises(DataError, match="no Parquet file of the split 'validation'"):
            load_dataset(tmp_path, split="validation")

    def test_a_single_file_with_paths_and_fine_labels(self, tmp_path):
        file = make_parquet(
            tmp_path / "some.parquet", [png(0), png(1)], [0, 2], image="image", label="fine_label", paths=["x.png", "y"]
        )
        dataset = load_dataset(file)
        assert list(dataset.keys) == ["x.png", "y"]
        assert dataset.class_names == ("0", "1", "2")

    def test_a_truncated_file_is_named(self, tmp_path):
        file = make_parquet(tmp_path / "train.parquet", [png(i) for i in range(20)], [0, 1] * 10)
        file.write_bytes(file.read_bytes()[:-100])
        with pytest.raises(DataError, match=r"train\.parquet cannot be read as Parquet"):
            load_dataset(tmp_path)

    @pytest.mark.parametrize(("contents", "labels", "columns", "message"), [
        ([png(0), None], [0, 1], {}, r"row 1 \(train/000001\) cannot be used: has no image"),
        ([png(0), png(1)], [0, 7], {}, r"row 1 \(train/000001\) cannot be used: label '7' is none of the 2 classes"),
        ([png(0), png(1)], [None, -1], {}, "none of the 2 rows has a label"),
        ([png(0), png(1)], [0, 0], {}, "all 2 samples have one class"),
        ([png(0), png(1)], [0, 1], {"label": "truth"}, "no column of labels"),
    ])  # fmt: skip
    def test_what_a_row_lacks_is_said(self, tmp_path, contents, labels, columns, message):
        make_parquet(tmp_path / "train.parquet", contents, labels, ("a", "b"), **columns)
        with pytest.raises(DataError, match=message):
            load_dataset(tmp_path)


class TestCifarBatches:
    def test_the_original_batches_in_order(self, tmp_path):
        pixels, labels = make_cifar_batches(tmp_path / "cifar-10-batches-py")
        dataset = load_dataset(tmp_path / "cifar-10-batches-py")
        np.testing.assert_array_equal(all_pixels(dataset), pixels)
        assert dataset.labels.tolist() == labels
        assert dataset.class_names[3] == "class 3"
        assert len(load_dataset(tmp_path / "cifar-10-batches-py", split="test")) == 4

    def test_cifar_100s_fine_labels(self, tmp_path):
        data = np.arange(2 * 3072, dtype=np.uint64).astype(np.uint8).reshape(2, 3072)
        for name in ("train", "test"):
            batch = {b"data": data, b"fine_labels": [1, 0], b"coarse_labels": [0, 0]}
            (tmp_path / name).write_bytes(pickle.dumps(batch, protocol=2))
        (tmp_path / "meta").write_bytes(pickle.dumps({b"fine_label_names": [b"apple", b"bee"]}, protocol=2))
        dataset = load_dataset(tmp_path)
        assert (dataset.labels.tolist(), dataset.class_names) == ([1, 0], ("apple", "bee"))

    def test_a_batch_with_code_in_it_is_refused_and_not_run(self, tmp_path):
        make_cifar_batches(tmp_path / "c")
        (tmp_path / "c" / "data_batch_2").write_bytes(pickle.dumps({b"data": Malicious(tmp_path / "pwned")}))
        with pytest.raises(DataError, match=r"data_batch_2 is not a CIFAR batch, nothing in it was executed"):
            load_dataset(tmp_path / "c")
        assert not (tmp_path / "pwned").exists()

    def test_missing_and_cut_batches_are_named(self, tmp_path):
        make_cifar_batches(tmp_path / "c")
        batch = tmp_path / "c" / "data_batch_4"
        batch.write_bytes(batch.read_bytes()[:500])
        with pytest.raises(DataError, match="data_batch_4"):
            load_dataset(tmp_path / "c")
        batch.unlink()
        with pytest.raises(DataError, match=r"data_batch_4 is missing"):
            load_dataset(tmp_path / "c")


def test_the_fingerprint_tells_data_and_labels_apart(tmp_path):
    make_tree(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    first = load_dataset(tmp_path / "a")
    assert load_dataset(tmp_path / "b").fingerprint == first.fingerprint
    assert first.with_labels(1 - first.labels).fingerprint != first.fingerprint
    assert first.with_labels(first.labels, true_labels=1 - first.labels).fingerprint == first.fingerprint
    picture(999).save(tmp_path / "b" / "cat" / "000.png")
    assert load_dataset(tmp_path / "b").fingerprint != first.fingerprint


def test_channel_statistics_are_numpys(tmp_path):
    make_tree(tmp_path, per_class=20)
    dataset = load_dataset(tmp_path)
    mean, std = dataset.channel_statistics()
    pixels = all_pixels(dataset).astype(np.float64)
    np.testing.assert_allclose(mean, pixels.mean((0, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(std, pixels.std((0, 2, 3)), rtol=1e-5)
