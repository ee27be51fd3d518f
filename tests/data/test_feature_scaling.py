"""Each feature is scaled by itself: no unit, offset, outlier or tail of one column erases another, or itself."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.model_selection import cross_val_predict

from gwaudit import TrainingSettings, TrajectoryStore, load_dataset, rank, train
from gwaudit.data.feature_scaling import LIMIT, in_float32, scale_matrix, scale_numbers
from gwaudit.training.preprocessing import with_scaled_features

N = 300
Z = np.random.default_rng(0).standard_normal((N, 3))
LABELS = (Z.sum(1) > 0).astype(int)
WRONG = np.arange(N) % 10 == 0
GIVEN = np.where(WRONG, 1 - LABELS, LABELS)

EXTREME = {
    "as they are": lambda z: z,
    "unix time": lambda z: 1.7e9 + z,
    "huge": lambda z: 1e300 * z,
    "tiny": lambda z: 1e-300 * z,
    "one typo": lambda z: np.where(np.arange(N) == 7, 1e30, z),
    "income": lambda z: np.exp(3 * z),
    "both signs": lambda z: z**9,
}


@pytest.mark.parametrize("shape", EXTREME.values(), ids=EXTREME)
def test_a_logistic_regression_finds_the_errors_whatever_the_scale_of_a_column(shape):
    x = Z.copy()
    x[:, 0] = shape(Z[:, 0])
    model = LogisticRegression()
    given = cross_val_predict(model, scale_matrix(x), GIVEN, method="predict_proba")[np.arange(N), GIVEN]
    assert average_precision_score(WRONG, -given) > 0.75


@given(arrays(np.float64, 30, elements=st.floats(allow_nan=False, allow_infinity=False)))
def test_a_scaled_column_is_finite_and_bounded_and_keeps_the_order(numbers):
    scaled = scale_numbers(numbers)
    if scaled is None:
        assert np.ptp(numbers / np.abs(numbers).max()) < 1e-12 if numbers.any() else True
        return
    assert np.isfinite(scaled.values).all()
    assert np.abs(scaled.values).max() <= 2 * LIMIT / 0.1
    assert (np.diff(scaled.values[np.argsort(numbers)]) >= -1e-9).all()
    assert abs(scaled.values.mean()) < 1e-5
    assert scaled.values.std() < 1 + 1e-5


def test_the_order_of_the_rows_and_the_unit_change_nothing():
    order = np.random.default_rng(1).permutation(N)
    for numbers in (Z[:, 0], np.exp(3 * Z[:, 0])):
        scaled = scale_numbers(numbers).values
        np.testing.assert_allclose(scale_numbers(numbers[order]).values, scaled[order], atol=1e-6)
        np.testing.assert_allclose(scale_numbers(-1000 * numbers).values, -scaled, atol=1e-6)


def test_arrays_keep_what_float32_would_lose_and_csv_gives_the_same_features(tmp_path):
    x = Z.round(3).copy()
    x[:, 0] = np.round(1.7e9 + 100 * Z[:, 0])
    np.savez(tmp_path / "t.npz", x=np.c_[x, np.ones(N)], y=GIVEN)
    pd.DataFrame(x, columns=list("abc")).assign(one=1, label=GIVEN).to_csv(tmp_path / "t.csv", index=False)
    both = torch.utils.data.TensorDataset(torch.tensor(x), torch.tensor(GIVEN))
    from_array, from_table = load_dataset(tmp_path / "t.npz"), load_dataset(tmp_path / "t.csv")
    assert "1 of 4 features have one value in all rows and are not used: 3" in from_array.notes.remarks[0]
    np.testing.assert_array_equal(from_array.read(torch.arange(N))[:, 0], x[:, 0])
    expected = from_table.read(torch.arange(N))
    for dataset in (from_array, load_dataset(both)):
        scaled = with_scaled_features(dataset)
        np.testing.assert_allclose(scaled.read(torch.arange(N))[:, :3], expected, atol=1e-6)
        assert scaled.channel_statistics()[1].tolist() == [1] * scaled.input_shape[0]
    assert in_float32(Z).dtype == np.float32
    order = np.random.default_rng(1).permutation(N)
    shuffled = with_scaled_features(from_array.subset(order))  # a subset is scaled too, by its own samples
    np.testing.assert_allclose(shuffled.read(torch.arange(N))[:, :3], expected[order], atol=1e-6)


def test_statistics_of_features_are_those_of_each_by_itself(tmp_path):
    x = np.c_[Z[:, 0], 1e6 + Z[:, 1], np.full(N, 1.7e9)].astype(np.float32)
    np.savez(tmp_path / "t.npz", x=x, y=GIVEN)
    _, std = load_dataset(tmp_path / "t.npz").channel_statistics()
    np.testing.assert_allclose(std, [x[:, 0].std(), x[:, 1].astype(float).std(), np.inf], rtol=1e-4)


def test_an_audit_of_a_table_finds_the_errors_beside_any_column_and_goes_on_with_the_same_features(tmp_path):
    table = pd.DataFrame(Z, columns=list("abc")).assign(
        time=1.7e9 + np.arange(N) % 17, huge=1e300, income=np.exp(5 * np.random.default_rng(2).standard_normal(N)),
        a=np.where(np.arange(N) % 9 == 0, np.nan, Z[:, 0]), b=np.where(np.arange(N) == 4, 1e30, Z[:, 1]),
        side=np.where(Z[:, 2] > 0, "left", "right"), label=np.where(GIVEN == 1, "yes", "no"),
    )  # fmt: skip
    table.to_csv(tmp_path / "t.csv", index=False)
    dataset, training = load_dataset(tmp_path / "t.csv"), TrainingSettings(epochs=8, batch_size=32)
    train(dataset, tmp_path / "run", training)
    with TrajectoryStore.open(tmp_path / "run") as store:
        assert average_precision_score(WRONG, rank(store).by_id("log_odds_wrong")) > 0.6
    assert load_dataset(tmp_path / "t.csv").fingerprint == dataset.fingerprint
    train(load_dataset(tmp_path / "t.csv"), tmp_path / "run", training, resume=True)
