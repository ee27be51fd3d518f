"""Decisions applied: corrected labels that audits take, splits, the source's own table with nothing else changed."""

import gzip
import json
import shlex
import shutil
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from gwaudit import apply_decisions
from gwaudit import audit as audit_data
from gwaudit.cli.app import app
from gwaudit.core.errors import DataError, StoreExistsError, UnresolvedDecisionsError
from gwaudit.core.settings import DataSettings, RankingSettings, TrainingSettings
from gwaudit.data.loading import load_dataset
from gwaudit.data.readers.tables import read_tables
from gwaudit.export.formats import cleaned_formats
from gwaudit.export.source_table import corrected_table, spellings_of
from gwaudit.review.decisions import write_decisions
from gwaudit.training.automatic_settings import resolve
from helpers.audits import make_audit, make_decisions
from helpers.command import FAST, gwaudit
from helpers.making import make_parquet, make_tree, png
from helpers.recorded_runs import ranked_run

CELLS = st.tuples(st.text(st.sampled_from("ab,;\"\n\r\t '=é"), max_size=6), st.sampled_from("pq"))
ROWS = [(0, "relabel", "dog"), (1, "keep"), (2, "drop"), (3, "unsure")]


@pytest.fixture
def tree(tmp_path):
    """A run over a folder a class: cat 0-2, dog 3-5, =ant 6-8 in the order of folders."""
    make_tree(tmp_path / "photos", ("cat", "dog", "owl"), per_class=3)
    data = DataSettings(str(tmp_path / "photos"))
    audit = ranked_run(tmp_path / "runs" / "photos", data, suspects=[0, 1, 2, 3, 7, 8])
    return audit, write_decisions(make_decisions(audit, *ROWS), tmp_path / "decisions.csv")


def apply(audit, tmp_path, *files, **options):
    return apply_decisions(audit.run, files, tmp_path / "out", **options)


