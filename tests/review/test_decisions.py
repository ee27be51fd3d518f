"""Decisions come back exactly, whatever a spreadsheet or Label Studio made of them; what is unclear is reported."""

import csv
import io
import json
import subprocess
import sys

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gwaudit.core.errors import DataError
from gwaudit.core.safe_names import tag_names
from gwaudit.core.spreadsheets import from_cell, without_formula
from gwaudit.export.suspects import write_suspects
from gwaudit.review.decision_log import DecisionLog, LoggedDecision
from gwaudit.review.decisions import DECISION_COLUMNS, read_decisions, write_decisions
from helpers.audits import make_audit, make_decisions

HOSTILE = [
    "=cmd|' /C calc'!A0", "'=cmd", "''+x", "+1", "-", "@SUM(A1)", "\t\ttab", "\r\nx", 'a "b", c;d', "line\nline",
    "nul\0", "a\rb", "../../etc/passwd", "\u202egnp.exe", "\u200fعربي", "x" * 10_000, " padded ", "NA", "None", "007",
    "7.0", "é", "e\u0301", "TRUE", "'quoted'", "🦊", "C:\\x|y",
]  # fmt: skip
NAMES = ("cat", "dog", "=ant", "Ünder")


@pytest.fixture
def audit():
    return make_audit([f"a/{i}.png" for i in range(6)], [0, 1, 2, 3, 0, 1], NAMES, suspects=[0, 2, 3])


def read(audit, *files):
    decisions = read_decisions(files, audit)
    names = audit.class_names
    return [
        (row["sample_id"], row["decision"], names[row["label"]]) for row in decisions.frame.to_dict("records")
    ], decisions.problems


def text_of(rows, columns=DECISION_COLUMNS, separator=","):
    out = io.StringIO()
    writer = csv.writer(out, delimiter=separator)
    writer.writerows([columns, *rows])
    return out.getvalue()


def reasons(problems):
    return [(problem.file, problem.row, problem.reason) for problem in problems]


class TestRoundTrips:
    def test_hostile_keys_and_classes_come_back(self, tmp_path):
        n = len(HOSTILE)
        audit = make_audit([f"{text}/" for text in HOSTILE], range(n), HOSTILE)
        wanted = [(i, "relabel", HOSTILE[(i + 1) % n]) for i in range(n)]
        assert read(audit, write_decisions(make_decisions(audit, *wanted), tmp_path / "d.csv")) == (wanted, ())

    @given(
        texts=st.lists(
            st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip), min_size=2, unique=True
        ),
        data=st.data(),
    )
    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_any_texts_come_back(self, tmp_path, texts, data):
        audit = make_audit(texts, range(len(texts)), texts)
        wanted = []
        for i in range(len(texts)):
            decision = data.draw(st.sampled_from(["keep", "drop", "unsure", "relabel"]))
            label = data.draw(st.sampled_from([t for t in texts if t != texts[i]])) if decision == "relabel" else ""
            wanted.append((i, decision, label))
        done, problems = read(audit, write_decisions(make_decisions(audit, *wanted), tmp_path / "d.csv"))
        assert problems == ()
        assert done == [(i, decision, label or texts[i]) for i, decision, label in wanted]

    @given(st.text(st.sampled_from("'=+-@\t\r\n a")))
    def test_an_escaped_cell_is_no_formula_and_gives_its_text_back(self, text):
        cell = without_formula(text)
        assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
        assert from_cell(cell) == text

    def test_what_the_review_page_saves_comes_back(self, tmp_path):
        n = len(HOSTILE)
        audit = make_audit([f"{text}/" for text in HOSTILE], range(n), HOSTILE, run=tmp_path)
        with DecisionLog(audit) as log:
            log.change({i: LoggedDecision("relabel", (i + 1) % n) for i in range(1, n)} | {0: LoggedDecision("unsure")})
        wanted = [(0, "unsure", HOSTILE[0]), *((i, "relabel", HOSTILE[(i + 1) % n]) for i in range(1, n))]
        assert read(audit, tmp_path / "decisions.csv") == (wanted, ())

    def test_cells_of_a_writer_that_escapes_less_are_found_too(self, tmp_path):
        audit = make_audit(["a", "b"], [0, 1], ["'=x", "y"])
        (tmp_path / "d.csv").write_text("sample_id,label\n1,'=x\n")
        assert read(audit, tmp_path / "d.csv") == ([(1, "relabel", "'=x")], ())


