"""Shards are read in order, each sample under its own key."""

import io
import tarfile

import pytest

from gwaudit.core.errors import DataError
from gwaudit.data.loading import load_dataset
from helpers.making import png


def test_a_shard_of_texts_keeps_each_under_its_own_key_where_one_is_missing(tmp_path):
    with tarfile.open(tmp_path / "0.tar", "w") as tar:
        for name, content in (("a.txt", "one"), ("a.cls", "x"), ("b.cls", "y"), ("c.txt", "three"), ("c.cls", "y")):
            (tmp_path / "part").write_text(content)
            tar.add(tmp_path / "part", name)
    dataset = load_dataset(tmp_path / "0.tar", on_error="skip")
    assert list(zip(dataset.keys, dataset.texts, strict=True)) == [("a", "one"), ("c", "three")]
    assert [s.key for s in dataset.skipped] == ["b"]


def test_files_that_the_system_adds_to_a_shard_are_left_out(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for i in range(4):
            members = {f"./{i}.png": png(i), f"./._{i}.png": b"AppleDouble", f"./{i}.cls": b"cat" if i % 2 else b"dog"}
            for name, content in members.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    dataset = load_dataset(tmp_path)
    assert list(dataset.keys) == [f"./{i}" for i in range(4)]
    assert dataset.notes.files_passed_over["made by the system or a program"].count == 4


def test_shards_without_labels_say_what_is_expected(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("1.png"))
    with pytest.raises(DataError, match=r"no sample in .* has a label: expected KEY.cls.*the files end in \.png"):
        load_dataset(tmp_path / "a.tar")
