"""A run on an object store holds whole epochs only, of one writer, whatever the network and other writers do."""

import gc
import subprocess
import sys
import threading
import time
from contextlib import suppress

import fsspec
import numpy as np
import pytest

from gwaudit.core import leases
from gwaudit.core.errors import (
    InvalidEpochError,
    SettingsError,
    StoreBusyError,
    StoreDamagedError,
    StoreError,
    StoreExistsError,
    StoreNotFoundError,
)
from gwaudit.store.results import publishing, require_intact, results_of
from gwaudit.store.store import SIGNALS, TrajectoryStore
from gwaudit.store.working_copies import run_folder
from gwaudit.training.checkpoints import delete_other_checkpoints
from helpers.forking import PROCESSES, Forked
from helpers.object_server import (
    cut_request,
    cut_response,
    delay,
    forbidden,
    ignore_condition,
    internal_error,
    lose_answer,
    remove_all,
    slow_down,
)

URL = "s3://bucket/runs/x"
N = 30


def signals(epoch):
    random = np.random.default_rng(epoch)
    return {
        name: random.integers(0, 3, N).astype(dtype) if dtype.kind == "i" else random.normal(size=N).astype(dtype)
        for name, dtype in SIGNALS.items()
    }


def append(store, epoch):
    return store.append_epoch(epoch, np.arange(N), signals(epoch))


def create(url=URL):
    return TrajectoryStore.create(url, given_labels=np.zeros(N, int), class_names=["a", "b", "c"], block_rows=20)


def require_epochs(store, count):
    assert store.epochs == tuple(range(count))
    for epoch in range(count):
        table = store.read_epoch(epoch)
        for name, values in signals(epoch).items():
            np.testing.assert_array_equal(table[name].to_numpy(), values)
    store.verify()


@pytest.fixture(autouse=True)
def bucket(objects, tmp_path, monkeypatch):
    import s3fs

    monkeypatch.setenv("GWAUDIT_CACHE", str(tmp_path / "here"))
    monkeypatch.setattr("gwaudit.core.urls._FIRST_PAUSE", 0.01)
    monkeypatch.setattr(leases, "RENEWAL", 0.1)
    monkeypatch.setattr(leases, "LEASE", 0.6)
    yield s3fs.S3FileSystem(use_listings_cache=False)
    objects.refuses_after, objects.hidden = None, ""
    remove_all()


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """Let what follows be another machine, by another cache."""
    numbers = iter(range(100))
    return lambda: monkeypatch.setenv("GWAUDIT_CACHE", str(tmp_path / f"there-{next(numbers)}"))


def test_a_run_at_a_url_holds_the_files_of_a_local_one(bucket, elsewhere, tmp_path):
    for place in (URL, tmp_path / "local"):
        with create(place) as store:
            append(store, 0)
            append(store, 1)
    elsewhere()
    with TrajectoryStore.open(URL) as there, TrajectoryStore.open(tmp_path / "local") as here:
        require_epochs(there, 2)
        assert there.run_id == here.run_id
        checksums = [[file.sha256 for file in store.commit(1).files] for store in (there, here)]
        assert checksums[0] == checksums[1]
    bucket.get(URL, str(tmp_path / "copied"), recursive=True)
    with TrajectoryStore.open(tmp_path / "copied", writable=True) as copied:
        require_epochs(copied, 2)


def test_other_object_stores_of_fsspec_hold_runs_too():
    with create("memory://runs/x") as store:
        append(store, 0)
    with TrajectoryStore.open("memory://runs/x", writable=True) as store:
        append(store, 1)
        require_epochs(store, 2)


def test_failures_that_pass_cost_no_epoch(objects, elsewhere):
    faults = [
        ("/block-000001", slow_down),
        ("/block-000001", cut_request),
        ("/commits/", internal_error),
        ("/commits/", lose_answer),
        ("/commits/", delay(0.2)),
    ]
    with create() as store:
        for epoch, (part, fault) in enumerate(faults):
            with objects.failing("PUT", part, fault):
                append(store, epoch)
    elsewhere()
    with objects.failing("GET", "/block-000001", cut_response, slow_down), TrajectoryStore.open(URL) as store:
        require_epochs(store, len(faults))


def test_a_writer_that_ends_at_any_request_leaves_whole_epochs(objects, elsewhere):
    with create() as store:
        append(store, 0)
    committed = 1
    for requests in range(5):
        elsewhere()
        store = TrajectoryStore.open(URL, writable=True)
        objects.refuses_after = requests
        with suppress(StoreError):
            append(store, committed)
        store.close()
        objects.refuses_after = None
        with TrajectoryStore.open(URL) as reader:
            assert reader.next_epoch in (committed, committed + 1)
            committed = reader.next_epoch
            require_epochs(reader, committed)
    assert 1 < committed < 5


def write_on(epochs):
    """Append epochs, and send the number of each."""
    with TrajectoryStore.open(URL, writable=True) as store:
        for epoch in range(store.next_epoch, 1000):
            append(store, epoch)
            epochs.send(epoch)


