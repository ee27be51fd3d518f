"""Photos are decoded once and then read from the cache, which is never wrong: damaged or foreign, it is made anew."""

import os
import shutil
from collections import namedtuple
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from gwaudit import load_dataset
from gwaudit.core.errors import SettingsError
from gwaudit.core.settings import DataSettings
from gwaudit.data import encoded_images, images
from gwaudit.data.encoded_images import CachedImages, EncodedImages
from gwaudit.data.inputs import InMemory
from gwaudit.data.loading import read_source
from helpers.making import all_pixels, picture

SIZES = [(120, 90), (100, 100), (90, 130), (200, 60)]


@pytest.fixture
def photos(tmp_path):
    for number, size in enumerate(SIZES * 2):
        folder = tmp_path / "photos" / ("cat" if number < 4 else "dog")
        folder.mkdir(parents=True, exist_ok=True)
        picture(number, size).save(folder / f"{number}.jpg")
    return tmp_path / "photos"


@pytest.fixture
def decoded(monkeypatch):
    """The originals that were decoded, in a source that is worth keeping."""
    monkeypatch.setattr(images, "_WORTH_KEEPING", 0)
    paths = []

    def counted(item, least_size=None):
        paths.append(item)
        return original(item, least_size)

    original = encoded_images.load_image
    monkeypatch.setattr(encoded_images, "load_image", counted)
    return paths


@pytest.fixture(params=["in memory", "on disk"])
def kind(request, monkeypatch):
    if request.param == "on disk":
        monkeypatch.setattr(images, "IN_MEMORY_BYTES", 0)
        return CachedImages
    return InMemory


def load(photos, **options):
    return load_dataset(photos, image_size=32, cache=photos.parent / "cache", **options)


def cache_file(photos, name="pixels"):
    [file] = (photos.parent / "cache" / "images").glob(f"*/{name}")
    return file


def test_the_second_run_decodes_no_original_and_reads_the_same(photos, decoded, kind):
    first = load(photos)
    assert isinstance(first.inputs, kind)
    assert len(decoded) == 8  # each once
    pixels, statistics = all_pixels(first), first.channel_statistics()
    second = load(photos)
    np.testing.assert_array_equal(all_pixels(second), pixels)
    np.testing.assert_array_equal(second.channel_statistics(), statistics)
    assert len(decoded) == 8
    assert type(second.inputs) is type(first.inputs)
    assert second.fingerprint == first.fingerprint
    assert second.notes == first.notes
    assert (second.image_fit, second.image_conversion) == (first.image_fit, first.image_conversion)
    assert any("kept for the next run in" in remark for remark in second.notes.remarks)


def test_the_data_are_the_same_with_and_without_the_cache(photos, decoded, monkeypatch):
    monkeypatch.setattr(images, "IN_MEMORY_BYTES", 0)
    cached, plain = load(photos), load(photos, cache_limit=0)
    assert isinstance(plain.inputs, EncodedImages)
    assert cached.fingerprint == plain.fingerprint
    np.testing.assert_array_equal(all_pixels(cached), all_pixels(plain))
    assert any("decoded in every epoch" in remark for remark in plain.notes.remarks)


