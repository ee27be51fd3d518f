"""Intervals of the number of wrong labels hold it as often as they say, and are exact where nothing is unknown."""

import numpy as np
import pytest
from scipy.stats import hypergeom

from gwaudit.analysis.stratified_intervals import (
    Cells,
    chance_to_decide,
    ratio_limits,
    whole_limits,
    wrong_among_undecided,
    wrong_by_domain,
)

SIZES, WRONG, DRAWN = np.array([150, 600, 1200, 3000]), np.array([140, 120, 24, 6]), np.array([50, 50, 50, 50])


def cells(sizes, drawn, wrong):
    sizes, drawn, wrong = np.broadcast_arrays(sizes, drawn, wrong)
    return Cells(sizes - drawn, 0 * sizes, sizes - drawn, drawn, wrong)


def test_the_interval_covers_the_truth_in_about_95_of_100_samples():
    rng = np.random.default_rng(0)
    wrong = rng.hypergeometric(WRONG, SIZES - WRONG, DRAWN, (2000, 4))
    result = wrong_among_undecided(cells(SIZES, DRAWN, wrong))
    left = WRONG.sum() - wrong.sum(1)
    assert 0.93 <= ((result.low <= left) & (left <= result.high)).mean() <= 0.98
    assert abs((result.estimate - left).mean()) < 0.02 * WRONG.sum()


def test_nothing_found_bounds_the_number_from_above_alone():
    result = wrong_among_undecided(cells([1000], [60], [0]))
    assert result.estimate == result.low == 0
    assert 10 < result.high < 940 * 0.06  # the exact upper limit of 0 of 60


def test_cells_in_which_nothing_was_found_are_bounded_by_the_largest():
    one, four = (wrong_among_undecided(cells([1000] * k, [60] * k, [0] * k)) for k in (1, 4))
    assert four.high == pytest.approx(float(one.high))


def test_all_wrong_is_the_mirror_of_none_wrong():
    result = wrong_among_undecided(cells([1000], [60], [60]))
    assert result.estimate == result.high == 940
    assert result.low > 940 * 0.94


def test_a_cell_that_is_decided_wholly_adds_no_width():
    result = wrong_among_undecided(cells([50], [50], [20]))
    assert result.estimate == result.low == result.high == 0


def test_nothing_is_claimed_of_a_cell_without_random_decisions():
    result = wrong_among_undecided(cells([1000, 80], [60, 0], [0, 0]))
    alone = wrong_among_undecided(cells([1000], [60], [0]))
    assert result.unsampled == 80
    assert result.low == 0
    assert result.high == pytest.approx(float(alone.high) + 80)


def test_decisions_that_somebody_chose_are_known_and_bound_the_rest():
    # 90 of 100 others are decided, all found wrong are among them: the 10 left hold no more than 10.
    chosen = Cells(*(np.array([value]) for value in (100, 40, 10, 50, 25)))
    result = wrong_among_undecided(chosen)
    assert 0 <= result.low <= result.estimate <= result.high <= 10


def test_a_domain_with_few_decisions_uses_those_of_its_cell():
    cell = np.zeros(1000, int)
    domain = np.zeros(1000, int)
    domain[:20] = 1
    is_random = np.zeros(1000, bool)
    is_random[500:600] = True
    is_wrong = is_random & (np.arange(1000) < 510)
    counts = Cells.count(cell, is_wrong, is_random & ~is_wrong, is_random, domain)
    result = wrong_by_domain(counts)
    assert result.estimate[1] == 0
    assert 0 < result.high[1] <= 20
    assert result.estimate[0] == pytest.approx(88, abs=2)