@pytest.mark.slow
def test_a_killed_writer_leaves_whole_epochs_and_the_next_one_goes_on_at_once(monkeypatch):
    monkeypatch.setattr(leases, "LEASE", 3600.0)  # the working copy is the same one: nothing is waited for
    create().close()
    random, least = np.random.default_rng(0), 0
    for _ in range(8):
        receiver, sender = PROCESSES.Pipe(duplex=False)
        writer = Forked(write_on, sender)
        while True:
            assert receiver.poll(300)
            least = receiver.recv() + 1
            if random.random() < 0.5:
                break
        writer.kill()
        with TrajectoryStore.open(URL, writable=True) as store:
            assert store.next_epoch >= least
            require_epochs(store, store.next_epoch)


def test_a_second_writer_is_refused_while_the_first_lives(elsewhere):
    with create() as store:
        elsewhere()
        with pytest.raises(StoreBusyError, match="s3://bucket/runs/x is being written"):
            TrajectoryStore.open(URL, writable=True)
        with TrajectoryStore.open(URL) as reader:
            assert reader.next_epoch == 0
        append(store, 0)
    with TrajectoryStore.open(URL, writable=True) as second:
        append(second, 1)
        require_epochs(second, 2)


def test_a_writer_that_was_taken_for_dead_writes_nothing_more(elsewhere, monkeypatch):
    monkeypatch.setattr(leases, "RENEWAL", 3600.0)  # as of a process that was stopped
    first = create()
    append(first, 0)
    elsewhere()
    with TrajectoryStore.open(URL, writable=True) as second:
        with pytest.raises(StoreBusyError, match="took this one for dead"):
            append(first, 1)
        append(second, 1)
        require_epochs(second, 2)
        commit = second.commit(1)
    first.close()
    elsewhere()
    assert TrajectoryStore.open(URL).commit(1) == commit


def test_of_two_commits_of_an_epoch_the_store_takes_one(elsewhere, monkeypatch):
    monkeypatch.setattr(leases, "RENEWAL", 3600.0)
    monkeypatch.setattr(
        "gwaudit.core.origins.require_leases", lambda *arguments, **options: None
    )  # both have just looked
    first = create()
    elsewhere()
    with TrajectoryStore.open(URL, writable=True) as second:
        kept = append(second, 0)
    with pytest.raises(InvalidEpochError, match="is committed already"):
        append(first, 0)
    assert TrajectoryStore.open(URL).commit(0) == kept


def test_a_store_that_is_forgotten_waits_for_nothing_and_lets_another_follow(objects, elsewhere, monkeypatch):
    """The garbage collector may end it in any thread, also in the one by which the answers of the store arrive."""
    monkeypatch.setattr(leases, "LEASE", 3600.0)
    stores = [create()]
    with objects.failing("PUT", "/leases/", delay(1.0)):
        while objects.faults:  # until a renewal is on its way
            time.sleep(0.01)
        cleared = threading.Event()
        loop = fsspec.asyn.get_loop()
        loop.call_soon_threadsafe(lambda: (stores.clear(), gc.collect(), cleared.set()))
        assert cleared.wait(60)
    elsewhere()
    deadline = time.monotonic() + 60
    while True:
        try:
            TrajectoryStore.open(URL, writable=True).close()
            break
        except StoreBusyError:
            assert time.monotonic() < deadline


LEFT_OPEN = """
import numpy as np
from gwaudit import TrajectoryStore
store = TrajectoryStore.create(
    "s3://bucket/runs/x", given_labels=np.zeros(30, int), class_names=["a", "b", "c"], block_rows=20
)
"""


def test_a_program_that_never_closes_its_store_ends(monkeypatch):
    monkeypatch.setattr(leases, "LEASE", 3600.0)
    assert subprocess.run([sys.executable, "-c", LEFT_OPEN], timeout=300).returncode == 0
    TrajectoryStore.open(URL, writable=True).close()  # of the same working copy: nothing is waited for


def test_a_store_that_ignores_conditions_is_refused(objects):
    with (
        objects.failing("PUT", "/leases/", ignore_condition, ignore_condition),
        pytest.raises(StoreError, match="does not create an object on the condition"),
    ):
        create()


def test_a_listing_that_is_late_hides_no_epoch(objects, elsewhere):
    with create() as store:
        append(store, 0)
        append(store, 1)
    objects.hidden = "epoch-00001.json"
    elsewhere()
    with TrajectoryStore.open(URL, writable=True) as store:
        require_epochs(store, 2)
        append(store, 2)


def test_a_checkpoint_that_another_machine_has_left_is_deleted(bucket, elsewhere):
    create().close()
    names = [f"{URL}/checkpoints/{name}.safetensors" for name in ("epoch-00003", "epoch-00004", "best")]
    bucket.pipe(dict.fromkeys(names, b"state"))
    elsewhere()
    with TrajectoryStore.open(URL, writable=True) as store:
        delete_other_checkpoints(store, 4)
    assert [f"s3://{path}" for path in bucket.find(f"{URL}/checkpoints")] == sorted(names[1:])


