"""One answer settles all undecided samples of a pair of classes, as a decision of its own kind."""

import json

import pandas as pd
import pytest

from gwaudit.analysis.audit import Audit
from gwaudit.analysis.guidelines import guideline_questions
from gwaudit.core.errors import DataError
from gwaudit.review.guideline_answers import QUESTION_COLUMNS, Guideline, read_guidelines, samples_of, write_questions
from helpers.audits import make_audit, make_decisions
from helpers.command import gwaudit
from helpers.making import few_digits
from helpers.recorded_runs import make_run


@pytest.fixture
def audit():
    return make_audit(["a", "b", "c"], [0, 0, 1], ["cat", "dog"], suggested=[1, 1, 0], suspects=[0])


def write(path, *rows):
    pd.DataFrame(rows, columns=["given_name", "other_name", "decision"]).to_csv(path, index=False)
    return path


def test_answers_are_read_and_open_questions_passed_over(audit, tmp_path):
    path = write(tmp_path / "q.csv", ("cat", "dog", "Relabel "), ("dog", "cat", ""))
    assert read_guidelines(path, audit) == (Guideline(0, 1, "relabel", "q.csv", 2),)
    assert samples_of(Guideline(0, 1, "relabel", "q.csv", 2), audit).tolist() == [0]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("cat", "bird", "keep")], "row 2: 'bird' is no class of the run"),
        ([("cat", "dog", "perhaps")], "row 2: column decision: 'perhaps' is none of keep, relabel, drop"),
        ([("cat", "dog", "keep"), ("cat", "dog", "drop")], "row 3: this pair is answered in row 2 already, otherwise"),
        ([("cat", "dog", ""), ("dog", "cat", " ")], "no question has an answer: write one of keep, relabel, drop"),
        ([], "no question has an answer"),
        ([("cat", "cat", "keep")], "row 2: given_name and other_name are the same class"),
    ],
)
def test_answers_that_cannot_be_right_are_named(audit, tmp_path, rows, message):
    with pytest.raises(DataError, match=message):
        read_guidelines(write(tmp_path / "q.csv", *rows), audit)


def test_a_missing_file_or_column_is_named(audit, tmp_path):
    with pytest.raises(DataError, match="no file of guidelines"):
        read_guidelines(tmp_path / "no.csv", audit)
    (tmp_path / "q.csv").write_text("given_name,decision\ncat,keep\n")
    with pytest.raises(DataError, match="there is no column other_name"):
        read_guidelines(tmp_path / "q.csv", audit)


def test_questions_are_written_filled_in_and_applied(tmp_path):
    """A person writes the questions, answers one, decides one sample otherwise, and applies both."""
    run, questions = tmp_path / "run", tmp_path / "questions.csv"
    dataset = few_digits(300)
    order = sorted(range(300), key=lambda i: dataset.labels[i] != 3)  # make_run opposes the first fifth: all threes
    dataset = dataset.subset(pd.Index(order).to_numpy())
    with make_run(run, dataset, epochs=3):
        pass
    assert gwaudit("rank", run).returncode == 0
    done = gwaudit("noise", run, "--questions", questions)
    assert f"Written: {questions}" in done.stdout
    assert done.returncode == 0, done.stderr
    assert "Questions to settle once" in done.stdout
    shown = json.loads(gwaudit("noise", run, "--questions", questions, "--json").stdout)["questions"]
    assert (shown[0]["given"], shown[0]["other"]) == ("3", "4")
    table = pd.read_csv(questions, dtype=str, keep_default_na=False)
    assert tuple(table) == QUESTION_COLUMNS
    assert table.loc[0, ["given_name", "other_name"]].tolist() == ["3", "4"]
    table["decision"] = ["relabel", *[""] * (len(table) - 1)]
    table.to_csv(questions, index=False)
    audit = Audit.load(run)
    members = samples_of(Guideline(3, 4, "relabel", "", 2), audit)
    own = make_decisions(audit, (int(members[0]), "keep"))
    own.to_csv(tmp_path / "decisions.csv", index=False)
    done = gwaudit("apply", run, tmp_path / "decisions.csv", "--guidelines", questions, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    changes = pd.read_csv(tmp_path / "out" / "changes.csv", dtype=str)
    assert changes["sample_id"].astype(int).tolist() == members[1:].tolist()
    assert set(changes["reason"]) == {"relabelled by the guideline in questions.csv, row 2"}
    assert set(changes["new"]) == {"4"}


def test_the_written_table_is_read_again(audit, tmp_path):
    path = write_questions(guideline_questions(audit), tmp_path / "q.csv")
    with pytest.raises(DataError, match="no question has an answer"):
        read_guidelines(path, audit)
