"""The statistics of every sample, against DuckDB and pandas on the same Parquet files."""

from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gwaudit.analysis.sample_statistics import COLUMNS, most_voted, sample_statistics
from gwaudit.core.errors import SettingsError
from gwaudit.store.store import MISSING_LABEL, SIGNALS, TrajectoryStore

N, EPOCHS, CLASSES = 53, 9, 4
WINDOW = range(4, 9)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Random trajectories with gaps; sample 7 is never recorded, sample 8 only before the window."""
    random = np.random.default_rng(0)
    labels = random.integers(0, CLASSES, N)
    path = tmp_path_factory.mktemp("statistics") / "run"
    names = [f"class {i}" for i in range(CLASSES)]
    with TrajectoryStore.create(path, given_labels=labels, class_names=names, block_rows=16) as store:
        for epoch in range(EPOCHS):
            there = random.random(N) < 0.8
            there[7] = False
            there[8] = epoch < 4
            ids = random.permutation(np.flatnonzero(there))
            rival = (labels[ids] + random.integers(1, CLASSES, len(ids))) % CLASSES
            signals = {
                "alignment": random.normal(0, 0.1, len(ids)),
                "alternative_alignment": random.normal(0, 0.1, len(ids)),
                "margin": random.normal(0, 3, len(ids)),
                "loss": random.exponential(1, len(ids)),
                "given_probability": random.random(len(ids)),
                "el2n": random.random(len(ids)),
                "alternative_label": rival,
                "predicted_label": random.integers(0, CLASSES, len(ids)),
            }
            store.append_epoch(
                epoch,
                ids,
                {k: np.asarray(v, np.int32 if v.dtype.kind == "i" else np.float32) for k, v in signals.items()},
            )
    return TrajectoryStore.open(path)


@pytest.fixture(scope="module")
def rows(run):
    """Every recorded row, as a data frame."""
    frames = [run.read_epoch(epoch).to_pandas().assign(epoch=epoch) for epoch in run.epochs]
    table = pd.concat(frames, ignore_index=True)
    table["given"] = run.given_labels()[table["sample_id"]]
    return table[table["alignment"].notna()]


def test_every_column_is_there_for_every_sample(run):
    frame = sample_statistics(run, WINDOW)
    assert list(frame.columns) == list(COLUMNS)
    assert frame.index.tolist() == list(range(N))


def test_means_counts_and_slopes_are_duckdbs(run, rows):
    frame = sample_statistics(run, WINDOW)
    query = f"""
        SELECT sample_id,
            count(*) FILTER (epoch >= {WINDOW.start}) AS epochs,
            avg(alignment) FILTER (epoch >= {WINDOW.start}) AS mean_alignment,
            avg(alignment - alternative_alignment) FILTER (epoch >= {WINDOW.start}) AS mean_gap,
            avg(margin) FILTER (epoch >= {WINDOW.start}) AS mean_margin,
            avg(given_probability - exp(-(loss + margin)))
                FILTER (epoch >= {WINDOW.start}) AS mean_probability_margin,
            avg(loss) FILTER (epoch >= {WINDOW.start}) AS mean_loss,
            avg(given_probability) FILTER (epoch >= {WINDOW.start}) AS mean_given_probability,
            avg((alignment < 0)::INT) AS share_negative,
            arg_max(alignment, epoch) AS last_alignment,
            regr_slope(alignment, epoch) AS trend,
            avg(alignment) FILTER (epoch < {EPOCHS // 3}) AS early_alignment,
            avg(alignment) FILTER (epoch >= {EPOCHS - EPOCHS // 3}) AS late_alignment
        FROM rows GROUP BY sample_id ORDER BY sample_id"""
    expected = duckdb.sql(query).df().set_index("sample_id")
    assert len(expected) == N - 1
    actual = frame.loc[expected.index, expected.columns]
    pd.testing.assert_frame_equal(actual, expected, check_dtype=False, check_index_type=False, rtol=1e-4, atol=1e-6)


def test_runs_forgetting_and_votes_are_those_of_a_plain_loop(run, rows):
    frame = sample_statistics(run, WINDOW)
    for sample_id, history in rows.sort_values("epoch").groupby("sample_id"):
        row = frame.loc[sample_id]
        longest = current = learned = forgotten = 0
        was_right = False
        for gamma, right in zip(history["alignment"], history["predicted_label"] == history["given"], strict=True):
            current = current + 1 if gamma < 0 else 0
            longest = max(longest, current)
            learned += right and not was_right
            forgotten += was_right and not right
            was_right = right
        assert (row["longest_negative_run"], row["times_learned"], row["times_forgotten"]) == (
            longest,
            learned,
            forgotten,
        )
        window = history[history["epoch"].isin(WINDOW)]
        if window.empty:
            assert row["alternative_label"] == row["predicted_label"] == MISSING_LABEL
            continue
        votes = window.groupby("alternative_label")["alternative_alignment"].agg(["size", "sum"])
        winner = votes.sort_values(["size", "sum"], ascending=False).index[0]
        assert row["alternative_label"] == winner
        assert row["alternative_votes"] == pytest.approx(votes.loc[winner, "size"] / len(window))
        predicted = window["predicted_label"].mode()
        assert row["predicted_label"] == predicted.min()


def test_what_was_never_recorded_is_missing_and_not_a_number(run):
    never, early_only = sample_statistics(run, WINDOW).loc[7], sample_statistics(run, WINDOW).loc[8]
    assert never["epochs"] == 0
    assert never[["mean_alignment", "share_negative", "last_alignment", "trend"]].isna().all()
    assert early_only["epochs"] == 0
    assert np.isnan(early_only["mean_alignment"])
    assert not np.isnan(early_only["last_alignment"])


@pytest.mark.parametrize("pool", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_an_executor_changes_nothing(run, pool):
    with pool(2) as executor:
        pd.testing.assert_frame_equal(sample_statistics(run, WINDOW, executor=executor), sample_statistics(run, WINDOW))


def test_threads_that_share_a_block_change_nothing(run, monkeypatch):
    whole = sample_statistics(run, WINDOW)
    monkeypatch.setattr("gwaudit.analysis.blocks.ROW_GROUP", 5)
    monkeypatch.setattr("gwaudit.analysis.sample_statistics.threads_of", lambda executor: 3)
    with TrajectoryStore.open(run.path) as store:
        pd.testing.assert_frame_equal(sample_statistics(store, WINDOW), whole, check_exact=True)


def test_rows_that_every_epoch_recorded_do_not_depend_on_others(tmp_path):
    """Where no row of a part is missing, the sums are computed in another way."""
    random, n = np.random.default_rng(1), 40
    epochs = [
        {
            name: random.integers(0, 3, n) if dtype.kind == "i" else random.normal(size=n)
            for name, dtype in SIGNALS.items()
        }
        for _ in range(EPOCHS)
    ]
    statistics = []
    for first in (0, 1):
        labels = np.arange(n) % 3
        with TrajectoryStore.create(tmp_path / f"{first}", given_labels=labels, class_names=["a", "b", "c"]) as store:
            for epoch, signals in enumerate(epochs):
                recorded = {name: values[first:].astype(SIGNALS[name]) for name, values in signals.items()}
                store.append_epoch(epoch, np.arange(first, n), recorded)
            statistics.append(sample_statistics(store, WINDOW).iloc[1:])
    pd.testing.assert_frame_equal(*statistics, check_exact=True)


@pytest.mark.parametrize("window", [range(0), range(3, 10), range(-1, 3), range(9, 10)])
def test_a_window_beyond_the_run_is_refused(run, window):
    with pytest.raises(SettingsError, match="not within the 9 training epochs"):
        sample_statistics(run, window)


@given(
    votes=st.lists(st.lists(st.integers(-1, 3), min_size=3, max_size=3), min_size=1, max_size=8),
    seed=st.integers(0, 99),
)
@settings(deadline=None)
def test_the_most_voted_label_wins_and_ties_go_to_the_larger_sum(votes, seed):
    table = np.array(votes, np.int16)
    weights = np.random.default_rng(seed).uniform(-1, 1, table.shape).astype(np.float32)
    labels, share = most_voted(table, weights)
    for column in range(3):
        cast = table[:, column] >= 0
        if not cast.any():
            assert labels[column] == MISSING_LABEL
            assert np.isnan(share[column])
            continue
        tally = {
            label: ((table[:, column] == label).sum(), weights[table[:, column] == label, column].astype(float).sum())
            for label in set(table[cast, column].tolist())
        }
        assert labels[column] == max(tally, key=tally.get)
        assert share[column] == pytest.approx(tally[labels[column]][0] / cast.sum())
