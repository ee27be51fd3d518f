"""Ranks on several machines record into one run at a URL, and the run is that of one process."""

import os

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn

from gwaudit import (
    AlignmentRecorder,
    DataSettings,
    RankingSettings,
    RefinementSettings,
    TrainingSettings,
    TrajectoryStore,
    audit,
    shared_store,
)
from gwaudit.store.results import require_intact, results_of
from gwaudit.store.working_copies import run_folder
from helpers.object_server import remove_all
from helpers.ranks import run_ranks

N, CLASSES, FEATURES, BLOCK, BATCH = 43, 4, 6, 10, 4
LABELS = torch.arange(N) % CLASSES
INPUTS = torch.randn(N, FEATURES, generator=torch.Generator().manual_seed(0))
URL = "s3://bucket/runs/x"
TRAINING = TrainingSettings(model="resnet20_gn", epochs=1, batch_size=300, dtype="float32", device="cpu")


@pytest.fixture(autouse=True)
def bucket(objects, tmp_path, monkeypatch):
    monkeypatch.setenv("GWAUDIT_CACHE", str(tmp_path / "later"))
    yield
    remove_all()


def be_another_machine(folder):
    """Use a cache that no other rank uses."""
    os.environ["GWAUDIT_CACHE"] = f"{folder}/cache-{os.environ['RANK']}"


def create(place):
    return TrajectoryStore.create(place, given_labels=LABELS.numpy(), class_names=[*"abcd"], block_rows=BLOCK)


def record(store, ranks):
    torch.manual_seed(0)
    model = nn.Linear(FEATURES, CLASSES)
    with store, AlignmentRecorder(model, store) as recorder:
        for _ in range(2):
            for rank in ranks:
                for ids in torch.arange(rank, N, 2).split(BATCH):
                    model(INPUTS[ids])
                    recorder.observe(ids, LABELS[ids])
            recorder.end_epoch()


def record_at_url(folder):
    be_another_machine(folder)
    dist.init_process_group("gloo")
    store = shared_store(lambda: create(URL))
    record(store, [dist.get_rank()])
    blocks = sorted(path.stem[-1] for path in (store.path / "epochs" / "epoch-00001").rglob("*.parquet"))
    assert blocks == list("13" if dist.get_rank() else "024")
    dist.destroy_process_group()


def test_each_rank_writes_its_own_blocks_to_the_url_and_the_first_commits(tmp_path):
    run_ranks(2, record_at_url, tmp_path)
    record(create(tmp_path / "local"), [0, 1])
    with TrajectoryStore.open(URL) as there, TrajectoryStore.open(tmp_path / "local") as here:
        there.verify()
        assert there.epochs == here.epochs == (0, 1)
        for epoch in here.epochs:
            assert there.read_epoch(epoch).equals(here.read_epoch(epoch))


def record_while_another_command_looks(folder):
    be_another_machine(folder)
    dist.init_process_group("gloo")
    with shared_store(lambda: create(URL)) as store:
        if dist.get_rank():
            writer = store.begin_epoch(0, "abc")
            writer._folder.joinpath("block-000001.parquet").write_bytes(b"not uploaded yet")
            run_folder(URL)  # as a command on this machine does
            assert (writer._folder / "block-000001.parquet").exists()
        dist.barrier()
    dist.destroy_process_group()


def test_a_command_beside_a_rank_leaves_what_it_is_writing(tmp_path):
    run_ranks(2, record_while_another_command_looks, tmp_path)


def audit_at_url(folder, resume):
    be_another_machine(folder)
    result = audit(
        DataSettings("digits"),
        URL,
        TRAINING,
        RankingSettings(force=True),
        RefinementSettings(refine=1, refine_as=None, refine_model=None, refine_epochs=1),
        resume=resume,
    )
    assert result.audit.n_samples == 1797


@pytest.mark.slow
def test_an_audit_of_two_machines_with_a_round_is_whole_and_goes_on(tmp_path):
    run_ranks(2, audit_at_url, tmp_path, False)
    run = run_folder(URL)
    require_intact(results_of(run))
    for folder in (run, run / "rounds" / "1"):
        with TrajectoryStore.open(folder) as store:
            store.verify()
            assert store.commit(0).missing == 0
            assert np.isfinite(store.read_epoch(0)["loss"].to_numpy()).all()
    run_ranks(2, audit_at_url, tmp_path / "others", True)