def test_numbers_of_domains_add_up_to_that_in_all_and_no_limit_is_above_it():
    rng = np.random.default_rng(0)
    for _ in range(50):
        cell, domain = rng.integers(0, 3, 600), rng.integers(0, 4, 600)
        answer = rng.random(600) < rng.choice([0.0, 0.05, 0.5, 1.0])
        is_random = rng.random(600) < rng.choice([0.02, 0.2])
        is_decided = is_random | (rng.random(600) < rng.choice([0.0, 0.3, 0.95]))
        counts = (cell, answer & is_decided, ~answer & is_decided, is_random)
        whole, parts = wrong_among_undecided(Cells.count(*counts)), wrong_by_domain(Cells.count(*counts, domain))
        assert parts.estimate.sum() == pytest.approx(float(whole.estimate))
        undecided = np.bincount(domain[~is_decided], minlength=4)
        assert (parts.low >= 0).all()
        assert (parts.low <= parts.estimate + 1e-6).all()
        assert (parts.estimate <= parts.high + 1e-6).all()
        assert (parts.high <= undecided).all()
        assert (parts.low <= whole.low).all()
        assert (parts.high <= whole.high + 1e-6).all()


@pytest.mark.parametrize(("samples", "wrong", "drawn"), [(85, 77, 60), (85, 77, 34), (82, 79, 12), (60, 6, 30)])
def test_limits_of_a_domain_that_lies_in_one_cell_hold_its_number(samples, wrong, drawn):
    """The exact coverage, over all samples that can be drawn; beta-binomial limits had 85 to 92 % in these cases."""
    found = np.arange(max(0, drawn - samples + wrong), min(drawn, wrong) + 1)

    def beside_another(own, other):
        counts = np.zeros((len(found), 2, 2), int)  # of two domains, each in a cell of its own
        counts[:, 0, 0], counts[:, 1, 1] = own, other
        return counts

    left = beside_another(samples - drawn, 500)
    counts = Cells(left, 0 * left, left, beside_another(drawn, 60), beside_another(found, 6))
    result = wrong_by_domain(counts)
    low, high = whole_limits(result.estimate, result.low, result.high)
    held = (low[:, 0] <= wrong - found) & (wrong - found <= high[:, 0])
    assert (hypergeom.pmf(found, samples, wrong, drawn) * held).sum() >= 0.925


def test_one_domain_of_all_samples_has_the_limits_in_all():
    counts = cells(SIZES, DRAWN, np.array([47, 10, 1, 0]))
    whole, part = wrong_among_undecided(counts), wrong_by_domain(Cells(*(a[None] for a in vars(counts).values())))
    assert (float(part.low[0]), float(part.high[0])) == (float(whole.low), float(whole.high))


def test_none_may_be_left_where_one_wrong_label_was_found_in_each_of_two_cells():
    sizes, drawn = np.array([80, 211, 275, 265]), np.array([75, 75, 75, 75])
    left = wrong_among_undecided(cells(sizes, drawn, np.array([75, 1, 0, 1])))
    assert np.ceil(left.low) == 5  # of the first cell alone
    mirror = wrong_among_undecided(cells(sizes, drawn, drawn - np.array([75, 1, 0, 1])))
    assert float(mirror.high) == pytest.approx((sizes - drawn).sum() - float(left.low))
    many = wrong_among_undecided(cells(sizes, drawn, np.array([75, 9, 0, 9])))
    assert many.low > 20


def test_the_ratio_of_a_number_to_one_that_may_be_zero_has_no_upper_limit():
    low, high = ratio_limits((10, 5, 20), (4, 0, 8))
    assert 0 < low < 2.5
    assert high == float("inf")


def test_limits_of_a_ratio_hold_it():
    low, high = ratio_limits((10, 6, 15), (100, 80, 120))
    assert 0.05 < low < 0.1 < high < 0.16


def test_the_chance_to_decide_falls_with_the_distance_of_the_limit_and_rises_with_decisions():
    counts = cells(SIZES, DRAWN, np.array([47, 10, 1, 0]))
    prior, found = WRONG / SIZES, 58
    total = found + float(wrong_among_undecided(counts).estimate)

    def chance(further, share):
        return chance_to_decide(counts, np.minimum(SIZES - DRAWN, further), found, total * share, prior)

    assert chance(50, 1.2) < chance(200, 1.2) < chance(10**9, 1.2) == 1
    assert chance(20, 1.2) < chance(20, 3.0)
