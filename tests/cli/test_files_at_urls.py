"""Files that a command line names may lie at URLs: what is written there, and what is read; the others are refused."""

import json

import numpy as np
import pandas as pd
import pytest

from gwaudit import Audit, DataSettings
from gwaudit.core.caches import cache_folder
from gwaudit.core.errors import DataError, SettingsError, StoreError
from gwaudit.core.url_outputs import written_output
from gwaudit.pipeline.sample import write_sample
from gwaudit.pipeline.sql import write_query
from helpers.command import gwaudit
from helpers.object_server import as_usual, forbidden, remove_all

TO, RUN = "s3://bucket/tables", "s3://bucket/runs/flowers"
FAST = ("--epochs", 3, "--folds", 2, "--fold-repeats", 1, "--head", "linear", "--weight-decay", 0.02, "--force")
QUERY = "select sample_id, key from samples order by sample_id"
TABLES = {
    "rows.csv": ("sql", "run", QUERY, "--output"),
    "rows.parquet": ("sql", "run", QUERY, "--output"),
    "epochs.csv": ("monitor", "run", "--output"),
    "groups.csv": ("monitor", "run", "--groups", "site", "--output"),
    "questions.csv": ("noise", "run", "--questions"),
    "to-check.csv": ("sample", "run", "--size", 20, "--seed", 0, "--output"),
}


@pytest.fixture(scope="module")
def folder(objects, tmp_path_factory):
    """A local run of a table at a URL."""
    here = tmp_path_factory.mktemp("flowers")
    values = np.random.default_rng(0).normal(size=(40, 3)) + np.repeat([[0], [2]], 20, 0)
    frame = pd.DataFrame(values, columns=["a", "b", "c"]).assign(label=["x"] * 20 + ["y"] * 20, site=["m", "n"] * 20)
    with pytest.MonkeyPatch.context() as patch:
        import s3fs

        patch.chdir(here)
        patch.setenv("GWAUDIT_CACHE", str(here / "cache"))
        frame.assign(label=["y", *frame["label"][1:]]).to_csv("flowers.csv", index=False)
        s3fs.S3FileSystem().put("flowers.csv", "bucket/flowers.csv")
        done = gwaudit(
            "audit",
            "s3://bucket/flowers.csv",
            "--feature-columns",
            "a,b,c",
            "--label-column",
            "label",
            "-o",
            "run",
            *FAST,
        )
        assert done.returncode == 0, done.stderr
        yield here
    remove_all()


@pytest.fixture
def bucket(folder, monkeypatch):
    import s3fs

    monkeypatch.setattr("gwaudit.core.urls._FIRST_PAUSE", 0.01)
    file_system = s3fs.S3FileSystem(use_listings_cache=False)
    yield file_system
    if found := file_system.find("bucket/tables"):
        file_system.rm(found)


def filled(content, decision, rows):
    """A table of decisions in which somebody answered the first rows."""
    header, *lines = content.decode("utf-8-sig").splitlines()
    place = header.split(",").index('"decision"')
    cells = [line.split(",") for line in lines]
    for row in cells[:rows]:
        row[place] = f'"{decision}"'
    return "\n".join([header, *map(",".join, cells)]).encode()


@pytest.mark.parametrize("name", TABLES)
def test_a_table_at_a_url_is_the_local_one(name, bucket, folder, tmp_path):
    here, there = (gwaudit(*TABLES[name], output) for output in (tmp_path / name, f"{TO}/{name}"))
    assert (here.returncode, there.returncode) == (0, 0), there.stderr
    assert bucket.cat_file(f"{TO}/{name}") == (tmp_path / name).read_bytes()
    assert here.stdout.replace(str(tmp_path / name), f"{TO}/{name}") == there.stdout
    assert f"{TO}/{name}" in there.stdout or name == "questions.csv"
    again = gwaudit(*TABLES[name], f"{TO}/{name}")  # in place of the earlier one, which holds no answers
    assert again.returncode == 0, again.stderr
    assert not any((folder / "cache" / "outputs").iterdir())


@pytest.mark.parametrize("name", ["questions.csv", "to-check.csv"])
def test_answers_are_never_written_over(name, bucket, tmp_path):
    answered = b"given_name,other_name,decision\nx,y,keep\n"
    (tmp_path / name).write_bytes(answered)
    bucket.pipe(f"{TO}/{name}", answered)
    for place in (tmp_path / name, f"{TO}/{name}"):
        done = gwaudit(*TABLES[name], place)
        assert done.returncode == 2
        assert f"{place} holds 1 answers, which would be lost" in done.stderr.replace("\n", " ")
    assert bucket.cat_file(f"{TO}/{name}") == (tmp_path / name).read_bytes() == answered


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("https://host/a.csv", "nothing can be written to https://host/a.csv"),
        ("s3://bucket/tables/a.csv?token=secret", "has a user, a query"),
        ("s3://me:secret@bucket/a.csv", "has a user, a query"),
        ("s3://bucket/tables", "s3://bucket/tables is a folder"),
    ],
)
def test_a_url_that_cannot_be_written_is_refused_before_any_work(name, url, message, bucket):
    bucket.pipe(f"{TO}/1.txt", b"1")
    command, _, *others = TABLES[name]
    done = gwaudit(command, "no-run", *others, url)
    assert done.returncode == 2
    assert message in done.stderr
    assert "no-run" not in done.stderr
    assert "secret" not in done.stderr


def test_a_store_that_refuses_is_named(objects, bucket):
    with objects.failing("PUT", "rows.csv", forbidden), pytest.raises(StoreError, match=r"rows\.csv cannot be written"):
        write_query("run", QUERY, f"{TO}/rows.csv")
    assert not bucket.exists(f"{TO}/rows.csv")


