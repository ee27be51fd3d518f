"""Features are columns that describe the samples; row numbers, ids and the label itself are not, and each is named."""

import datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gwaudit import load_dataset
from gwaudit.core.errors import DataError
from gwaudit.data.feature_scaling import scale_numbers

N = 40
RANDOM = np.random.default_rng(0)
LABELS = ["cat", "dog"] * (N // 2)
X = RANDOM.standard_normal(N).round(3)


def used(dataset):
    return dataset.notes.columns_used["features"]


def left_out(dataset):
    return {name: reason for reason, names in dataset.notes.columns_left_out.items() for name in names}


def test_the_index_of_a_data_frame_is_no_feature(tmp_path):
    frame = pd.DataFrame({"x": X, "label": LABELS})
    shuffled = frame.sample(frac=1, random_state=1)
    shuffled.to_parquet(tmp_path / "shuffled.parquet")
    shuffled.set_index(pd.Index(RANDOM.random(N), name="when")).to_parquet(tmp_path / "named.parquet")
    shuffled.to_csv(tmp_path / "shuffled.csv")
    shuffled.reset_index().head(30).to_csv(tmp_path / "reset.csv", index=False)
    names = {"shuffled.parquet": "__index_level_0__", "named.parquet": "when", "shuffled.csv": "Unnamed: 0"}
    for name, index in {**names, "reset.csv": "index"}.items():
        dataset = load_dataset(tmp_path / name)
        assert used(dataset) == ["x"], name
        assert left_out(dataset).keys() == {index}


@pytest.mark.parametrize(("values", "reason"), [
    (np.arange(N), "numbers the rows"),
    (np.arange(1, N + 1), "numbers the rows"),
    (np.arange(N) * 3 + 100, "rises from row to row"),
    (RANDOM.permutation(N), "all different"),
    (RANDOM.permutation(50)[:N] + 1000, "all different"),
    ([f"s{i:03d}" for i in RANDOM.permutation(N)], "texts that are all different"),
    ([None] * N, "without a value"),
    ([{"cat": 3, "dog": 1}[label] for label in LABELS], "says the label again"),
    ([{"cat": "Katze", "dog": "Hund"}[label] for label in LABELS], "says the label again"),
    ([f"the {i} and more" for i in range(N)], "texts that are nearly all different"),
    ([datetime.date(2020, 1, 1) + datetime.timedelta(i) for i in range(N)], "rises from row to row"),
    ([[{"a": 1}]] * N, "neither numbers nor categories"),
    (["blue"] * N, "one value in all rows"),
    ([1.7e9] * N, "one value in all rows"),
])  # fmt: skip
def test_columns_that_describe_no_sample_are_left_out(tmp_path, values, reason):
    pq.write_table(pa.table({"a": list(values), "x": X, "label": LABELS}), tmp_path / "t.parquet")
    dataset = load_dataset(tmp_path / "t.parquet")
    assert used(dataset) == ["x"]
    assert reason in left_out(dataset)["a"]
    warned = any("a" in warning for warning in dataset.notes.warnings)
    assert warned == (reason.startswith(("neither", "texts that are nearly")) or "again" in reason)
    if not isinstance(values[0], str | list | None) and reason != "one value in all rows":
        for names in ("a,x", ["a", "x"]):
            assert load_dataset(tmp_path / "t.parquet", feature_columns=names).input_shape == (2,)


@pytest.mark.parametrize("values", [
    RANDOM.integers(0, 9, N).tolist(),
    (RANDOM.permutation(100_000)[:N]).tolist(),  # no id by its name, nor by chance
    [True, False, False, True] * (N // 4),
    [Decimal("1.25"), Decimal("2.50"), Decimal("0.75"), Decimal("1.25")] * (N // 4),
    ["True", "false", "false", "TRUE"] * (N // 4),
    ["1,5", "2", "0,25", "-1,125"] * (N // 4),
])  # fmt: skip
def test_numbers_of_every_kind_are_features(tmp_path, values):
    pq.write_table(pa.table({"a": values, "x": X, "label": LABELS}), tmp_path / "t.parquet")
    dataset = load_dataset(tmp_path / "t.parquet")
    assert used(dataset) == ["a", "x"]
    assert dataset.inputs.values.isfinite().all()
    numbers = [float({"true": 1, "false": 0}.get(str(v).lower(), str(v).replace(",", "."))) for v in values]
    expected = scale_numbers(np.array(numbers, np.float64)).values
    np.testing.assert_allclose(dataset.inputs.values[:, 0], expected, rtol=1e-5)


def test_dates_in_other_forms_are_left_out_with_a_warning(tmp_path):
    for dates in ([f"{1 + i % 28}/{1 + i % 12}/2020" for i in range(N)], [f"{1 + i % 3}.12.20" for i in range(N)]):
        pd.DataFrame({"when": dates, "x": X, "label": LABELS}).to_csv(tmp_path / "t.csv", index=False)
        dataset = load_dataset(tmp_path / "t.csv")
        assert left_out(dataset) == {"when": "dates that are not written as in 2020-12-31, which are not read"}
        assert "are not used: when" in dataset.notes.warnings[0]


def test_a_column_that_is_nearly_the_label_is_warned_about(tmp_path):
    truth = [int(label == "dog") for label in LABELS]
    truth[3] = 0
    pd.DataFrame({"x": X, "truth": truth, "label": LABELS}).to_csv(tmp_path / "t.csv", index=False)
    dataset = load_dataset(tmp_path / "t.csv")
    assert used(dataset) == ["x", "truth"]
    assert "agrees with 98% of the labels" in dataset.notes.warnings[0]


@pytest.mark.parametrize("values", [
    [f"{i}%" for i in range(N)], [f"$ {i}.50" for i in range(N)], [f"{i + 1},{i + 100}" for i in range(N)],
])  # fmt: skip
def test_numbers_with_units_or_thousands_are_left_out_with_a_warning(tmp_path, values):
    pd.DataFrame({"price": values, "x": X, "label": LABELS}).to_csv(tmp_path / "t.csv", index=False)
    dataset = load_dataset(tmp_path / "t.csv")
    assert used(dataset) == ["x"]
    assert left_out(dataset) == {"price": "numbers with a unit or a separator of thousands, which are not read"}
    assert "columns that are neither numbers nor categories are not used: price" in dataset.notes.warnings[0]


@pytest.mark.parametrize("without", [[], ["fish"]])
def test_the_one_hot_form_of_the_label_is_left_out_as_a_whole(tmp_path, without):
    labels = np.array(["cat", "dog", "fish", "dog"] * (N // 4))
    columns = {name: (labels == name).astype(int) for name in ("cat", "dog", "fish") if name not in without}
    frame = pd.DataFrame({"x": X, **columns, "label": labels})
    frame.to_csv(tmp_path / "t.csv", index=False)
    dataset = load_dataset(tmp_path / "t.csv")
    assert used(dataset) == ["x"]
    assert left_out(dataset) == dict.fromkeys(columns, "say the label again")
    assert "together they say the label again" in dataset.notes.warnings[0]
    features = ",".join(["x", *columns])
    assert load_dataset(tmp_path / "t.csv", feature_columns=features).input_shape == (1 + len(columns),)


def test_one_column_that_is_true_of_one_class_alone_is_a_feature(tmp_path):
    animals = ["bird", "cat", "fish", "dog"] * (N // 4)
    frame = pd.DataFrame({"feathers": [animal == "bird" for animal in animals], "x": X, "label": animals})
    frame.to_csv(tmp_path / "t.csv", index=False)
    dataset = load_dataset(tmp_path / "t.csv")
    assert used(dataset) == ["feathers", "x"]
    assert not dataset.notes.warnings


def test_the_label_beside_its_multi_label_columns_is_no_feature(tmp_path):
    codes = np.arange(N) % 4
    frame = pd.DataFrame({"x": X, "a": codes % 2, "b": codes // 2, "code": codes * 10})
    frame.to_csv(tmp_path / "t.csv", index=False)
    dataset = load_dataset(tmp_path / "t.csv", label_column="a,b")
    assert used(dataset) == ["x"]
    assert left_out(dataset) == {"code": "says the label again"}


def test_columns_that_say_the_label_again_are_warned_about_once(tmp_path):
    frame = pd.DataFrame({"x": X, "label": LABELS})
    frame.assign(code=frame.label.map({"cat": 3, "dog": 1}), name=frame.label.str.upper()).to_csv(
        tmp_path / "t.csv", index=False
    )
    (warning,) = load_dataset(tmp_path / "t.csv").notes.warnings
    assert "are left out: code, name. With them" in warning


def test_tables_without_features_say_why(tmp_path):
    pd.DataFrame({"nr": range(N), "label": LABELS}).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(
        DataError, match=r"no column of images, texts, numbers or categories.*Not used: nr \(numbers the rows\)"
    ):
        load_dataset(tmp_path / "t.csv")
    names = pd.DataFrame({"name": [f"n{i} a" for i in range(N)], "x": X, "one": 1, "label": LABELS})
    names.to_csv(tmp_path / "c.csv", index=False)
    with pytest.raises(DataError, match="'name' holds texts that are nearly all different"):
        load_dataset(tmp_path / "c.csv", feature_columns="x,name")
    with pytest.raises(DataError, match="the columns one have one value in all rows, or none: name others"):
        load_dataset(tmp_path / "c.csv", feature_columns="one")
    pq.write_table(pa.table([X, X + 1, LABELS], names=["x", "x", "label"]), tmp_path / "two.parquet")
    with pytest.raises(DataError, match="several columns 'x'"):
        load_dataset(tmp_path / "two.parquet")


@pytest.mark.parametrize("hide", [0, 0.4])
def test_a_renaming_of_the_label_with_gaps_is_a_copy_of_it(tmp_path, hide):
    renamed = [None if RANDOM.random() < hide else {"cat": "Katze", "dog": "Hund"}[label] for label in LABELS]
    pd.DataFrame({"x": X, "name": renamed, "label": LABELS}).to_csv(tmp_path / "t.csv", index=False)
    dataset = load_dataset(tmp_path / "t.csv")
    assert left_out(dataset) == {"name": "says the label again"}
    assert "are left out: name" in dataset.notes.warnings[0]


def test_a_column_that_only_one_of_two_classes_has_is_a_copy_of_the_label(tmp_path):
    dose = [None if label == "cat" else round(RANDOM.random(), 3) for label in LABELS]
    pd.DataFrame({"x": X, "dose": dose, "label": LABELS}).to_csv(tmp_path / "t.csv", index=False)
    assert left_out(load_dataset(tmp_path / "t.csv")) == {"dose": "says the label again"}


def test_the_one_hot_form_may_be_of_words_or_other_numbers(tmp_path):
    labels = np.array(["cat", "dog", "fish", "dog"] * (N // 4))
    columns = {"is_cat": np.where(labels == "cat", "yes", "no"), "is_dog": np.where(labels == "dog", -1, 1)}
    pd.DataFrame({"x": X, **columns, "label": labels}).to_csv(tmp_path / "t.csv", index=False)
    assert left_out(load_dataset(tmp_path / "t.csv")) == dict.fromkeys(columns, "say the label again")


@pytest.mark.parametrize("kind", ["finer", "coarser"])
def test_a_finer_or_coarser_form_of_the_label_is_warned_about(tmp_path, kind):
    breeds = np.array([f"breed {i % 8}" for i in range(N)])
    kinds = np.array([f"kind {i % 8 // 3}" for i in range(N)])
    column, label = (breeds, kinds) if kind == "finer" else (kinds, breeds)
    pd.DataFrame({"x": X, "other": column, "label": label}).to_csv(tmp_path / "t.csv", index=False)
    dataset = load_dataset(tmp_path / "t.csv")
    assert used(dataset) == ["x", "other"]
    assert "the column other may have been made from the labels" in dataset.notes.warnings[0]


def test_names_of_classes_in_the_metadata_declare_categories():
    datasets = pytest.importorskip("datasets", reason="needs the extra hf")
    classes = datasets.ClassLabel(names=["red", "green", "blue"])
    features = datasets.Features({"x": datasets.Value("float64"), "colour": classes, "label": datasets.Value("string")})
    rows = {"x": X, "colour": RANDOM.integers(0, 3, N), "label": LABELS}
    dataset = load_dataset(datasets.Dataset.from_dict(rows, features=features))
    assert used(dataset) == ["x", "colour"]
    assert dataset.input_shape == (4,)


def test_truth_values_with_gaps_are_numbers_with_gaps(tmp_path):
    flags = [None if i % 7 == 0 else bool(RANDOM.random() < 0.5) for i in range(N)]
    for name in ("t.parquet", "t.csv"):
        frame = pd.DataFrame({"x": X, "flag": flags, "label": LABELS})
        frame.to_parquet(tmp_path / name) if name.endswith("t") else frame.to_csv(tmp_path / name, index=False)
        dataset = load_dataset(tmp_path / name)
        assert (used(dataset), dataset.input_shape, len(dataset)) == (["x", "flag"], (3,), N)
