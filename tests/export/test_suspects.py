"""What leaves an audit opens in a spreadsheet, in `datasets`, in torchvision and in pandas; whole or not at all."""

import csv
import json
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pytest
from torchvision.datasets import ImageFolder

from gwaudit.core.errors import DataError, StoreError, StoreExistsError
from gwaudit.data.loading import load_dataset
from gwaudit.export.cleaned_data import clean_data
from gwaudit.export.formats import write_cleaned_data
from gwaudit.export.suspects import SUSPECT_COLUMNS, write_suspects
from helpers.audits import SUGGESTED, SUSPECTS, audit_of
from helpers.hostile_data import HOSTILE, hostile_dataset
from helpers.making import Unreadable, make_tree, picture


@pytest.fixture
def dataset(tmp_path):
    make_tree(tmp_path / "data", ("=cat", "dög", "ant/bee".replace("/", "_")), per_class=3)
    return load_dataset(tmp_path / "data")


@pytest.fixture
def audit(dataset):
    return audit_of(dataset)


class TestSuspects:
    def test_the_table_reads_well(self, audit, tmp_path):
        path = write_suspects(audit, tmp_path / "new" / "suspects.csv")
        table = pd.read_csv(path)
        assert list(table.columns) == list(SUSPECT_COLUMNS)
        assert table["sample_id"].tolist() == SUSPECTS
        assert table["given_name"].tolist() == ["'=cat", "dög"]
        assert path.read_bytes().startswith(b"\xef\xbb\xbf"), "without the mark Excel does not see UTF-8"
        assert path.read_text("utf-8-sig").splitlines()[1].endswith(',0.2,0.9,-0.1,1.0,"suspect","trust it"'), (
            "numbers are not quoted"
        )

    def test_top_counts_from_the_top_suspects_or_not(self, audit, tmp_path):
        assert len(pd.read_csv(write_suspects(audit, tmp_path / "s.csv", top=5))) == 5

    @pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\r=x", "\n=x"])
    def test_no_cell_is_a_formula(self, dataset, tmp_path, name):
        audit = audit_of(dataset)
        audit.frame[["key", "given_name", "suggested_name"]] = name
        with write_suspects(audit, tmp_path / "s.csv").open(encoding="utf-8-sig", newline="") as file:
            for row in list(csv.DictReader(file)):
                for column in ("key", "given_name", "suggested_name"):
                    assert row[column] == "'" + name

    def test_names_with_commas_quotes_and_lines_stay_in_their_cell(self, dataset, tmp_path):
        audit = audit_of(dataset)
        audit.frame["key"] = 'a "b", c\nd'
        assert (pd.read_csv(write_suspects(audit, tmp_path / "s.csv"))["key"] == 'a "b", c\nd').all()

    def test_a_failed_write_leaves_the_old_file(self, audit, tmp_path):
        path = write_suspects(audit, tmp_path / "s.csv")
        before = path.read_bytes()
        with pytest.raises(StoreError, match="cannot write"):
            write_suspects(audit, path / "below a file.csv")
        assert path.read_bytes() == before
        assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["s.csv"]


class TestIds:
    @pytest.mark.parametrize("action", ["drop", "relabel"])
    def test_ids_and_labels_in_numpy_and_pandas(self, audit, dataset, tmp_path, action):
        folder = write_cleaned_data(clean_data(audit, action), tmp_path / "clean")
        ids, labels = np.load(folder / "ids.npy"), np.load(folder / "labels.npy")
        table = pd.read_csv(folder / "split.csv")
        assert table["sample_id"].tolist() == ids.tolist()
        assert table["label"].tolist() == labels.tolist()
        if action == "drop":
            assert ids.tolist() == [i for i in range(9) if i not in SUSPECTS]
            np.testing.assert_array_equal(labels, dataset.labels[ids])
        else:
            assert ids.tolist() == list(range(9))
            np.testing.assert_array_equal(labels, np.where(np.isin(ids, SUSPECTS), SUGGESTED, dataset.labels))

    def test_an_existing_folder_is_left_alone(self, audit, tmp_path):
        (tmp_path / "clean").mkdir()
        (tmp_path / "clean" / "mine").write_text("x")
        with pytest.raises(StoreExistsError):
            write_cleaned_data(clean_data(audit, "drop"), tmp_path / "clean")
        assert [p.name for p in (tmp_path / "clean").iterdir()] == ["mine"]