def test_a_query_never_writes_into_its_run_at_a_url(bucket, folder):
    bucket.put(str(folder / "run"), RUN, recursive=True)
    before = bucket.find(RUN)
    done = gwaudit("sql", RUN, QUERY, "--output", f"{RUN}/rows.csv")
    assert done.returncode == 2
    assert f"{RUN}/rows.csv lies in the run" in done.stderr
    with pytest.raises(SettingsError, match="lies in the run"):
        write_query(RUN, QUERY, f"{RUN}/audit.parquet")
    assert bucket.find(RUN) == before


def test_decisions_groups_and_true_labels_are_read_at_urls(bucket, folder, tmp_path):
    files = {name: tmp_path / name for name in ("to-check.csv", "truth.csv", "groups.csv", "questions.csv")}
    write_sample("run", files["to-check.csv"], 20, seed=0)
    files["to-check.csv"].write_bytes(filled(files["to-check.csv"].read_bytes(), "keep", 20))
    pd.read_csv("flowers.csv")[["label"]].to_csv(files["truth.csv"], index=False)
    keys = Audit.load("run").by_id("key")
    pd.DataFrame({"key": keys, "who": ["me", "you"] * 20}).to_csv(files["groups.csv"], index=False)
    files["questions.csv"].write_text("given_name,other_name,decision\nx,y,keep\n")
    for name, file in files.items():
        bucket.pipe(f"{TO}/{name}", file.read_bytes())
    for number, (arguments, options) in enumerate(
        [
            (("status", "run", "--json"), {"--decisions": "to-check.csv", "--groups": "groups.csv"}),
            (("check", "run", "--max-wrong", "90%", "--json"), {"--decisions": "to-check.csv"}),
            (("evaluate", "run", "--json"), {"--truth": "truth.csv"}),
            (("monitor", "run", "--json"), {"--groups": "groups.csv"}),
            (("apply", "run", files["to-check.csv"]), {"--guidelines": "questions.csv"}),
        ]
    ):
        shown = []
        for place in (str(tmp_path), TO):
            output = ("-o", tmp_path / f"{number}-{len(shown)}") if arguments[0] == "apply" else ()
            done = gwaudit(*arguments, *output, *(f"{o}={place}/{file}" for o, file in options.items()))
            assert done.returncode == 0, (arguments, done.stderr)
            shown.append(done.stdout.replace(TO, str(tmp_path)))
        assert output or shown[0] == shown[1]
    applied = gwaudit("apply", "run", f"{TO}/to-check.csv", "--output", tmp_path / "applied", "--json")
    assert json.loads(applied.stdout)["decided"]["keep"] == 20, applied.stderr
    with pytest.raises(DataError, match=f"{TO}/to-check.csv holds 20 answers"):
        write_sample("run", f"{TO}/to-check.csv", 30)
    more = gwaudit("sample", "run", "--size", 30, "--decisions", f"{TO}/to-check.csv", "--output", f"{TO}/more.csv")
    assert f"--decisions {TO}/to-check.csv --decisions {TO}/more.csv" in more.stdout, more.stderr


def test_a_folder_that_must_be_local_is_refused_at_once(folder, monkeypatch):
    for arguments in [
        ("benchmark", "loading", "--output", f"{TO}/x"),
        ("benchmark", "ranking", "--folder", f"{TO}/x"),
        ("audit", "flowers.csv", "--output", "new", "--cache", f"{TO}/x"),
        ("demo", "--output", "https://host/demo"),
    ]:
        done = gwaudit(*arguments)
        assert done.returncode == 2
        assert arguments[-1] in done.stderr
    assert not [path for path in (folder / "s3:", folder / "new") if path.exists()]
    with pytest.raises(SettingsError, match=r"`cache` names s3://bucket/tables/x, .*name a local folder"):
        DataSettings("digits", cache=f"{TO}/x")
    monkeypatch.setenv("GWAUDIT_CACHE", f"{TO}/x")
    with pytest.raises(SettingsError, match="variable GWAUDIT_CACHE names s3://bucket/tables/x"):
        cache_folder("images")


@pytest.mark.parametrize("name", ["decisions.csv", "run.json", "epochs/table.csv", "mine.csv"])
def test_no_output_at_a_url_takes_the_place_of_a_file_in_a_run(bucket, folder, name):
    bucket.pipe({f"{TO}/run/run.json": b"{}", f"{TO}/run/mine.csv": b"kept"})
    done = gwaudit("monitor", "run", "-o", f"{TO}/run/{name}")
    assert done.returncode == 2
    assert f"{TO}/run/{name} lies in the run {TO}/run" in done.stderr.replace("\n", " ")
    assert bucket.cat_file(f"{TO}/run/mine.csv") == b"kept"
    assert gwaudit("monitor", "run", "-o", f"{TO}/run/new.csv").returncode == 0


def test_credentials_for_a_part_of_the_bucket_suffice(bucket, objects):
    # Listings of the place itself, then those by which its folder and the bucket are looked through for a run.
    with objects.failing("GET", "/bucket", as_usual, as_usual, forbidden, forbidden):
        done = gwaudit("monitor", "run", "-o", f"{TO}/new.csv")
    assert done.returncode == 0, done.stderr
    assert bucket.exists(f"{TO}/new.csv")


def test_an_error_of_reading_is_not_said_to_be_one_of_writing(bucket, folder):
    with pytest.raises(OSError, match="the disk is gone"), written_output(f"{TO}/epochs.csv", is_file=True):
        raise OSError("the disk is gone")
    assert not bucket.exists(f"{TO}/epochs.csv")
    assert not any((folder / "cache" / "outputs").iterdir())