class TestAFolder:
    def test_labels_changes_and_split_say_the_same(self, tree, tmp_path):
        audit, file = tree
        applied = apply(audit, tmp_path, file)
        out = tmp_path / "out"
        labels = pd.read_csv(out / "labels.csv", keep_default_na=False).set_index("key")["label"]
        assert labels.tolist() == ["dog", "cat", "", "dog", "dog", "dog", "owl", "owl", "owl"]
        changes = pd.read_csv(out / "changes.csv", keep_default_na=False)
        assert list(changes.columns) == ["sample_id", "key", "old", "new", "reason"]
        assert changes.to_numpy().tolist() == [
            [0, "cat/000.png", "cat", "dog", "relabelled in decisions.csv, row 2"],
            [2, "cat/002.png", "cat", "", "dropped in decisions.csv, row 4"],
        ]
        split = pd.read_csv(out / "split" / "split.csv")
        assert split["sample_id"].tolist() == [0, 1, 3, 4, 5, 6, 7, 8]
        assert split.set_index("key")["name"].to_dict() == labels[labels != ""].to_dict()
        assert applied.decisions.counts() == {"keep": 1, "relabel": 1, "drop": 1, "unsure": 1}
        assert applied.corrections.counts["undecided"] == 2
        assert {path.name for path in applied.files} == {"labels.csv", "changes.csv", "split"}

    def test_an_audit_takes_the_corrected_labels(self, tree, tmp_path):
        audit, file = tree
        apply_decisions(audit.run, file, tmp_path / "out")  # one file may be given by itself
        again = load_dataset(tmp_path / "photos", labels=tmp_path / "out" / "labels.csv")
        assert [again.class_names[label] for label in again.labels] == ["dog", "cat", *["dog"] * 3, *["owl"] * 3]
        assert [(s.key, s.reason) for s in again.skipped] == [("cat/002.png", "has no label")]

    @pytest.mark.parametrize(
        ("undecided", "labels"), [("keep", ["owl"] * 3), ("drop", ["owl"]), ("relabel", ["owl", "cat", "cat"])]
    )
    def test_suspects_that_nobody_decided_about(self, tree, tmp_path, undecided, labels):
        audit, file = tree
        applied = apply(audit, tmp_path, file, undecided=undecided)
        split = applied.corrections.cleaned_data
        owls = [split.class_names[label] for sample, label in zip(split.ids, split.labels, strict=True) if sample >= 6]
        assert owls == labels
        assert split.labels[split.ids == 3] == 1, "unsure is decided: it stays"

    @pytest.mark.parametrize("format", cleaned_formats())
    def test_the_split_comes_in_each_format(self, tree, tmp_path, format):
        audit, file = tree
        apply(audit, tmp_path, file, format=format)
        if format != "ids":
            again = load_dataset(tmp_path / "out" / "split")
            assert sorted(again.class_names[label] for label in again.labels) == ["cat", *["dog"] * 4, *["owl"] * 3]

    def test_the_folder_is_new_and_whole_or_not_at_all(self, tree, tmp_path, monkeypatch):
        audit, file = tree

        def fails(*_, **__):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr("gwaudit.pipeline.apply.write_cleaned_data", fails)
            with pytest.raises(Exception, match="No space left"):
                apply(audit, tmp_path, file)
        assert not list(tmp_path.glob("*out*"))
        apply(audit, tmp_path, file)
        with pytest.raises(StoreExistsError):
            apply(audit, tmp_path, file)

    def test_nothing_is_written_until_all_adds_up_or_is_forced(self, tree, tmp_path):
        audit, file = tree
        file.write_text(file.read_text() + '99,"","","drop",""\n4,,,relabel,fox\n')
        done = gwaudit("apply", audit.run, file, "-o", tmp_path / "out")
        assert done.returncode == 2
        assert "nothing was written, as 2 decisions cannot be applied" in done.stderr
        assert "decisions.csv" in done.stderr
        assert "has no sample 99" in done.stderr
        assert not (tmp_path / "out").exists()
        forced = gwaudit("apply", audit.run, file, "-o", tmp_path / "out", "--force")
        assert forced.returncode == 0, forced.stderr
        left = pd.read_csv(tmp_path / "out" / "left.csv")
        assert left["row"].tolist() == [6, 7]
        assert len(pd.read_csv(tmp_path / "out" / "changes.csv")) == 2

    def test_files_that_decide_nothing_are_refused_unless_the_undecided_are_settled(self, tree, tmp_path):
        audit, _ = tree
        empty = write_decisions(make_decisions(audit), tmp_path / "none.csv")
        with pytest.raises(DataError, match=r"none\.csv: no decision found"):
            apply(audit, tmp_path, empty)
        assert len(apply(audit, tmp_path, empty, undecided="drop").corrections.cleaned_data.ids) == 3

    def test_the_next_command_repeats_what_was_not_default(self, tree, tmp_path):
        audit, file = tree
        out = tmp_path / "out"
        assert shlex.split(apply(audit, tmp_path, file).next_command) == [
            "gwaudit", "audit", str(tmp_path / "photos"), "--labels", str(out / "labels.csv"),
            "--output", str(tmp_path / "runs" / "photos-round-2"),
        ]  # fmt: skip
        training = TrainingSettings(epochs=3, pretrained=True, backbone="frozen")
        data = DataSettings(str(tmp_path / "photos"), add_noise=0.2, on_error="skip")
        ranked_run(
            tmp_path / "runs" / "photos-round-2", data, training=training, dataset=load_dataset(tmp_path / "photos")
        )
        shutil.rmtree(out)
        other = apply_decisions(tmp_path / "runs" / "photos-round-2", [file], out, force=True).next_command
        assert "--on-error skip --epochs 3 --pretrained --backbone frozen --output" in other
        assert other.endswith("photos-round-3")
        assert "--add-noise" not in other

    @pytest.mark.parametrize("ranking", [
        RankingSettings(detector="margin", window=(2, 5), cut=-1.5, budget=10),
        RankingSettings(detector="combined", top=7, per_class=True),
        RankingSettings(precision=0.75),
    ])  # fmt: skip
    def test_the_next_command_ranks_as_the_run_was_ranked(self, tree, tmp_path, ranking):
        audit, file = tree
        replace(audit, settings=ranking).save(audit.run)
        typed = shlex.split(apply(audit, tmp_path, file).next_command)[2:]
        command = typer.main.get_command(app).commands["audit"]
        values = command.make_context("audit", typed).params
        detector = "auto" if ranking.detector == "combined" else ranking.detector  # which is what `auto` is here
        window = ranking.window if ranking.window == "auto" else (3, 6)  # counted from 1
        for name, value in asdict(replace(ranking, detector=detector, window=window)).items():
            assert values[name] == (None if value == "auto" and name != "detector" else value), name

    @pytest.mark.parametrize(("second", "options"), [
        ({"seed": 1}, "--refine 1 "),
        ({"seed": 1, "epochs": 1, "model": "resnet20_gn"}, "--refine 1 --refine-model resnet20_gn --refine-epochs 1 "),
    ])  # fmt: skip
    def test_the_next_command_refines_as_the_run_was_refined(self, tmp_path, second, options):
        make_tree(tmp_path / "photos")
        # As a training records them: with a number in place of every "auto".
        data, first = DataSettings(str(tmp_path / "photos")), resolve(TrainingSettings(epochs=1), 6, "images")
        audit = ranked_run(tmp_path / "run", data, training=first)
        ranked_run(tmp_path / "run" / "rounds" / "1", data, training=replace(first, latents="none", **second))
        file = write_decisions(make_decisions(audit, (0, "drop")), tmp_path / "d.csv")
        assert f"--epochs 1 {options}--output" in apply(audit, tmp_path, file).next_command


