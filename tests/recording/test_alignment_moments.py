"""An epoch's alignments in three numbers, exactly or from mini-batches, and marked where GWA means nothing."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from gwaudit.core.errors import SettingsError
from gwaudit.recording.moments import BETA, MovingMoments, epoch_moments, gradient_weight_alignment


def normal(count: int, mean: float, spread: float, seed: int = 0) -> torch.Tensor:
    return mean + spread * torch.randn(count, generator=torch.Generator().manual_seed(seed))


@given(st.integers(0, 2**32 - 1), st.integers(8, 200), st.floats(-0.9, 0.9), st.floats(1e-3, 0.3))
@settings(deadline=None)
def test_moments_are_those_of_scipy(seed: int, count: int, mean: float, spread: float) -> None:
    values = normal(count, mean, spread, seed)
    moments = epoch_moments(values)
    expected = float(stats.kurtosis(values.double().numpy(), fisher=True, bias=True))
    assert moments.count == count
    assert moments.directional_alignment == pytest.approx(float(values.double().mean()), abs=1e-12)
    assert moments.dispersion == pytest.approx(expected, rel=1e-9, abs=1e-9)
    if not moments.bimodal:
        assert moments.gwa == pytest.approx(moments.directional_alignment / (expected + BETA), rel=1e-9)


def test_a_million_float32_alignments_are_summed_in_float64() -> None:
    values = normal(1_000_000, 0.3, 1e-3)
    expected = float(stats.kurtosis(values.double().numpy()))
    assert epoch_moments(values).dispersion == pytest.approx(expected, abs=1e-6)


def test_missing_samples_are_left_out() -> None:
    values = normal(100, 0.1, 0.2)
    with_missing = torch.cat([values, torch.full((7,), torch.nan)])
    assert epoch_moments(with_missing) == epoch_moments(values)


def test_two_humps_are_marked_instead_of_dividing_by_nearly_nothing() -> None:
    humps = torch.cat([normal(500, 0.5, 0.05, 1), normal(500, -0.5, 0.05, 2)])
    moments = epoch_moments(humps)
    assert moments.bimodal
    assert math.isnan(moments.gwa)
    assert moments.dispersion == pytest.approx(-2, abs=0.1)
    assert not epoch_moments(normal(1000, 0.2, 0.1)).bimodal


@pytest.mark.parametrize("dispersion", [-2.0, -BETA - 1e-9, -BETA, -BETA + 1e-9, math.nan])
def test_gwa_is_never_wild(dispersion: float) -> None:
    assert math.isnan(gradient_weight_alignment(0.3, dispersion))


def test_beta_moves_the_pole() -> None:
    values = normal(500, 0.2, 0.1)
    moments = epoch_moments(values, beta=3.0)
    assert moments.gwa == pytest.approx(moments.directional_alignment / (moments.dispersion + 3.0))


@pytest.mark.parametrize("values", [torch.empty(0), torch.full((3,), torch.nan)])
def test_an_epoch_without_samples_has_no_moments(values: torch.Tensor) -> None:
    moments = epoch_moments(values)
    assert moments.count == 0
    assert math.isnan(moments.directional_alignment)
    assert math.isnan(moments.gwa)
    assert not moments.bimodal


def test_equal_alignments_have_a_mean_and_no_shape() -> None:
    moments = epoch_moments(torch.full((50,), 0.3))
    assert moments.directional_alignment == pytest.approx(0.3)
    assert math.isnan(moments.dispersion)
    assert math.isnan(moments.gwa)
    assert not moments.bimodal


def test_the_first_mini_batch_is_taken_as_it_is() -> None:
    batch = normal(64, 0.1, 0.2)
    moving = MovingMoments(steps_per_epoch=100)
    moving.update(batch)
    exact = epoch_moments(batch)
    assert moving.moments().count == 64
    assert moving.moments().directional_alignment == pytest.approx(exact.directional_alignment, abs=1e-9)
    assert moving.moments().dispersion == pytest.approx(exact.dispersion, abs=1e-6)


@given(st.integers(0, 2**32 - 1), st.integers(1, 20), st.integers(1, 10))
@settings(deadline=None, max_examples=50)
def test_moving_moments_are_averages_that_forget_at_the_same_rate(
    seed: int, updates: int, steps_per_epoch: int
) -> None:
    batches = normal(updates * 16, 0.1, 0.2, seed).reshape(updates, 16)
    moving = MovingMoments(steps_per_epoch)
    for batch in batches:
        moving.update(batch)

    factor = 1 / steps_per_epoch
    weights = factor * (1 - factor) ** np.arange(updates)[::-1]
    weights = np.repeat(weights / weights.sum(), 16) / 16
    values = batches.double().numpy().ravel()
    mean = weights @ values
    expected = weights @ (values - mean) ** 4 / (weights @ (values - mean) ** 2) ** 2 - 3
    assert moving.moments().directional_alignment == pytest.approx(mean, abs=1e-9)
    assert moving.moments().dispersion == pytest.approx(expected, abs=1e-6)


def test_moving_moments_of_a_steady_epoch_are_near_the_exact_ones() -> None:
    batches = normal(400 * 128, 0.1, 0.2).reshape(400, 128)
    moving = MovingMoments(steps_per_epoch=200)
    for batch in batches:
        moving.update(batch)
    exact = epoch_moments(batches.flatten())
    assert moving.moments().directional_alignment == pytest.approx(exact.directional_alignment, abs=0.01)
    assert moving.moments().gwa == pytest.approx(exact.gwa, rel=0.1)


def test_moving_moments_never_wait_for_the_device() -> None:
    moving = MovingMoments(steps_per_epoch=10)
    moving.update(torch.empty(8, device="meta"))
    moving.update(torch.empty(8, device="meta"))


def test_moving_moments_of_nothing_are_nothing() -> None:
    moving = MovingMoments(steps_per_epoch=10)
    moving.update(torch.empty(0))
    assert moving.moments().count == 0
    assert math.isnan(moving.moments().gwa)


def test_an_epoch_has_at_least_one_step() -> None:
    with pytest.raises(SettingsError, match="steps_per_epoch: expected at least 1, got 0"):
        MovingMoments(0)