class TestSpreadsheets:
    WANTED = ((0, "relabel", "Ünder"), (2, "keep", "=ant"), (3, "drop", "Ünder"), (4, "unsure", "cat"))

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
    @pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    def test_encodings_separators_and_ends_of_lines(self, audit, tmp_path, encoding, separator, end):
        rows = make_decisions(audit, *[(i, d, n if d == "relabel" else "") for i, d, n in self.WANTED]).map(
            without_formula
        )
        text = text_of(rows.to_numpy().tolist(), separator=separator)
        (tmp_path / "d.csv").write_bytes(text.replace("\r\n", end).encode(encoding))
        assert read(audit, tmp_path / "d.csv") == ([*self.WANTED], ())

    def test_order_case_and_number_of_columns_and_numbers_with_points(self, audit, tmp_path):
        text = "Notes;LABEL;Sample ID;Decision;who\n;Ünder;0.0;RELABEL;x\n;;2,0; Keep ;y\n;;3;drop;\n;;4;unsure\n"
        text += ";;;;\n;;;;\n"
        (tmp_path / "d.csv").write_text(text)
        assert read(audit, tmp_path / "d.csv") == ([*self.WANTED], ())

    def test_the_hint_that_excel_itself_writes(self, audit, tmp_path):
        (tmp_path / "d.csv").write_text("sep=;\r\nkey;decision\r\na/3.png;drop\r\n", newline="")
        assert read(audit, tmp_path / "d.csv")[0] == [(3, "drop", "Ünder")]

    def test_classes_that_a_spreadsheet_took_for_numbers(self, tmp_path):
        audit = make_audit(["0001", "0002"], [0, 1], ["007", "1.50"])
        (tmp_path / "d.csv").write_text("key,given_name,decision,label\n1,7,relabel,1.50\n2.0,1.50,relabel,7.0\n")
        assert read(audit, tmp_path / "d.csv") == ([(0, "relabel", "1.50"), (1, "relabel", "007")], ())

    def test_what_may_be_two_classes_is_refused(self, tmp_path):
        audit = make_audit(["a", "b"], [0, 1], ["7", "007", "x"])
        (tmp_path / "d.csv").write_text("key,label\na,007\nb,07\n")
        done, problems = read(audit, tmp_path / "d.csv")
        assert done == [(0, "relabel", "007")]
        assert [problem.row for problem in problems] == [3]
        assert "column label: '07' may be 2 classes, '7' or '007'" in problems[0].reason

    @pytest.mark.parametrize(("content", "message"), [
        (b"", "names none of the columns"),
        (b"a,b\n1,2\n", "names none of the columns"),
        (b"sample_id,score\n1,2\n", "there is no column decision or label"),
        (b"decision,label\ndrop,\n", "there is no column sample_id or key"),
        (b"key,label,Label\na,b,c\n", "there are 2 columns 'label'"),
        (b'sample_id,decision\n0,"drop\n1,keep\n', "line 3, cannot be read as CSV"),
        (b"sample_id,decision\n0,\x81\n", "neither UTF-8 nor UTF-16"),
        (b"\x00\x01\x02", "names none of the columns"),
    ])  # fmt: skip
    def test_files_that_are_no_tables_of_decisions(self, audit, tmp_path, content, message):
        (tmp_path / "d.csv").write_bytes(content)
        with pytest.raises(DataError, match=message):
            read_decisions([tmp_path / "d.csv"], audit)