class TestDataThatChanged:
    def test_changes_elsewhere_are_told_and_decisions_find_their_samples(self, tree, tmp_path):
        audit, file = tree
        photos = tmp_path / "photos"
        (photos / "cat" / "000b.png").write_bytes(png(500))
        (photos / "owl" / "001.png").unlink()
        (photos / "owl" / "002.png").rename(photos / "dog" / "moved.png")
        applied = apply(audit, tmp_path, file)
        assert applied.corrections.notes == ("The data changed since the run: 0 labels, 2 samples gone, 2 added.",)
        changes = applied.corrections.changes
        assert changes[["key", "new"]].to_numpy().tolist() == [["cat/000.png", "dog"], ["cat/002.png", ""]]
        assert load_dataset(photos, labels=tmp_path / "out" / "labels.csv").keys[:3] == [
            "cat/000.png",
            "cat/000b.png",
            "cat/001.png",
        ]

    def test_labels_that_changed_since_and_samples_that_are_gone_are_listed(self, tmp_path):
        table = pd.DataFrame({"id": list("abcdef"), "x": range(6), "y": [3, 1, 2, 5, 4, 6], "label": list("ppqqpq")})
        table.to_csv(tmp_path / "t.csv", index=False)
        audit = ranked_run(tmp_path / "run", DataSettings(str(tmp_path / "t.csv")))
        file = write_decisions(
            make_decisions(audit, (0, "relabel", "q"), (1, "relabel", "q"), (2, "drop"), (3, "keep"), (4, "drop")),
            tmp_path / "d.csv",
        )
        table.loc[0, "label"] = "q"  # as was decided
        table.loc[2, "label"] = "p"
        table.drop(index=[1, 4]).to_csv(tmp_path / "t.csv", index=False)
        with pytest.raises(UnresolvedDecisionsError) as error:
            apply(audit, tmp_path, file)
        assert [(problem.row, problem.reason) for problem in error.value.problems] == [
            (3, "sample 1 ('b') is no longer in the data"),
            (4, "the label of sample 2 changed since the run: it was 'q' and is 'p'"),
        ]
        applied = apply(audit, tmp_path, file, force=True)
        assert applied.corrections.counts["corrected"] == 2
        assert len(applied.corrections.changes) == 0

    def test_data_that_cannot_be_read_leave_the_runs_own_record(self, tree, tmp_path):
        audit, file = tree
        shutil.rmtree(tmp_path / "photos")
        with pytest.raises(DataError, match="needs the data"):
            apply(audit, tmp_path, file, format="imagefolder")
        with pytest.warns(UserWarning, match="the data cannot be read"):
            assert len(apply(audit, tmp_path, file).corrections.changes) == 2

    def test_a_photo_that_was_kept_may_be_gone(self, tree, tmp_path):
        audit, file = tree
        (tmp_path / "photos" / "cat" / "001.png").unlink()  # kept
        assert len(apply(audit, tmp_path, file).corrections.changes) == 2

    def test_data_that_were_moved_are_found_at_the_new_place(self, tree, tmp_path):
        audit, file = tree
        (tmp_path / "photos").rename(tmp_path / "moved")
        applied = apply(audit, tmp_path, file, root=tmp_path / "moved", format="imagefolder")
        assert applied.next_command.startswith(f"gwaudit audit {tmp_path / 'moved'} --labels")
        assert len(load_dataset(tmp_path / "out" / "split")) == 8


