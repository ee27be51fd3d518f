"""Under torchrun the reference trainer makes the run that one process makes, and one set of files."""

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from gwaudit.core.errors import SettingsError
from gwaudit.core.settings import TrainingSettings
from gwaudit.data.inputs import features
from gwaudit.recording.distributed import process_rank
from gwaudit.store.store import TrajectoryStore
from gwaudit.training.tensor_files import read_tensors
from gwaudit.training.trainer import predict, train
from helpers.command import run_command
from helpers.making import few_digits, few_digits_file
from helpers.ranks import run_ranks, torchrun

# Of 600 samples: twice a batch of 299 in shares of 149 and 150, then two samples, both for the first rank.
COMMON = TrainingSettings(
    model="resnet20_gn", epochs=2, batch_size=299, learning_rate=0.005, dtype="float32", device="cpu", final_passes=1
)
SETTINGS = {
    "online": COMMON,
    "pass": dataclasses.replace(COMMON, record="pass", accumulate=2, ema_decay=0.9, clip_norm=1.0),
    "shift": dataclasses.replace(COMMON, epochs=1, augment="shift-flip", optimizer="adamw", learning_rate=1e-3),
}
FOLDS = TrainingSettings(epochs=2, batch_size=67, head="mlp", weight_decay=0.005, folds=3, device="cpu")
CLI = "from gwaudit.cli.app import main; main()"


def train_all(folder):
    for name, settings in SETTINGS.items():
        train(few_digits(), f"{folder}/{name}", settings)
    digits = few_digits()
    rows = features(digits.read(torch.arange(len(digits))).flatten(1).float())
    train(dataclasses.replace(digits, inputs=rows), f"{folder}/folds", FOLDS)
    predicted = predict(f"{folder}/online", few_digits(), few_digits())
    torch.save(predicted, f"{folder}/predicted-{process_rank()}.pt")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folders = {ranks: tmp_path_factory.mktemp(f"ranks-{ranks}") for ranks in (1, 2)}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    train_all(folders[1])
    torch.set_num_threads(threads)
    run_ranks(2, train_all, folders[2])
    return folders


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_two_ranks_record_the_trajectories_of_one_process(trained, name):
    one, two = (TrajectoryStore.open(folder / name) for folder in trained.values())
    two.verify()
    assert one.epochs == two.epochs == tuple(range(SETTINGS[name].epochs + 1))
    for epoch in one.epochs:
        assert two.commit(epoch).missing == two.commit(epoch).repeated == 0
        expected, found = (store.read_epoch(epoch) for store in (one, two))
        assert found["sample_id"].equals(expected["sample_id"])
        # Two ranks add up float32 in another order. On some processors every epoch of updates multiplies the difference
        # by 100: 5e-8 in the first epoch, 2e-4 in the last. The alignments of the samples differ by 2e-2.
        alignment, margin, mean = (1e-6, 1e-5, 1e-8) if epoch == 0 else (1e-3, 2e-2, 5e-5)
        np.testing.assert_allclose(found["alignment"], expected["alignment"], atol=alignment)
        np.testing.assert_allclose(found["margin"], expected["margin"], atol=margin)
        metrics = [store.commit(epoch).metrics for store in (one, two)]
        assert metrics[1]["directional_alignment"] == pytest.approx(metrics[0]["directional_alignment"], abs=mean)


@pytest.mark.slow
def test_two_ranks_cross_fit_heads_as_one_process_does(trained):
    one, two = (TrajectoryStore.open(folder / "folds") for folder in trained.values())
    for epoch in (0, 1):
        assert two.commit(epoch).missing == 0
        expected, found = (store.read_epoch(epoch) for store in (one, two))
        np.testing.assert_allclose(found["alignment"], expected["alignment"], atol=1e-4)
        np.testing.assert_allclose(found["margin"], expected["margin"], atol=1e-2)


@pytest.mark.slow
def test_the_checkpoint_of_two_ranks_is_that_of_one_process(trained):
    states = [read_tensors(folder / "pass/checkpoints/best.safetensors") for folder in trained.values()]
    for part in ("model", "ema"):
        assert states[0][part].keys() == states[1][part].keys()
        for name, value in states[0][part].items():
            torch.testing.assert_close(states[1][part][name], value, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_each_rank_gets_all_predictions_in_their_order(trained):
    one, first, second = (
        torch.load(trained[ranks] / f"predicted-{rank}.pt") for ranks, rank in ((1, 0), (2, 0), (2, 1))
    )
    assert torch.equal(first, second)
    torch.testing.assert_close(first, one, rtol=0, atol=2e-3)


@pytest.mark.slow
def test_an_audit_with_refinement_under_torchrun_prints_and_writes_once(tmp_path):
    digits = few_digits_file(tmp_path / "digits.npz")
    source = ["audit", digits, "--add-noise", "0.1", "-o", tmp_path / "run"]
    training = ["--epochs", "8", "--batch-size", "64", "--learning-rate", "0.05", "--augment", "none"]
    rounds = ["--refine", "1", "--refine-as", "whitened", "--refine-epochs", "1", "--json"]
    done = torchrun(2, "--no-python", sys.executable, "-c", CLI, *source, *training, *rounds)
    facts = json.loads(done.stdout)  # one object: one process has spoken
    assert facts["evaluation"]["auroc"] > 0.8
    assert all(Path(file).exists() for file in facts["files"])
    for run, epochs in ((tmp_path / "run", 8), (tmp_path / "run" / "rounds" / "1", 1 + 1)):
        store = TrajectoryStore.open(run)
        assert len(store.epochs) == epochs
        assert all(store.commit(epoch).missing == 0 for epoch in store.epochs)


@pytest.mark.slow
def test_bad_input_under_torchrun_is_told_once(tmp_path):
    done = run_ranks(2, run_command, "train", tmp_path / "nowhere", "-o", tmp_path / "run", check=False)
    assert sum(rank.stderr.count("error: no data set at") for rank in done) == 1
    assert 2 in [rank.returncode for rank in done]
    assert 0 not in [rank.returncode for rank in done]
    assert not (tmp_path / "run").exists()


def test_processes_that_cannot_find_each_other_are_told_how_to_start(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SettingsError, match="start the processes with torchrun, or unset WORLD_SIZE"):
        train(few_digits(), tmp_path / "run", COMMON)