class TestWhatSpreadsheetsMakeOfTexts:
    """`changed` are tables as a spreadsheet program saves them, without quotes."""

    HINT = "a spreadsheet program changed the text; import its column as text"

    def problems(self, audit, tmp_path, changed):
        (tmp_path / "d.csv").write_text(changed)
        done, problems = read(audit, tmp_path / "d.csv")
        assert done == []
        return [problem.reason for problem in problems]

    @pytest.mark.parametrize(("key", "cell"), [
        ("MAR1", "1-Mar"), ("MAR1", "01. Mrz"), ("1-2", "2-Jan"), ("1-2", "01. Feb"), ("2001-05", "May-01"),
        ("2310009E13", "2.31E+19"), ("12345678901234567", "1.23457E+16"), ("12345678901234567", "12345678901234500"),
    ])  # fmt: skip
    def test_a_changed_key_is_explained_and_no_other_run_is_blamed(self, tmp_path, key, cell):
        audit = make_audit([key, "x"], [0, 1], ["p", "q"])
        with_id = self.problems(audit, tmp_path, f"sample_id,key,decision\n0,{cell},drop\n")
        without_id = self.problems(audit, tmp_path, f"key,decision\n{cell},drop\n{cell},drop\n{cell},keep\n")
        for reason in (*with_id, *without_id):
            assert self.HINT in reason
            assert repr(key) in reason
            assert "this run" not in reason

    @pytest.mark.parametrize(("key", "cell"), [("1E5", "1.00E+05"), ("1E5", "100000"), ("0.10", "0,1"), ("007", "7")])
    def test_a_key_with_the_same_value_is_found(self, tmp_path, key, cell):
        audit = make_audit([key, "x"], [0, 1], ["p", "q"])
        (tmp_path / "d.csv").write_text(f"key;decision\n{cell};drop\n")
        assert read(audit, tmp_path / "d.csv") == ([(0, "drop", "p")], ())

    def test_a_class_that_may_have_been_another_is_refused_unless_the_texts_are_in_quotes(self, tmp_path):
        audit = make_audit(["a", "b"], [0, 1], ["1.1", "1.10", "2"])
        [reason] = self.problems(audit, tmp_path, "key,label\nb,1.1\n")
        assert "'1.1' may be 2 classes, '1.1' or '1.10'" in reason
        (tmp_path / "d.csv").write_text('"key","label"\n"b","1.1"\n')
        assert read(audit, tmp_path / "d.csv") == ([(1, "relabel", "1.1")], ())
        [reason] = self.problems(audit, tmp_path, '"key","label"\n"b",1.1\n')  # a program that quotes texts alone
        assert "'1.1' may be 2 classes" in reason
        (tmp_path / "d.csv").write_text("key,label\na,1.10\n")  # no program writes the number so
        assert read(audit, tmp_path / "d.csv") == ([(0, "relabel", "1.10")], ())

    def test_a_class_that_contradicts_its_number_or_the_given_label_is_refused(self, tmp_path):
        audit = make_audit(["a", "b"], [0, 1], ["2", "1.10", "1.1"], suggested=[1, 0], suspects=[0, 1])
        table = pd.read_csv(write_suspects(audit, tmp_path / "s.csv"), dtype=str)
        changed = table.replace({"1.10": "1.1"})
        reason = dict(zip(("a", "b"), self.problems(audit, tmp_path, changed.to_csv(index=False)), strict=True))
        assert "'1.1' contradicts suggested_label, 1 ('1.10')" in reason["a"]
        assert "sample 1 has the label '1.10' in the run, not '1.1'" in reason["b"]
        assert all(self.HINT in text for text in reason.values())
        changed["decision"] = "relabel"
        assert all(self.HINT in text for text in self.problems(audit, tmp_path, changed.to_csv(index=False)))

    @pytest.mark.parametrize("cell", ["1,000", "1.000", "1 000", "1E+03"])
    def test_an_id_that_may_be_two_numbers_is_decided_by_the_key_or_refused(self, tmp_path, cell):
        audit = make_audit([f"k{i}" for i in range(1001)], [0, 1] * 500 + [0], ["p", "q"])
        [reason] = self.problems(audit, tmp_path, f"sample_id;decision\n{cell};drop\n")
        assert self.HINT in reason
        (tmp_path / "d.csv").write_text(f"sample_id;key;decision\n{cell};k1000;drop\n")
        assert read(audit, tmp_path / "d.csv")[0] == [(1000, "drop", "p")]

    @pytest.mark.parametrize(("content", "remedy"), [
        (b"PK\x03\x04...", "save it as CSV"), (b"\xd0\xcf\x11\xe0...", "save it as CSV"), (b"\x1f\x8b...", "unpack it"),
        (b"PAR1...", "to_csv"),
    ])  # fmt: skip
    def test_workbooks_and_packed_files_are_named_with_the_remedy(self, audit, tmp_path, content, remedy):
        (tmp_path / "d.csv").write_bytes(content)
        with pytest.raises(DataError, match=remedy):
            read_decisions([tmp_path / "d.csv"], audit)

    def test_empty_columns_and_rows_at_the_end_and_utf16_without_a_mark(self, audit, tmp_path):
        text = "sample_id\tdecision\t\t\r\n0\tdrop\t\t\r\n\t\t\t\r\n"
        (tmp_path / "d.txt").write_bytes(text.encode("utf-16-le"))
        decisions = read_decisions([tmp_path / "d.txt"], audit)
        assert decisions.frame["sample_id"].tolist() == [0]
        assert (decisions.problems, decisions.notes) == ((), ())


