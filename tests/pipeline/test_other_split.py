"""`also_split` lists copies in another split, and says why a split cannot be read."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from gwaudit import DataSettings, TrainingSettings, audit
from gwaudit.core.errors import SettingsError
from gwaudit.data.loading import load_dataset
from gwaudit.pipeline.check_data import check_data
from gwaudit.pipeline.other_split import read_other_split


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Random images of two classes in the splits train and test, which has two of train, one under another label."""
    root, random = tmp_path_factory.mktemp("splits") / "images", np.random.default_rng(0)
    for split, number in (("train", 8), ("test", 3)):
        for name in ("cat", "dog"):
            (root / split / name).mkdir(parents=True)
            for i in range(number):
                image = Image.fromarray(random.integers(0, 255, (12, 12, 3), dtype=np.uint8))
                image.save(root / split / name / f"{i}.png")
    shutil.copy(root / "train/cat/3.png", root / "test/dog/9.png")
    shutil.copy(root / "train/dog/2.png", root / "test/dog/8.png")
    (root / "test/dog/7.png").write_bytes(b"no image")
    return root


def test_copies_are_listed_in_a_table_and_on_the_page(folder, tmp_path):
    data = DataSettings(str(folder), also_split="test")
    result = audit(data, tmp_path / "run", TrainingSettings(epochs=1, batch_size=8, final_passes=0))
    assert len(result.audit.frame) == 16, "the other split is not trained on"
    assert [group.is_contradictory for group in result.split_copies] == [True, False]
    assert "1 rows of test cannot be used" in " ".join(result.dataset.notes.remarks)
    table = pd.read_csv(tmp_path / "run" / "across_splits.csv")
    assert table["key"].tolist() == ["train/cat/3.png", "test/dog/9.png", "train/dog/2.png", "test/dog/8.png"]
    assert table["labels"].tolist() == ["different"] * 2 + ["equal"] * 2
    assert table["split"].tolist() == ["train", "test"] * 2
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert json.dumps({"key": "test/dog/9.png, test", "label": "dog"})[1:-1].replace(": ", ":").split(",")[0] in page
    assert "split_copies" in page


def test_a_split_that_cannot_be_compared_is_refused_with_the_reason(folder, tmp_path):
    dataset = load_dataset(folder)

    def refused(name, source=folder):
        with pytest.raises(SettingsError) as error:
            read_other_split(DataSettings(str(source), also_split=name), dataset)
        return str(error.value)

    assert "is the split that is audited" in refused("train")
    assert "it has test, train" in refused("validation")
    assert "has no splits" in refused("test", folder / "train")
    (tmp_path / "t.csv").write_text("a,label\n1.5,x\n2.5,y\n")
    assert "holds features, not images" in refused(str(tmp_path / "t.csv"))
    other = read_other_split(DataSettings(str(folder / "train"), also_split=str(folder / "test")), dataset)
    assert (len(other), other.split) == (8, str(folder / "test"))
    with pytest.raises(SettingsError, match="`also_split` does nothing"):
        check_data(DataSettings(str(folder), also_split="test"))
