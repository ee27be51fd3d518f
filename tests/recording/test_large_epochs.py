"""An epoch takes memory for the samples that a rank observed and for one block, not for all samples of the run."""

import tracemalloc

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn

from gwaudit import AlignmentRecorder, TrajectoryStore, shared_store
from gwaudit.core.errors import RecordingError
from gwaudit.recording import epoch_commit, repeats
from gwaudit.recording.epoch_buffer import EpochBuffer
from gwaudit.recording.epoch_commit import EpochCommitter
from gwaudit.store.layout import RunLayout
from helpers.ranks import run_ranks

CLASSES, FEATURES = 4, 6


def create(path, n, block_rows):
    labels = np.arange(n) % CLASSES
    return TrajectoryStore.create(path, given_labels=labels, class_names=[*"abcd"], block_rows=block_rows)


def network():
    torch.manual_seed(0)
    return nn.Linear(FEATURES, CLASSES)


def observe(recorder, model, ids):
    model(torch.stack([(ids * (k + 1)).float().sin() for k in range(FEATURES)], 1))
    recorder.observe(ids, ids % CLASSES)


def test_labels_are_compared_block_by_block(tmp_path):
    n, block_rows = 200_000, 2**12
    buffer = EpochBuffer(RunLayout(tmp_path, n, tuple("abcd"), block_rows=block_rows), "head")
    observed = buffer.fetch()
    ids = np.arange(0, n, 100)
    labels = (ids % CLASSES).astype(np.int32)
    with create(tmp_path / "run", n, block_rows) as store:
        EpochCommitter(store).check(observed)
        tracemalloc.start()
        EpochCommitter(store).check(observed._replace(ids=ids, labels=labels))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 2 * n  # the labels of all samples take 4 n
        labels[-1] += 1
        with pytest.raises(RecordingError, match=f"1 observed labels .* at sample {n - 100} "):
            EpochCommitter(store).check(observed._replace(ids=ids, labels=labels))


def test_rows_are_counted_within_the_blocks_of_a_rank(tmp_path, monkeypatch):
    """What is allocated for them grows with the largest position."""
    monkeypatch.setattr(epoch_commit, "world_size", lambda: 4)
    with create(tmp_path / "run", 103, 10) as store:
        rows = np.concatenate([store.block_range(block) for block in (2, 6, 10)])  # those of rank 2
        positions = EpochCommitter(store)._position_in_own_blocks(rows)
    assert positions.tolist() == list(range(23))


def record(folder, name):
    """Record two epochs, in another order each, on as many ranks as there are."""
    if name == "several":
        dist.init_process_group("gloo")
    rank, ranks = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    model = network()
    with (
        shared_store(lambda: create(f"{folder}/{name}", 43, 10)) as store,
        AlignmentRecorder(model, store) as recorder,
    ):
        for epoch in range(2):
            order = torch.randperm(43, generator=torch.Generator().manual_seed(epoch))[: 40 + epoch]
            for ids in order[rank::ranks].split(1):  # rounding depends on the batch
                observe(recorder, model, ids)
            recorder.end_epoch()
    if ranks > 1:
        dist.destroy_process_group()


def test_several_ranks_write_the_files_that_one_process_writes(tmp_path):
    record(tmp_path, "one")
    run_ranks(2, record, tmp_path, "several")
    one, several = (TrajectoryStore.open(tmp_path / name) for name in ("one", "several"))
    several.verify()
    for epoch in range(2):
        assert [file.sha256 for file in one.commit(epoch).files] == [
            file.sha256 for file in several.commit(epoch).files
        ]
        assert one.commit(epoch).metrics["accuracy_on_given"] == several.commit(epoch).metrics["accuracy_on_given"]


def test_a_forgotten_end_of_an_epoch_is_noticed_where_a_part_of_the_samples_is_watched(monkeypatch):
    monkeypatch.setattr(repeats, "MOST_WATCHED", 20)
    watch = repeats.RepeatWatch(100, 100)
    for ids in torch.randperm(100).split(10):
        assert not watch.see(ids)
    with pytest.warns(UserWarning, match=r"of 20 samples \(those whose id is divisible by 5\) were observed again"):
        begun = [watch.see(ids) for ids in torch.randperm(100).split(10)]
    assert sum(begun) == 1
