"""Alignment beside its relatives in a small run, and recording beside a validation pass."""

import json

import pytest
import torch

from gwaudit.benchmarks.cost.validation_cost import validation_cost
from gwaudit.benchmarks.results import read_results
from gwaudit.benchmarks.stopping.related import MEASURES, RelatedEpoch
from gwaudit.core.errors import SettingsError
from gwaudit.store.store import TrajectoryStore
from helpers.command import gwaudit

SMALL = ["--epochs", "4", "--samples", "200", "--test-samples", "100", "--batch-size", "50", "--watched", "12"]


def rows_of(folder):
    return read_results(folder / "related.json", RelatedEpoch)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("related") / "out"
    done = gwaudit("benchmark", "related", "digits", *SMALL, "-o", folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == (folder / "related.md").read_text().strip()
    return folder


def test_every_epoch_has_every_measure_in_its_range(folder):
    rows = rows_of(folder)
    with TrajectoryStore.open(folder / "run") as store:
        assert store.alignment == "weight", "the form of the papers whose claims are checked"
    assert [row.epoch for row in rows] == [1, 2, 3, 4]
    for row in rows:
        known = [value for name in MEASURES if name != "gwa" and (value := getattr(row, name)) is not None]
        assert all(-1 <= value <= 1 for value in known)
    assert [row.direction_alignment is None for row in rows] == [False, False, False, True]


def test_the_direction_is_that_of_the_weights_the_run_ends_with(folder):
    states = [torch.load(path, weights_only=True) for path in sorted((folder / "snapshots").glob("*.pt"))]
    way = states[-1]["weights"] - states[1]["weights"]
    expected = -(states[1]["gradient"] @ way) / states[1]["gradient"].norm() / way.norm()
    assert rows_of(folder)[1].direction_alignment == pytest.approx(expected.item(), abs=1e-5)


def test_a_second_call_reads_what_there_is(folder):
    before = rows_of(folder)
    done = gwaudit("benchmark", "related", "digits", *SMALL, "-o", folder, "--json")
    assert json.loads(done.stdout)[0]["test_accuracy"] == pytest.approx(before[0].test_accuracy)
    assert rows_of(folder) == before


def test_recording_stands_beside_a_validation_pass_on_any_network():
    state = torch.get_rng_state()
    cost = validation_cost(model="vit_mini_patch4_32", batch_size=16, samples=3200, trials=3, device="cpu")
    assert cost.recording_share_low <= cost.recording_share <= cost.recording_share_high
    assert cost.ratio_low <= cost.ratio <= cost.ratio_high
    assert cost.epoch_recording_ms >= 200 * 0.5 * cost.recording_ms > 0
    assert 0 < cost.validation_share < 0.05, "a forward pass over a hundredth"
    assert cost.device == "cpu"
    assert torch.equal(torch.get_rng_state(), state)


def test_too_little_to_measure_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="`trials` >= 3"):
        validation_cost(trials=1)
    assert "at least 2 samples" in gwaudit("benchmark", "related", "digits", "--watched", "1", "-o", tmp_path).stderr
