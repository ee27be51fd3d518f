"""A rank that waits for others in end_epoch finds out which of them do not come, and why, in a short time."""

import json
import time
import warnings
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn

from gwaudit import AlignmentRecorder, GwauditError, TrajectoryStore, shared_store
from gwaudit.recording import distributed
from helpers.ranks import run_ranks

N, CLASSES = 40, 2
LABELS = torch.arange(N) % CLASSES
INPUTS = torch.randn(N, 5, generator=torch.Generator().manual_seed(0))


# What the ranks do


def miss_calls(folder):
    dist.init_process_group("gloo")
    rank, facts = dist.get_rank(), {}
    model, mine = nn.Linear(5, CLASSES), torch.arange(N)[rank::2]

    def observe():
        for ids in mine.split(4):
            model(INPUTS[ids])
            recorder.observe(ids, LABELS[ids])

    def attempt(name, call):
        start = time.monotonic()
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            try:
                said = f"committed {call().epoch}"
            except GwauditError as error:
                said = f"{type(error).__name__}: {error}"
        facts[name] = [said, [str(warning.message) for warning in warned], time.monotonic() - start]

    def open_run():
        return TrajectoryStore.create(f"{folder}/run", given_labels=LABELS.numpy(), class_names=["a", "b"])

    with shared_store(open_run) as store:
        recorder = AlignmentRecorder(model, store).attach()
        observe()
        if rank == 0:
            attempt("the other detached", recorder.end_epoch)
        else:
            recorder.discard_epoch()
            recorder.detach()
        dist.barrier()

        distributed.SUSPICION_AFTER = 0.5
        recorder.attach()
        dist.barrier()
        observe()
        if rank == 0:
            attempt("the other went on", recorder.end_epoch)
        else:
            observe()
        dist.barrier()

        recorder.attach()
        dist.barrier()
        observe()
        if rank == 1:
            time.sleep(1.5)
        attempt("the other is late", recorder.end_epoch)
        dist.barrier()

        observe()
        batches = [(INPUTS[mine], LABELS[mine], mine)]
        if rank == 1:
            recorder.discard_epoch()
        attempt("other calls", recorder.end_epoch if rank == 0 else lambda: recorder.record_pass(batches))
        dist.barrier()

        distributed.PATIENCE = 1.0
        observe()
        if rank == 0:
            attempt("the other never comes", recorder.end_epoch)
            attempt("shared_store on one rank", lambda: shared_store(open_run))
        dist.barrier()

        recorder.attach()
        observe()
        attempt("all come", recorder.end_epoch)
        recorder.detach()
    (Path(folder) / f"rank-{rank}.json").write_text(json.dumps(facts))
    dist.destroy_process_group()


# What is promised of it


@pytest.fixture(scope="module")
def facts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    run_ranks(2, miss_calls, folder)
    return [json.loads((folder / f"rank-{rank}.json").read_text()) for rank in range(2)]


def test_a_rank_that_has_detached_is_named_at_once(facts):
    said, _, seconds = facts[0]["the other detached"]
    assert said.startswith("RecordingError: end_epoch() of epoch 0 of run: rank 0 has waited ")
    assert "rank 1 (detached its recorder): every rank has to call it" in said
    assert "`if rank == 0`" in said
    assert seconds < 20  # and not SUSPICION_AFTER


def test_a_rank_that_went_on_to_the_next_pass_is_named_after_a_short_time(facts):
    said, _, _ = facts[0]["the other went on"]
    assert "for rank 1 (began another pass over the data)" in said


def test_a_rank_that_is_late_is_waited_for_with_a_warning(facts):
    for rank in (0, 1):
        assert facts[rank]["the other is late"][0] == "committed 0"
    assert "has waited" in facts[0]["the other is late"][1][0]
    assert "for rank 1: every rank" in facts[0]["the other is late"][1][0]


def test_different_calls_are_refused_on_all_ranks(facts):
    for rank in (0, 1):
        said = facts[rank]["other calls"][0]
        assert "rank 0: end_epoch() of epoch 1 of run; rank 1: record_pass() of epoch 1 of run" in said


def test_a_call_on_one_rank_alone_ends_after_the_patience_and_later_calls_work(facts):
    assert "for rank 1: every rank has to call it" in facts[0]["the other never comes"][0]
    assert "shared_store(): rank 0 has waited" in facts[0]["shared_store on one rank"][0]
    assert [facts[rank]["all come"][:2] for rank in (0, 1)] == [["committed 1", []]] * 2