class TestColumnsThatAreNotRead:
    @pytest.mark.parametrize(("column", "cell"), [
        ("decision (Anna)", "drop"), ("NewLabel", "dog"), ("correct_label", "dgo"), ("Anna", "keep"), ("", "dog"),
    ])  # fmt: skip
    def test_answers_under_another_name_are_a_problem(self, audit, tmp_path, column, cell):
        (tmp_path / "d.csv").write_text(f"sample_id,decision,{column}\n0,drop,\n1,,{cell}\n")
        problems = read(audit, tmp_path / "d.csv")[1]
        assert len(problems) == 1
        assert "is not read, and holds 1 cells" in problems[0].reason

    def test_other_columns_are_named(self, audit, tmp_path):
        (tmp_path / "d.csv").write_text("sample_id,decision,who,remark,empty\n0,drop,Anna,blurred,\n")
        decisions = read_decisions([tmp_path / "d.csv"], audit)
        assert decisions.problems == ()
        assert decisions.notes == ("d.csv: read sample_id, decision; not read: who, remark.",)

    def test_columns_that_gwaudit_writes_are_not(self, audit, tmp_path):
        assert read_decisions([write_suspects(audit, tmp_path / "s.csv", texts=["dog"] * 6)], audit).notes == ()

    def test_an_edited_given_label_is_no_new_label(self, audit, tmp_path):
        table = pd.read_csv(write_suspects(audit, tmp_path / "s.csv"), dtype=str)
        table.loc[0, "given_label"] = "2"
        table.to_csv(tmp_path / "s.csv", index=False)
        [problem] = read(audit, tmp_path / "s.csv")[1]
        assert "column given_label: sample 0 has the label 0 ('cat') in the run, not '2'" in problem.reason


class TestFilesAboutOtherData:
    def written(self, audit, tmp_path, *rows, fingerprint):
        table = make_decisions(audit, *rows).assign(data_fingerprint=fingerprint)
        return write_decisions(table, tmp_path / "d.csv")

    def test_one_row_that_does_not_fit_is_enough_where_the_fingerprint_is_another_one(self, audit, tmp_path):
        other = make_audit([f"a/{i}.png" for i in range(6)], [0, 1, 2, 3, 0, 2], NAMES)
        file = self.written(other, tmp_path, (0, "drop"), (1, "drop"), (5, "keep"), fingerprint="data-g")
        with pytest.raises(DataError, match=r"other data than run by its fingerprint: 1 of its 3 rows.*row 4"):
            read_decisions([file], audit)
        file = self.written(other, tmp_path, (0, "drop"), (1, "drop"), fingerprint="data-g")
        decisions = read_decisions([file], audit)
        assert decisions.frame["sample_id"].tolist() == [0, 1]
        assert decisions.notes == (
            "d.csv was made with another state of the data; the keys and given labels of its rows fit.",
        )

    def test_without_a_fingerprint_most_rows_show_it(self, audit, tmp_path):
        (tmp_path / "d.csv").write_text("sample_id,key,decision\n0,b/0.png,drop\n1,b/1.png,drop\n2,a/2.png,drop\n")
        with pytest.raises(DataError, match="2 of its 3 rows"):
            read_decisions([tmp_path / "d.csv"], audit)

    def test_rows_without_key_and_given_label_need_the_fingerprint_of_the_run(self, audit, tmp_path):
        for fingerprint, fits in (("data-f", True), ("data-g", False)):
            (tmp_path / "d.csv").write_text(f"sample_id,decision,data_fingerprint\n0,drop,{fingerprint}\n")
            if fits:
                assert read(audit, tmp_path / "d.csv") == ([(0, "drop", "cat")], ())
            else:
                with pytest.raises(DataError, match="no key and given_name to compare"):
                    read_decisions([tmp_path / "d.csv"], audit)


