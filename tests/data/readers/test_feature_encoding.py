"""Columns of numbers with gaps, of categories and of times become features without a look at the labels."""

import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from gwaudit import load_dataset
from gwaudit.core.errors import BrokenRowsError
from gwaudit.data.readers.column_cells import cells_of
from gwaudit.data.readers.feature_encoding import MOST_CATEGORIES, FeatureColumn, encode_features
from gwaudit.data.reading_notes import ReadingNotes

N = 120
RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal(N).round(3)
LABELS = np.where(RANDOM.random(N) < 0.5, "cat", "dog")
COLOURS = np.array(["red", "green", "blue", "grey"])[RANDOM.integers(0, 4, N)]


def load(folder, name="t.csv", **columns):
    frame = pd.DataFrame({"x": X, **columns, "label": LABELS})
    frame.to_parquet(folder / name) if name.endswith("parquet") else frame.to_csv(folder / name, index=False)
    return load_dataset(folder / name)


def matrix(dataset):
    return dataset.read(torch.arange(len(dataset))).numpy()


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_missing_and_infinite_numbers_get_the_median_and_a_mark(tmp_path, name):
    a = RANDOM.standard_normal(N)
    a[[3, 5]], a[7] = np.nan, np.inf
    dataset = load(tmp_path, name, a=a, empty=np.nan)
    values = matrix(dataset)
    assert len(dataset) == N
    assert not dataset.skipped
    assert values.shape == (N, 3)
    assert (np.flatnonzero(values[:, 2] > 0) == [3, 5, 7]).all()
    median = values[np.argsort(np.where(np.isfinite(a), a, np.nan))[(N - 3) // 2], 1]
    np.testing.assert_allclose(values[[3, 5, 7], 1], median, atol=0.1)
    assert any("and a feature marks them: a (3, 1 of them infinite)" in remark for remark in dataset.notes.remarks)
    assert dataset.notes.columns_left_out == {"without a value": ["empty"]}


def test_cells_that_are_no_numbers_are_taken_as_missing_with_a_warning(tmp_path):
    a = [f"{value:.2f}" for value in RANDOM.standard_normal(N)]
    a[2], a[4], a[6] = "?", "1.5x", "N/A"
    dataset = load(tmp_path, a=a)
    (warning,) = dataset.notes.warnings
    assert "cells of the column a that are no numbers are taken as missing: 1, such as '1.5x'." in warning
    assert any("a (3)" in remark for remark in dataset.notes.remarks)


def test_a_row_without_any_value_is_broken(tmp_path):
    a = X.copy()
    a[5] = np.nan
    pd.DataFrame({"a": a, "b": [None if i == 5 else "u" if i % 2 else "v" for i in range(N)], "label": LABELS}).to_csv(
        tmp_path / "t.csv", index=False
    )
    with pytest.raises(BrokenRowsError, match=r"row 5 .*has no value in the columns of features \(a, b\)"):
        load_dataset(tmp_path / "t.csv")
    assert len(load_dataset(tmp_path / "t.csv", on_error="skip")) == N - 1


def test_categories_of_every_type_become_the_same_features_in_any_order_of_the_rows(tmp_path):
    expected = matrix(load(tmp_path, c=COLOURS))
    assert expected.shape == (N, 5)
    codes = {"red": 7, "green": 1, "blue": 3, "grey": 9}
    for name, column in {
        "a.parquet": COLOURS,
        "b.parquet": pd.Categorical(COLOURS, categories=["grey", "red", "green", "blue", "pink"]),
        "c.csv": [f" {colour} " for colour in COLOURS],
        "d.parquet": pd.Categorical([codes[colour] for colour in COLOURS]),
    }.items():
        features = matrix(load(tmp_path, name, c=column))
        assert sorted(features.T.tolist()) == sorted(expected.T.tolist()), name
    order = RANDOM.permutation(N)
    frame = pd.DataFrame({"x": X, "c": COLOURS, "label": LABELS}).iloc[order]
    frame.to_csv(tmp_path / "o.csv", index=False)
    np.testing.assert_allclose(matrix(load_dataset(tmp_path / "o.csv")), expected[order], atol=1e-6)


def test_a_column_of_categories_weighs_as_much_as_a_column_of_numbers(tmp_path):
    many = [f"v{i}" for i in RANDOM.integers(0, 20, N)]
    values = matrix(load(tmp_path, b=COLOURS, many=many, flag=X > 0))
    of_columns = [values[:, :1], values[:, 1:5], values[:, 5:-1], values[:, -1:]]
    variances = [block.var(0).sum() for block in of_columns]
    np.testing.assert_allclose(variances, variances[0], rtol=1e-4)
    np.testing.assert_allclose((values**2).mean(), 1, rtol=1e-4)


def test_rare_values_share_a_feature_and_many_values_a_hash():
    rare = cells_of(pa.chunked_array([["a", "b"] * 50 + ["c", "d", "e"]]))
    notes = ReadingNotes()
    features = encode_features([FeatureColumn("rare", rare)], 103, notes)
    assert features.matrix.shape == (103, 3)
    assert "share a feature: rare (3 values)" in " ".join(notes.remarks)
    numbers = pa.array([f"{i % 400}" for i in range(4000)])
    features = encode_features([FeatureColumn("many", cells_of(pa.chunked_array([numbers])))], 4000, notes)
    assert features.matrix.shape == (4000, MOST_CATEGORIES)
    assert "the rarer ones share features by a hash: many (400 values)" in " ".join(notes.remarks)


def test_a_missing_category_is_a_category(tmp_path):
    c = np.where(RANDOM.random(N) < 0.3, None, "deck")
    dataset = load(tmp_path, c=c)
    assert dataset.input_shape == (3,)
    assert any("rows without a category are a category of their own: c" in remark for remark in dataset.notes.remarks)


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_times_are_numbers(tmp_path, name):
    days = RANDOM.integers(0, 900, N)
    when = pd.Series([datetime.datetime(2020, 1, 1) + datetime.timedelta(int(day)) for day in days])
    dataset = load(tmp_path, name, when=when)
    assert dataset.notes.columns_used["features"] == ["x", "when"]
    assert np.corrcoef(matrix(dataset)[:, 1], days)[0, 1] > 0.98
    assert "dates and times are read as numbers: when" in dataset.notes.remarks


def test_dates_of_every_year_are_read(tmp_path):
    when = [f"{9999 if i == 3 else 2020}-01-{1 + i % 28:02d}" for i in RANDOM.permutation(N)]
    dataset = load(tmp_path, when=when)
    assert dataset.notes.columns_used["features"] == ["x", "when"]
    assert np.isfinite(matrix(dataset)).all()


@pytest.mark.parametrize("values", [np.array([1.7e308, -1.7e308] * (N // 2)), X * 1e-310])
def test_the_largest_and_smallest_numbers_are_features(tmp_path, values):
    assert np.isfinite(matrix(load(tmp_path, "t.parquet", a=values))).all()


@pytest.mark.parametrize("kind", [pa.date32(), pa.time64("ns"), pa.duration("ms"), pa.timestamp("us", "UTC")])
def test_every_type_of_time_is_read(tmp_path, kind):
    numbers = pa.array(RANDOM.integers(0, 9000, N)).cast(pa.int32() if kind == pa.date32() else pa.int64())
    table = pa.table({"x": X, "t": numbers.cast(kind), "label": LABELS})
    pq.write_table(table, tmp_path / "t.parquet")
    dataset = load_dataset(tmp_path / "t.parquet")
    assert np.corrcoef(matrix(dataset)[:, 1], numbers.to_numpy())[0, 1] > 0.95


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_large_whole_numbers_keep_their_differences(tmp_path, name):
    nanoseconds = 1_700_000_000_000_000_000 + RANDOM.integers(0, 100, N)
    dataset = load(tmp_path, name, t=nanoseconds)
    assert np.corrcoef(matrix(dataset)[:, 1], nanoseconds - nanoseconds.min())[0, 1] > 0.98


def test_categories_may_be_named(tmp_path):
    load(tmp_path, c=COLOURS)
    dataset = load_dataset(tmp_path / "t.csv", feature_columns="c")
    assert (dataset.input_shape, dataset.notes.columns_used["features"]) == ((4,), ["c"])