def test_a_working_copy_of_an_earlier_run_is_forgotten(bucket, elsewhere, tmp_path, monkeypatch):
    with create() as store:
        append(store, 0)
        append(store, 1)
    elsewhere()
    bucket.rm(URL, recursive=True)
    with TrajectoryStore.create(URL, given_labels=np.ones(N, int), class_names=["a", "b", "c"], block_rows=20) as new:
        append(new, 0)
    monkeypatch.setenv("GWAUDIT_CACHE", str(tmp_path / "here"))
    with TrajectoryStore.open(URL) as store:
        require_epochs(store, 1)
        assert store.given_labels().tolist() == [1] * N
    bucket.rm(URL, recursive=True)
    with pytest.raises(StoreNotFoundError, match="s3://bucket/runs/x holds no run"):
        TrajectoryStore.open(URL)


def test_what_is_no_run_is_neither_fetched_nor_overwritten(bucket, tmp_path):
    bucket.pipe({f"{URL}/photos/1.png": b"1", f"{URL}/epochs/mine.txt": b"2"})
    with pytest.raises(StoreExistsError, match="is not empty"):
        create()
    assert not list((tmp_path / "here").rglob("*.png"))
    assert len(bucket.find(URL)) == 2
    with create("s3://bucket/runs/y") as store:
        append(store, 0)
    bucket.rm("s3://bucket/runs/y/run.json")
    with pytest.raises(StoreDamagedError, match="though epochs are committed"):
        create("s3://bucket/runs/y")
    with create("s3://bucket/runs/z") as store:
        append(store, 0)
    with pytest.raises(StoreExistsError, match="already holds a run"):
        create("s3://bucket/runs/z")


def test_damage_at_the_url_is_found(bucket):
    with create() as store:
        append(store, 0)
        path = f"{URL}/{store.commit(0).files[1].path}"
    content = bytearray(bucket.cat_file(path))
    content[40] ^= 1
    bucket.pipe_file(path, bytes(content))
    with TrajectoryStore.open(URL) as store, pytest.raises(StoreDamagedError, match="was altered"):
        store.verify()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("https://host/run", "a run cannot lie at https://host/run"),
        ("hf://datasets/me/run", "a run cannot lie at"),
        ("s3://bucket", "names no folder in a bucket"),
        ("s3://bucket/a/../b", "names no folder"),
        ("s3://key:secret@bucket/run", r"s3://\*\*\*@bucket/run, has a user"),
        ("s3://bucket/run?token=secret", r"s3://bucket/run\?\*\*\*, has a user"),
    ],
)
def test_a_url_that_cannot_hold_a_run_is_refused(url, message):
    with pytest.raises(SettingsError, match=message) as caught:
        create(url)
    assert "secret" not in str(caught.value)


def test_a_store_that_refuses_is_a_named_error_without_secrets(objects, monkeypatch):
    with objects.failing("GET", "/bucket", forbidden), pytest.raises(StoreError, match="cannot be read") as caught:
        TrajectoryStore.open(URL)
    assert "secret" not in str(caught.value)
    with pytest.raises(StoreError, match="s3://no-such-bucket/x"):
        create("s3://no-such-bucket/x")


def publish(run, mark):
    with publishing(run) as folder:
        (folder / "cleaned").mkdir()
        for name in ("audit.parquet", "suspects.csv", "cleaned/ids.txt"):
            (folder / name).write_text(f"{name} {mark}")


def test_results_are_one_version_at_the_url_too(bucket, elsewhere, objects):
    create().close()
    publish(run_folder(URL), "first")
    elsewhere()
    run = run_folder(URL)
    assert (results_of(run) / "cleaned" / "ids.txt").read_text() == "cleaned/ids.txt first"
    require_intact(results_of(run))
    objects.refuses_after = 4
    with pytest.raises(StoreError, match=r"s3://bucket/runs/x/results.* cannot be written"):
        publish(run, "second")
    objects.refuses_after = None
    elsewhere()
    require_intact(results := results_of(run_folder(URL)))
    assert (results / "audit.parquet").read_text() == "audit.parquet first"
    for mark in ("third", "fourth"):
        publish(run_folder(URL), mark)
    assert bucket.cat_file(f"{URL}/suspects.csv") == b"suspects.csv fourth"
    assert len({path.split("/")[4] for path in bucket.find(f"{URL}/results")} - {"current"}) == 2


def test_an_edited_list_of_suspects_at_the_url_is_kept(bucket):
    create().close()
    publish(run_folder(URL), "first")
    bucket.pipe_file(f"{URL}/suspects.csv", b"filled in")
    publish(run_folder(URL), "second")
    assert bucket.cat_file(f"{URL}/replaced/suspects.csv") == b"filled in"
    assert bucket.cat_file(f"{URL}/suspects.csv") == b"suspects.csv second"
