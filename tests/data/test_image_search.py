"""Every image file below a folder is found, whatever its suffix, and what is passed over is said."""

import os
import shutil

import pytest
from PIL import Image

from gwaudit.core.errors import DataError
from gwaudit.data.image_search import find_images
from gwaudit.data.loading import load_dataset
from gwaudit.data.reading_notes import ReadingNotes
from helpers.making import make_tree, picture

SUFFIXES = {
    "jfif": "JPEG",
    "jpe": "JPEG",
    "JPG": "JPEG",
    "jp2": "JPEG2000",
    "TIF": "TIFF",
    "webp": "WEBP",
    "gif": "GIF",
}


def names(root):
    """Return the images that are found, and the examples of what is passed over, by its reason."""
    notes = ReadingNotes()
    found = find_images(root, notes)
    return found, {reason: files.examples for reason, files in notes.files_passed_over.items()}


def test_every_suffix_of_an_image_is_read(tmp_path):
    make_tree(tmp_path)
    kinds = SUFFIXES | ({"avif": "AVIF"} if ".avif" in Image.registered_extensions() else {})
    for suffix, format in kinds.items():
        picture(1).save(tmp_path / "cat" / f"photo.{suffix}", format)
    dataset = load_dataset(tmp_path)
    assert len(dataset) == 6 + len(kinds)
    assert {f"cat/photo.{suffix}" for suffix in kinds} < set(dataset.keys)


def test_a_file_without_a_suffix_is_an_image_by_its_content(tmp_path):
    make_tree(tmp_path)
    for name in ("0a3f", "Dr. Smith", "scan 12.30", "backup.bak", "notes"):
        picture(1).save(tmp_path / "cat" / name, "PNG")
    (tmp_path / "cat" / "notes").write_text("no image")
    (tmp_path / "cat" / "boxes.txt").write_text("BM")
    found, passed = names(tmp_path)
    assert {"cat/0a3f", "cat/Dr. Smith", "cat/scan 12.30"} == set(found) - {
        f"{name}/00{i}.png" for name in ("cat", "dog") for i in range(3)
    }
    assert passed == {
        "an image by its content, but not by its suffix: convert or rename it": ["cat/backup.bak"],
        "not an image": ["cat/boxes.txt", "cat/notes"],
    }


@pytest.mark.parametrize("name", [
    ".ipynb_checkpoints/a.png", ".Trash-1000/files/a.png", "@eaDir/a.png", "__MACOSX/a.png", "._a.png", ".DS_Store",
    "Thumbs.db", ".thumbnails/a.png", "lost+found/a.png",
])  # fmt: skip
@pytest.mark.parametrize("place", ["", "cat"])
def test_files_of_the_system_are_no_samples(tmp_path, name, place):
    expected = [path.relative_to(tmp_path).as_posix() for path in make_tree(tmp_path)]
    junk = tmp_path / place / name
    junk.parent.mkdir(parents=True, exist_ok=True)
    picture(1).save(junk, "PNG")
    dataset = load_dataset(tmp_path)
    assert list(dataset.keys) == expected
    left_out = (tmp_path / place).joinpath(name.split("/")[0]).relative_to(tmp_path).as_posix()
    assert dataset.notes.files_passed_over["made by the system or a program"].examples == [left_out]
    assert dataset.notes.warnings == []


def test_hidden_files_are_left_out_but_not_what_lies_in_a_hidden_root(tmp_path):
    root = tmp_path / ".cache" / "photos"
    make_tree(root)
    shutil.copy(root / "cat" / "000.png", root / "cat" / ".000.png")
    found, passed = names(root)
    assert len(found) == 6
    assert passed == {"hidden (its name begins with a dot)": ["cat/.000.png"]}


def test_linked_folders_are_read_once_and_circles_end(tmp_path):
    root, elsewhere = tmp_path / "photos", tmp_path / "elsewhere"
    make_tree(root)
    elsewhere.mkdir()
    picture(7).save(elsewhere / "far.png")
    for link, target in {
        "cat/linked": elsewhere,
        "cat/twice": elsewhere,
        "cat/circle": root,
        "bird": elsewhere,
    }.items():
        (root / link).symlink_to(target)
    found, passed = names(root)
    assert [name for name in found if "far" in name] == ["bird/far.png", "cat/linked/far.png"]
    assert len(found) == 8
    assert passed == {
        "a link to a folder above it": ["cat/circle"],
        "a link to a folder that is read already": ["cat/twice"],
    }


def test_a_link_to_nothing_is_a_broken_row(tmp_path):
    make_tree(tmp_path)
    (tmp_path / "cat" / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    with pytest.raises(DataError, match=r"cat/gone\.jpg.*no file at this path, or at the end of this link"):
        load_dataset(tmp_path)
    assert [sample.key for sample in load_dataset(tmp_path, on_error="skip").skipped] == ["cat/gone.jpg"]


def test_images_that_need_a_plugin_name_it_and_a_lost_class_is_a_warning(tmp_path):
    make_tree(tmp_path, ("cat", "dog"))
    (tmp_path / "bird").mkdir()
    (tmp_path / "bird" / "1.HEIC").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    (tmp_path / "fish").mkdir()
    (tmp_path / "fish" / "1.svg").write_text("<svg/>")
    with pytest.raises(DataError, match=r"bird/1\.HEIC.*pip install pillow-heif"):
        load_dataset(tmp_path)
    dataset = load_dataset(tmp_path, on_error="skip")
    assert dataset.class_names == ("bird", "cat", "dog")
    assert [sample.key for sample in dataset.skipped] == ["bird/1.HEIC"]
    assert any("fish" in warning for warning in dataset.notes.warnings)


def test_a_folder_of_files_that_are_no_images_by_their_suffix_says_so(tmp_path):
    for path in make_tree(tmp_path):
        path.rename(path.with_suffix(".happy"))
    with pytest.raises(DataError, match=r"6 \(cat/000\.happy\): an image by its content.*rename"):
        load_dataset(tmp_path)


def test_a_folder_that_cannot_be_opened_stops(tmp_path, monkeypatch):
    make_tree(tmp_path)
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("dog"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"dog cannot be opened \(Permission denied\): make it readable"):
        find_images(tmp_path, ReadingNotes())
