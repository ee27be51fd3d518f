"""Decisions on multi-label data: sets of classes corrected, written in every form, and audited again."""

import json
import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gwaudit import apply_decisions, audit
from gwaudit.analysis.audit import Audit
from gwaudit.core.errors import DataError, UnresolvedDecisionsError
from gwaudit.core.settings import DataSettings, TrainingSettings
from gwaudit.core.spreadsheets import write_csv
from gwaudit.data.class_names import joined_names
from gwaudit.data.label_files import read_label_file
from gwaudit.data.loading import load_dataset
from gwaudit.review.corrections import correct
from gwaudit.review.decisions import read_decisions
from helpers.command import gwaudit

NAMES = ("beach", "city; new", "=forest")  # one looks like a formula to a spreadsheet
N = 60


def class_matrix():
    labels = np.random.default_rng(1).integers(0, 2, (N, 3))
    labels[:4] = [[1, 0, 1], [0, 0, 0], [0, 1, 0], [1, 1, 1]]
    return labels


@pytest.fixture(scope="module", params=["csv", "columns.csv", "jsonl", "parquet", "npz"])
def tagged(request, tmp_path_factory):
    """A run on one of the forms of multi-label data: its path, and the options to read it."""
    folder, labels = tmp_path_factory.mktemp("tagged"), class_matrix()
    features = np.random.default_rng(0).normal(size=(N, 4))
    file, options = folder / f"tags.{request.param}", {}
    table = pd.DataFrame(features, columns=[*"abcd"])
    lists = [[name for name, is_there in zip(NAMES, row, strict=True) if is_there] for row in labels]
    match request.param:
        case "csv":
            table.assign(label=["|".join(names) for names in lists]).to_csv(file, index=False)
            options = {"label_separator": "|"}
        case "columns.csv":
            table.assign(**dict(zip(NAMES, labels.T, strict=True))).to_csv(file, index=False)
            options = {"label_column": ",".join(NAMES)}
        case "jsonl":
            rows = table.assign(label=lists).to_dict("records")
            file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        case "parquet":
            pq.write_table(pa.table({**table, "label": lists}), file)
        case "npz":
            np.savez(file, x=features.astype(np.float32), y=labels, class_names=np.array(NAMES))
    run = folder / "run"
    audit(DataSettings(str(file), **options), run, TrainingSettings(epochs=2))
    return run, file, options


def decide(run, path, rows):
    """Write decisions as someone does who adds a column to suspects.csv: (sample, class, decision)."""
    frame = Audit.load(run).frame.set_index(["sample_id", "class_name"])
    chosen = frame.loc[[row[:2] for row in rows]].reset_index().assign(decision=[row[2] for row in rows])
    columns = ["sample_id", "key", "class_name", "given_name", "suggested_label", "suggested_name", "decision"]
    chosen[columns].to_csv(path, index=False)
    return path


def test_decisions_change_single_classes_and_the_corrected_data_are_read_again(tagged, tmp_path):
    run, file, options = tagged
    names = load_dataset(str(file), **options).class_names
    column = [names.index(name) for name in NAMES]
    rows = [(0, "beach", "relabel"), (0, "=forest", "keep"), (1, "city; new", "relabel"), (2, "city; new", "drop"),
            (2, "beach", "relabel"), (3, "beach", "unsure")]  # fmt: skip
    applied = apply_decisions(run, decide(run, tmp_path / "decided.csv", rows), tmp_path / "out")
    expected = class_matrix()
    expected[0, 0], expected[1, 1] = 0, 1
    expected = np.delete(expected, 2, 0)
    assert applied.decisions.counts() == {"keep": 1, "relabel": 3, "drop": 1, "unsure": 1}

    changes = pd.read_csv(tmp_path / "out" / "changes.csv", keep_default_na=False)
    assert changes[["sample_id", "class_name", "old", "new"]].to_numpy().tolist() == [
        [0, "beach", "present", "absent"],
        [1, "city; new", "absent", "present"],
        [2, "city; new", "present", ""],
    ]
    again = load_dataset(str(file), labels=tmp_path / "out" / "labels.csv", **options)
    np.testing.assert_array_equal(again.labels[:, column], expected)
    assert len(again.skipped) == 1
    split = load_dataset(str(file), labels=tmp_path / "out" / "split" / "split.csv", **options)
    np.testing.assert_array_equal(split.labels, again.labels)
    np.testing.assert_array_equal(np.load(tmp_path / "out" / "split" / "labels.npy"), again.labels)
    corrected = tmp_path / "out" / file.name
    if "columns" in file.name or file.suffix == ".npz":
        assert not corrected.exists()
    else:
        np.testing.assert_array_equal(load_dataset(str(corrected), **options).labels[:, column], expected)
    assert f"--labels {tmp_path / 'out' / 'labels.csv'}" in applied.next_command


