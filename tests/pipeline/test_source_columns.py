"""Cleaned data keep the bytes of the images and all columns of the source, whatever kind of source it is."""

import io
import json
import tarfile

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder

from gwaudit import DataSettings
from gwaudit.core.errors import DataError
from gwaudit.data.dataset import LabeledDataset
from gwaudit.data.inputs import InMemory
from gwaudit.data.loading import load_dataset, read_source
from gwaudit.export.cleaned_data import CleanedData
from gwaudit.export.formats import ExportOptions, write_cleaned_data, write_export
from gwaudit.pipeline.source_columns import read_source_columns
from helpers.audits import SUSPECTS, audit_of
from helpers.making import picture

N = 12
LABELS = [i % 3 for i in range(N)]
NAMES = ("ant", "bee", "cat")


def jpeg(seed):
    content = io.BytesIO()
    picture(seed, (40, 26)).save(content, "JPEG", quality=80)
    return content.getvalue()


CONTENTS = [jpeg(i) for i in range(N)]
BOXES = [[i, i + 1] for i in range(N)]


def saved(folder):
    """Save a data set of the datasets library with a column of each kind."""
    features = datasets.Features(
        {
            "photo_id": datasets.Value("int32"),
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=list(NAMES)),
            "camera": datasets.ClassLabel(names=["a", "b"]),
            "boxes": datasets.List(datasets.Value("float32")),
            "meta": {"city": datasets.Value("string"), "year": datasets.Value("int16")},
        }
    )
    rows = {
        "photo_id": list(range(N)),
        "image": [{"bytes": content, "path": f"{i}.jpg"} for i, content in enumerate(CONTENTS)],
        "label": LABELS,
        "camera": [i % 2 for i in range(N)],
        "boxes": BOXES,
        "meta": [{"city": f"c{i}", "year": 2000 + i} for i in range(N)],
    }
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(str(folder / "saved"))
    return DataSettings(str(folder / "saved"), image_size=16)


def parquet(folder):
    """Write a Parquet table without Hugging Face's metadata, with other names of columns."""
    table = pa.table(
        {
            "img": pa.array(CONTENTS, pa.binary()),
            "fine_label": [NAMES[i] for i in LABELS],
            "when": pa.array(range(N), pa.timestamp("ms")),
            "kind": pa.array([f"k{i % 2}" for i in range(N)]).dictionary_encode(),
            "sample_id": [f"s{i}" for i in range(N)],
        }
    )
    pq.write_table(table, folder / "mine.parquet")
    return DataSettings(str(folder / "mine.parquet"), image_size=16)


def table_of_paths(folder):
    for i, content in enumerate(CONTENTS):
        (folder / f"{i}.jpg").write_bytes(content)
    frame = pd.DataFrame({"path": [f"{i}.jpg" for i in range(N)], "label": [NAMES[i] for i in LABELS]})
    frame["city"] = [f"00{i}" for i in range(N)]
    frame.to_csv(folder / "mine.csv", index=False)
    return DataSettings(str(folder / "mine.csv"), image_size=16)


def shards(folder):
    with tarfile.open(folder / "part-0.tar", "w") as archive:
        for i, content in enumerate(CONTENTS):
            note = json.dumps({"label": NAMES[LABELS[i]], "city": i}).encode()
            for name, data in ((f"{i:03d}.jpg", content), (f"{i:03d}.json", note), (f"{i:03d}.raw", b"\xff%d" % i)):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    return DataSettings(str(folder / "part-0.tar"), image_size=16)


def folder_of_images(folder):
    for i, content in enumerate(CONTENTS):
        (folder / "tree" / NAMES[LABELS[i]]).mkdir(parents=True, exist_ok=True)
        (folder / "tree" / NAMES[LABELS[i]] / f"{i:02d}.jpg").write_bytes(content)
    return DataSettings(str(folder / "tree"), image_size=16)


SOURCES = [saved, parquet, table_of_paths, shards, folder_of_images]
OTHERS = {  # of sample 3, which is kept
    "saved": {"photo_id": 3, "camera": 1, "boxes": [3.0, 4.0], "meta": {"city": "c3", "year": 2003}},
    "parquet": {"fine_label": 0, "kind": "k1", "when": pd.Timestamp(3, unit="ms"), "source_sample_id": "s3"},
    "table_of_paths": {"path": "3.jpg", "city": "003"},
    "shards": {"json": '{"label": "ant", "city": 3}', "raw": b"\xff3"},
    "folder_of_images": {},
}