class TestProblems:
    @pytest.mark.parametrize(("row", "reason"), [
        ("9,,,drop,", "column sample_id: the run has no sample 9; its ids are 0 to 5"),
        ("-1,,,drop,", "column sample_id: '-1' is no whole number"),
        ("1.5,,,drop,", "column sample_id: '1.5' is no whole number"),
        ("1E+05,,,drop,", "column sample_id: '1E+05' is no whole number"),
        (",nowhere,,drop,", "column key: the run has no sample with the key 'nowhere'"),
        (",,cat,drop,", "has neither a sample_id nor a key"),
        ("1,a/0.png,,drop,", "column key: sample 1 is 'a/1.png' in the run, not 'a/0.png', which is sample 0"),
        ("0,,dog,drop,", "column given_name: sample 0 has the label 'cat' in the run, not 'dog': the data changed, or"),
        ("0,,,dorp,", "column decision: 'dorp' is none of keep, relabel, drop, unsure (did you mean 'drop'?)"),
        ("0,,,dog,", "column decision: 'dog' is none of keep, relabel, drop, unsure; write a class into"),
        ("0,,,relabel,dgo", "column label: 'dgo' is none of the 4 classes (did you mean 'dog'?)"),
        ("0,,,relabel,", "column decision: relabel needs a class in the column label"),
        ("0,,,keep,dog", "column decision: keep contradicts the column label, 'dog'"),
        ("0,,,drop,dog", "column decision: drop contradicts the column label, 'dog'"),
        ("0,,,drop,,x", "has 6 cells, the header has 5"),
    ])  # fmt: skip
    def test_each_names_its_row_and_column(self, audit, tmp_path, row, reason):
        (tmp_path / "d.csv").write_text(f"{','.join(DECISION_COLUMNS[:5])}\n5,,,drop,\n{row}\n")
        done, problems = read(audit, tmp_path / "d.csv")
        assert done == [(5, "drop", "dog")], "what is sound is read"
        assert [(problem.file, problem.row) for problem in problems] == [("d.csv", 3)]
        assert reason in problems[0].reason

    def test_people_who_disagree_are_a_conflict_and_who_is_unsure_gives_way(self, audit, tmp_path):
        files = []
        for name, rows in {
            "ann.csv": [(0, "relabel", "dog"), (1, "drop"), (2, "unsure"), (3, "keep"), (4, "unsure")],
            "bob.csv": [(0, "relabel", "=ant"), (1, "drop"), (2, "relabel", "cat"), (3, "unsure"), (4, "unsure")],
        }.items():
            files.append(write_decisions(make_decisions(audit, *rows), tmp_path / name))
        done, problems = read(audit, *files)
        assert done == [(1, "drop", "dog"), (2, "relabel", "cat"), (3, "keep", "Ünder"), (4, "unsure", "cat")]
        reason = (
            "sample 0 ('a/0.png') is decided twice: relabel to 'dog' (ann.csv, row 2) but "
            "relabel to '=ant' (bob.csv, row 2)"
        )
        assert reasons(problems) == [("bob.csv", 2, reason)]

    def test_a_sample_with_a_row_that_is_unclear_is_left_alone(self, audit, tmp_path):
        (tmp_path / "d.csv").write_text("sample_id,label\n0,dog\n0,dgo\n1,cat\n")
        assert read(audit, tmp_path / "d.csv")[0] == [(1, "relabel", "cat")]

    def test_relabelling_to_the_given_class_keeps_it(self, audit, tmp_path):
        (tmp_path / "d.csv").write_text("sample_id,decision,label\n0,relabel,cat\n1,,dog\n3,keep,Ünder\n")
        assert [d for _, d, _ in read(audit, tmp_path / "d.csv")[0]] == ["keep", "keep", "keep"]


