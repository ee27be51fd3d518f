"""Keys are texts that can be written, and no two are equal."""

import os

from gwaudit.data.keys import distinct_keys, utf8_texts
from gwaudit.data.loading import load_dataset
from gwaudit.data.reading_notes import ReadingNotes
from helpers.command import FAST, gwaudit
from helpers.making import make_tree, picture


def test_a_new_key_is_none_of_the_others():
    assert distinct_keys(["a", "a#2", "a", "a", "a#2"], ReadingNotes()) == ["a", "a#2", "a#3", "a#4", "a#2#2"]


def test_halves_of_surrogate_pairs_are_written_too():
    assert utf8_texts(["ok", "half \ud800"], ReadingNotes()) == ["ok", "half \\ud800"]


def test_file_names_in_another_encoding_are_audited(tmp_path):
    make_tree(tmp_path / "data")
    folder = tmp_path / "data" / os.fsdecode(b"chi\xf1en")
    folder.mkdir()
    for number in range(3):
        picture(50 + number).save(folder / f"{number}.png")
    picture(60).save(tmp_path / "data" / "cat" / os.fsdecode(b"caf\xe9.png"))
    dataset = load_dataset(tmp_path / "data")
    assert dataset.class_names == ("cat", "chi\\xf1en", "dog")
    assert list(dataset.keys[3:5]) == ["cat/caf\\xe9.png", "chi\\xf1en/0.png"]
    done = gwaudit("audit", tmp_path / "data", "-o", tmp_path / "run", *FAST, "--force")
    assert done.returncode == 0, done.stderr
    assert "names that are not UTF-8: 4" in done.stderr
    assert gwaudit("show", tmp_path / "run", "--sample", "cat/caf\\xe9.png").returncode == 0
    exported = gwaudit("export", tmp_path / "run", "--to", "imagefolder", "-o", tmp_path / "out")
    assert exported.returncode == 0, exported.stderr
    assert gwaudit("report", tmp_path / "run", "-o", tmp_path / "report.html").returncode == 0
