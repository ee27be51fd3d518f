"""Keys and paths of a million files fit into memory, and behave as lists of texts and paths."""

import os
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from gwaudit.core.settings import DataSettings
from gwaudit.data.arrow_columns import PathColumn, TextColumn, taken
from gwaudit.data.loading import load_dataset
from gwaudit.data.readers import image_folder
from helpers.making import make_tree

CLASSES, PER_CLASS = 100, 200


def test_texts_are_read_as_those_of_a_list():
    column = TextColumn(f"cat/{i}.png" for i in range(25_000))
    assert len(column) == 25_000
    assert (column[7], column[-1]) == ("cat/7.png", "cat/24999.png")
    assert list(column)[20_001] == "cat/20001.png"
    assert column[2:4] == ["cat/2.png", "cat/3.png"]
    assert column[2:4] != ["cat/2.png"]
    assert column.take([3, 1]) == TextColumn(["cat/3.png", "cat/1.png"])
    assert "cat/5.png" in column
    assert column.index("cat/5.png") == 5
    with pytest.raises(IndexError):
        column[25_000]


def test_paths_may_have_names_in_any_encoding():
    names = ["cat/1.png", os.fsdecode(b"caf\xe9/2.png"), "dog/3.png"]
    column = PathColumn(Path("photos"), names)
    assert list(column) == [Path("photos") / name for name in names]
    assert list(column[1:]) == list(column)[1:]
    assert column[-1] == Path("photos/dog/3.png")


def test_a_column_is_not_copied_where_all_of_it_is_taken():
    column = TextColumn(["a", "b", "c"])
    assert taken(column, np.arange(3)) is column
    assert taken(column, [2, 0]) == ["c", "a"]
    assert taken(["a", "b"], [1]) == ["b"]


def test_a_folder_of_images_has_its_keys_and_paths_in_arrow(tmp_path):
    paths = make_tree(tmp_path)
    dataset = load_dataset(tmp_path)
    assert isinstance(dataset.keys, TextColumn)
    assert isinstance(dataset.keys.array, pa.LargeStringArray)
    assert dataset.keys == [path.relative_to(tmp_path).as_posix() for path in paths]
    assert isinstance(dataset.originals, PathColumn)
    assert list(dataset.originals) == paths
    part = dataset.subset([4, 0])
    assert part.keys == ["dog/001.png", "cat/000.png"]
    assert list(part.originals) == [paths[4], paths[0]]


@pytest.mark.skipif(sys.platform == "win32", reason="hard links of a file are limited to 1,023 there")
def test_the_memory_of_a_listing_is_that_of_its_names(tmp_path):
    image = make_tree(tmp_path / "source", per_class=1)[0]
    for number in range(CLASSES):
        folder = tmp_path / "photos" / f"n{number:08d}"
        folder.mkdir(parents=True)
        for i in range(PER_CLASS):
            os.link(image, folder / f"n{number:08d}_{i:05d}.JPEG")
    source = str(tmp_path / "photos")
    tracemalloc.start()
    raw = image_folder.read(source, DataSettings(source))
    peak = tracemalloc.get_traced_memory()[1] / len(raw)
    keys = TextColumn(raw.keys)
    tracemalloc.stop()
    assert len(raw) == CLASSES * PER_CLASS
    assert peak < 250  # bytes, while the names are texts: a million need 250 MB
    assert (keys.array.nbytes + raw.inputs.names.nbytes) / len(raw) < 90
