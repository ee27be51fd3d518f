"""Commands take a source and a run on an object store, give what local ones give, and never show a secret."""

import json

import numpy as np
import pandas as pd
import pytest

from helpers.command import gwaudit
from helpers.object_server import SECRET, forbidden, remove_all

RUN, SOURCE = "s3://bucket/runs/flowers", "s3://bucket/flowers.csv"
RUNS = ("local", RUN)
FAST = ("--epochs", 3, "--folds", 2, "--fold-repeats", 1, "--head", "linear", "--weight-decay", 0.02)


@pytest.fixture(scope="module")
def folder(objects, tmp_path_factory):
    """A local run and one at a URL, of the same data."""
    here = tmp_path_factory.mktemp("flowers")
    values = np.random.default_rng(0).normal(size=(40, 3)) + np.repeat([[0], [2]], 20, 0)
    frame = pd.DataFrame(values, columns=["a", "b", "c"]).assign(label=["x"] * 20 + ["y"] * 20)
    frame.assign(label=["y", *frame["label"][1:]]).to_csv(here / "flowers.csv", index=False)
    frame[["label"]].to_csv(here / "truth.csv", index=False)
    with pytest.MonkeyPatch.context() as patch:
        import s3fs

        patch.chdir(here)
        patch.setenv("GWAUDIT_CACHE", str(here / "cache"))
        s3fs.S3FileSystem().put("flowers.csv", "bucket/flowers.csv")
        for source, run in (("flowers.csv", "local"), (SOURCE, RUN)):
            done = gwaudit("audit", source, "--output", run, *FAST)
            assert done.returncode == 0, done.stderr
        yield here
    remove_all()


def read(path):
    import s3fs

    return s3fs.S3FileSystem(use_listings_cache=False).cat_file(path)


def test_the_audit_at_a_url_is_the_local_one(folder):
    version = read(f"{RUN}/results/current").decode().strip()
    here, there = pd.read_parquet("local/audit.parquet"), pd.read_parquet(f"{RUN}/results/{version}/audit.parquet")
    pd.testing.assert_frame_equal(here, there)
    assert read(f"{RUN}/suspects.csv") == (folder / "local" / "suspects.csv").read_bytes()
    assert b"</html>" in read(f"{RUN}/report.html")


def test_every_command_takes_the_url(folder, tmp_path):
    truth = folder / "truth.csv"
    decisions = tmp_path / "d.csv"
    key = pd.read_csv("local/suspects.csv")["key"][0]
    decisions.write_text(f"key,decision,label\n{key},drop,\n")
    outputs = {}
    for run, arguments in [
        *((run, ("evaluate", run, "--truth", truth, "--json")) for run in RUNS),
        *((run, ("export", run, "--to", "csv", "--output", tmp_path / f"{run[:2]}.csv", "--top", 5)) for run in RUNS),
        (RUN, ("show", RUN, "--json")),
        (RUN, ("rank", RUN, "--json")),
        (RUN, ("report", RUN)),
        (RUN, ("apply", RUN, decisions, "--output", tmp_path / "applied", "--json")),
        (RUN, ("compare", RUN, "local", "--json")),
        (RUN, ("monitor", RUN, "--json")),
        (RUN, ("show", RUN, "--verify", "--json")),
    ]:
        done = gwaudit(*arguments)
        assert done.returncode == 0, (arguments, done.stderr)
        assert str(folder / "cache") not in done.stdout + done.stderr
        outputs[run, arguments[0]] = done.stdout
    evaluations = [json.loads(outputs[run, "evaluate"]).popitem()[1] for run in RUNS]
    assert evaluations[0] == evaluations[1]
    assert json.loads(outputs[RUN, "rank"])["run"] == RUN
    assert "s3://bucket/runs/flowers-round-2" in outputs[RUN, "apply"]
    assert (tmp_path / "lo.csv").read_bytes() == (tmp_path / "s3.csv").read_bytes()


def test_a_run_goes_on_at_the_url_from_another_machine(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("GWAUDIT_CACHE", str(tmp_path / "there"))
    again = gwaudit("audit", SOURCE, "--output", RUN, *FAST)
    assert again.returncode == 2
    assert f"{RUN} already holds a run" in again.stderr
    done = gwaudit("audit", SOURCE, "--output", RUN, *FAST, "--resume")
    assert done.returncode == 0, done.stderr


def test_errors_name_the_url_and_no_secret(folder, objects, tmp_path, monkeypatch):
    monkeypatch.setenv("GWAUDIT_CACHE", str(tmp_path / "there"))
    monkeypatch.setattr("gwaudit.core.urls._FIRST_PAUSE", 0.01)
    missing = gwaudit("rank", "s3://bucket/runs/typo")
    assert missing.returncode == 2
    assert "s3://bucket/runs/typo holds no run" in missing.stderr
    with objects.failing("GET", "/bucket", forbidden):
        refused = gwaudit("show", RUN)
    assert refused.returncode == 2
    assert f"{RUN} cannot be read" in refused.stderr
    assert "credentials" in refused.stderr


def test_no_secret_is_kept_or_shown(folder, objects):
    import s3fs

    done = gwaudit("show", RUN)
    assert done.returncode == 0, done.stderr
    bucket = s3fs.S3FileSystem(use_listings_cache=False)
    everything = b"".join(bucket.cat(bucket.find(RUN)).values()) + done.stdout.encode() + done.stderr.encode()
    assert SECRET.encode() not in everything
