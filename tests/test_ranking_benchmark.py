"""The ranking benchmark, in small: it measures a process of its own, and cleans up."""

from gwaudit.benchmarks.ranking import ranking


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
