"""Groups of samples are read from a file, by the column that names the samples, or from a column of the source."""

import numpy as np
import pandas as pd
import pytest

from gwaudit.analysis.groups import NO_GROUP, read_group_columns
from gwaudit.core.errors import DataError
from gwaudit.core.settings import DataSettings
from gwaudit.data.loading import load_dataset
from gwaudit.data.summary import summarise
from gwaudit.pipeline.groups import groups_of_run, read_groups
from gwaudit.store.store import TrajectoryStore

RATERS = ["ann", "bob", None, "ann"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A table with its raters, and a run of it whose keys are those of the column photo."""
    folder = tmp_path_factory.mktemp("table")
    table = pd.DataFrame({"photo": [f"p{i}" for i in range(40)], "x": np.arange(40.0), "label": list("ab") * 20})
    table.assign(Rater=RATERS * 10).sample(frac=1, random_state=0).to_csv(folder / "t.csv", index=False)
    columns = {"id_column": "photo", "label_column": "label", "feature_columns": "x"}
    dataset = load_dataset(folder / "t.csv", **columns)
    settings = {
        "data": DataSettings(str(folder / "t.csv"), **columns).to_dict(),
        "reading": summarise(dataset, str(folder / "t.csv")).to_dict(),
    }
    create_run(folder / "run", dataset, settings)
    return folder


def create_run(path, dataset, settings):
    TrajectoryStore.create(
        path,
        given_labels=dataset.labels,
        class_names=dataset.class_names,
        keys=dataset.keys,
        fingerprint=dataset.fingerprint,
        settings=settings,
    ).close()


def expected(run):
    with TrajectoryStore.open(run) as store:
        keys = store.keys()
    return [RATERS[int(key[1:]) % 4] or "" for key in keys]


def test_the_name_of_a_column_of_the_source_groups_the_samples(folder):
    groups = groups_of_run(folder / "run", "rater")
    assert groups == {"Rater": expected(folder / "run")}
    with TrajectoryStore.open(folder / "run") as store:
        assert read_groups(store, "rater").tolist() == [group or NO_GROUP for group in groups["Rater"]]


def test_the_source_itself_is_a_file_of_groups_by_its_own_column_of_keys(folder):
    assert groups_of_run(folder / "run", folder / "t.csv")["Rater"] == expected(folder / "run")
    rows = (folder / "t.csv").read_text().splitlines()
    (folder / "more.csv").write_text("\n".join([*rows, "p99,1,a,ann"]))
    with pytest.raises(DataError, match=r"1 of 41 rows name no sample.* in the column photo, such as 'p99' \(row 42\)"):
        groups_of_run(folder / "run", folder / "more.csv")


def test_neither_a_file_nor_a_column_is_refused_with_the_columns(folder):
    with pytest.raises(DataError, match=r"no file of groups at Ratr.*columns photo, x, label, Rater .did you mean"):
        groups_of_run(folder / "run", "Ratr")


def test_a_run_that_records_no_source_asks_for_a_file(folder, tmp_path):
    create_run(tmp_path / "run", load_dataset(folder / "t.csv", label_column="label", feature_columns="x"), {})
    with pytest.raises(DataError, match="does not record: write a CSV file with a column key and a column Rater"):
        groups_of_run(tmp_path / "run", "Rater")


def test_a_column_id_of_keys_names_the_samples(tmp_path):
    (tmp_path / "groups.csv").write_text("ID;annotator\nc;ann\na;bob\n")
    groups = read_group_columns(tmp_path / "groups.csv", ["a", "b", "c"], tmp_path)
    assert groups == {"annotator": ["bob", "", "ann"]}


def test_two_rows_of_one_sample_are_refused_by_their_rows_under_any_name_of_the_column(tmp_path):
    for column in ("key", "id"):
        (tmp_path / "groups.csv").write_text(f"{column},annotator\na,ann\na,bob\n")
        with pytest.raises(DataError, match=r"row 3: sample 0 \('a'\) has a group already, in row 2"):
            read_group_columns(tmp_path / "groups.csv", ["a", "b", "c"], tmp_path)


def test_a_column_id_is_refused_where_the_keys_are_numbers_of_rows(tmp_path):
    (tmp_path / "groups.csv").write_text("id,annotator\n1,ann\n2,bob\n")  # perhaps counted from 1
    with pytest.raises(DataError, match=r"'id' are keys of .*: call this column key"):
        read_group_columns(tmp_path / "groups.csv", [str(i) for i in range(5)], tmp_path)
