"""The ranking benchmark, in small: it measures a process of its own, and cleans up."""

import numpy as np

from gwaudit.benchmarks.cost.ranking import ranking


def test_the_peak_is_of_the_measured_process_and_not_of_the_one_that_started_it(tmp_path):
    held = np.ones(2**28)  # 2 GiB, as a test process that has loaded several libraries
    assert ranking(samples=1000, epochs=2, classes=10, folder=tmp_path).report_peak_gib < held.nbytes / 2**30 / 2


def test_a_small_run_is_ranked_and_reported_well_within_the_targets(tmp_path):
    cost = ranking(samples=20_000, epochs=10, classes=50, folder=tmp_path)
    assert cost.rows == 200_000
    assert 0 < cost.seconds < 20
    assert 0.05 < cost.peak_gib < 2
    assert 0 < cost.report_seconds < 20
    assert cost.peak_gib <= cost.report_peak_gib < 4  # torch comes in with the data sets
    assert 1 < cost.report_mb < 15
    assert 0 < cost.store_gib < 0.1
    assert cost.within_target
    assert not list(tmp_path.iterdir())
