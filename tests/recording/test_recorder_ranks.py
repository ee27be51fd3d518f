"""In a loop of several processes, each recording what it trained on, the run is that of one process."""

import json
import multiprocessing
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from gwaudit import AlignmentRecorder, GwauditError, TrajectoryStore, shared_store
from gwaudit.core.errors import StoreError
from helpers.ranks import run_ranks

N, CLASSES, FEATURES, BLOCK, BATCH = 43, 4, 6, 10, 4
LABELS = torch.arange(N) % CLASSES
INPUTS = torch.randn(N, FEATURES, generator=torch.Generator().manual_seed(0))
PLANTED = 17
GIVEN = LABELS.clone()
GIVEN[PLANTED] = (LABELS[PLANTED] + 1) % CLASSES


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(FEATURES, 16), nn.Tanh(), nn.Linear(16, CLASSES))


def create(path, labels=LABELS):
    return TrajectoryStore.create(
        path, given_labels=labels.numpy(), class_names=[*"abcd"], block_rows=BLOCK, settings={"made": "here"}
    )


def column(store, epoch, signal):
    return np.concatenate([store.read_block(epoch, block, [signal])[signal] for block in range(store.n_blocks)])


def facts_of(folder, ranks=2):
    return [json.loads((Path(folder) / f"rank-{rank}.json").read_text()) for rank in range(ranks)]


def tell(folder, facts):
    (Path(folder) / f"rank-{dist.get_rank()}.json").write_text(json.dumps(facts))


# What the ranks do


def record_and_fail(folder):
    dist.init_process_group("gloo")
    tell(folder, record_with_padding(f"{folder}/run") | fail_on_one_rank(folder))
    dist.destroy_process_group()


def record_with_padding(run):
    """The weights change with the step alone, so that a row tells at which step it was made."""
    model = DistributedDataParallel(network())
    sampler = DistributedSampler(LABELS, shuffle=True, seed=1)
    seen, summaries = [], []
    with shared_store(lambda: create(run)) as store, AlignmentRecorder(model, store) as recorder:
        for step, ids in enumerate(torch.tensor(list(sampler)).split(BATCH)):
            with torch.no_grad():
                model.module[2].bias[0] = 0.5 * step
            model(INPUTS[ids])
            recorder.observe(ids, LABELS[ids])
            seen.append(ids.tolist())
        summaries.append(recorder.end_epoch({"rank": dist.get_rank()}))
        epochs = store.epochs  # the other rank's store knows of the commit, too
        # The second epoch is an evaluation pass, of which the second rank has no batch.
        batches = [(INPUTS[:20], LABELS[:20], torch.arange(20))] if dist.get_rank() == 0 else []
        summaries.append(recorder.record_pass(batches))
    return {"seen": seen, "summaries": [repr(s) for s in summaries], "epochs": epochs}


def fail_on_one_rank(folder):
    model, mine = network(), torch.arange(N)[dist.get_rank() :: 2]
    second = dist.get_rank() == 1
    errors = []

    def attempt(labels, inputs, ids=mine):
        if len(ids):
            model(inputs[ids])
            recorder.observe(ids, labels[ids])
        try:
            recorder.end_epoch()
        except GwauditError as error:
            errors.append(f"{type(error).__name__}: {error}")
            recorder.discard_epoch()

    with shared_store(lambda: create(f"{folder}/failing")) as store, AlignmentRecorder(model, store) as recorder:
        attempt(LABELS.roll(1) if second else LABELS, INPUTS)
        attempt(LABELS, INPUTS.log())
        attempt(LABELS, INPUTS, mine[:0])
        committed = [store.epochs]
        attempt(LABELS, INPUTS)
        committed.append(store.epochs)
    try:
        shared_store(lambda: create(f"{folder}/failing"))
    except StoreError as error:
        errors.append(f"{type(error).__name__}: {error}")
    try:
        own = create(f"{folder}/own-{dist.get_rank()}")
        AlignmentRecorder(model, own)
    except GwauditError as error:
        errors.append(f"{type(error).__name__}: {error}")
    return {"errors": errors, "committed": committed}