def flip_a_bit(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("name", ["pixels", "index.npz", "about.json"])
@pytest.mark.parametrize("damage", [flip_a_bit, lambda file: os.truncate(file, 100), lambda file: file.unlink()])
def test_a_damaged_cache_changes_no_pixel(photos, decoded, kind, name, damage):
    pixels = all_pixels(load(photos))
    damage(cache_file(photos, name))
    np.testing.assert_array_equal(all_pixels(load(photos)), pixels)
    assert len(decoded) > 8


def test_a_cache_that_is_deleted_or_damaged_during_a_training_is_not_missed(photos, decoded, monkeypatch):
    monkeypatch.setattr(images, "IN_MEMORY_BYTES", 0)
    dataset = load(photos)
    pixels = all_pixels(dataset)
    flip_a_bit(cache_file(photos))
    np.testing.assert_array_equal(all_pixels(dataset), pixels)
    assert len(decoded) == 9
    shutil.rmtree(photos.parent / "cache")
    np.testing.assert_array_equal(all_pixels(dataset), pixels)


def test_after_a_change_of_one_photo_only_that_one_is_decoded(photos, decoded, kind):
    before = all_pixels(load(photos))
    time = (photos / "cat" / "1.jpg").stat().st_mtime_ns
    picture(77, SIZES[1]).save(photos / "cat" / "1.jpg")
    os.utime(photos / "cat" / "1.jpg", ns=(time, time))  # as a tool that keeps the times of files
    picture(78).save(photos / "dog" / "new.jpg")
    decoded.clear()
    after = all_pixels(load(photos))
    assert {path.name for path in decoded} == {"1.jpg", "new.jpg"}
    np.testing.assert_array_equal(np.delete(after[:8], 1, 0), np.delete(before, 1, 0))
    assert (after[1] != before[1]).any()


def test_other_settings_have_another_cache(photos, decoded):
    squashed = all_pixels(load(photos))
    padded = all_pixels(load(photos, fit="pad"))
    assert (squashed != padded).any()
    np.testing.assert_array_equal(all_pixels(load(photos)), squashed)
    assert len(decoded) == 16


def test_the_caches_that_were_not_used_for_longest_give_way(photos, decoded):
    limit = 2.5 * 8 * 3 * 32 * 32 / 2**30  # room for two
    load(photos, cache_limit=limit)
    first = cache_file(photos).parent
    os.utime(first / "about.json", ns=(0, 0))
    for fit in ("pad", "crop"):
        load(photos, cache_limit=limit, fit=fit)
    assert not first.exists()
    assert len(list(first.parent.glob("*/pixels"))) == 2


@pytest.mark.parametrize("reason", ["limit", "disk", "folder", "full"])
def test_without_room_for_a_cache_the_photos_are_read_all_the_same(photos, decoded, monkeypatch, reason):
    monkeypatch.setattr(images, "IN_MEMORY_BYTES", 0)
    expected = all_pixels(load_dataset(photos, image_size=32, cache_limit=0))
    options = {"cache_limit": 1e-6} if reason == "limit" else {}
    if reason == "disk":
        usage = namedtuple("usage", "total used free")
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(2**40, 2**40 - 2**20, 2**20))
    if reason == "folder":
        (photos.parent / "cache").write_text("a file")
    if reason == "full":

        def fail(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("gwaudit.data.pixel_cache.sync_tree", fail)
    dataset = load(photos, **options)
    assert isinstance(dataset.inputs, EncodedImages)
    np.testing.assert_array_equal(all_pixels(dataset), expected)
    if reason != "folder":
        assert not list((photos.parent / "cache" / "images").glob("*/*"))


def test_a_broken_photo_is_listed_again_and_read_when_it_is_readable_again(photos, decoded, monkeypatch):
    bad = photos / "dog" / "5.jpg"
    whole = bad.read_bytes()
    bad.write_bytes(whole[: len(whole) // 2])
    listed = [load(photos, on_error="skip").skipped for _ in range(2)]
    assert listed[0] == listed[1]
    assert [sample.key for sample in listed[0]] == ["dog/5.jpg"]
    # As after an error of the network: the file was the same all the time.
    monkeypatch.setattr(images, "_is_readable", lambda item: True)
    decoded.clear()
    load(photos, on_error="skip")
    assert len(decoded) > 0


def test_worker_processes_decode_the_same_and_return_warnings_and_errors(photos, monkeypatch):
    (photos / "dog" / "9.jpg").write_bytes(b"no image")
    cut_short = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\xff\xff\xff\0\x01\0\0\0"
    picture(0).save(photos / "dog" / "10.jpg", exif=cut_short)
    here = load(photos, on_error="skip")
    monkeypatch.setattr(images, "_WORTH_WORKERS", -1)
    there = load(photos, on_error="skip", workers=2)
    np.testing.assert_array_equal(all_pixels(there), all_pixels(here))
    assert there.skipped == here.skipped
    assert there.notes == here.notes
    assert any("Corrupt EXIF data" in remark for remark in there.notes.remarks)


def test_the_progress_counts_every_image(photos):
    calls = []
    progress = SimpleNamespace(on_images=lambda done, n: calls.append((done, n)))
    read_source(DataSettings(str(photos)), progress=progress)
    assert calls[-1] == (8, 8)


def test_impossible_settings_are_refused(photos):
    with pytest.raises(SettingsError, match="`cache_limit`"):
        load(photos, cache_limit=-1)


def test_a_batch_is_read_from_the_cache_in_its_order(photos, decoded, monkeypatch):
    monkeypatch.setattr(images, "IN_MEMORY_BYTES", 0)
    dataset = load(photos)
    order = torch.tensor([7, 0, 3, 3])
    np.testing.assert_array_equal(dataset.read(order).numpy(), all_pixels(dataset)[order.numpy()])
