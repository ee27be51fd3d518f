"""A ranking compares the files of a run with their checksums, unless it is asked not to, and then says so."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from gwaudit import TrajectoryStore
from gwaudit.analysis.audit import Audit
from helpers.audits import make_audit, make_decisions
from helpers.command import gwaudit
from helpers.making import few_digits
from helpers.recorded_runs import make_run, ranked_run


@pytest.fixture
def damaged_run(tmp_path):
    """A run in which the losses of an epoch were exchanged for those of another one, by a valid file."""
    dataset = few_digits(40)
    with make_run(tmp_path / "run", dataset, epochs=3) as store:
        first, second = (store.path / store.commit(epoch).files[0].path for epoch in (0, 1))
    second.write_bytes(first.read_bytes())
    return tmp_path / "run"


def test_torch_takes_no_memory_beside_the_ranking(tmp_path):
    with make_run(tmp_path / "run", few_digits(40), epochs=3):
        pass
    program = """
import sys, gwaudit.pipeline.rank as module
rank = module.rank
def checked(*arguments, **options):
    print("torch" in sys.modules)
    return rank(*arguments, **options)
module.rank = checked
module.rank_again(sys.argv[1])
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, str(tmp_path / "run")], capture_output=True, text=True
    )
    assert done.stdout.strip() == "False", done.stderr
    assert (tmp_path / "run" / "report.html").exists()


def test_an_altered_file_is_noticed(damaged_run):
    done = gwaudit("rank", damaged_run)
    assert done.returncode == 2
    assert "block-000000.parquet" in done.stderr
    assert "--no-verify" not in done.stderr