class TestSuspects:
    @pytest.fixture
    def table(self, audit, tmp_path):
        return pd.read_csv(write_suspects(audit, tmp_path / "suspects.csv"), dtype=str, keep_default_na=False)

    def saved(self, table, tmp_path):
        table.to_csv(tmp_path / "edited.csv", index=False)
        return tmp_path / "edited.csv"

    def test_an_untouched_file_decides_nothing(self, audit, table, tmp_path):
        assert table["sample_id"].tolist() == ["0", "2", "3"]
        assert read(audit, self.saved(table, tmp_path)) == ([], ())
        table["decision"] = table["label"] = ""
        assert read(audit, self.saved(table, tmp_path)) == ([], ())

    def test_an_edited_suggestion_relabels_that_row_alone(self, audit, table, tmp_path):
        table.loc[1, "suggested_name"] = "cat"
        table.loc[2, "suggested_name"] = "Ünder"  # the given one
        done = read(audit, self.saved(table, tmp_path))
        assert done == ([(2, "relabel", "cat"), (3, "keep", "Ünder")], ())

    def test_a_column_decision_accepts_keeps_and_drops(self, audit, table, tmp_path):
        table["Decision"] = ["relabel", "keep", "drop"]
        done = read(audit, self.saved(table, tmp_path))
        assert done == ([(0, "relabel", "dog"), (2, "keep", "=ant"), (3, "drop", "Ünder")], ())

    @pytest.mark.parametrize("column", ["label", "new_label", "New Label"])
    def test_a_column_of_new_classes_relabels_where_it_is_filled(self, audit, table, tmp_path, column):
        table[column] = ["Ünder", "", ""]
        assert read(audit, self.saved(table, tmp_path)) == ([(0, "relabel", "Ünder")], ())

    def test_two_columns_of_new_classes_must_agree(self, audit, table, tmp_path):
        table["label"], table["new_label"] = ["dog", "cat", ""], ["dog", "dog", ""]
        done, problems = read(audit, self.saved(table, tmp_path))
        assert done == [(0, "relabel", "dog")]
        assert reasons(problems) == [
            ("edited.csv", 3, "columns label and new_label name different classes: empty one of them")
        ]

    def test_suggestions_of_another_ranking_are_not_taken_for_edits(self, audit, table, tmp_path):
        again = make_audit(audit.by_id("key"), audit.by_id("given_label"), NAMES, suggested=[2, 0, 1, 2, 1, 2])
        done, problems = read(again, self.saved(table, tmp_path))
        assert done == []
        assert len(problems) == 3
        assert "does not show whether it was edited" in problems[0].reason

    def test_an_edit_without_the_suggestions_number_is_not_guessed(self, audit, table, tmp_path):
        table.loc[0, "suggested_name"] = "Ünder"
        done, problems = read(audit, self.saved(table.drop(columns="suggested_label"), tmp_path))
        assert done == []
        assert [problem.row for problem in problems] == [2]

    def test_an_emptied_suggestion_or_an_edited_number_is_asked_about(self, audit, table, tmp_path):
        table.loc[0, "suggested_name"], table.loc[1, "suggested_label"] = "", "0"
        done, problems = read(audit, self.saved(table, tmp_path))
        assert done == []
        assert "is empty now; write keep, drop or unsure" in problems[0].reason
        assert "write the new class into a column label" in problems[1].reason

    def test_an_edited_given_name_is_no_new_label(self, audit, table, tmp_path):
        table.loc[0, "given_name"] = "dog"
        assert "write a new label into the column label" in read(audit, self.saved(table, tmp_path))[1][0].reason


def choice(value, control="label"):
    return {"from_name": control, "to_name": "x", "type": "choices", "value": {"choices": [value]}}


def annotation(*results, cancelled=False):
    return {"id": 1, "completed_by": 1, "was_cancelled": cancelled, "result": list(results), "lead_time": 3.2}