def train_an_epoch(folder):
    """A loop of one's own: shuffled, loaded by workers, on as many ranks as there are, from where the run stands."""
    dist.init_process_group("gloo")
    inputs_of_a_class_are_equal = 4 * nn.functional.one_hot(LABELS, FEATURES).float()
    dataset = TensorDataset(inputs_of_a_class_are_equal, GIVEN, torch.arange(N))
    run = Path(folder) / "run"
    model = DistributedDataParallel(network())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    with shared_store(
        lambda: TrajectoryStore.open(run, writable=True) if run.exists() else create(run, GIVEN)
    ) as store:
        if store.next_epoch:
            model.module.load_state_dict(torch.load(run / "checkpoints" / "last.pt"))
        # Not forked: a process with gloo's threads may hold a lock that its child then waits for, for good.
        multiprocessing.set_forkserver_preload(["torch"])
        workers = {"num_workers": 2, "multiprocessing_context": "forkserver", "persistent_workers": True}
        sampler = DistributedSampler(dataset)
        loader = DataLoader(dataset, BATCH, sampler=sampler, **workers)
        with AlignmentRecorder(model, store) as recorder:
            for epoch in range(store.next_epoch, store.next_epoch + 4):
                sampler.set_epoch(epoch)
                for inputs, labels, ids in loader:
                    loss = nn.functional.cross_entropy(model(inputs), labels)
                    recorder.observe(ids, labels)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                if dist.get_rank() == 0:
                    torch.save(model.module.state_dict(), run / "checkpoints" / "last.pt")
                recorder.end_epoch()
    dist.destroy_process_group()


# What is promised of it


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    run_ranks(2, record_and_fail, folder)
    return folder


def test_every_sample_has_the_row_of_its_own_step_and_padding_is_dropped_and_counted(made):
    store = TrajectoryStore.open(made / "run")
    store.verify()
    seen = [facts["seen"] for facts in facts_of(made)]
    first = {}
    for step, ids in enumerate(zip(*seen, strict=True)):
        for sample in chain(*ids):
            first.setdefault(sample, step)
    assert sum(len(ids) for ids in seen[0] + seen[1]) == N + 1  # 43 samples for two ranks: one is repeated
    biased = network()(INPUTS).detach() - network()[2].bias.detach() * torch.eye(CLASSES)[0]
    biased[:, 0] += 0.5 * torch.tensor([first[sample] for sample in range(N)])
    expected = nn.functional.cross_entropy(biased, LABELS, reduction="none")
    np.testing.assert_allclose(column(store, 0, "loss"), expected, atol=1e-5)
    commit = store.commit(0)
    assert (commit.missing, commit.repeated, len(commit.files)) == (0, 1, 5)


def test_the_summary_is_that_of_all_ranks_on_each_of_them(made):
    first, second = (facts["summaries"] for facts in facts_of(made))
    assert first == second
    store = TrajectoryStore.open(made / "run")
    alignment = column(store, 0, "alignment").astype(np.float64)
    assert store.commit(0).metrics["directional_alignment"] == pytest.approx(alignment.mean(), abs=1e-12)
    deviation = alignment - alignment.mean()
    kurtosis = (deviation**4).mean() / (deviation**2).mean() ** 2 - 3
    assert store.commit(0).metrics["dispersion"] == pytest.approx(kurtosis, abs=1e-9)
    assert store.commit(0).metrics["rank"] == 0


def test_a_rank_without_samples_takes_part(made):
    store = TrajectoryStore.open(made / "run")
    assert store.commit(1).missing == N - 20
    assert np.array_equal(np.isfinite(column(store, 1, "alignment")), np.arange(N) < 20)


def test_all_ranks_know_what_was_committed(made):
    assert [facts["epochs"] for facts in facts_of(made)] == [[0], [0]]


def test_an_error_of_one_rank_is_raised_on_all_and_nothing_is_committed(made):
    first, second = facts_of(made)
    expected = ["21 observed labels are not", "signals of .* are NaN", "nothing was observed", "already holds a run"]
    for error, other, text in zip(first["errors"], second["errors"], expected, strict=False):
        assert error == other
        assert any(part in error for part in text.split(" .* "))
    assert (len(first["errors"]), len(second["errors"])) == (4, 5)
    assert "rank 1 has opened a run of its own" in second["errors"][4]
    assert "shared_store" in second["errors"][4]
    assert first["committed"] == second["committed"] == [[], [0]]
    TrajectoryStore.open(made / "failing").verify()


def test_a_planted_sample_keeps_its_id_through_shuffling_workers_resume_and_two_ranks(tmp_path):
    """It looks as others of its class do and has another label: once the network knows the class, it alone opposes."""
    for ranks in (2, 1):
        run_ranks(ranks, train_an_epoch, tmp_path)
    store = TrajectoryStore.open(tmp_path / "run")
    store.verify()
    assert len(store.epochs) == 8
    for epoch in range(1, 8):
        alignment = column(store, epoch, "alignment")
        assert alignment.argmin() == PLANTED
        assert alignment[PLANTED] < 0 < np.median(alignment)
    assert (store.trajectory(PLANTED)["predicted_label"][1:] == int(LABELS[PLANTED])).all()