def test_data_that_are_corrected_already_say_so(tagged, tmp_path):
    run, file, options = tagged
    decided = decide(run, tmp_path / "decided.csv", [(0, "beach", "relabel"), (2, "beach", "keep")])
    apply_decisions(run, decided, tmp_path / "out")
    corrected = load_dataset(str(file), labels=tmp_path / "out" / "labels.csv", **options)
    ranked = Audit.load(run)
    corrections = correct(ranked, read_decisions(decided, ranked), dataset=corrected)
    assert corrections.counts["corrected"] == 1
    assert "1 labels, 0 samples gone" in corrections.notes[0]
    np.testing.assert_array_equal(corrections.new, corrected.labels)


@pytest.mark.parametrize("undecided", ["drop", "relabel"])
def test_suspects_without_a_decision_are_treated_as_asked(tagged, tmp_path, undecided):
    run, _, _ = tagged
    flagged = gwaudit("rank", run, "--top", 4, "--force")
    assert flagged.returncode == 0, flagged.stderr
    ranked = Audit.load(run)
    first = ranked.suspects.iloc[0]
    decided = decide(run, tmp_path / "d.csv", [(int(first["sample_id"]), first["class_name"], "keep")])
    done = gwaudit("apply", run, decided, "-o", tmp_path / "out", "--undecided", undecided)
    assert done.returncode == 0, done.stderr
    changes = pd.read_csv(tmp_path / "out" / "changes.csv", keep_default_na=False)
    others = ranked.suspects.iloc[1:]
    if undecided == "drop":
        n_dropped = others["sample_id"].nunique()
        assert f"0 labels changed and {n_dropped} sample{'s' * (n_dropped != 1)} dropped of {N}" in done.stdout
        assert set(changes["sample_id"]) == set(others["sample_id"])
    else:
        classes = changes["class_name"].str.removeprefix("'")  # of what is no formula
        pairs = set(zip(changes["sample_id"], classes, strict=True))
        assert pairs == set(zip(others["sample_id"], others["class_name"], strict=True))


@pytest.mark.parametrize(("header", "row", "message"), [
    ("sample_id,decision", "0,relabel", "column class_name: the run is multi-label"),
    ("sample_id,class_name,decision", "0,,keep", "column class_name: the run is multi-label"),
    ("sample_id,class_name,decision", "0,beech,keep", r"'beech' is none of the 3 classes \(did you mean 'beach'"),
    ("sample_id,class_name,given_name,decision", "0,beach,absent,keep", "class 'beach', has the label 'present'"),
    ("sample_id,class_name,label", "0,beach,beach", "column label: 'beach' is neither absent nor present"),
    ("sample_id,class,decision", "0,beach,keep", "call it class_name"),
])  # fmt: skip
def test_rows_that_are_not_about_one_class_decide_nothing(tagged, tmp_path, header, row, message):
    run, _, _ = tagged
    file = tmp_path / "decided.csv"
    file.write_text(f"{header}\n{row}\n")
    with pytest.raises(UnresolvedDecisionsError) as refused:
        apply_decisions(run, file, tmp_path / "out")
    assert re.search(message, refused.value.problems[0].reason)
    assert not (tmp_path / "out").exists()


def test_two_classes_of_a_sample_are_two_decisions_and_one_class_decided_twice_is_a_conflict(tagged, tmp_path):
    run, _, _ = tagged
    file = tmp_path / "decided.csv"
    file.write_text("sample_id,class_name,decision\n0,beach,keep\n0,=forest,relabel\n0,=forest,keep\n")
    with pytest.raises(UnresolvedDecisionsError) as refused:
        apply_decisions(run, file, tmp_path / "out")
    assert [problem.row for problem in refused.value.problems] == [4]
    assert "class '=forest', ('" in refused.value.problems[0].reason