class TestLabelStudio:
    def write(self, tmp_path, content):
        (tmp_path / "project.json").write_text(json.dumps(content))
        return tmp_path / "project.json"

    def task(self, audit, sample, *annotations):
        given = audit.class_names[audit.by_id("given_label")[sample]]
        data = {"sample_id": sample, "key": audit.by_id("key")[sample], "given_name": given, "suggested_name": "dog"}
        predictions = [{"result": [choice("dog")]}]
        return {"id": 100 + sample, "data": data, "annotations": [*annotations], "predictions": predictions}

    def test_json_with_cancelled_and_agreeing_annotations(self, audit, tmp_path):
        tasks = [
            self.task(audit, 0, annotation(choice("=ant")), annotation(choice("=ant"))),
            self.task(audit, 1, annotation(choice("cat"), cancelled=True), annotation(choice("dog"))),
            self.task(audit, 2, annotation(choice("drop", "decision"))),
            self.task(audit, 3, annotation(choice("relabel", "decision"))),
            self.task(audit, 4),
            self.task(audit, 5, annotation(), annotation(choice("cat"), cancelled=True)),
        ]
        wanted = [(0, "relabel", "=ant"), (1, "keep", "dog"), (2, "drop", "=ant"), (3, "relabel", "dog")]
        assert read(audit, self.write(tmp_path, tasks)) == (wanted, ())

    def test_a_decision_counts_beside_the_label_that_label_studio_chose_itself(self, audit, tmp_path):
        tasks = [
            self.task(audit, i, annotation(choice("dog"), choice(word, "decision")))
            for i, word in ((0, "drop"), (2, "keep"), (3, "unsure"))
        ]
        tasks.append(self.task(audit, 1, annotation(choice("dog"), choice("keep", "decision"))))  # the given label
        wanted = [(0, "drop", "cat"), (1, "keep", "dog"), (2, "keep", "=ant"), (3, "unsure", "Ünder")]
        assert read(audit, self.write(tmp_path, tasks)) == (wanted, ())
        flat = [{**task["data"], "label": "dog", "decision": "drop"} for task in tasks]
        assert [row[1] for row in read(audit, self.write(tmp_path, flat))[0]] == ["drop"] * 4
        rows = [(1, "0", "cat", "dog", "dog", "keep", 2.5)]
        columns = ("id", "sample_id", "given_name", "suggested_name", "label", "decision", "lead_time")
        (tmp_path / "p.csv").write_text(text_of(rows, columns), newline="")
        assert read(audit, tmp_path / "p.csv") == ([(0, "keep", "cat")], ())

    def test_a_decision_beside_a_label_that_a_person_chose_is_a_contradiction(self, audit, tmp_path):
        task = self.task(audit, 0, annotation(choice("=ant"), choice("drop", "decision")))
        done, problems = read(audit, self.write(tmp_path, [task]))
        assert done == []
        assert "drop contradicts the column label, '=ant'" in problems[0].reason

    def test_json_with_annotators_that_disagree_and_answers_that_fit_nothing(self, audit, tmp_path):
        tasks = [
            self.task(audit, 0, annotation(choice("dog")), annotation(choice("Ünder"))),
            self.task(audit, 1, annotation(choice("cat"), choice("dog"))),
            self.task(audit, 2, annotation(choice("blurry", "quality"))),
            self.task(audit, 3, annotation(choice("fox"))),
            {"id": 1, "annotations": [annotation(choice("cat"))]},
        ]
        done, problems = read(audit, self.write(tmp_path, tasks))
        assert done == []
        reason_of = {problem.row: problem.reason for problem in problems}
        assert "is decided twice: relabel to 'dog' (project.json, row 1)" in reason_of[1]
        assert "several choices of label: cat, dog" in reason_of[2]
        assert "name the controls label and decision" in reason_of[3]
        assert "'fox' is none of the 4 classes" in reason_of[4]
        assert "is not in the form that Label Studio writes" in reason_of[5]

    def test_json_min(self, audit, tmp_path):
        rows = [
            {"sample_id": 0, "key": "a/0.png", "label": "=ant", "annotator": 1, "id": 7},
            {"sample_id": 1, "key": "a/1.png", "decision": {"choices": ["drop"]}, "annotator": 1, "id": 8},
            {"sample_id": 2, "key": "a/2.png", "annotator": 1, "id": 9},
        ]
        assert read(audit, self.write(tmp_path, rows)) == ([(0, "relabel", "=ant"), (1, "drop", "dog")], ())

    def test_names_that_its_configuration_cannot_hold_are_found_by_their_pictures(self, tmp_path):
        audit = make_audit(["a\0b", "b"], [0, 1], ["nul\0bell\a", "$price"])
        rows = [
            {"sample_id": 0, "key": "a␀b", "given_name": "nul␀bell␇", "label": "＄price"},
            {"sample_id": 1, "key": "b", "given_name": "$price", "label": "nul␀bell␇"},
        ]
        wanted = [(0, "relabel", "$price"), (1, "relabel", "nul\0bell\a")]
        assert read(audit, self.write(tmp_path, rows)) == (wanted, ())

    def test_csv_whose_cells_are_not_escaped(self, tmp_path):
        audit = make_audit(["'=a", "b"], [0, 1], ["=x", "'=x"])
        text = text_of(
            [
                (1, "0", "'=a", "=x", "'=x", "", 1, 2.5),
                (2, "1", "b", "'=x", '{"choices": ["=x"]}', "", 1, 2.5),
            ],
            ("id", "sample_id", "key", "given_name", "label", "decision", "annotation_id", "lead_time"),
        )
        (tmp_path / "p.csv").write_text(text, newline="")
        assert read(audit, tmp_path / "p.csv") == ([(0, "relabel", "'=x"), (1, "relabel", "=x")], ())

    def test_csv_with_several_or_broken_choices(self, audit, tmp_path):
        rows = [(0, '{"choices": ["cat", "dog"]}', 1), (1, '{"choices": [', 1), (2, "", 1), (3, "cat", 1)]
        (tmp_path / "p.csv").write_text(text_of(rows, ("sample_id", "label", "annotation_id")), newline="")
        done, problems = read(audit, tmp_path / "p.csv")
        assert done == [(3, "relabel", "cat")]
        assert [problem.row for problem in problems] == [2, 3]

    @pytest.mark.parametrize("content", ["{", "{}", "[1]", '"x"', "[" * 100_000])
    def test_other_json_is_refused(self, audit, tmp_path, content):
        (tmp_path / "p.json").write_text(content)
        with pytest.raises(DataError, match=r"p\.json"):
            read_decisions([tmp_path / "p.json"], audit)


