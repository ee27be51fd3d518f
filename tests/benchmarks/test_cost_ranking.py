"""The ranking benchmark, in small: it measures processes of their own, and cleans up."""

import numpy as np
import pytest

from gwaudit.benchmarks.cost.ranking import RankingCost, ranking
from gwaudit.benchmarks.results import read_results
from gwaudit.core.errors import SettingsError
from gwaudit.store.block_files import SIGNALS


def test_a_small_run_is_measured_in_processes_of_its_own_and_deleted(tmp_path):
    held = np.ones(2**28)  # 2 GiB, as a test process that has loaded several libraries
    (cost,) = ranking([20_000], epochs=10, classes=50, folder=tmp_path, output=tmp_path / "results")
    assert cost.peak_gib < held.nbytes / 2**30 / 2
    assert cost.samples * cost.epochs == 200_000
    assert cost.rank_seconds > 0
    assert cost.rank_processor_seconds > 0
    assert 0.05 < cost.rank_peak_gib <= cost.peak_gib
    assert cost.results_seconds > 0
    assert 1 < cost.report_mb < 15
    assert cost.group_by_seconds > 0
    assert set(cost.bytes_by_signal) == {"sample_id", *SIGNALS}
    bytes_a_row = cost.store_gib * 2**30 / 200_000
    assert bytes_a_row - 5 < sum(cost.bytes_by_signal.values()) < bytes_a_row  # the rest is footers and samples
    assert read_results(tmp_path / "results" / "ranking.json", RankingCost) == [cost]
    assert (tmp_path / "results" / "ranking.md").read_text().count("\n") == 4 + 3 + len(SIGNALS) + 1
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


@pytest.mark.parametrize("sizes", [[], [0], [10, -1]])
def test_impossible_sizes_are_refused(sizes):
    with pytest.raises(SettingsError, match="at least 1"):
        ranking(sizes)