def test_no_verify_reads_without_comparing_and_says_what_was_skipped(damaged_run):
    done = gwaudit("rank", damaged_run, "--no-verify", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["unverified_files"] == 4  # the samples and three epochs
    said = " ".join(done.stderr.split())
    assert "4 files of the run were read without being compared with their checksums" in said
    assert f"gwaudit show {damaged_run} --verify" in said
    assert gwaudit("show", damaged_run, "--verify").returncode == 2


def test_a_verified_ranking_says_that_no_file_was_skipped(tmp_path):
    make_run(tmp_path / "run", few_digits(40), epochs=2)
    done = gwaudit("rank", tmp_path / "run", "--json")
    assert json.loads(done.stdout)["unverified_files"] == 0
    assert "checksum" not in done.stderr


def test_a_run_without_its_last_epochs_is_ranked_with_a_word(tmp_path):
    run = tmp_path / "run"
    make_run(run, few_digits(40), epochs=3, settings={"training": {"epochs": 3, "select": "gwa"}}).close()
    assert "of 3 epochs" not in gwaudit("rank", run).stderr
    (run / "commits" / "epoch-00002.json").unlink()
    dataset = few_digits(40)
    make_audit(dataset.keys, dataset.labels, dataset.class_names, run=run, fingerprint=dataset.fingerprint).save(run)
    export = ("export", run, "--to", "csv", "--top", 5, "--output", tmp_path / "first.csv")
    for command in (("rank", run), ("show", run), ("report", run), export):
        assert "has 2 of 3 epochs" in " ".join(gwaudit(*command).stderr.split()), command


def test_a_round_without_its_last_epoch_is_left_out_with_a_word(tmp_path):
    run, settings = tmp_path / "run", {"training": {"epochs": 2, "select": "gwa"}}
    for folder in (run, run / "rounds" / "1"):
        make_run(folder, few_digits(40), epochs=2, settings=settings).close()
    left_out = "rounds/1 is not finished, and the ranking goes on without this round"
    assert left_out not in " ".join(gwaudit("rank", run).stderr.split())
    (run / "rounds" / "1" / "commits" / "epoch-00001.json").unlink()
    assert left_out in " ".join(gwaudit("rank", run).stderr.split())


def test_a_run_that_patience_ended_is_not_called_stopped(tmp_path):
    training = {"epochs": 9, "select": "gwa", "patience": 1}
    make_run(tmp_path / "run", few_digits(40), epochs=3, settings={"training": training}).close()
    assert "of 9 epochs" not in gwaudit("rank", tmp_path / "run").stderr


def test_a_sample_is_read_from_verified_files_of_any_size(damaged_run):
    with TrajectoryStore.open(damaged_run) as store, pytest.raises(Exception, match="block-000000"):
        store.trajectory(0)
    with TrajectoryStore.open(damaged_run, verify=False) as store:
        assert np.isfinite(store.trajectory(0)["loss"]).all()
        assert store.unverified_files == 3


class TestDecisions:
    """Decisions calibrate a ranking: those of the run's review by themselves, and those of further files."""

    @pytest.fixture
    def run(self, tmp_path):
        with make_run(tmp_path / "run", few_digits(60), epochs=3):
            pass
        assert gwaudit("rank", tmp_path / "run", "--force").returncode == 0
        return tmp_path / "run"

    def decide(self, run, path, *rows):
        make_decisions(Audit.load(run), *rows).to_csv(path, index=False)
        return path

    def test_decisions_of_the_run_and_of_files_are_used_together(self, run, tmp_path):
        self.decide(run, run / "decisions.csv", *((i, "drop") for i in range(8)))
        file = self.decide(run, tmp_path / "more.csv", *((i, "keep") for i in range(8, 14)), (14, "unsure"))
        done = gwaudit("rank", run, "--decisions", file)
        assert done.returncode == 0, done.stderr
        assert "Calibrated on 14 decisions, 0 of them random" in " ".join(done.stdout.split())
        assert Audit.load(run).calibration.wrong == 8
        assert len(pd.read_csv(run / "suspects.csv").merge(pd.read_csv(file), on="sample_id")) <= 1  # the unsure one

    def test_the_same_decisions_give_the_same_bytes(self, run):
        self.decide(run, run / "decisions.csv", *((i, "drop" if i < 12 else "keep") for i in range(30)))
        versions = []
        for _ in range(2):
            assert gwaudit("rank", run).returncode == 0
            versions.append((run / "results" / "current").resolve().name)
        assert versions[0] == versions[1]  # named by its content

    def test_without_decisions_it_says_that_nothing_is_calibrated(self, run):
        done = gwaudit("rank", run, "--json")
        assert json.loads(done.stdout)["calibration"] is None
        assert "calibration" in json.loads((run / "audit.json").read_text())
        assert "unsupervised_rank" not in Audit.load(run).frame

    def test_decisions_about_other_data_are_refused(self, run, tmp_path):
        before = (run / "results" / "current").resolve().name
        file = self.decide(run, tmp_path / "other.csv", *((i, "keep") for i in range(9)))
        file.write_text(file.read_text().replace("digits/", "cats/"))
        done = gwaudit("rank", run, "--decisions", file)
        assert done.returncode == 2
        assert "about other data" in " ".join(done.stderr.split())
        assert (run / "results" / "current").resolve().name == before

    def test_contradicting_decisions_are_left_out_with_a_word(self, run, tmp_path):
        rows = [(i, "drop") for i in range(6)]
        first, second = (self.decide(run, tmp_path / f"{name}.csv", *rows) for name in "ab")
        self.decide(run, second, (0, "keep"), *rows[1:])
        done = gwaudit("rank", run, "--decisions", first, "--decisions", second)
        assert done.returncode == 0
        assert "rows that decide nothing because of a problem: 1;" in " ".join(done.stderr.split())
        assert Audit.load(run).calibration.decided == 5

    def test_decisions_of_a_file_are_followed_and_missed_by_what_comes_after(self, run, tmp_path):
        rows = [(0, "relabel", "4"), (1, "drop"), (2, "relabel", "5"), *((i, "keep") for i in range(3, 9))]
        first = self.decide(run, tmp_path / "first.csv", *rows)
        assert gwaudit("rank", run, "--decisions", first).returncode == 0
        later = self.decide(run, tmp_path / "later.csv", (2, "keep"), (20, "drop"))
        done = gwaudit("apply", run, later, "-o", tmp_path / "out", "--undecided", "drop", "--force")
        assert done.returncode == 0, done.stderr
        assert "not given: 8, followed too" in " ".join(done.stdout.split())
        changes = pd.read_csv(tmp_path / "out" / "changes.csv", dtype=str, keep_default_na=False)
        people = changes[~changes["reason"].str.startswith("undecided")]
        assert people[["sample_id", "new"]].to_numpy().tolist() == [["0", "4"], ["1", ""], ["20", ""]]
        assert people["reason"].iloc[0] == "relabelled by a decision that the ranking is calibrated on"
        assert not set(changes["sample_id"]) & {str(i) for i in range(2, 9)}, "kept labels are no undecided suspects"
        assert "calibrated on 9 decisions more, which decisions.csv" in " ".join(gwaudit("status", run).stdout.split())
        drawn = gwaudit("sample", run, "--size", "20", "-o", tmp_path / "sample.csv")
        assert "calibrated on 9 decisions more" in " ".join(drawn.stderr.split())
        again = gwaudit("rank", run)
        assert "calibrated on 9 decisions, and this one is on 0" in " ".join(again.stderr.split())
        assert "before was calibrated" not in gwaudit("rank", run).stderr

    def test_suspects_that_were_written_before_are_still_read(self, run, tmp_path):
        suspects = pd.read_csv(run / "suspects.csv", dtype=str)
        alike = suspects[(suspects["given_label"] == suspects["given_label"][0])].head(3)
        label = str((int(alike["suggested_label"].iloc[0]) + 2) % 10)
        ids = [int(i) for i in alike["sample_id"]]
        self.decide(run, run / "decisions.csv", *((i, "relabel", label) for i in ids))
        assert gwaudit("rank", run).returncode == 0  # suggestions are other ones now
        suspects.assign(decision=["keep" if int(i) not in ids else "" for i in suspects["sample_id"]]).to_csv(
            tmp_path / "old.csv", index=False
        )
        done = gwaudit("rank", run, "--decisions", tmp_path / "old.csv")
        assert done.returncode == 0, done.stderr
        assert "problem" not in done.stderr
        assert Audit.load(run).calibration.decided == len(suspects)


def test_an_export_never_writes_over_answers(tmp_path):
    run, sheet = tmp_path / "run", tmp_path / "sheet.csv"
    ranked_run(run, dataset=few_digits(40), suspects=[3, 5])
    export = ("export", run, "--to", "csv", "--output", sheet)
    assert [gwaudit(*export).returncode for _ in range(2)] == [0, 0]  # an empty sheet is written anew
    table = pd.read_csv(sheet)
    table.assign(decision=["keep", ""]).to_csv(sheet, index=False)
    filled = sheet.read_bytes()
    done = gwaudit(*export)
    assert done.returncode == 2
    assert "holds 1 answers, which would be lost" in " ".join(done.stderr.split())
    for format in ("csv", "cleanlab"):
        assert gwaudit("export", run, "--to", format, "--output", sheet).returncode == 2
    assert sheet.read_bytes() == filled
