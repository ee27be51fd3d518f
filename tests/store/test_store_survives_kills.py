"""A writer killed at any moment leaves exactly its committed epochs, and the next one goes on."""

import json
import os
import random
import resource
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from gwaudit.core.errors import StoreBusyError, StoreError
from gwaudit.store.store import SIGNALS, TrajectoryStore
from helpers.forking import PROCESSES

N, BLOCK = 3000, 1000


def expected(epoch):
    random = np.random.default_rng(epoch)
    return {
        name: random.integers(0, 3, N).astype(dtype) if dtype.kind == "i" else random.normal(size=N).astype(dtype)
        for name, dtype in SIGNALS.items()
    }


def write(run, epochs, is_open):
    with TrajectoryStore.open(run, writable=True) as store:
        is_open.set()
        while store.next_epoch < epochs:
            store.append_epoch(store.next_epoch, np.arange(N), expected(store.next_epoch))


def write_to_a_full_disk(run, errors):
    # A limit on the size of files stands in for the end of the disk: write() fails in the same way.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
    try:
        write(run, 5, PROCESSES.Event())
    except StoreError as error:
        errors.send(str(error))


def start_writer(run, epochs):
    """Start a process that has the run open, and writes."""
    is_open = PROCESSES.Event()
    writer = PROCESSES.Process(target=write, args=(run, epochs, is_open))
    writer.start()
    assert is_open.wait(300)
    return writer


def let_work(process, seconds):
    """Wait until a process has had a processor for some time: a busy machine gives it little by the clock."""
    stat = Path(f"/proc/{process.pid}/stat")

    def used():
        user, system = stat.read_text().rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    until = used() + seconds
    while used() < until:
        time.sleep(0.002)


@pytest.fixture
def run(tmp_path):
    path = tmp_path / "run"
    TrajectoryStore.create(path, given_labels=np.zeros(N, int), class_names=["a", "b", "c"], block_rows=BLOCK).close()
    return path


@pytest.mark.slow
def test_thirty_kills_at_random_moments_leave_whole_epochs_only(run):
    moments = random.Random(0)
    committed = 0
    for _ in range(30):
        writer = start_writer(run, 10_000)
        let_work(writer, moments.uniform(0, 0.12))
        writer.kill()
        writer.join()
        store = TrajectoryStore.open(run)
        assert store.next_epoch >= committed
        committed = store.next_epoch
        store.verify()
    assert committed > 10
    for epoch in range(committed):
        table = TrajectoryStore.open(run).read_epoch(epoch)
        for name, values in expected(epoch).items():
            np.testing.assert_array_equal(table[name].to_numpy(), values)
    with TrajectoryStore.open(run, writable=True) as store:
        store.append_epoch(committed, np.arange(N), expected(committed))
        store.verify()
    attempts = [path for path in (run / "epochs").glob("*/*") if path.is_dir()]
    assert len(attempts) == committed + 1, "what killed attempts left was not cleared"


def test_a_second_writer_is_refused_until_the_first_is_gone(run):
    writer = start_writer(run, 10**9)
    with pytest.raises(StoreBusyError, match="another process"):
        TrajectoryStore.open(run, writable=True)
    assert TrajectoryStore.open(run).n_samples == N, "reading beside a writer is allowed"
    writer.kill()
    writer.join()
    TrajectoryStore.open(run, writable=True).close()


def test_a_creation_cut_short_can_be_made_anew(tmp_path):
    half = tmp_path / "run"
    (half / "samples").mkdir(parents=True)
    (half / "samples" / "block-000000.parquet").write_bytes(b"PAR1 cut short")
    TrajectoryStore.create(half, given_labels=[0, 1], class_names=["a", "b"]).close()
    TrajectoryStore.open(half).verify()


def test_a_commit_is_not_replaced(run):
    with TrajectoryStore.open(run, writable=True) as store:
        writer = store.begin_epoch(0)
        store.append_epoch(0, np.arange(N), expected(0))
        before = (run / "commits" / "epoch-00000.json").read_text()
        for block in range(store.n_blocks):
            rows = store.block_range(block)
            writer.write_block(block, {name: values[rows.start : rows.stop] for name, values in expected(1).items()})
        with pytest.raises(Exception, match="committed already"):
            writer.commit()
    assert (run / "commits" / "epoch-00000.json").read_text() == before
    assert json.loads(before)["epoch"] == 0


def test_a_full_disk_is_an_error_that_says_what_to_do_and_loses_nothing(run):
    with TrajectoryStore.open(run, writable=True) as store:
        store.append_epoch(0, np.arange(N), expected(0))
    receiver, sender = PROCESSES.Pipe(duplex=False)
    writer = PROCESSES.Process(target=write_to_a_full_disk, args=(run, sender))
    writer.start()
    writer.join()
    error = receiver.recv()
    assert "cannot write" in error
    assert "Free disk space" in error
    store = TrajectoryStore.open(run, writable=True)
    store.verify()
    assert store.append_epoch(1, np.arange(N), expected(1)).epoch == 1
    store.close()
