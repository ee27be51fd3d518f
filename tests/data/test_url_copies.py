"""A source at a URL gives the data set of a local one, whatever the network does."""

import io
import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import gwaudit
from gwaudit.core.errors import DataError
from gwaudit.core.settings import DataSettings
from gwaudit.data.url_copies import local_copy, with_local_files
from helpers.object_server import ObjectServer, cut_response, forbidden, internal_error, remove_all, slow_down

COLOURS = {"blue": (20, 20, 220), "red": (220, 20, 20)}


@pytest.fixture
def bucket(objects: ObjectServer, tmp_path, monkeypatch):
    import s3fs

    monkeypatch.setenv("GWAUDIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("gwaudit.core.urls._FIRST_PAUSE", 0.01)
    yield s3fs.S3FileSystem(use_listings_cache=False)
    remove_all()


def write_images(folder: Path, each: int = 4) -> Path:
    noise = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for number in range(each):
            pixels = np.clip(np.array(colour) + noise.integers(-20, 20, (8, 8, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number} ä.png")
    return folder


def write_table(path: Path) -> Path:
    values = np.random.default_rng(0).normal(size=(20, 2))
    frame = pd.DataFrame({"a": values[:, 0], "b": values[:, 1], "label": ["x", "y"] * 10})
    frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_csv(path, index=False)
    return path


def write_shards(folder: Path) -> Path:
    folder.mkdir()
    images = write_images(folder.parent / "of-shards")
    with tarfile.open(folder / "a-0.tar", "w") as shard:
        for number, file in enumerate(sorted(images.rglob("*.png"))):
            shard.add(file, f"{number:04d}.png")
            label = file.parent.name.encode()
            member = tarfile.TarInfo(f"{number:04d}.cls")
            member.size = len(label)
            shard.addfile(member, io.BytesIO(label))
    return folder


@pytest.mark.parametrize("kind", ["images", "csv", "parquet", "shards"])
def test_a_source_on_an_object_store_is_the_local_one(bucket, tmp_path, kind: str) -> None:
    local = {
        "images": lambda: write_images(tmp_path / "photos"),
        "csv": lambda: write_table(tmp_path / "t.csv"),
        "parquet": lambda: write_table(tmp_path / "t.parquet"),
        "shards": lambda: write_shards(tmp_path / "shards"),
    }[kind]()
    bucket.put(str(local), f"bucket/{local.name}", recursive=local.is_dir())

    there, here = gwaudit.load_dataset(f"s3://bucket/{local.name}"), gwaudit.load_dataset(local)

    assert there.fingerprint == here.fingerprint
    assert (there.name, there.keys, there.class_names) == (here.name, here.keys, here.class_names)


def test_other_file_systems_and_label_files_are_read_too(tmp_path, monkeypatch) -> None:
    import fsspec

    monkeypatch.setenv("GWAUDIT_CACHE", str(tmp_path / "cache"))
    table = write_table(tmp_path / "t.csv")
    memory = fsspec.filesystem("memory")
    memory.put(str(table), "/sets/t.csv")
    np.save(tmp_path / "labels.npy", np.array([1, 0] * 10))
    memory.put(str(tmp_path / "labels.npy"), "/sets/labels.npy")

    there = gwaudit.load_dataset("memory://sets/t.csv", labels="memory://sets/labels.npy")

    here = gwaudit.load_dataset(table, labels=tmp_path / "labels.npy")
    assert there.fingerprint == here.fingerprint
    assert gwaudit.load_dataset(f"file://{table}").fingerprint == gwaudit.load_dataset(table).fingerprint


def test_only_what_changed_is_copied_again(bucket, objects: ObjectServer, tmp_path) -> None:
    bucket.put(str(write_images(tmp_path / "photos")), "bucket/photos", recursive=True)
    copy = local_copy("s3://bucket/photos")
    objects.requests.clear()
    bucket.pipe_file("bucket/photos/red/0 ä.png", b"other")
    bucket.rm("bucket/photos/red/1 ä.png")
    objects.requests.clear()

    assert local_copy("s3://bucket/photos") == copy

    assert (copy / "red" / "0 ä.png").read_bytes() == b"other"
    assert not (copy / "red" / "1 ä.png").exists()
    assert sum(path.endswith(".png") for method, path in objects.requests if method == "GET") == 1


@pytest.mark.parametrize("faults", [[slow_down, internal_error], [cut_response, cut_response]])
def test_failures_that_pass_are_waited_for(bucket, objects: ObjectServer, tmp_path, faults) -> None:
    table = write_table(tmp_path / "t.csv")
    bucket.put(str(table), "bucket/t.csv")
    with objects.failing("GET", "t.csv", *faults):
        copy = local_copy("s3://bucket/t.csv")
    assert copy.read_bytes() == table.read_bytes()


def test_a_copy_that_fails_is_no_copy_and_names_no_secret(bucket, objects: ObjectServer, tmp_path) -> None:
    bucket.put(str(write_images(tmp_path / "photos")), "bucket/photos", recursive=True)
    with objects.failing("GET", "red/3", forbidden), pytest.raises(DataError, match=r"s3://bucket/photos cannot be"):
        gwaudit.load_dataset("s3://bucket/photos")
    assert not list((tmp_path / "cache").rglob("*.partial"))
    assert len(gwaudit.load_dataset("s3://bucket/photos")) == 8


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("s3://bucket/nothing", "there is nothing at s3://bucket/nothing"),
        ("s3://no-such-bucket/x.csv", "there is nothing at s3://no-such-bucket/x.csv"),
        ("nowhere://x/y.csv", "nowhere://x/y.csv cannot be opened"),
        ("https://me:word@127.0.0.1:9/a.csv?sig=12", r"https://\*\*\*@127.0.0.1:9/a.csv\?\*\*\* cannot be read"),
    ],
)
def test_a_url_that_cannot_be_read_is_a_named_error(bucket, url: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        gwaudit.load_dataset(url)
    assert "word" not in str(caught.value)


def test_names_that_no_local_file_can_have_are_refused(bucket) -> None:
    bucket.pipe_file("bucket/odd/../../x.csv", b"a,label\n1,x\n")
    with pytest.raises(DataError, match=r"whose name no local file can have|there is nothing"):
        local_copy("s3://bucket/odd")
    bucket.pipe({"bucket/two/a//b.csv": b"1", "bucket/two/a/b.csv": b"2"})
    with pytest.raises(DataError, match="would have one name"):
        local_copy("s3://bucket/two")


def test_a_run_keeps_the_url_without_its_token_and_finds_the_copy(objects: ObjectServer, bucket, tmp_path) -> None:
    bucket.put(str(write_table(tmp_path / "t.csv")), "bucket/t.csv")
    bucket.chmod("bucket/t.csv", acl="public-read")
    data = DataSettings(f"{objects.url}/bucket/t.csv?X-Amz-Signature=secret")
    fingerprint = gwaudit.load_dataset(data.source).fingerprint

    recorded = DataSettings.from_dict(json.loads(json.dumps(data.to_dict())))

    assert "secret" not in json.dumps(data.to_dict())
    assert gwaudit.load_dataset(recorded.source).fingerprint == fingerprint
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(DataError, match="without its password or query"):
        with_local_files(recorded)