class TestHuggingFace:
    def test_the_datasets_library_loads_images_names_and_ids(self, audit, dataset, tmp_path, monkeypatch):
        monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
        folder = write_cleaned_data(clean_data(audit, "relabel"), tmp_path / "clean", format="hf", dataset=dataset)
        loaded = datasets.load_dataset(
            "parquet", data_dir=str(folder), split="train", cache_dir=str(tmp_path / "cache")
        )
        assert len(loaded) == 9
        assert loaded.features["label"].names == list(dataset.class_names)
        assert loaded["label"][1] == SUGGESTED
        for row in loaded:
            np.testing.assert_array_equal(np.asarray(row["image"]), np.asarray(dataset.image(row["sample_id"])))
            assert row["key"] == dataset.keys[row["sample_id"]]
            assert row["given_label"] == dataset.labels[row["sample_id"]]

    def test_files_go_in_as_they_are_whatever_the_network_saw(self, tmp_path):
        paths = make_tree(tmp_path / "data", size=(20, 30))
        small = load_dataset(tmp_path / "data", image_size=8)
        split = clean_data(audit_of(small, suspects=[]), "drop")
        for root in (tmp_path / "data", None):
            name = f"clean {root is None}"
            folder = write_cleaned_data(split, tmp_path / name, format="hf", dataset=small, root=root)
            rows = pd.read_parquet(folder / "train-00000-of-00001.parquet")["image"]
            originals = [path.read_bytes() == row["bytes"] for path, row in zip(paths, rows, strict=True)]
            assert originals == [True] * 6

    @pytest.mark.parametrize("modality", ["images", "texts", "features"])
    def test_whatever_names_keys_and_texts_hold_comes_back(self, tmp_path, modality):
        dataset = hostile_dataset(modality)
        audit = audit_of(dataset)
        folder = write_cleaned_data(clean_data(audit, "relabel"), tmp_path / "clean", format="hf", dataset=dataset)
        loaded = datasets.load_dataset(
            "parquet", data_dir=str(folder), split="train", cache_dir=str(tmp_path / "cache")
        )
        assert loaded.features["label"].names == list(HOSTILE)
        assert loaded.features["given_label"].names == list(HOSTILE)
        assert list(loaded["key"]) == list(dataset.keys)
        assert list(loaded["given_label"]) == list(range(len(HOSTILE)))
        if modality == "texts":
            assert list(loaded["text"]) == list(HOSTILE)

    def test_gwaudit_itself_audits_the_cleaned_split(self, audit, dataset, tmp_path):
        folder = write_cleaned_data(clean_data(audit, "drop"), tmp_path / "clean", format="hf", dataset=dataset)
        again = load_dataset(folder)
        assert len(again) == 7
        assert again.class_names == dataset.class_names


