"""Damage to any file of a run is a named error or has no effect; nothing that may be an epoch is ever deleted."""

import errno
import fcntl
import json
import os
import random
import shutil

import numpy as np
import pytest
import torch

from gwaudit.core.errors import (
    GwauditError,
    InvalidEpochError,
    StoreBusyError,
    StoreDamagedError,
    StoreExistsError,
    StoreNotFoundError,
)
from gwaudit.store.store import SIGNALS, TrajectoryStore

N, EPOCHS = 12, 4


def signals_of(epoch):
    draw = np.random.default_rng(epoch)
    return {
        name: draw.integers(0, 3, N).astype(dtype) if dtype.kind == "i" else draw.normal(size=N).astype(dtype)
        for name, dtype in SIGNALS.items()
    }


def make_run(path, epochs=EPOCHS):
    labels = np.arange(N) % 3
    with TrajectoryStore.create(path, given_labels=labels, class_names=["a", "b", "c"], block_rows=8) as store:
        for epoch in range(epochs):
            store.append_epoch(epoch, np.arange(N), signals_of(epoch), metrics={"loss": 0.5 + epoch})
    return path


def content(run):
    """Return everything that a reader gets from a run."""
    with TrajectoryStore.open(run) as store:
        epochs = [(store.read_epoch(e).to_pydict(), store.commit(e).metrics) for e in store.epochs]
        return (
            store.read_samples().to_pydict(),
            epochs,
            store.class_names,
            store.settings,
            store.trajectory(3).to_dict(),
        )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("whole") / "run")


@pytest.fixture
def run(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "run")


def files_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("missing", [0, 1, EPOCHS - 2])
def test_a_missing_commit_in_the_middle_is_damage_and_nothing_is_deleted(run, missing):
    (run / "commits" / f"epoch-{missing:05d}.json").unlink()
    before = files_of(run)
    for attempt in (lambda: TrajectoryStore.open(run).epochs, lambda: TrajectoryStore.open(run, writable=True)):
        with pytest.raises(
            StoreDamagedError, match=rf"epoch-{missing:05d}\.json is missing, though epoch 3 is committed"
        ) as refusal:
            attempt()
        assert ("epochs before the gap" in str(refusal.value)) == (missing > 0)
    with pytest.raises(StoreDamagedError):
        TrajectoryStore.open(run).verify()
    after = files_of(run)
    after.pop(next(path for path in after if path.name == "lock"), None)
    before.pop(next(path for path in before if path.name == "lock"), None)
    assert after == before


def test_the_data_of_a_lost_last_commit_are_kept_until_the_epoch_is_recorded_anew(run):
    lost = run / "commits" / "epoch-00003.json"
    attempt = json.loads(lost.read_text())["attempt"]
    blocks = {path.name: path.read_bytes() for path in (run / "epochs" / "epoch-00003" / attempt).iterdir()}
    lost.unlink()
    with TrajectoryStore.open(run, writable=True) as store:
        kept = run / "leftovers" / "epoch-00003" / attempt
        assert {path.name: path.read_bytes() for path in kept.iterdir()} == blocks
        store.append_epoch(3, np.arange(N), signals_of(3))
    TrajectoryStore.open(run, writable=True).close()
    assert not kept.exists()
    TrajectoryStore.open(run).verify()


def test_a_run_that_lost_its_manifest_is_damaged_and_not_created_over(run):
    (run / "run.json").unlink()
    before = files_of(run)
    with pytest.raises(StoreDamagedError, match=r"run\.json is missing, though epochs are committed"):
        TrajectoryStore.open(run)
    with pytest.raises(StoreDamagedError, match=r"run\.json is missing"):
        make_run(run)
    assert files_of(run) == before


@pytest.mark.parametrize("name", ["run.json", "commits", "epochs"])
def test_a_part_of_another_run_of_the_same_data_is_damage(run, tmp_path, name):
    other = tmp_path / "other"
    labels = np.arange(N) % 3
    with TrajectoryStore.create(
        other, given_labels=labels, class_names=["a", "b", "c"], block_rows=8, settings={"seed": 1}
    ) as store:
        for epoch in range(EPOCHS):
            store.append_epoch(epoch, np.arange(N), signals_of(epoch + 1))
    if (run / name).is_dir():
        shutil.rmtree(run / name)
        shutil.copytree(other / name, run / name)
    else:
        shutil.copyfile(other / name, run / name)
    with pytest.raises(StoreDamagedError):
        content(run)


