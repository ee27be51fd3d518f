"""The epoch that each rule keeps, on curves drawn by hand."""

import math

import pytest

from gwaudit.analysis.early_stopping import select_epoch, should_stop
from gwaudit.core.errors import SettingsError
from gwaudit.recording.moments import EpochMoments


def curve(gwa, e=None, k=None):
    e = e or [0.1] * len(gwa)
    k = k or [0.0] * len(gwa)
    return [EpochMoments(10, *values, math.isnan(values[2])) for values in zip(e, k, gwa, strict=True)]


def chosen(rule, gwa, total=None, **others):
    return select_epoch(rule, curve(gwa, **others), total_epochs=total or len(gwa)).epoch


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


def test_an_epoch_with_two_humps_is_never_the_largest():
    assert chosen("gwa-scratch", [0.0, 0.2, math.nan, 0.1]) == 1
    assert chosen("gwa-scratch", [math.nan] * 4) == 3


def test_last_is_the_last():
    assert chosen("last", [0.5, 0.1, 0.2]) == 2


def test_training_stops_when_the_choice_has_stood_for_so_long():
    rising = curve([0.1, 0.2, 0.3, 0.4])
    assert not should_stop("gwa-scratch", rising, patience=1, total_epochs=20)
    fallen = curve([0.1, 0.1, 0.1, 0.5, 0.4, 0.3])
    assert should_stop("gwa-scratch", fallen, patience=2, total_epochs=20)
    assert not should_stop("gwa-scratch", fallen, patience=3, total_epochs=20)
    assert not should_stop("last", fallen, patience=1, total_epochs=20)


def test_an_unknown_rule_is_refused():
    with pytest.raises(SettingsError, match="unknown selection rule"):
        select_epoch("luck", curve([0.1]), total_epochs=1)