def export(data, folder, format, **options):
    dataset = read_source(data)
    columns = read_source_columns(data, dataset)
    audit = audit_of(dataset)
    return dataset, write_export(
        audit, format, folder / "out", ExportOptions(**options), dataset=dataset, root=data.files_root, columns=columns
    )


@pytest.mark.parametrize("make", SOURCES)
def test_a_hugging_face_data_set_keeps_bytes_and_columns(tmp_path, make):
    dataset, folder = export(make(tmp_path), tmp_path, "hf")
    loaded = datasets.load_dataset("parquet", data_dir=str(folder), cache_dir=str(tmp_path / "cache"))["train"]
    name = "img" if make is parquet else "image"
    assert isinstance(loaded.features[name], datasets.Image)
    loaded = loaded.cast_column(name, datasets.Image(decode=False))
    assert loaded["sample_id"][:] == [i for i in range(N) if i not in SUSPECTS]
    keys = {key: i for i, key in enumerate(dataset.keys)}
    for row in loaded:
        original = dataset.encoded_image(keys[row["key"]])
        content = (
            original if isinstance(original, bytes) else original.read() if make is shards else original.read_bytes()
        )
        assert row[name]["bytes"] == content
        assert row[name]["bytes"] in CONTENTS
    row = next(row for row in loaded if row["key"] == dataset.keys[3])
    for column, value in OTHERS[make.__name__].items():
        assert row[column] == value, column
    if make is saved:
        assert loaded.features["camera"].names == ["a", "b"]
        assert loaded.column_names[:6] == ["photo_id", "image", "label", "camera", "boxes", "meta"]
        assert loaded.features["photo_id"] == datasets.Value("int32")


def test_decided_labels_are_in_the_column_of_the_source(tmp_path):
    _, folder = export(parquet(tmp_path), tmp_path, "hf", action="relabel")
    loaded = datasets.load_dataset("parquet", data_dir=str(folder), cache_dir=str(tmp_path / "cache"))["train"]
    assert loaded.features["fine_label"].names == list(NAMES)
    suspects = loaded.select(SUSPECTS)
    assert suspects["fine_label"][:] == [2] * len(SUSPECTS)
    assert suspects["given_label"][:] == [LABELS[i] for i in SUSPECTS]
    assert "label" not in loaded.column_names


@pytest.mark.parametrize("make", SOURCES)
def test_a_folder_per_class_keeps_bytes_and_columns(tmp_path, make):
    _, folder = export(make(tmp_path), tmp_path, "imagefolder")
    assert sorted(ImageFolder(folder).classes) == list(NAMES)
    kept = [i for i in range(N) if i not in SUSPECTS]
    paths = {int(path.name[:7]): path for path in folder.glob("*/*.jpg")}
    assert sorted(paths) == kept
    assert {path.read_bytes() for path in paths.values()} <= set(CONTENTS)
    if make is folder_of_images:
        assert not (folder / "metadata.parquet").exists()
        return
    frame = pd.read_parquet(folder / "metadata.parquet").set_index("file_name")
    row = frame.loc[paths[3].relative_to(folder).as_posix()]
    assert row["fine_label" if make is parquet else "label"] == NAMES[LABELS[3]]
    for column, value in OTHERS[make.__name__].items():
        if column not in ("path", "fine_label", "camera"):
            found = row[column.removeprefix("source_")]
            assert (list(found) if isinstance(found, np.ndarray) else found) == value, column
    loaded = datasets.load_dataset("imagefolder", data_dir=str(folder), cache_dir=str(tmp_path / "cache"))["train"]
    assert len(loaded) == len(kept)
    again = load_dataset(
        folder,
        image_size=16,
        image_column="file_name",
        label_column="fine_label" if make is parquet else "label",
    )
    assert len(again) == len(kept)
    assert again.class_names == NAMES


def test_texts_and_numbers_keep_their_columns(tmp_path):
    frame = pd.DataFrame({"text": [f"t{i}" for i in range(N)], "label": [NAMES[i] for i in LABELS], "user": range(N)})
    frame.to_csv(tmp_path / "texts.csv", index=False)
    _, folder = export(DataSettings(str(tmp_path / "texts.csv")), tmp_path, "hf")
    frame = pq.read_table(folder / "train-00000-of-00001.parquet").to_pandas()
    assert frame.columns.tolist() == ["text", "label", "user", "sample_id", "key", "given_label"]
    assert frame["user"].tolist() == [str(i) for i in range(N) if i not in SUSPECTS]