def test_a_creation_killed_while_the_manifest_is_written_is_taken_over(tmp_path):
    half = tmp_path / "run"
    for part in ("samples", "epochs", "commits", "checkpoints"):
        (half / part).mkdir(parents=True)
    (half / ".run.json.0123abcd.partial").write_text('{"format": "gwau')
    with pytest.raises(StoreNotFoundError):
        TrajectoryStore.open(half)
    make_run(half)
    assert len(content(half)[1]) == EPOCHS
    with pytest.raises(StoreExistsError):
        make_run(half)


def test_no_damage_is_silent(run):
    expected = content(run)
    draw = random.Random(7)
    files = sorted(path for path in run.rglob("*") if path.is_file() and path.name != "lock")
    noticed = 0
    for trial in range(150):
        path = files[trial % len(files)]
        data = bytearray(path.read_bytes())
        kind = draw.choice(["bit", "bytes", "cut", "empty", "remove", "append"])
        position = draw.randrange(len(data))
        damaged = {
            "bit": bytes(data[:position] + bytes([data[position] ^ 1 << draw.randrange(8)]) + data[position + 1 :]),
            "bytes": bytes(data[:position] + draw.randbytes(20) + data[position + 20 :]),
            "cut": bytes(data[:position]),
            "empty": b"",
            "remove": None,
            "append": bytes(data) + draw.randbytes(9),
        }[kind]
        path.unlink() if damaged is None else path.write_bytes(damaged)
        try:
            # The file of the last commit is what makes its epoch exist: without it there is no such epoch.
            if not (kind == "remove" and path.name == "epoch-00003.json"):
                assert content(run) == expected, (path.name, kind, position)
        except GwauditError:
            noticed += 1
        path.write_bytes(data)
    assert noticed > 130
    assert content(run) == expected


@pytest.mark.parametrize("name", ["exp:2", "s3:x", "a b", "ä%20", "[b]"])
def test_a_run_may_have_any_name(tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_run(name, epochs=2)
    assert len(content(name)[1]) == 2


def test_a_file_system_without_hard_links_and_locks_holds_a_run(tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(os, "link", fail)
    monkeypatch.setattr(fcntl, "flock", fail)
    run = make_run(tmp_path / "run")
    with TrajectoryStore.open(run, writable=True) as store:
        with pytest.raises(StoreBusyError, match="in this process already"):
            TrajectoryStore.open(run, writable=True)
        writer = store.begin_epoch(EPOCHS)
        store.append_epoch(EPOCHS, np.arange(N), signals_of(4))
        writer.write_rows(np.arange(N), signals_of(5), range(2))
        with pytest.raises(GwauditError, match="committed already"):
            writer.commit()
    assert len(content(run)[1]) == EPOCHS + 1
    assert not list(run.rglob("*.partial"))


def test_verification_can_be_left_out(run):
    path = next((run / "epochs" / "epoch-00001").rglob("*.parquet"))
    data = bytearray(path.read_bytes())
    data[data.rindex(b"parquet-cpp")] ^= 1  # the name of the program that wrote the file
    path.write_bytes(data)
    with pytest.raises(StoreDamagedError, match="checksum differs"):
        TrajectoryStore.open(run).read_epoch(1)
    assert TrajectoryStore.open(run, verify=False).read_epoch(1).num_rows == N


@pytest.mark.parametrize("labels", [torch.ones(2, 2, requires_grad=True), [[0, 1], [1]], np.array(1)])
def test_labels_that_are_no_array_of_one_value_a_sample_are_refused(tmp_path, labels):
    with pytest.raises(InvalidEpochError, match="given labels"):
        TrajectoryStore.create(tmp_path / "run", given_labels=labels, class_names=("a", "b"))
    assert not (tmp_path / "run" / "run.json").exists()