@pytest.mark.parametrize("column", ["annotator", "completed_by"])
def test_a_shared_spreadsheet_with_the_names_of_people_is_no_export_of_label_studio(column, tmp_path):
    audit = make_audit(["a", "b", "c"], [0, 1, 0], ["-1", "+1"], suggested=[1, 0, 1])
    columns = ("sample_id", "given_name", "suggested_label", "suggested_name", "decision", column)
    rows = [(0, "'-1", "1", "'+1", "relabel", "Ann"), (1, "'+1", "0", "'+1", "", "Ben"), (2, "'-1", "1", "'-1", "", "")]
    (tmp_path / "shared.csv").write_text(text_of(rows, columns), newline="")
    done, problems = read(audit, tmp_path / "shared.csv")
    assert problems == ()
    assert [row[:2] for row in done] == [(0, "relabel"), (1, "keep"), (2, "keep")], "edited suggestions count"
    rows = [(0, "'-1", "keep", "'+1", "Ann")]
    (tmp_path / "both.csv").write_text(
        text_of(rows, ("sample_id", "given_name", "decision", "label", column)), newline=""
    )
    _, problems = read(audit, tmp_path / "both.csv")
    assert "keep contradicts the column label" in problems[0].reason


def test_classes_as_cvat_writes_them_are_read(tmp_path):
    names = ["two ", "x" * 80, "cat", "two"]
    audit = make_audit(["a", "b", "c", "d"], [2, 2, 2, 0], names)
    written = tag_names(names)
    assert len({*written}) == 4
    rows = [(sample, written[label]) for sample, label in enumerate([0, 1, 3])]
    (tmp_path / "back.csv").write_text(text_of(rows, ("sample_id", "label")), newline="")
    done, problems = read(audit, tmp_path / "back.csv")
    assert problems == ()
    assert [row[2] for row in done] == ["two ", "x" * 80, "two"]


def test_reading_and_applying_decisions_wait_for_no_torch():
    modules = "import sys, gwaudit.review.corrections; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", modules], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
