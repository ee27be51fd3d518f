"""A writer killed at any moment leaves exactly its committed epochs, and the next one goes on."""

import json
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from gwaudit.core.errors import StoreBusyError
from gwaudit.store.store import SIGNALS, TrajectoryStore

N, BLOCK = 3000, 1000

WRITER = """
import sys
import numpy as np
from gwaudit.store.store import SIGNALS, TrajectoryStore

def signals(epoch, n):
    random = np.random.default_rng(epoch)
    return {name: random.integers(0, 3, n).astype(dtype) if dtype.kind == "i" else random.normal(size=n).astype(dtype)
            for name, dtype in SIGNALS.items()}

run, n, epochs = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with TrajectoryStore.open(run, writable=True) as store:
    print("open", flush=True)
    while store.next_epoch < epochs:
        epoch = store.next_epoch
        store.append_epoch(epoch, np.arange(n), signals(epoch, n))
"""


def expected(epoch):
    random = np.random.default_rng(epoch)
    return {
        name: random.integers(0, 3, N).astype(dtype) if dtype.kind == "i" else random.normal(size=N).astype(dtype)
        for name, dtype in SIGNALS.items()
    }


def start_writer(run, epochs):
    command = [sys.executable, "-c", WRITER, str(run), str(N), str(epochs)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


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
        assert writer.stdout.readline() == "open\n"
        time.sleep(moments.uniform(0, 0.12))
        writer.send_signal(signal.SIGKILL)
        writer.wait()
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
    assert writer.stdout.readline() == "open\n"
    with pytest.raises(StoreBusyError, match="another process"):
        TrajectoryStore.open(run, writable=True)
    assert TrajectoryStore.open(run).n_samples == N, "reading beside a writer is allowed"
    writer.send_signal(signal.SIGKILL)
    writer.wait()
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
    # A limit on the size of files stands in for the end of the disk: write() fails in the same way.
    full = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
"""
    command = [sys.executable, "-c", full + WRITER, str(run), str(N), "5"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "StoreError: cannot write" in done.stderr
    assert "Free disk space" in done.stderr
    store = TrajectoryStore.open(run, writable=True)
    store.verify()
    assert store.append_epoch(1, np.arange(N), expected(1)).epoch == 1
    store.close()
