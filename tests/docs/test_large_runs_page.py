"""The queries of docs/howto/large-runs.md give what gwaudit computes, from the files that count."""

import numpy as np
import pytest

from gwaudit import rank
from gwaudit.analysis.sample_statistics import sample_statistics
from gwaudit.store.block_files import SIGNALS
from gwaudit.store.store import FINAL_PASS, TrajectoryStore
from helpers.command import gwaudit
from helpers.pages import ROOT, blocks, gwaudit_calls

N, EPOCHS = 50, 4
PAGE = ROOT / "docs" / "howto" / "large-runs.md"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run with gaps, a final pass, and the files of an attempt that was killed; sample 3 was never recorded."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    path = tmp_path / "runs" / "photos"
    with TrajectoryStore.create(path, given_labels=np.arange(N) % 2, class_names=["a", "b"], block_rows=20) as store:
        for epoch in range(EPOCHS):
            ids = np.setdiff1d(np.flatnonzero(random.random(N) < 0.8), [3])
            signals = {name: random.normal(0, 1, len(ids)).astype(dtype) for name, dtype in SIGNALS.items()}
            store.append_epoch(epoch, ids, signals, metrics={FINAL_PASS: 0.0} if epoch == EPOCHS - 1 else {})
        killed = store.begin_epoch(EPOCHS)
        killed.write_block(0, {name: np.full(20, 9, dtype) for name, dtype in SIGNALS.items()})
    return TrajectoryStore.open(path)


def test_duckdb_and_polars_compute_mean_alignment_and_negative_share(run):
    expected = sample_statistics(run, range(EPOCHS - 1))
    namespace = {}
    duckdb_program, polars_program = blocks(PAGE, "python")
    exec(compile(duckdb_program, "duckdb.py", "exec"), namespace)
    by_duckdb = namespace["statistics"]
    exec(compile(polars_program, "polars.py", "exec"), namespace)
    by_polars = namespace["statistics"]
    for column in ("mean_alignment", "share_negative"):
        np.testing.assert_allclose(by_duckdb[column], expected[column], rtol=1e-6)
        np.testing.assert_allclose(by_polars[column].to_numpy(), by_duckdb[column], rtol=1e-6)
    assert np.isnan(by_duckdb["share_negative"][3])


def test_the_queries_of_the_page_run(run):
    rank(run).save(run.path)
    shown = []
    for arguments in gwaudit_calls(PAGE):
        done = gwaudit(*arguments)
        assert done.returncode == 0, done.stderr
        shown.append(done.stdout)
    assert "... and 9 more rows" in shown[1]
    assert "suspects.csv: 0 rows" in shown[2]
