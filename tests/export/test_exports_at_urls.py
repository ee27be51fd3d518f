"""What is exported to a URL is what is exported here; what is there is kept, and an export that ends early is named."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from gwaudit import export_audit
from gwaudit.core.errors import SettingsError, StoreError, StoreExistsError
from gwaudit.core.url_outputs import INCOMPLETE
from gwaudit.export.formats import FORMATS
from helpers.command import gwaudit
from helpers.object_server import forbidden, remove_all

TO = "s3://bucket/exports"
TRAIN = ("--epochs", 1, "--model", "resnet9_16", "--device", "cpu", "--dtype", "float32", "--force")


@pytest.fixture(scope="module")
def folder(objects, tmp_path_factory):
    """A local run of pictures whose cut is forced."""
    here = tmp_path_factory.mktemp("exports")
    random = np.random.default_rng(0)
    for number in range(12):
        picture = here / "pictures" / "ab"[number % 2] / f"{number}.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(picture)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        patch.setenv("GWAUDIT_CACHE", str(here / "cache"))
        done = gwaudit("audit", "pictures", "--output", "run", *TRAIN)
        assert done.returncode == 0, done.stderr
        yield here
    remove_all()


@pytest.fixture(autouse=True)
def bucket(folder, monkeypatch):
    import s3fs

    monkeypatch.setattr("gwaudit.core.urls._FIRST_PAUSE", 0.01)
    yield s3fs.S3FileSystem(use_listings_cache=False)
    remove_all()


def name_of(format):
    return {"csv": "suspects.csv", "cvat": "suspects.zip", "cleanlab": "issues.parquet"}.get(format, "folder")


def of_folder(path):
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    return {file.relative_to(path.parent).as_posix(): file.read_bytes() for file in files}


def of_bucket(bucket):
    return {path.removeprefix("bucket/exports/"): bucket.cat_file(path) for path in bucket.find("bucket/exports")}


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_holds_the_same_at_a_url(format, folder, bucket, tmp_path):
    some = {"top": 5} if "top" in FORMATS[format].options else {}
    here = export_audit("run", format, tmp_path / name_of(format), **some)
    there = export_audit("run", format, f"{TO}/{name_of(format)}", **some)
    assert there == f"{TO}/{name_of(format)}"
    assert of_bucket(bucket) == of_folder(here)
    assert not any((folder / "cache" / "outputs").iterdir())


def test_commands_write_to_urls_and_name_them(bucket, tmp_path):
    key = pd.read_parquet("run/audit.parquet")["key"][0]
    (tmp_path / "decisions.csv").write_text(f"key,decision,label\n{key},drop,\n")
    for arguments, shown in [
        (("export", "run", "--to", "ids", "--output", f"{TO}/ids"), f"{TO}/ids"),
        (("report", "run", "--top", 3, "--output", f"{TO}/report.html"), f"{TO}/report.html"),
        (("apply", "run", tmp_path / "decisions.csv", "--output", f"{TO}/corrected"), f"{TO}/corrected/labels.csv"),
    ]:
        done = gwaudit(*arguments)
        assert done.returncode == 0, done.stderr
        assert shown in done.stdout
        assert "cache" not in done.stdout
    found = of_bucket(bucket)
    assert key not in found["corrected/split/split.csv"].decode()
    assert b"</html>" in found["report.html"]
    assert {"ids/split.csv", "corrected/changes.csv"} <= set(found)
    again = gwaudit(
        "audit", "pictures", "--labels", f"{TO}/corrected/labels.csv", "--output", tmp_path / "next", *TRAIN
    )
    assert again.returncode == 0, again.stderr


def test_figures_are_drawn_to_a_url(bucket, chromium):
    done = gwaudit("plot", "run", "--to", f"{TO}/figures", "--figure", "mean-trajectories", "--format", "svg")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [f"{TO}/figures/mean-trajectories.svg"]
    [(name, content)] = of_bucket(bucket).items()
    assert name == "figures/mean-trajectories.svg"
    assert content.startswith(b"<svg")


def test_a_folder_that_is_there_is_kept_and_a_file_is_replaced(bucket):
    bucket.pipe({f"{TO}/mine/1.txt": b"1", f"{TO}/a.csv": b"2"})
    with pytest.raises(StoreExistsError, match="s3://bucket/exports/mine exists"):
        export_audit("run", "ids", f"{TO}/mine")
    with pytest.raises(StoreExistsError, match=r"exports/a\.csv exists"):
        export_audit("run", "ids", f"{TO}/a.csv")
    with pytest.raises(StoreError, match="exports/mine is a folder"):
        export_audit("run", "csv", f"{TO}/mine", top=3)
    export_audit("run", "csv", f"{TO}/a.csv", top=3)
    found = of_bucket(bucket)
    assert set(found) == {"mine/1.txt", "a.csv"}
    assert found["a.csv"].count(b"\n") == 4


def test_a_store_that_refuses_leaves_nothing(objects, bucket):
    with (
        objects.failing("PUT", "labels.npy", forbidden),
        pytest.raises(StoreError, match=r"exports/ids/labels.npy cannot be written"),
    ):
        export_audit("run", "ids", f"{TO}/ids")
    assert of_bucket(bucket) == {}
    export_audit("run", "ids", f"{TO}/ids")
    assert f"ids/{INCOMPLETE}" not in of_bucket(bucket)


def test_a_killed_export_is_named(objects, bucket):
    objects.refuses_after = 2  # requests, after which nothing can be deleted either
    with pytest.raises(StoreError, match="cannot be written"):
        export_audit("run", "ids", f"{TO}/ids")
    objects.refuses_after = None
    assert f"ids/{INCOMPLETE}" in of_bucket(bucket)
    with pytest.raises(StoreExistsError, match=r"was left by one that was killed.*delete it"):
        export_audit("run", "ids", f"{TO}/ids")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("https://host/a.csv", "nothing can be written to https://host/a.csv"),
        ("s3://bucket/a.csv?token=secret", r"s3://bucket/a.csv\?\*\*\*, has a user, a query"),
        ("s3://me:secret@bucket/a.csv", r"s3://\*\*\*@bucket/a.csv, has a user"),
        ("s3://bucket", "names nothing in a bucket"),
    ],
)
def test_a_url_that_cannot_be_written_is_refused(url, message):
    with pytest.raises(SettingsError, match=message) as caught:
        export_audit("run", "csv", url, top=3)
    assert "secret" not in str(caught.value)


def test_copies_for_label_studio_need_a_folder_of_this_machine():
    with pytest.raises(SettingsError, match="a folder of its machine alone"):
        export_audit("run", "label-studio", f"{TO}/tasks", top=3, copy=True)
