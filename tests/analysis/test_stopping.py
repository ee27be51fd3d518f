"""Stopping rules: what they choose, online as in hindsight, with one checkpoint, and never from the future."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gwaudit.analysis.stopping import (
    RULES,
    OnlineStopping,
    StoppingRule,
    moving_average,
    recorded_rules,
    stopping_rule,
    training_rule,
)
from gwaudit.core.errors import SettingsError

SIGNALS = sorted({signal for rule in RULES.values() for signal in rule.signals})
number = st.one_of(st.floats(-1, 1).map(lambda value: round(value, 1)), st.just(math.nan))


@st.composite
def runs(draw):
    """Curves with ties and gaps, and the epochs that the run was planned for."""
    epochs = draw(st.integers(1, 25))
    curves = {signal: draw(st.lists(number, min_size=epochs, max_size=epochs)) for signal in SIGNALS}
    return curves, draw(st.integers(epochs, 40))


def fed(found: StoppingRule, curves, total):
    """The decision after each epoch."""
    online = OnlineStopping(found, total_epochs=total)
    epochs = len(next(iter(curves.values())))
    return [online.update({name: curve[epoch] for name, curve in curves.items()}) for epoch in range(epochs)]


def until(curves, epochs):
    return {name: curve[:epochs] for name, curve in curves.items()}


@given(run=runs())
def test_online_chooses_what_hindsight_would_of_the_epochs_seen_until_it_stops(run):
    curves, total = run
    for found in RULES.values():
        for epoch, decision in enumerate(fed(found, curves, total)):
            assert decision.choice == found.choose(until(curves, epoch + 1), total)
            if decision.stop:
                break


@given(run=runs())
def test_a_choice_is_the_epoch_that_ended_or_the_one_before_so_one_checkpoint_suffices(run):
    curves, total = run
    for found in RULES.values():
        kept = None
        for epoch in range(len(curves["gwa"])):
            choice = found.choose(until(curves, epoch + 1), total).epoch
            assert choice in (kept, epoch)
            kept = choice


@given(run=runs(), later=runs())
def test_what_has_stopped_or_settled_does_not_depend_on_what_comes_later(run, later):
    curves, total = run
    longer = {signal: curve + later[0][signal] for signal, curve in curves.items()}
    for found in RULES.values():
        before, after = fed(found, curves, total), fed(found, longer, total)
        assert after[: len(before)] == before
        if before[-1].stop:
            assert after[-1] == before[-1]
        if before[-1].choice.settled:
            assert found.choose(longer, total) == before[-1].choice


@given(values=st.lists(st.integers(0, 9), min_size=1, max_size=25))
def test_validation_chooses_the_first_of_the_largest_and_stops_when_that_has_stood(values):
    curves = {"validation_accuracy": [value / 10 for value in values]}
    chosen = stopping_rule("validation").choose(curves, len(values)).epoch
    assert values[chosen] == max(values)
    assert max(values) not in values[:chosen]
    total = 10 * len(values)  # nothing but patience keeps it from stopping later than this
    stops = [decision.stop for decision in fed(stopping_rule("validation", patience=3), curves, total)]
    for epoch, stopped in enumerate(stops):
        recent = [max(values[:k]) for k in range(1, epoch + 2)]
        stood = recent[-4:].count(recent[-1]) == 4 and len(recent) >= 4
        assert not stopped or stood


def test_patience_does_not_count_in_the_first_tenth():
    falling = {"validation_accuracy": [0.9, 0.1, 0.1, 0.1, 0.1, 0.1]}
    assert [d.stop for d in fed(stopping_rule("validation", patience=1), falling, 40)] == [False] * 4 + [True, True]


@given(values=st.lists(st.integers(0, 5), min_size=1, max_size=30))
def test_labelwave_takes_the_first_minimum_of_the_moving_average_that_stands(values):
    curves = {"prediction_changes": [math.nan, *map(float, values)]}
    waves = [sum(values[max(0, k - 3) : k]) / len(values[max(0, k - 3) : k]) for k in range(1, len(values) + 1)]
    minima = [
        i
        for i in range(len(waves) - 3)
        if waves[i] <= min(waves[i + 1 : i + 4]) and all(waves[i] < wave for wave in waves[:i])
    ]
    choice = stopping_rule("labelwave").choose(curves, 100)
    assert choice.settled == bool(minima)
    assert choice.epoch - 1 == (minima[0] if minima else waves.index(min(waves)))


def test_gradient_disparity_stops_where_it_has_risen_five_times():
    curve = [1.0, 2, 1, 2, 3, 2, 3, 4, 5, 6]
    choice = stopping_rule("gradient-disparity").choose({"gradient_disparity": curve}, 10)
    assert (choice.epoch, choice.settled) == (7, True)
    assert not stopping_rule("gradient-disparity").choose({"gradient_disparity": curve[:7]}, 10).settled


def test_aggregates_without_a_pole_skip_the_first_tenth_as_gwa_does():
    curve = [0.9, 0.8, 0.1, 0.3, 0.2] + [0.1] * 15
    assert stopping_rule("bounded-gwa").choose({"bounded_gwa": curve}, 20).epoch == 3
    assert stopping_rule("quantile-gwa").choose({"quantile_gwa": [math.nan] * 4}, 4).epoch == 3


def test_the_last_epoch_needs_no_signal_and_never_stops():
    decisions = fed(stopping_rule("last"), {"anything": [1.0] * 9}, 9)
    assert [(d.choice.epoch, d.keep, d.stop) for d in decisions] == [(epoch, True, False) for epoch in range(9)]


def test_a_moving_average_leaves_out_what_is_missing():
    assert moving_average([math.nan, 2, 4, 9], 2)[1:] == [2, 3, 6.5]
    assert math.isnan(moving_average([math.nan], 2)[0])


def curve(gwa, e=None, k=None):
    e = e or [0.1] * len(gwa)
    k = k or [0.0] * len(gwa)
    return {"directional_alignment": e, "dispersion": k, "gwa": gwa}


def chosen(rule, gwa, total=None, **others):
    return stopping_rule(rule).choose(curve(gwa, **others), total or len(gwa)).epoch


def test_from_scratch_the_first_tenth_is_skipped():
    gwa = [0.9, 0.8, 0.1, 0.3, 0.2] + [0.1] * 15
    assert chosen("gwa-scratch", gwa) == 3
    assert chosen("gwa-scratch", gwa[:1], total=20) == 0
    assert chosen("gwa-scratch", [0.5, 0.4], total=2) == 1


def test_fine_tuning_takes_the_largest_after_the_first_minimum():
    assert chosen("gwa-finetune", [0.5, 0.3, 0.2, 0.4, 0.1, 0.45, 0.2]) == 5
    assert chosen("gwa-finetune", [0.1, 0.3, 0.2]) == 1
    assert chosen("gwa-finetune", [0.5, 0.4, 0.3]) == 2, "no minimum yet: the last"


def test_dispersion_takes_the_smallest_k_after_the_peak_of_e():
    e, k = [0.1, 0.4, 0.3, 0.2], [-5.0, 0.3, 0.1, 0.2]
    assert chosen("dispersion", [0.1] * 4, e=e, k=k) == 2


def test_a_bimodal_epoch_is_never_the_largest():
    assert chosen("gwa-scratch", [0.0, 0.2, math.nan, 0.1]) == 1
    assert chosen("gwa-scratch", [math.nan] * 4) == 3


def test_last_is_the_last():
    assert chosen("last", [0.5, 0.1, 0.2]) == 2


def test_training_stops_when_the_choice_has_stood_for_so_long():
    rising = curve([0.1, 0.2, 0.3, 0.4])
    assert not stopping_rule("gwa-scratch", patience=1).stops(rising, 20)
    fallen = curve([0.1, 0.1, 0.1, 0.5, 0.4, 0.3])
    assert stopping_rule("gwa-scratch", patience=2).stops(fallen, 20)
    assert not stopping_rule("gwa-scratch", patience=3).stops(fallen, 20)
    assert not stopping_rule("last", patience=1).stops(fallen, 20)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: stopping_rule("luck"), "unknown stopping rule 'luck'"),
    (lambda: training_rule("luck"), "unknown stopping rule 'luck'"),
    (lambda: training_rule("validation"), "'validation' reads validation_accuracy, which this training"),
    (lambda: training_rule("gradient-disparity"), "reads gradient_disparity.*choose from gwa-scratch"),
    (lambda: stopping_rule("validation", patience=0), "patience: expected at least 1"),
    (lambda: OnlineStopping(stopping_rule("last"), total_epochs=0), "total_epochs: expected at least 1"),
    (lambda: OnlineStopping("luck", total_epochs=9), "unknown stopping rule 'luck'"),
    (
        lambda: OnlineStopping("labelwave", total_epochs=9).update({"gwa": 1.0}),
        "needs 'prediction_changes'",
    ),
    (lambda: OnlineStopping(stopping_rule("last"), total_epochs=9).decision, "has seen no epoch"),
])  # fmt: skip
def test_what_cannot_work_is_refused(make, message):
    with pytest.raises(SettingsError, match=message):
        make()


def test_a_training_can_select_by_every_rule_whose_signals_it_records():
    assert set(RULES) - set(recorded_rules()) == {"validation", "gradient-disparity"}
    assert all(training_rule(name).name == name for name in recorded_rules())


def test_every_rule_says_what_it_selects():
    for name, rule in RULES.items():
        assert rule.name == name
        assert rule.choose.__doc__, name