class TestImageFolder:
    @pytest.mark.parametrize("copy", [False, True])
    def test_torchvision_loads_links_or_copies_of_the_files(self, audit, dataset, tmp_path, copy):
        folder = write_cleaned_data(clean_data(audit, "relabel"), tmp_path / "clean", format="imagefolder",
            dataset=dataset, root=tmp_path / "data", copy=copy,
        )  # fmt: skip
        loaded = ImageFolder(folder)
        assert len(loaded) == 9
        assert set(loaded.classes) == {"=cat", "dög", "ant_bee"}
        for path, label in loaded.samples:
            sample_id = int(Path(path).name.split("_")[0])
            expected = SUGGESTED if sample_id in SUSPECTS else dataset.labels[sample_id]
            assert loaded.classes[label] == dataset.class_names[expected]
            assert Path(path).read_bytes() == (tmp_path / "data" / dataset.keys[sample_id]).read_bytes()
            assert Path(path).is_symlink() is not copy

    def test_without_files_the_images_are_written(self, tmp_path):
        digits = load_dataset("digits")
        folder = write_cleaned_data(
            clean_data(audit_of(digits), "drop"), tmp_path / "clean", format="imagefolder", dataset=digits
        )
        loaded = ImageFolder(folder)
        assert len(loaded) == len(digits) - len(SUSPECTS)
        image, _ = loaded[0]
        np.testing.assert_array_equal(np.asarray(image)[:, :, 0], np.asarray(digits.image(0)))

    def test_class_names_that_are_no_folder_names_get_safe_and_distinct_ones(self, dataset, tmp_path):
        names = ("../up", "a/b", "A_B")
        odd = type(dataset)(**{**vars(dataset), "class_names": names})
        folder = write_cleaned_data(
            clean_data(audit_of(odd), "drop"), tmp_path / "clean", format="imagefolder", dataset=odd
        )
        folders = sorted(path.name for path in folder.iterdir())
        assert len(folders) == 3
        assert all("/" not in name and not name.startswith(".") for name in folders)
        assert not (tmp_path / "up").exists()

    def test_any_names_become_a_folder_each(self, tmp_path):
        dataset = hostile_dataset()
        split = clean_data(audit_of(dataset, suspects=[]), "drop")
        loaded = ImageFolder(write_cleaned_data(split, tmp_path / "clean", format="imagefolder", dataset=dataset))
        assert len(loaded.classes) == len(HOSTILE)
        assert sorted(int(Path(path).stem) for path, _ in loaded.samples) == list(range(len(HOSTILE)))

    def test_a_key_that_leads_out_of_the_root_takes_no_file_along(self, tmp_path):
        (tmp_path / "data").mkdir()
        picture(0).save(tmp_path / "secret.png")
        dataset = hostile_dataset()
        keys = ["../secret.png", str(tmp_path / "secret.png"), *dataset.keys[2:]]
        odd = type(dataset)(**{**vars(dataset), "keys": keys})
        folder = write_cleaned_data(clean_data(audit_of(odd, suspects=[]), "drop"), tmp_path / "clean",
            format="imagefolder", dataset=odd, root=tmp_path / "data",
        )  # fmt: skip
        assert not [path for path in folder.rglob("*") if path.is_symlink()]


def test_other_data_than_the_audited_are_refused(audit, dataset, tmp_path):
    other = dataset.with_labels(np.roll(dataset.labels, 1))
    for format in ("hf", "imagefolder"):
        with pytest.raises(DataError, match="not those that were audited"):
            write_cleaned_data(clean_data(audit, "drop"), tmp_path / "clean", format=format, dataset=other)
    assert not (tmp_path / "clean").exists()


def test_a_split_is_there_whole_or_not_at_all(audit, dataset, tmp_path):
    broken = type(dataset)(**{**vars(dataset), "inputs": Unreadable(dataset.inputs), "originals": None})
    with pytest.raises(DataError, match=r"can no longer be read \(gone\)"):
        write_cleaned_data(clean_data(audit, "drop"), tmp_path / "clean", format="hf", dataset=broken)
    assert [p.name for p in tmp_path.iterdir()] == ["data"]


def test_metadata_is_the_hugging_face_layout(audit, dataset, tmp_path):
    import pyarrow.parquet as pq

    folder = write_cleaned_data(clean_data(audit, "drop"), tmp_path / "clean", format="hf", dataset=dataset)
    schema = pq.read_schema(folder / "train-00000-of-00001.parquet")
    features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert features["label"] == {"_type": "ClassLabel", "names": list(dataset.class_names)}
