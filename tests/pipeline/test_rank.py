"""A ranking compares the files of a run with their checksums, unless it is asked not to, and then says so."""

import json

import numpy as np
import pytest

from gwaudit import TrajectoryStore
from helpers.command import gwaudit
from helpers.making import few_digits
from helpers.recorded_runs import make_run


@pytest.fixture
def damaged_run(tmp_path):
    """A run in which the losses of an epoch were exchanged for those of another one, by a valid file."""
    dataset = few_digits(40)
    with make_run(tmp_path / "run", dataset, epochs=3) as store:
        first, second = (store.path / store.commit(epoch).files[0].path for epoch in (0, 1))
    second.write_bytes(first.read_bytes())
    return tmp_path / "run"


def test_an_altered_file_is_noticed(damaged_run):
    done = gwaudit("rank", damaged_run)
    assert done.returncode == 2
    assert "block-000000.parquet" in done.stderr
    assert "--no-verify" not in done.stderr


def test_no_verify_reads_without_comparing_and_says_what_was_skipped(damaged_run):
    done = gwaudit("rank", damaged_run, "--no-verify", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["unverified_files"] == 4  # the samples and three epochs
    said = " ".join(done.stderr.split())
    assert "4 files of the run were read without being compared with their checksums" in said
    assert f"gwaudit show {damaged_run} --verify" in said
    assert gwaudit("show", damaged_run, "--verify").returncode == 2


def test_a_verified_ranking_says_that_no_file_was_skipped(tmp_path):
    make_run(tmp_path / "run", few_digits(40), epochs=2)
    done = gwaudit("rank", tmp_path / "run", "--json")
    assert json.loads(done.stdout)["unverified_files"] == 0
    assert "checksum" not in done.stderr


def test_a_sample_is_read_from_verified_files_of_any_size(damaged_run):
    with TrajectoryStore.open(damaged_run) as store, pytest.raises(Exception, match="block-000000"):
        store.trajectory(0)
    with TrajectoryStore.open(damaged_run, verify=False) as store:
        assert np.isfinite(store.trajectory(0)["loss"]).all()
        assert store.unverified_files == 3
