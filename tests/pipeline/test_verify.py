"""`show --verify` compares every file of a run with its checksum: of all rounds, and of the results."""

import shutil

import pytest
import torch
from torch import nn

from gwaudit import TrajectoryStore
from gwaudit.core.settings import TrainingSettings
from gwaudit.training.checkpoints import TrainingState, best_checkpoint, keep_best, save_checkpoint
from helpers.command import gwaudit
from helpers.making import few_digits
from helpers.recorded_runs import make_run, ranked_run


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    run = tmp_path_factory.mktemp("whole") / "run"
    ranked_run(run, dataset=few_digits(20))
    for number in (1, 2):
        make_run(run / "rounds" / str(number), few_digits(20), epochs=1)
    return run


@pytest.fixture
def run(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "run", symlinks=True)


def test_a_whole_run_passes(run):
    (run / "rounds" / "3").mkdir()  # of a training that was stopped before it had made its run
    whole = gwaudit("show", run, "--verify")
    assert (whole.returncode, "Verified: every file has its checksum." in whole.stdout) == (0, True)


@pytest.mark.parametrize("part", ["samples", "epochs", "rounds/1/epochs", "rounds/2/samples", "results"])
def test_a_damaged_file_is_named(run, part):
    file = next(path for path in (run / part).rglob("*.parquet") if path.is_file())
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    done = gwaudit("show", run, "--verify")
    assert done.returncode == 2
    assert file.name in done.stderr


def test_a_round_that_is_missing_before_a_later_one_is_named(run):
    shutil.rmtree(run / "rounds" / "1")
    done = gwaudit("show", run, "--verify")
    assert done.returncode == 2
    assert "1 is missing, though round 2 is there" in " ".join(done.stderr.split())


def test_a_damaged_verdict_is_named_without_verify_too(run):
    facts = (run / "audit.json").resolve()
    facts.write_text(facts.read_text().replace('"level"', '"levle"'))
    done = gwaudit("show", run)
    assert done.returncode == 2
    assert "is broken" in done.stderr


@pytest.mark.parametrize("name", [b"", b"../..", b"\xff\xfe"])
def test_a_damaged_name_of_the_version_in_use_is_named(run, name):
    current = run / "results" / "current"
    current.unlink()
    current.write_bytes(name)
    done = gwaudit("show", run, "--verify")
    assert done.returncode == 2
    assert f"{current} does not hold the name of a version" in done.stderr


class TestCheckpoints:
    @pytest.fixture(params=[".", "rounds/2"])
    def checkpoint(self, run, request):
        """The checkpoint of a round, of its only epoch."""
        model = nn.Linear(2, 2)
        state = TrainingState(model, torch.optim.SGD(model.parameters(), momentum=0.9, lr=0.1), None)
        with TrajectoryStore.open(run / request.param) as store:
            store.checkpoints.mkdir(exist_ok=True)
            save_checkpoint(store, state, 0, TrainingSettings())
            keep_best(store, 0)
            return best_checkpoint(store)

    def test_whole_ones_pass(self, run, checkpoint):
        checkpoint.with_name("mine.safetensors").write_text("of the user")
        assert gwaudit("show", run, "--verify").returncode == 0

    def test_a_flipped_bit_is_named(self, run, checkpoint):
        content = bytearray(checkpoint.read_bytes())
        content[-1] ^= 1
        checkpoint.write_bytes(content)
        assert gwaudit("show", run).returncode == 0
        done = gwaudit("show", run, "--verify")
        assert done.returncode == 2
        assert f"{checkpoint} is missing or damaged (its checksum differs)" in " ".join(done.stderr.split())

    def test_one_of_another_epoch_is_named(self, run, checkpoint):
        other = checkpoint.with_name("epoch-00007.safetensors")
        shutil.copyfile(checkpoint, other)
        done = gwaudit("show", run, "--verify")
        assert done.returncode == 2
        assert "it belongs to epoch 0" in done.stderr