def test_a_run_of_ones_own_loop_is_corrected_by_its_record(tmp_path):
    audit = ranked_run(tmp_path / "run", dataset=load_dataset("digits"), suspects=[0])
    file = write_decisions(make_decisions(audit, (0, "relabel", "7"), (5, "drop")), tmp_path / "d.csv")
    done = gwaudit("apply", tmp_path / "run", file, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "1 label changed and 1 sample dropped of 1,797" in done.stdout
    assert "gwaudit audit" not in done.stdout
    again = load_dataset("digits", labels=tmp_path / "out" / "labels.csv")
    assert (again.labels[0], len(again)) == (7, 1796)


class TestTables:
    CSV = (
        '\ufeffid,"x",y,label,note\r\n'
        'a,1.50,"2",p,"say ""hi"", you"\r\n'
        "\r\n"
        "b,1e3,-0,'q',\r\n"
        'c,007,3,"p","two\r\nlines"\n'
        "d,2,4, p ,=1+1\n"
        "e,3,5,,no label\n"
        "f,4,6,'q',"
    )

    def run(self, tmp_path, source, **options):
        return ranked_run(tmp_path / "run", DataSettings(str(source), on_error="skip", **options))

    def test_a_table_that_is_not_written_is_named_with_the_way_on(self, tmp_path):
        (tmp_path / "t.csv.gz").write_bytes(gzip.compress(self.CSV.encode()))
        audit = self.run(tmp_path, tmp_path / "t.csv.gz", feature_columns="x,y")
        decided = write_decisions(make_decisions(audit, (0, "relabel", "'q'")), tmp_path / "d.csv")
        with pytest.warns(UserWarning, match=r"t\.csv\.gz is none of \.csv, .*: labels\.csv has the label of every"):
            apply(audit, tmp_path, decided)

    def test_csv_keeps_every_other_byte(self, tmp_path):
        (tmp_path / "t.csv").write_bytes(self.CSV.encode())
        audit = self.run(tmp_path, tmp_path / "t.csv", feature_columns="x,y")
        assert audit.by_id("key").tolist() == list("abcdf")
        rows = (0, "relabel", "'q'"), (1, "drop"), (2, "relabel", "'q'"), (4, "relabel", "p")
        apply(audit, tmp_path, write_decisions(make_decisions(audit, *rows), tmp_path / "d.csv"))
        wanted = self.CSV.replace('"2",p,', "\"2\",'q',").replace("b,1e3,-0,'q',\r\n", "").replace('3,"p"', "3,\"'q'\"")
        wanted = wanted.removesuffix("'q',") + "p,"
        assert (tmp_path / "out" / "t.csv").read_bytes().decode() == wanted

    def test_json_lines_keep_every_other_character(self, tmp_path):
        lines = [
            '{"id":"a", "x": [1.0, 2e0],"label" : "p", "more": {"label": "deep"}}\n',
            "\n",
            '{ "label":"q","id":"b","x":[3,4] , "é": "\\u00e9"}\r\n',
            "broken\n",
            '{"id": "c", "label": "p", "x": [5, 6.25]}\n',
            '{"id": "d", "label": "q", "x": [0, 6.25]}',
        ]
        (tmp_path / "t.jsonl").write_bytes("".join(lines).encode())
        audit = self.run(tmp_path, tmp_path / "t.jsonl", feature_columns="x")
        rows = (0, "relabel", "q"), (1, "relabel", "p"), (2, "drop")
        apply(audit, tmp_path, write_decisions(make_decisions(audit, *rows), tmp_path / "d.csv"))
        wanted = (
            lines[0].replace('"label" : "p"', '"label" : "q"'),
            lines[1],
            lines[2].replace('"q"', '"p"'),
            lines[3],
            lines[5],
        )
        assert (tmp_path / "out" / "t.jsonl").read_bytes().decode() == "".join(wanted)

    def test_parquet_keeps_types_metadata_and_images(self, tmp_path):
        contents = [png(i) for i in range(6)]
        make_parquet(tmp_path / "t.parquet", contents, [0, 1, 0, 1, 2, 2], names=["ant", "bee", "cat", "none so far"])
        audit = self.run(tmp_path, tmp_path / "t.parquet")
        rows = (0, "relabel", "none so far"), (1, "drop"), (5, "relabel", "ant")
        apply(audit, tmp_path, write_decisions(make_decisions(audit, *rows), tmp_path / "d.csv"))
        before, after = pq.read_table(tmp_path / "t.parquet"), pq.read_table(tmp_path / "out" / "t.parquet")
        assert after.schema.equals(before.schema, check_metadata=True)
        assert after["label"].to_pylist() == [3, 0, 1, 2, 0]
        assert [row["bytes"] for row in after["img"].to_pylist()] == [contents[i] for i in (0, 2, 3, 4, 5)]

    def test_images_beside_their_table(self, tmp_path):
        make_tree(tmp_path / "images", ("one", "two"), per_class=2)
        pd.DataFrame({"file_name": ["one/000.png", "one/001.png", "two/000.png"], "label": ["p", "q", "q"]}).to_csv(
            tmp_path / "images" / "metadata.csv", index=False
        )
        audit = self.run(tmp_path, tmp_path / "images")
        apply(audit, tmp_path, write_decisions(make_decisions(audit, (2, "relabel", "p")), tmp_path / "d.csv"))
        again = load_dataset(tmp_path / "out" / "metadata.csv", root=tmp_path / "images")
        assert [again.class_names[label] for label in again.labels] == ["p", "q", "p"]

    def test_classes_are_written_as_the_table_writes_them(self):
        labels, names = {0: 0, 1: 1}, ("1", "2", "3")
        numbers = pa.table({"label": [1, 2]})
        assert spellings_of(numbers, "label", labels, names) == {0: 1, 1: 2, 2: 3}
        metadata = {"huggingface": json.dumps({"info": {"features": {"label": {"names": names}}}})}
        indices = pa.table({"label": [0, 1]}).replace_schema_metadata(metadata)
        assert spellings_of(indices, "label", labels, names) == {0: 0, 1: 1, 2: 2}
        codes = pa.table({"label": ["007", "7"]})
        assert spellings_of(codes, "label", labels, ("007", "7", "1e1")) == {0: "007", 1: "7", 2: "1e1"}

    @pytest.mark.parametrize("encoding", ["utf-16", "cp1252"])
    def test_a_table_keeps_its_separator_and_its_encoding(self, tmp_path, encoding):
        text = "sep=;\nx;label\n1,5;caf\u00e9\n2,5;007\n3,5;7\n"
        (tmp_path / "t.CSV").write_bytes(text.encode(encoding))
        table, _ = read_tables([tmp_path / "t.CSV"], tmp_path)
        spellings = spellings_of(table, "label", {0: 0, 1: 1, 2: 2}, ("caf\u00e9", "007", "7"))
        assert corrected_table(tmp_path / "t.CSV", tmp_path / "new.CSV", "label", {2: 1}, [0], spellings)
        expected = text.replace("1,5;caf\u00e9\n", "").replace("3,5;7", "3,5;007")
        assert (tmp_path / "new.CSV").read_bytes().decode(encoding) == expected

    def test_labels_from_elsewhere_leave_the_table_out(self, tmp_path):
        pd.DataFrame({"x": np.arange(6) / 4, "label": list("ppqqpq")}).to_csv(tmp_path / "t.csv", index=False)
        np.save(tmp_path / "given.npy", [0, 1, 1, 1, 0, 0])
        audit = self.run(tmp_path, tmp_path / "t.csv", labels=str(tmp_path / "given.npy"))
        applied = apply(
            audit, tmp_path, write_decisions(make_decisions(audit, (0, "relabel", "q")), tmp_path / "d.csv")
        )
        assert [path.name for path in applied.files] == ["changes.csv", "labels.csv", "split"]

    @given(
        cells=st.lists(CELLS, min_size=3, max_size=8),
        quoted=st.booleans(),
        ends=st.sampled_from(["\n", "\r\n"]),
        data=st.data(),
    )  # fmt: skip
    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_whatever_a_csv_holds_only_the_labels_change(self, tmp_path, cells, quoted, ends, data):
        source, target = tmp_path / "s.csv", tmp_path / "t.csv"
        target.unlink(missing_ok=True)
        frame = pd.DataFrame(cells, columns=["text", "label"])
        text = frame.to_csv(index=False, quoting=1 if quoted else 0, lineterminator=ends)
        source.write_text(text, newline="")
        try:
            before = pd.read_csv(source, dtype=str, keep_default_na=False)
        except pd.errors.ParserError:  # of what earlier versions of pandas write themselves
            reject()
        rows = data.draw(st.lists(st.integers(0, len(before) - 1), unique=True))
        dropped, changed = rows[::2], dict.fromkeys(rows[1::2], 1)
        written = corrected_table(source, target, "label", changed, dropped, {1: 'n,"w'})
        assert written == target.exists()
        if written:
            before.loc[list(changed), "label"] = 'n,"w'
            after = pd.read_csv(target, dtype=str, keep_default_na=False)
            pd.testing.assert_frame_equal(after, before.drop(index=dropped).reset_index(drop=True))
        assert written or "\r" in text.replace("\r\n", "")


class TestLabelFilesByKey:
    def test_rows_come_in_any_order_and_with_gaps_and_the_truth(self, tmp_path):
        truth = load_dataset("digits").labels
        rows = [
            (f"digits/{i:04d}", (int(truth[i]) + 1) % 10 if i == 3 else truth[i], truth[i]) for i in range(99, 1, -1)
        ]
        pd.DataFrame(rows, columns=["key", "label", "clean_label"]).to_csv(tmp_path / "l.csv", index=False)
        dataset = load_dataset("digits", labels=tmp_path / "l.csv")
        assert [*dataset.keys] == [f"digits/{i:04d}" for i in range(2, 100)]
        assert np.flatnonzero(dataset.labels != dataset.true_labels).tolist() == [1]
        np.testing.assert_array_equal(dataset.true_labels, truth[2:100])

    @pytest.mark.parametrize(("text", "message"), [
        ("key,label\ndigits/9999,1\n", "row 2: the data have no sample with the key 'digits/9999'"),
        ("key,label\ndigits/0001,1\ndigits/0001,2\n", "row 3: repeats the key 'digits/0001' of row 2"),
        ("key,label\ndigits/0001,ten\n", "row 2: label 'ten' is none of the 10 classes"),
        ("key,other\ndigits/0001,1\n", "has no column 'label': its columns are key, other"),
        ("key,label,clean_label\ndigits/0001,1,5\n", "in another order: its clean label of row 1 is 5"),
        ("key,label,clean_label\ndigits/0001,1,\n", "row 2: has a label, but no clean_label"),
    ])  # fmt: skip
    def test_what_does_not_fit_is_refused(self, tmp_path, text, message):
        (tmp_path / "l.csv").write_text(text)
        with pytest.raises(DataError, match=message):
            load_dataset("digits", labels=tmp_path / "l.csv")

    def test_hostile_keys_and_classes_come_back_through_apply(self, tmp_path):
        names = ["=1+1", "'=x", 'a "b"\n,c', "\u202eabc", " p ", "5", "6.0"]
        keys = [f"{name}/{i}" for i in range(2) for name in names]
        table = pa.table({"id": keys, "x": [[float(i)] for i in range(14)], "label": [i % 7 for i in range(14)]})
        features = {"label": {"_type": "ClassLabel", "names": names}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
        pq.write_table(table, tmp_path / "t.parquet")
        data = DataSettings(str(tmp_path / "t.parquet"), feature_columns="x")
        audit = ranked_run(tmp_path / "run", data)
        rows = [(i, "relabel", names[(i + 3) % 7]) for i in range(7)]
        apply(audit, tmp_path, write_decisions(make_decisions(audit, *rows), tmp_path / "d.csv"))
        again = load_dataset(tmp_path / "t.parquet", feature_columns="x", labels=tmp_path / "out" / "labels.csv")
        assert again.labels.tolist() == [*[(i + 3) % 7 for i in range(7)], *range(7)]
        assert pq.read_table(tmp_path / "out" / "t.parquet")["label"].to_pylist() == again.labels.tolist()


@pytest.mark.parametrize(
    "options", [{}, {"head": "mlp"}, {"weight_decay": 0.05}, {"head": "linear", "weight_decay": 0.3}]
)
def test_the_next_command_repeats_the_head_that_was_chosen_by_hand(tmp_path, options):
    x = np.random.default_rng(0).normal(size=(90, 4)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=x, y=(x[:, 0] > 0).astype(int) + (x[:, 1] > 1))
    data = DataSettings(str(tmp_path / "data.npz"))
    audit_data(data, tmp_path / "run", TrainingSettings(epochs=2, **options))
    (tmp_path / "d.csv").write_text("sample_id,decision\n3,keep\n")
    typed = apply_decisions(tmp_path / "run", tmp_path / "d.csv", tmp_path / "out").next_command
    for name in ("head", "weight_decay"):
        flag = f"--{name.replace('_', '-')}"
        assert f"{flag} {options[name]}" in typed if name in options else flag not in typed


def test_fewer_than_two_classes_are_no_data(tmp_path):
    audit = make_audit(["a", "b", "c"], [0, 0, 1], ["p", "q"])
    dataset = load_dataset("digits")
    audit = ranked_run(tmp_path / "run", dataset=dataset.subset([0, 1, 10]))
    file = write_decisions(make_decisions(audit, (1, "relabel", "0")), tmp_path / "d.csv")
    with pytest.raises(DataError, match="fewer than two classes"):
        apply(audit, tmp_path, file)


@pytest.mark.slow
def test_the_whole_round_on_digits(tmp_path):
    """Audit, an oracle's decisions, apply, audit again by the printed command, compare."""
    arguments = ["digits", "--add-noise", "0.2", *FAST]
    assert gwaudit("audit", *arguments, "-o", tmp_path / "run").returncode == 0
    truth = load_dataset("digits").labels
    table = pd.read_csv(tmp_path / "run" / "suspects.csv", dtype={"given_name": str, "suggested_name": str}).head(250)
    table["new_label"] = truth[table["sample_id"]]
    table.to_csv(tmp_path / "mine.csv", index=False, sep=";", encoding="utf-16")
    done = json.loads(
        gwaudit("apply", tmp_path / "run", tmp_path / "mine.csv", "-o", tmp_path / "out", "--json").stdout
    )
    assert done["decided"]["relabel"] > 200
    again = gwaudit(*shlex.split(done["next_command"])[1:])
    assert again.returncode == 0, again.stderr
    facts = json.loads(gwaudit("compare", tmp_path / "run", tmp_path / "run-round-2", "--json").stdout)
    assert facts["labels_changed"] == done["changes"]
    assert facts["before"]["label_accuracy"] == pytest.approx(0.8, abs=1e-3)
    assert facts["after"]["label_accuracy"] == pytest.approx(0.8 + done["changes"] / 1797, abs=1e-3)
    assert facts["after"]["accuracy_on_given"] > facts["before"]["accuracy_on_given"]
    assert facts["suspects_corrected"] > 150
    shown = gwaudit("compare", tmp_path / "run", tmp_path / "run-round-2").stdout
    assert "share of right labels" in shown
    assert "corrected" in shown
