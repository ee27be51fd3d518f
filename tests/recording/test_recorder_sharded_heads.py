"""A head that is split over processes is recorded as the whole one would be, or refused with what to do."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel

from gwaudit import AlignmentRecorder, GwauditError, TrajectoryStore, shared_store
from helpers.ranks import run_ranks

N, CLASSES, FEATURES = 16, 4, 6
LABELS = torch.arange(N) % CLASSES
INPUTS = torch.randn(N, FEATURES, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head = nn.Sequential(nn.Linear(FEATURES, 8), nn.ReLU()), nn.Linear(8, CLASSES)

    def forward(self, x):
        return self.head(self.body(x))


def fully_sharded(mesh):
    from torch.distributed.fsdp import fully_shard

    return fully_shard(Net(), mesh=mesh)


def fully_sharded_head_apart(mesh):
    from torch.distributed.fsdp import fully_shard

    model = Net()
    fully_shard(model.head, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def flat_parameters(mesh):
    return FullyShardedDataParallel(Net(), device_id=torch.device("cpu"))


def flat_original_parameters(mesh):
    return FullyShardedDataParallel(Net(), device_id=torch.device("cpu"), use_orig_params=True)


def columns_gathered(mesh):
    from torch.distributed.tensor import Replicate
    from torch.distributed.tensor.parallel import ColwiseParallel, parallelize_module

    return parallelize_module(Net(), mesh, {"head": ColwiseParallel(output_layouts=Replicate())})


def rows(mesh):
    from torch.distributed.tensor import Replicate
    from torch.distributed.tensor.parallel import RowwiseParallel, parallelize_module

    return parallelize_module(Net(), mesh, {"head": RowwiseParallel(input_layouts=Replicate())})


def columns_left_split(mesh):
    from torch.distributed.tensor.parallel import ColwiseParallel, parallelize_module

    return parallelize_module(Net(), mesh, {"head": ColwiseParallel()})


def split_by_hand(mesh):
    model = Net()
    half = CLASSES // 2
    mine = slice(dist.get_rank() * half, (dist.get_rank() + 1) * half)
    model.head.weight = nn.Parameter(model.head.weight[mine].detach())
    model.head.bias = nn.Parameter(model.head.bias[mine].detach())
    return model


RECORDED = [fully_sharded, fully_sharded_head_apart, flat_parameters, flat_original_parameters, columns_gathered, rows]
REFUSED = [columns_left_split, split_by_hand]


def record_all(folder):
    dist.init_process_group("gloo")
    mesh = init_device_mesh("cpu", (2,))
    mine = torch.arange(N)[dist.get_rank() :: 2]
    refused = {}
    for build in [*RECORDED, *REFUSED]:
        # Tensor-parallel ranks see the same batch.
        ids = torch.arange(N) if build not in RECORDED[:4] else mine
        model = build(mesh)
        store = shared_store(lambda name=build.__name__: new_store(f"{folder}/{name}"))
        with store, AlignmentRecorder(model, store) as recorder:
            try:
                loss = nn.functional.cross_entropy(model(INPUTS[ids]), LABELS[ids] % 2)
                recorder.observe(ids, LABELS[ids])
                loss.backward()
                recorder.end_epoch()
            except GwauditError as error:
                refused[build.__name__] = str(error)
    if dist.get_rank() == 0:
        (Path(folder) / "refused.json").write_text(json.dumps(refused))
    dist.destroy_process_group()


def new_store(path):
    return TrajectoryStore.create(path, given_labels=LABELS.numpy(), class_names=[*"abcd"], block_rows=10)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sharded")
    run_ranks(2, record_all, folder)
    model = Net()
    with new_store(folder / "whole") as store, AlignmentRecorder(model, store) as recorder:
        model(INPUTS)
        recorder.observe(torch.arange(N), LABELS)
        recorder.end_epoch()
    return folder


@pytest.mark.parametrize("build", RECORDED, ids=lambda build: build.__name__)
def test_a_sharded_head_gives_the_alignment_of_the_whole_one(folder, build):
    whole, sharded = (TrajectoryStore.open(folder / name).read_epoch(0) for name in ("whole", build.__name__))
    for name in whole.column_names:
        np.testing.assert_allclose(sharded[name], whole[name], atol=1e-6)


@pytest.mark.parametrize("build", REFUSED, ids=lambda build: build.__name__)
def test_a_part_of_a_head_is_refused_with_what_to_do(folder, build):
    refused = json.loads((folder / "refused.json").read_text())
    assert "it is split over processes. Leave the head whole" in refused[build.__name__]
    assert TrajectoryStore.open(folder / build.__name__).epochs == ()
