"""The command line, as it is typed: what it prints, writes and returns."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from gwaudit import __version__, load_dataset
from helpers.command import FAST, gwaudit, start_gwaudit
from helpers.recorded_runs import make_run, with_a_fifth_wrong


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    done = gwaudit("audit", "digits", "--add-noise", "0.1", "--output", folder / "run", *FAST)
    assert done.returncode == 0, done.stderr
    return folder / "run", done


def test_an_audit_ends_with_a_summary_and_its_files(audited):
    run, done = audited
    assert "labels are suspect" in done.stdout
    assert "precision" in done.stdout
    assert "most suspicious" in done.stdout
    assert "epoch   4/4" in done.stderr
    for name in ("suspects.csv", "audit.parquet", "audit.json", "evaluation.json", "cleaned/drop/ids.npy"):
        assert (run / name).is_file()
        assert str(run / name).removesuffix("/ids.npy") in done.stdout


def test_the_suspects_open_as_a_table(audited):
    run, _ = audited
    table = pd.read_csv(run / "suspects.csv")
    assert list(table.columns) == [
        "rank", "sample_id", "key", "given_label", "given_name", "suggested_label", "suggested_name",
        "log_odds_wrong", "probability_wrong", "mean_alignment", "share_negative", "category", "verdict",
    ]  # fmt: skip
    assert (table["rank"].diff().dropna() == 1).all()
    assert (table["category"] == "suspect").all()


def test_ranking_again_changes_the_cut_and_needs_no_training(audited):
    run, _ = audited
    done = gwaudit("rank", run, "--top", "25", "--window", "2", "4", "--json")
    facts = json.loads(done.stdout)
    assert facts["suspects"] == 25
    assert facts["window"] == [2, 4]
    assert len(pd.read_csv(run / "suspects.csv")) == 25
    assert gwaudit("rank", run).returncode == 0


def test_a_run_of_ones_own_loop_is_ranked_without_its_data(tmp_path):
    run, digits = tmp_path / "run", load_dataset("digits")
    make_run(run, digits)
    ranked = gwaudit("rank", run, "--top", 100)
    assert ranked.returncode == 0, ranked.stderr
    assert "100 of 1,797 labels are suspect" in ranked.stdout
    suspects = pd.read_csv(run / "suspects.csv", dtype={"key": str})
    assert set(suspects["key"]) <= set(digits.keys[: 1797 // 5])
    assert len(pd.read_csv(run / "cleaned" / "drop" / "split.csv")) == 1697
    assert (run / "report.html").exists()
    facts = json.loads(gwaudit("rank", run, "--top", 50, "--json").stdout)
    assert (facts["suspects"], facts["evaluation"], facts["skipped"]) == (50, None, [])
    unknown = gwaudit("evaluate", run)
    assert unknown.returncode == 2
    assert "--truth" in unknown.stderr
    np.save(tmp_path / "truth.npy", with_a_fifth_wrong(digits).true_labels)
    assert "precision" in gwaudit("evaluate", run, "--truth", tmp_path / "truth.npy", "--json").stdout


def test_evaluation_takes_the_truth_from_the_data_or_from_a_file(audited, tmp_path):
    run, _ = audited
    own = json.loads(gwaudit("evaluate", run, "--json").stdout)[str(run)]
    from sklearn.datasets import load_digits

    np.save(tmp_path / "truth.npy", load_digits().target)
    given = json.loads(gwaudit("evaluate", run, "--truth", tmp_path / "truth.npy", "--json").stdout)[str(run)]
    assert own == given
    assert f"Written: {run / 'evaluation.json'}" in gwaudit("evaluate", run).stdout
    assert own["n_wrong"] == 180
    assert own["auroc"] > 0.9


def test_show_tells_the_state_and_draws_a_trajectory(audited):
    run, _ = audited
    state = gwaudit("show", run)
    assert "4 of 4 epochs" in state.stdout
    drawn = gwaudit("show", run, "--sample", "digits/0017")
    assert drawn.returncode == 0, drawn.stderr
    assert "sample 17 (digits/0017)" in drawn.stdout
    assert "\x1b" not in drawn.stdout, "no escape codes in a pipe"
    facts = json.loads(gwaudit("show", run, "--sample", "17", "--json").stdout)
    assert [row["epoch"] for row in facts["trajectory"]] == [1, 2, 3, 4]
    assert gwaudit("show", run, "--verify").returncode == 0


@pytest.mark.parametrize("format", ["ids", "hf", "imagefolder"])
def test_export_writes_each_format_once(audited, tmp_path, format):
    run, _ = audited
    arguments = ("export", run, "--to", format, "--output", tmp_path / "out", "--action", "relabel")
    assert gwaudit(*arguments).returncode == 0
    again = gwaudit(*arguments)
    assert again.returncode == 2
    assert "exists" in again.stderr


def test_training_and_ranking_apart_give_the_audit(audited, tmp_path):
    run, _ = audited
    assert gwaudit("train", "digits", "--add-noise", "0.1", "-o", tmp_path / "run", *FAST).returncode == 0
    assert gwaudit("rank", tmp_path / "run").returncode == 0
    assert gwaudit("rank", run).returncode == 0
    frames = [pd.read_parquet(path / "audit.parquet") for path in (run, tmp_path / "run")]
    pd.testing.assert_frame_equal(*frames)


def test_ctrl_c_leaves_a_run_that_the_printed_command_resumes(tmp_path):
    arguments = ["audit", "digits", "--output", str(tmp_path / "my run"), "--epochs", "200", "--batch-size", "256"]
    process = start_gwaudit(*arguments)
    commits = tmp_path / "my run" / "commits"
    while not (commits.is_dir() and len(list(commits.glob("epoch-*.json"))) >= 2) and process.is_alive:
        time.sleep(0.05)
    for _ in range(5):  # an impatient person
        process.send_signal(signal.SIGINT)
        time.sleep(0.03)
    done = process.wait()
    errors = done.stderr
    assert done.returncode == 130, errors
    last = errors.strip().splitlines()[-1]
    assert last.startswith("error: interrupted; complete epochs are kept. Continue with: gwaudit audit digits")
    assert last.endswith("--resume")
    assert "'" in last, "a path with a space is quoted"
    assert "Traceback" not in errors
    state = json.loads(gwaudit("show", tmp_path / "my run", "--json").stdout)
    assert len(state["epochs"]) >= 2


def test_help_teaches_and_answers_at_once():
    began = time.monotonic()
    done = gwaudit("--help")
    assert "gwaudit demo" in done.stdout
    modules = "import sys, gwaudit.cli; print([m for m in ('torch', 'timm', 'pandas', 'sklearn') if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", modules], capture_output=True, text=True).stdout
    assert loaded.strip() == "[]", f"help waits for {loaded} ({time.monotonic() - began:.1f} s)"
    for command in ("demo", "audit", "train", "rank", "evaluate", "export", "apply", "compare", "show"):
        assert gwaudit(command, "--help").returncode == 0
    audit = gwaudit("audit", "--help").stdout
    for text in ("Ranking", "Data", "Training", "resnet9_16", "--label-key", "shift-flip", "--preset", "--refine"):
        assert text in audit


def test_version():
    assert gwaudit("--version").stdout.strip() == __version__
