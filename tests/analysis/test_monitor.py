"""The monitor: the same numbers live as afterwards, by other libraries' arithmetic, and for every group."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from gwaudit import AlignmentRecorder, TrainingSettings, TrajectoryStore, train
from gwaudit.analysis.monitor import AlignmentMonitor, group_readings, moving_agreement, readings
from gwaudit.analysis.stopping import RULES, stopping_rule
from gwaudit.core.errors import SettingsError
from gwaudit.recording.moments import bounded_gwa, floored_gwa, quantile_gwa
from helpers.making import few_digits

EPOCHS = 4


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("monitor") / "run"
    train(few_digits(), path, TrainingSettings(epochs=EPOCHS, batch_size=64, augment="none", learning_rate=0.05))
    return path


def test_moments_are_those_of_scipy_over_the_rows_in_the_store(run):
    with TrajectoryStore.open(run) as store:
        table = readings(store)
        for epoch in store.training_epochs:
            alignment = store.read_epoch(epoch, ["alignment"])["alignment"].to_numpy().astype(np.float64)
            e, k = alignment.mean(), stats.kurtosis(alignment)
            row = table.loc[epoch]
            assert row["directional_alignment"] == pytest.approx(e, rel=1e-6)
            assert row["dispersion"] == pytest.approx(k, rel=1e-5)
            assert row["gwa"] == pytest.approx(e / (k + 1.2), rel=1e-5)
            assert row["floored_gwa"] == pytest.approx(e / max(k + 1.2, 0.5), rel=1e-5)
            assert row["bounded_gwa"] == pytest.approx(e / (k + 3), rel=1e-5)
            assert row["quantile_gwa"] == quantile_gwa(alignment)


def test_the_moving_estimate_stands_beside_and_follows(run):
    with TrajectoryStore.open(run) as store:
        by_name = {found.signal: found for found in moving_agreement(readings(store))}
    assert {found.epochs for found in by_name.values()} == {EPOCHS}
    assert by_name["directional_alignment"].correlation > 0.95
    assert 0 < by_name["directional_alignment"].largest_difference < 0.05


def test_prediction_changes_are_those_between_consecutive_epochs(run):
    with TrajectoryStore.open(run) as store:
        changes = readings(store)["prediction_changes"]
        labels = [store.read_epoch(e, ["predicted_label"])["predicted_label"].to_pylist() for e in range(EPOCHS)]
    assert math.isnan(changes[0])
    assert changes[1:].tolist() == [
        sum(a != b for a, b in zip(labels[e - 1], labels[e], strict=True)) for e in range(1, EPOCHS)
    ]


def test_groups_are_classes_or_what_the_user_says(run):
    dataset = few_digits()
    even = np.where(dataset.labels % 2 == 0, "even", "odd")
    with TrajectoryStore.open(run) as store:
        classes, parities = group_readings(store), group_readings(store, even)
        last = store.read_epoch(EPOCHS - 1, ["alignment"])["alignment"].to_numpy()
    assert classes.loc[EPOCHS - 1].index.tolist() == sorted(dataset.class_names)
    assert parities.loc[(EPOCHS - 1, "odd"), "directional_alignment"] == pytest.approx(
        last[even == "odd"].mean(), rel=1e-5
    )
    assert parities.loc[0, "count"].sum() == len(dataset)


def test_live_readings_are_those_of_the_finished_run_and_rules_decide_along(tmp_path):
    torch.manual_seed(0)
    digits = few_digits(200)
    images, labels = digits.read(torch.arange(200)).float() / 255, torch.from_numpy(digits.labels)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    store = TrajectoryStore.create(tmp_path / "run", given_labels=digits.labels, class_names=digits.class_names)
    told = []
    with store, AlignmentRecorder(model, store) as recorder:
        monitor = AlignmentMonitor(
            store, rules=["gwa-scratch", "validation"], total_epochs=5, groups="class", on_epoch=told.append
        )
        for epoch in range(5):
            loss = torch.nn.functional.cross_entropy(model(images), labels)
            recorder.observe(torch.arange(200), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            recorder.end_epoch()
            reading = monitor.end_epoch({"validation_accuracy": [0.1, 0.5, 0.2, 0.3, 0.4][epoch]})
        assert told == monitor.readings
        assert reading.decisions["validation"].choice.epoch == 1
        table = readings(store)
        curves = {name: table[name].tolist() for name in stopping_rule("gwa-scratch").signals}
        assert reading.decisions["gwa-scratch"].choice == stopping_rule("gwa-scratch").choose(curves, 5)
        assert [live.signals["gwa"] for live in told] == curves["gwa"]
        assert told[-1].groups.equals(group_readings(store).loc[4])
        with pytest.raises(SettingsError, match="no epoch after the 5 read"):
            monitor.end_epoch()


def test_a_monitor_of_a_resumed_run_decides_as_one_that_saw_it_all(run):
    own = [name for name in RULES if not {"gradient_disparity", "validation_accuracy"} & {*stopping_rule(name).signals}]
    with TrajectoryStore.open(run) as store:
        decisions = AlignmentMonitor(store, rules=own, total_epochs=EPOCHS).readings[-1].decisions
        table = readings(store)
    curves = {name: table[name].tolist() for name in table}
    for name in own:
        assert decisions[name].choice == stopping_rule(name).choose(curves, EPOCHS)


def test_groups_that_do_not_fit_are_refused(run):
    with TrajectoryStore.open(run) as store:
        with pytest.raises(SettingsError, match="one value for each of the 600 samples"):
            AlignmentMonitor(store, groups=[1, 2])
        with pytest.raises(SettingsError, match="or 'class'"):
            AlignmentMonitor(store, groups="colour")


def test_one_rule_as_a_text_is_refused_with_the_list_to_write(run):
    with TrajectoryStore.open(run) as store, pytest.raises(SettingsError, match=r"a list of names.*\['gwa-scratch'\]"):
        AlignmentMonitor(store, rules="gwa-scratch")


@given(values=st.lists(st.floats(-1, 1, width=32), min_size=2, max_size=60))
def test_aggregates_without_a_pole_are_never_larger_than_what_they_divide(values):
    values = np.array(values)
    spread = values.std() > 1e-3
    e, k = values.mean(), stats.kurtosis(values) if spread else math.nan
    bounded, quantile = bounded_gwa(e, k), quantile_gwa(values)
    assert math.isnan(bounded) if not spread else abs(bounded) <= abs(e) + 1e-12
    assert not spread or abs(floored_gwa(e, k)) <= 2 * abs(e) + 1e-12
    assert math.isnan(quantile) or abs(quantile) <= abs(np.median(values)) + 1e-12


def test_two_equal_spikes_have_finite_aggregates_where_gwa_has_its_pole():
    spikes = np.repeat([-0.2, 0.4], 500)
    assert stats.kurtosis(spikes) == pytest.approx(-2)
    assert bounded_gwa(spikes.mean(), -2.0) == pytest.approx(0.1)
    assert quantile_gwa(spikes) == pytest.approx(0.1)
    normal = np.random.default_rng(0).normal(0.3, 0.1, 200_000)
    assert quantile_gwa(normal) == pytest.approx(0.3 / 2.233, rel=0.01), "Moors' kurtosis of a normal is 1.233"