def test_tables_keep_gaps_categories_and_large_numbers_as_they_are_written(tmp_path):
    frame = pd.DataFrame({
        "unix_time": 1_700_000_000 + np.arange(N) ** 2 % 7,
        "age": [None if i == 1 else i**2 % 5 for i in range(N)],
        "colour": [None if i == 2 else ("red", "blue")[i // 3 % 2] for i in range(N)],
        "label": [NAMES[i] for i in LABELS],
    })  # fmt: skip
    frame.to_parquet(tmp_path / "t.parquet")
    dataset, folder = export(DataSettings(str(tmp_path / "t.parquet")), tmp_path, "hf")
    assert dataset.notes.columns_used["features"] == ["unix_time", "age", "colour"]
    kept = [i for i in range(N) if i not in SUSPECTS]
    again = pq.read_table(folder / "train-00000-of-00001.parquet").to_pandas()
    pd.testing.assert_frame_equal(again[["unix_time", "age", "colour"]], frame.iloc[kept, :3].reset_index(drop=True))


def test_pixels_that_a_png_cannot_hold_are_refused(tmp_path):
    inputs = InMemory(torch.rand(N, 3, 8, 8))
    dataset = LabeledDataset("own", inputs, np.array(LABELS), NAMES, [str(i) for i in range(N)])
    for format in ("hf", "imagefolder"):
        with pytest.raises(DataError, match="export the ids"):
            write_export(audit_of(dataset), format, tmp_path / format, dataset=dataset)


def test_a_file_that_is_gone_is_not_replaced_by_what_the_network_saw(tmp_path):
    data = folder_of_images(tmp_path)
    dataset = read_source(data)
    (tmp_path / "tree" / "ant" / "00.jpg").unlink()
    with pytest.raises(DataError, match=r"ant/00\.jpg can no longer be read"):
        write_export(audit_of(dataset), "hf", tmp_path / "out", dataset=dataset, root=data.files_root)


def test_arrays_are_written_pixel_by_pixel(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (N, 8, 8, 3), np.uint8)
    np.savez(tmp_path / "mine.npz", x=pixels, y=np.array(LABELS), class_names=np.array(NAMES))
    _, folder = export(DataSettings(str(tmp_path / "mine.npz")), tmp_path, "hf")
    first = pq.read_table(folder / "train-00000-of-00001.parquet").to_pylist()[0]
    np.testing.assert_array_equal(
        np.asarray(Image.open(io.BytesIO(first["image"]["bytes"]))), pixels[first["sample_id"]]
    )


def test_multi_label_columns_and_labels_of_another_file(tmp_path):
    frame = pd.DataFrame({"x": np.arange(N) / 7, "sea": [i % 2 for i in range(N)], "sky": [1] + [0] * (N - 1)})
    frame.to_csv(tmp_path / "tags.csv", index=False)
    data = DataSettings(str(tmp_path / "tags.csv"), label_column="sea,sky", feature_columns="x")
    dataset = read_source(data)
    labels = np.where(np.arange(N)[:, None] == 3, 1 - dataset.labels, dataset.labels)
    cleaned = CleanedData(np.arange(N), labels, pa.array(dataset.keys), dataset.class_names, dataset.fingerprint)
    columns = read_source_columns(data, dataset)
    write_cleaned_data(cleaned, tmp_path / "out", format="hf", dataset=dataset, columns=columns)
    written = pq.read_table(tmp_path / "out" / "train-00000-of-00001.parquet").to_pandas()
    assert written.columns.tolist() == ["x", "sea", "sky", "labels", "sample_id", "key", "given_labels"]
    assert written["sky"].tolist() == labels[:, 1].tolist()

    pd.DataFrame({"x": np.arange(N) / 7, "label": ["old"] * N}).to_csv(tmp_path / "mine.csv", index=False)
    pd.DataFrame({"label": [NAMES[i] for i in LABELS]}).to_csv(tmp_path / "labels.csv", index=False)
    data = DataSettings(str(tmp_path / "mine.csv"), labels=str(tmp_path / "labels.csv"), classes="ant,bee,cat,old")
    _, folder = export(data, tmp_path / "other", "hf")
    written = pq.read_table(folder / "train-00000-of-00001.parquet").to_pandas()
    assert written["source_label"].tolist() == ["old"] * (N - len(SUSPECTS))
    assert written["label"].tolist() == [LABELS[i] for i in range(N) if i not in SUSPECTS]
