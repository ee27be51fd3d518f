"""A ranking by Dask workers equals the local one, and what happens to workers and scheduler never changes a result."""

import os
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import dask
import numpy as np
import pandas as pd
import pytest
from distributed import LocalCluster

from gwaudit import DataSettings, TrainingSettings, TrajectoryStore, audit, rank
from gwaudit.core.errors import EngineError, MissingExtraError, SettingsError, StoreDamagedError, StoreError
from gwaudit.pipeline import engine as engines
from gwaudit.pipeline.engine import open_engine, require_engine
from gwaudit.pipeline.rank import rank_again
from gwaudit.store.results import results_of
from helpers.ending import Ending, end_always, end_once
from helpers.making import few_digits
from helpers.recorded_runs import make_run

BLOCK_ROWS, N = 20, 150


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of eight blocks."""
    path = tmp_path_factory.mktemp("engine") / "run"
    make_run(path, few_digits(N), epochs=4, block_rows=BLOCK_ROWS)
    return path


@pytest.fixture(scope="module")
def cluster():
    """A cluster with two worker processes, which gives up a block that ended two workers."""
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=100) as cluster,
    ):
        yield cluster


@pytest.fixture(scope="module")
def address(cluster):
    """The engine of the cluster."""
    return f"dask://{cluster.scheduler_address.removeprefix('tcp://')}"


@contextmanager
def cluster_without_workers():
    with LocalCluster(n_workers=0, dashboard_address=":0", silence_logs=100) as cluster:
        yield cluster, f"dask://{cluster.scheduler_address.removeprefix('tcp://')}"


def contents(run):
    folder = results_of(run)
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def require_equal(ranked, expected):
    pd.testing.assert_frame_equal(ranked.frame, expected.frame, check_exact=True)
    assert ranked.verdict == expected.verdict
    assert ranked.threshold == expected.threshold


def test_dask_ranks_bit_for_bit_like_this_process(run, address, monkeypatch, tmp_path):
    monkeypatch.chdir(run.parent)  # a relative path, which the workers do not share
    with TrajectoryStore.open("run") as store:
        assert store.n_blocks == 8
        local = rank(store)
    with TrajectoryStore.open("run", verify=False) as store, open_engine(address) as executor:
        require_equal(rank(store, executor=executor), local)
        assert store.unverified_files == 8 * (1 + 4)  # the workers' are counted: samples and four epochs


def test_killed_workers_change_nothing(run, cluster, address, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster.scheduler, "allowed_failures", 10)  # what waits on a killed worker counts too
    with TrajectoryStore.open(run) as store:
        local = rank(store)
        with open_engine(address) as executor:
            require_equal(rank(store, executor=Ending(executor, end_once, tmp_path)), local)
    assert len(list(tmp_path.iterdir())) == 3


def test_a_block_that_ends_all_workers_is_an_error_and_the_results_stay(run, address, monkeypatch, tmp_path):
    rank_again(run)
    before = contents(run)

    @contextmanager
    def ending(engine):
        with open_engine(engine) as executor:
            yield Ending(executor, end_always, tmp_path)

    with monkeypatch.context() as patched:
        patched.setattr("gwaudit.pipeline.rank.open_engine", ending)
        with pytest.raises(EngineError, match=r"ended 2 workers of the scheduler at .*memory.*Nothing was written"):
            rank_again(run, engine=address)
    assert contents(run) == before


def test_workers_compare_files_with_their_checksums(address, tmp_path):
    with make_run(tmp_path / "run", few_digits(N), epochs=2, block_rows=BLOCK_ROWS) as store:
        first, second = (store.path / store.commit(epoch).files[5].path for epoch in (0, 1))
        second.write_bytes(first.read_bytes())
    with (
        TrajectoryStore.open(tmp_path / "run") as store,
        open_engine(address) as executor,
        pytest.raises(StoreDamagedError, match=r"block-000005.*read by the Dask worker on .*same path"),
    ):
        rank(store, executor=executor)


def test_workers_that_see_another_folder_are_refused(address, tmp_path):
    with make_run(tmp_path / "run", few_digits(N), epochs=2, block_rows=BLOCK_ROWS) as store:
        (tmp_path / "run").rename(tmp_path / "moved")
        with open_engine(address) as executor, pytest.raises(StoreError, match=r"no run.*read by the Dask worker on"):
            executor.submit(TrajectoryStore.given_labels, store).result()
        make_run(tmp_path / "run", few_digits(N - 10), epochs=2, block_rows=BLOCK_ROWS)
        with open_engine(address) as executor, pytest.raises(StoreError, match="is another run"):
            executor.submit(TrajectoryStore.given_labels, store).result()


def test_workers_with_other_versions_are_refused(run, address, monkeypatch):
    monkeypatch.setattr(np, "__version__", "1.0.0")
    with (
        TrajectoryStore.open(run) as store,
        open_engine(address) as executor,
        pytest.raises(EngineError, match=r"has numpy .* in place of 1\.0\.0: install the same versions"),
    ):
        rank(store, executor=executor)


def test_a_lost_scheduler_is_named_within_seconds(run, monkeypatch):
    monkeypatch.setattr(engines, "_CONNECT", 1.0)
    began = time.monotonic()
    with cluster_without_workers() as (cluster, engine):
        threading.Timer(0.5, cluster.close).start()
        with (
            TrajectoryStore.open(run) as store,
            pytest.raises(EngineError, match=r"the scheduler at 127.0.0.1:\d+ (was lost|does not answer).*rank again"),
            open_engine(engine) as executor,
        ):
            rank(store, executor=executor)
    assert time.monotonic() - began < 30


def test_a_cluster_without_workers_is_named(run, monkeypatch):
    monkeypatch.setattr(engines, "_ANSWER", 1.0)
    monkeypatch.setattr(engines, "_LOOK", 0.3)
    with (
        cluster_without_workers() as (_, engine),
        TrajectoryStore.open(run) as store,
        pytest.raises(EngineError, match="has had no worker for 1 seconds: start workers"),
        open_engine(engine) as executor,
    ):
        rank(store, executor=executor)


def test_an_address_without_scheduler_is_refused_before_a_training(tmp_path, monkeypatch):
    monkeypatch.setattr(engines, "_CONNECT", 0.5)
    with pytest.raises(EngineError, match=r"no Dask scheduler at host 127\.0\.0\.1, port 1 .*dask scheduler --port 1"):
        audit(DataSettings("digits"), tmp_path / "run", TrainingSettings(epochs=1), engine="dask://127.0.0.1:1")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "engine",
    ["ray", "Dask", "", "dask:", "dask://", "dask://host", "dask://host:x", "dask://host:99999", "dask://:8786",
     "dask://host:8786/a", "dask://host:8786?a=b", "tcp://host:8786"],
)  # fmt: skip
def test_another_word_lists_the_choices(engine):
    with pytest.raises(SettingsError, match=r"`engine` must be local, dask .*or dask://HOST:PORT.*not '"):
        require_engine(engine)


def test_a_password_in_the_address_is_not_shown():
    with pytest.raises(SettingsError) as caught:
        require_engine("dask://me:secret@host:8786")
    assert "secret" not in str(caught.value)


def test_without_dask_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    for engine in ("dask", "dask://127.0.0.1:1"):
        with pytest.raises(MissingExtraError, match=r"pip install 'gwaudit\[dask\]'"):
            require_engine(engine)


def test_the_local_cluster_ends_with_the_block(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)  # one worker, to be quick
    with open_engine("dask") as executor:
        process = Path(f"/proc/{executor.submit(os.getpid).result()}")
        assert process.name != str(os.getpid())
    assert not process.exists()