def test_guidelines_are_refused_as_they_are_about_pairs_of_classes(tagged, tmp_path):
    run, _, _ = tagged
    (tmp_path / "questions.csv").write_text("given_name,other_name,decision\nbeach,=forest,keep\n")
    decided = decide(run, tmp_path / "decided.csv", [(0, "beach", "keep")])
    with pytest.raises(DataError, match=r"one class in place of another, and .* is multi-label"):
        apply_decisions(run, decided, tmp_path / "out", guidelines=tmp_path / "questions.csv")
    assert gwaudit("noise", run, "--questions", tmp_path / "new.csv").returncode == 2
    assert not (tmp_path / "new.csv").exists()


class TestLabelFiles:
    """Tables of sets of classes beside multi-label data."""

    KEYS = ("a", "b", "c")

    def read(self, tmp_path, text, names=("cat", "dog"), **options):
        file = tmp_path / "labels.csv"
        file.write_text(text)
        return read_label_file(file, options.pop("key", None), names, self.KEYS, multi_label=True, **options).given

    @pytest.mark.parametrize("text", [
        "key,label\nc,dog\na,cat|dog\nb,\n",
        "key,labels\nc,dog\na,cat|dog\nb,\n",
        "label\ncat|dog\n\"\"\ndog\n",
        "key,cat,dog\nc,0,1\na,1,1\nb,0,0\n",
        "key,dog,other,cat\nc,true,x,false\na,true,y,true\nb,false,z,false\n",
    ])  # fmt: skip
    def test_each_form_is_read(self, tmp_path, text):
        assert self.read(tmp_path, text).tolist() == [[1, 1], [0, 0], [0, 1]]

    def test_a_separator_of_the_source_is_taken_too(self, tmp_path):
        assert self.read(tmp_path, "key,label\na,cat+dog\nb,dog\n", separator="+").tolist() == [
            [1, 1],
            [0, 1],
            [-1, -1],
        ]

    @pytest.mark.parametrize(("text", "message"), [
        ("key,label\na,cat,dog\n", "row 2: has 3 cells, the header has 2"),
        ("key,label\na,cat;dog\n", r"row 2: column label: 'cat;dog' is none of the 2 classes.*separated by '\|'"),
        ("key,label\na,cat\nb,dgo\n", r"row 3: column label: 'dgo' is none .*did you mean 'dog'"),
        ("key,tags\na,cat\n", "no column 'label', and not one for each class: its columns are key, tags"),
        ("key,cat\na,1\n", "no column 'label', and not one for each class"),
        ("key,cat,dog\na,1,2\n", "row 2: 'dog' is '2', not 0 or 1"),
        ("key,label\nz,cat\n", "row 2: the data have no sample with the key 'z'"),
        ("label\ncat\n", "1 labels for the 3 samples"),
    ])  # fmt: skip
    def test_what_cannot_be_read_is_named(self, tmp_path, text, message):
        with pytest.raises(DataError, match=message):
            self.read(tmp_path, text)

    @settings(max_examples=50, deadline=None)
    @given(
        st.lists(st.text(st.sampled_from("ab|;,/=-'"), min_size=1, max_size=4), min_size=2, max_size=4, unique=True),
        st.data(),
    )
    def test_what_is_written_is_read_as_it_was(self, tmp_path_factory, names, data):
        labels = np.array(data.draw(st.lists(st.lists(st.integers(0, 1), min_size=len(names), max_size=len(names)),
                                             min_size=3, max_size=3)))  # fmt: skip
        if "||" in "".join(names) or any(name != name.strip("|") for name in names):
            return  # such names cannot be joined; no separator fits them
        file = tmp_path_factory.mktemp("labels") / "labels.csv"
        write_csv(pd.DataFrame({"key": self.KEYS, "label": joined_names(labels, names)}), file)
        np.testing.assert_array_equal(read_label_file(file, None, names, self.KEYS, multi_label=True).given, labels)
