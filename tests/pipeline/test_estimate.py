"""Decisions on a random sample say how many labels are wrong; bad input says so, and nothing else is claimed."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from gwaudit import apply_decisions, check, class_health, compare, estimate, evaluate, transition_matrix
from gwaudit.analysis.audit import Audit
from gwaudit.analysis.calibrated_audit import calibrate
from gwaudit.analysis.ranked_table import RankedTable
from gwaudit.cli.app import app
from gwaudit.core.errors import DataError, SettingsError, UnresolvedDecisionsError
from gwaudit.pipeline.sample import draw_for_review, ids_to_review, write_sample
from gwaudit.review.decided_samples import read_decided
from gwaudit.review.decisions import write_decisions
from gwaudit.review.estimates import estimate_wrong_labels
from gwaudit.store.store import TrajectoryStore
from helpers.audits import make_audit, make_decisions

N, NAMES = 1000, ["ant", "bee", "cat"]


@pytest.fixture(scope="module")
def truth():
    return np.random.default_rng(0).random(N) < 0.1


@pytest.fixture
def run(tmp_path, truth):
    rng = np.random.default_rng(1)
    log_odds = np.where(truth, rng.normal(3, 2, N), rng.normal(-5, 2, N))
    given = rng.integers(0, 3, N)
    keys = [f"{i:04d}.jpg" for i in range(N)]
    folder = tmp_path / "run"
    TrajectoryStore.create(folder, given_labels=given, class_names=NAMES, keys=keys).close()
    suspects = np.flatnonzero(log_odds > 0)
    audit = make_audit(keys, given, NAMES, log_odds=log_odds, suspects=suspects, run=folder, fingerprint="")
    audit.frame["probability_wrong"] = 1 / (1 + np.exp(-audit.frame["log_odds_wrong"]))
    audit.save(folder)
    return folder


def decide(run, ids, truth):
    decisions = [(int(i), "drop" if truth[i] else "keep") for i in ids]
    write_decisions(make_decisions(Audit.load(run), *decisions), run / "decisions.csv")


def fill(path, truth, rows=None):
    table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    words = ["drop" if truth[int(i)] else "keep" for i in table["sample_id"]]
    table["decision"] = words if rows is None else [w if i < rows else "" for i, w in enumerate(words)]
    table.to_csv(path, index=False)
    return table


@pytest.fixture
def to_check(run, tmp_path, truth):
    path = tmp_path / "to-check.csv"
    assert write_sample(run, path, 200, seed=0) == 200
    fill(path, truth)
    return path


def gwaudit(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_table_to_fill_in_shows_no_scores_and_no_ranks(run, tmp_path):
    write_sample(run, tmp_path / "s.csv", 50)
    table = pd.read_csv(tmp_path / "s.csv", encoding="utf-8-sig")
    assert list(table) == ["sample_id", "key", "given_name", "decision", "label", "data_fingerprint"]
    ranks = Audit.load(run).by_id("rank")[table["sample_id"]]
    assert abs(np.corrcoef(ranks, np.arange(50))[0, 1]) < 0.4


def test_the_interval_of_a_filled_sample_holds_the_truth(run, to_check, truth):
    result = estimate(run, [to_check])
    assert result.decided == result.random == result.drawn == 200
    assert result.total.low <= truth.sum() <= result.total.high
    assert result.total.high - result.total.low < N / 8
    suspect = Audit.load(run).by_id("suspect")
    assert result.flagged.low <= (truth & suspect).sum() <= result.flagged.high
    share, low, high = result.recall
    assert low <= (truth & suspect).sum() / truth.sum() <= high
    assert low <= share <= high


def test_numbers_beside_each_other_add_up(run, to_check, truth):
    result = estimate(run, [to_check])
    flagged, missed, total = result.flagged, result.missed, result.total
    assert flagged.estimate + missed.estimate == pytest.approx(total.estimate)
    assert flagged.samples + missed.samples == total.samples
    assert result.classes["estimate"].sum() == pytest.approx(total.estimate)
    assert max(flagged.high, missed.high) <= total.high
    assert result.recall[0] == pytest.approx(flagged.estimate / total.estimate)
    assert missed.low <= (truth & ~Audit.load(run).by_id("suspect")).sum() <= missed.high
    lines = gwaudit("status", run, "--decisions", to_check).stdout.splitlines()
    words = {line.split(":")[0]: line.split(": ")[1].split()[0] for line in lines if ": " in line}
    flagged_shown, missed_shown = (int(words[f"Among the {part.samples:,} {name}"]) for part, name in (
        (flagged, "suspects"), (missed, "others"),
    ))  # fmt: skip
    assert flagged_shown + missed_shown == int(words["Wrong labels in all"])


def test_every_class_has_an_interval_with_what_was_found_in_it(run, to_check, truth):
    result = estimate(run, [to_check])
    given = np.array(NAMES)[Audit.load(run).by_id("given_label")]
    assert sorted(result.classes["class"]) == NAMES
    for row in result.classes.to_dict("records"):
        assert row["found_wrong"] <= row["low"] <= row["estimate"] <= row["high"] <= row["samples"]
        assert row["low"] <= truth[given == row["class"]].sum() <= row["high"]


def test_groups_are_estimated_by_each_column_of_their_file(run, to_check, tmp_path, truth):
    keys = Audit.load(run).by_id("key")
    annotator = np.where(np.arange(N) % 2, "ann", "bob")
    groups = pd.DataFrame({"key": keys, "annotator": annotator, "batch": np.arange(N) // 500})
    groups.iloc[::-1].to_csv(tmp_path / "groups.csv", index=False)
    result = estimate(run, [to_check], groups=tmp_path / "groups.csv")
    assert set(result.groups) == {"annotator", "batch"}
    for row in result.groups["annotator"].to_dict("records"):
        assert row["low"] <= truth[annotator == row["annotator"]].sum() <= row["high"]


def test_decisions_that_nobody_drew_are_counted_and_not_extrapolated(run, truth):
    ids = Audit.load(run).frame["sample_id"].to_numpy()[:100]
    decide(run, ids, truth)
    result = estimate(run)
    assert result.total.estimate is None
    assert result.total.low == result.found_wrong == truth[ids].sum()
    assert result.total.high == truth[ids].sum() + N - 100
    assert "No random sample" in result.notes[0]


def test_known_decisions_and_the_sample_are_joined(run, to_check, truth):
    before = estimate(run, [to_check])
    ids = Audit.load(run).frame["sample_id"].to_numpy()[:150]
    decide(run, ids, truth)
    after = estimate(run, [to_check])
    assert after.found_wrong > before.found_wrong
    assert after.total.low <= truth.sum() <= after.total.high
    assert after.total.high - after.total.low < before.total.high - before.total.low
    assert after.flagged.low == after.flagged.high  # all suspects are decided


@pytest.mark.parametrize(("given", "message"), [
    (lambda run: estimate(None), "given by its path or URL, not as NoneType"),
    (lambda run: estimate(run, 5), "by the paths of their files, not as int"),
    (lambda run: estimate(run, pd.DataFrame({"decision": ["keep"]})), "not as DataFrame: write it with `to_csv` first"),
    (lambda run: estimate(run, [pd.DataFrame()]), "given by its path or URL, not as DataFrame"),
    (lambda run: apply_decisions(run, None, run / "x"), "by the paths of their files, not as NoneType"),
    (lambda run: compare(Audit.load(run), run), "given by its path or URL, not as Audit"),
    (lambda run: evaluate(run, [0]), "Audit.load"),
    (class_health, "Audit.load"),
    (transition_matrix, "Audit.load"),
])  # fmt: skip
def test_arguments_of_another_type_are_refused_by_name(run, given, message):
    with pytest.raises(SettingsError, match=message):
        given(run)


def test_a_limit_as_the_command_takes_it_is_refused_with_the_number(run):
    with pytest.raises(SettingsError, match=r"2 % is 0\.02\), not '2%'"):
        check(run, "2%")


def test_a_sample_that_nobody_decided_estimates_nothing(run, tmp_path):
    write_sample(run, tmp_path / "s.csv", 200)
    result = estimate(run)
    assert result.total.estimate is None
    assert (result.total.low, result.total.high) == (0, N)
    assert "200 of the 200 samples drawn are not decided yet" in result.notes[0]


def test_a_sample_that_was_filled_in_half_is_a_smaller_sample(run, tmp_path, truth):
    path = tmp_path / "s.csv"
    write_sample(run, path, 200, seed=3)
    fill(path, truth, rows=100)
    result = estimate(run, [path])
    assert result.random == 100
    assert result.total.low <= truth.sum() <= result.total.high


def test_all_keep_is_an_estimate_of_none_with_an_upper_limit(run, tmp_path):
    path = tmp_path / "s.csv"
    write_sample(run, path, 200)
    fill(path, np.zeros(N, bool))
    result = estimate(run, [path])
    assert result.total.estimate == result.total.low == 0
    assert 0 < result.total.high < N / 20
    assert result.recall is None


def test_contradictory_decisions_give_no_estimate(run, to_check, truth):
    table = pd.read_csv(to_check, dtype=str, keep_default_na=False)
    decide(run, [int(table["sample_id"][0])], ~truth)
    with pytest.raises(UnresolvedDecisionsError, match="no estimate, as 1 decision cannot be used"):
        estimate(run, [to_check])


@pytest.mark.parametrize("draw", ["sample", "review"])
def test_nothing_is_drawn_beside_contradictory_decisions(run, to_check, truth, tmp_path, draw):
    """Otherwise their samples would be asked about again, and the next estimate refused for the old rows."""
    table = pd.read_csv(to_check, dtype=str, keep_default_na=False)
    decide(run, [int(table["sample_id"][0])], ~truth)
    drawing = {
        "sample": lambda: write_sample(run, tmp_path / "more.csv", 300, decisions=[to_check]),
        "review": lambda: draw_for_review(run, 300, decisions=[to_check]),
    }
    with pytest.raises(UnresolvedDecisionsError, match="no sample is drawn, as 1 decision cannot be used"):
        drawing[draw]()
    assert not (tmp_path / "more.csv").exists()


def test_a_sample_that_is_all_unsure_needs_another_person(run, to_check):
    table = pd.read_csv(to_check, dtype=str, keep_default_na=False)
    table.assign(decision="unsure").to_csv(to_check, index=False)
    result = estimate(run, [to_check])
    assert result.total.estimate is None
    assert any("Let another person decide on the unsure samples" in note for note in result.notes)


def test_no_limit_is_a_negative_zero(run, tmp_path, truth):
    for rows in (20, 30, 40):
        write_sample(run, tmp_path / "few.csv", 200, seed=0)
        fill(tmp_path / "few.csv", truth, rows=rows)
        assert not np.signbit(estimate(run, [tmp_path / "few.csv"]).classes["low"]).any()
        (tmp_path / "few.csv").unlink()


def test_unsure_counts_as_undecided_and_is_named(run, to_check):
    table = pd.read_csv(to_check, dtype=str, keep_default_na=False)
    table.loc[:9, "decision"] = "unsure"
    table.to_csv(to_check, index=False)
    result = estimate(run, [to_check])
    assert (result.decided, result.unsure) == (190, 10)
    assert any("10 samples are unsure" in note for note in result.notes)


def test_decisions_of_another_run_are_refused(run, to_check):
    table = pd.read_csv(to_check, dtype=str, keep_default_na=False)
    table["key"] = "other-" + table["key"]
    table.to_csv(to_check, index=False)
    with pytest.raises(DataError, match="other data"):
        estimate(run, [to_check])


def test_a_ranking_that_changed_after_the_draw_leaves_the_estimate_valid(run, to_check, truth):
    before = estimate(run, [to_check])
    audit = Audit.load(run)
    audit.frame["suspect"] = audit.frame["suspect"].to_numpy()[::-1]
    frame = audit.frame.iloc[::-1].reset_index(drop=True).assign(rank=np.arange(1, N + 1))
    replace(audit, table=RankedTable(frame)).save(run)
    after = estimate(run, [to_check])
    assert (after.total.low, after.total.estimate, after.total.high) == pytest.approx(
        (before.total.low, before.total.estimate, before.total.high)
    )
    suspect = Audit.load(run).by_id("suspect")
    assert after.flagged.low <= (truth & suspect).sum() <= after.flagged.high


def test_reviewing_worst_first_reaches_the_target(run, to_check, truth):
    result = estimate(run, [to_check], target_rate=0.03)
    assert 0 < result.to_review < N
    ids = set(Audit.load(run).frame["sample_id"].to_numpy()[: result.to_review + 100].tolist())
    decide(run, ids, truth)
    done = estimate(run, [to_check], target_rate=0.03)
    assert done.to_review < result.to_review / 2


def test_a_larger_sample_writes_the_new_samples_alone(run, to_check, tmp_path, truth):
    decided = pd.read_csv(to_check, dtype=str, keep_default_na=False)
    decide(run, decided["sample_id"].astype(int), truth)
    assert write_sample(run, tmp_path / "more.csv", 260) == 60
    more = pd.read_csv(tmp_path / "more.csv", dtype=str, encoding="utf-8-sig")
    assert not set(more["sample_id"]) & set(decided["sample_id"])
    decide(run, [*decided["sample_id"].astype(int), *more["sample_id"].astype(int)], truth)
    with pytest.raises(DataError, match=r"260 of the 260 samples drawn are decided.* larger size"):
        write_sample(run, tmp_path / "none.csv", 200)


def test_a_large_draw_by_mistake_does_not_enlarge_the_next(run, to_check, tmp_path, truth):
    first = pd.read_csv(to_check, dtype=str, encoding="utf-8-sig")["sample_id"].astype(int)
    n = write_sample(run, tmp_path / "all.csv", 50_000)
    decide(run, first, truth)
    assert write_sample(run, tmp_path / "more.csv", 250) == 50
    more = pd.read_csv(tmp_path / "more.csv", dtype=str, encoding="utf-8-sig")["sample_id"].astype(int)
    assert n > 250
    assert not set(more) & set(first)
    decide(run, [*first, *more], truth)
    result = estimate(run)
    assert result.random >= 200
    assert result.total.low <= truth.sum() <= result.total.high


def test_who_fills_in_the_wrong_labels_alone_has_not_decided_at_random(run, to_check, truth):
    table = pd.read_csv(to_check, dtype=str, encoding="utf-8-sig", keep_default_na=False)
    ids = table["sample_id"].astype(int).to_numpy()
    decide(run, ids[truth[ids]], truth)
    result = estimate(run)
    assert result.random == 0
    assert result.total.estimate is None
    assert result.total.low == truth[ids].sum()
    assert any("write keep" in note for note in result.notes)


def test_check_passes_fails_and_asks_for_more(run, to_check, truth):
    rate = truth.mean()
    assert check(run, 2 * rate, [to_check]).outcome == "passed"
    assert check(run, rate / 3, [to_check]).outcome == "failed"
    unclear = check(run, rate, [to_check])
    assert unclear.outcome == "undecided"
    assert unclear.more_decisions >= 10
    assert check(run, 0.02).outcome == "undecided"


def test_check_of_corrected_labels_counts_what_is_left(run, truth):
    decide(run, range(N), truth)
    assert check(run, 0.02).outcome == "failed"
    assert check(run, 0.02, corrected=True).outcome == "passed"


@pytest.mark.parametrize(("limit", "code"), [("25%", 0), ("0.02", 1), ("8.5%", 3)])
def test_the_exit_code_of_check_says_its_outcome(run, to_check, limit, code):
    done = gwaudit("check", run, "--max-wrong", limit, "--decisions", to_check)
    assert done.exit_code == code, done.output
    as_json = gwaudit("check", run, "--max-wrong", limit, "--decisions", to_check, "--json")
    assert as_json.exit_code == code
    assert json.loads(as_json.stdout)["outcome"] == {0: "passed", 1: "failed", 3: "undecided"}[code]


@pytest.mark.parametrize("limit", ["2", "x", "-1%", "100%", "nan"])
def test_a_limit_that_is_no_share_is_bad_input(run, limit):
    done = gwaudit("check", run, "--max-wrong", limit)
    assert done.exit_code == 2
    assert "--max-wrong" in done.stderr


def test_status_says_what_is_known_and_what_to_do_next(run, to_check):
    nothing = gwaudit("status", run)
    assert nothing.exit_code == 0
    assert "no random sample" not in nothing.stdout
    filled = gwaudit("status", run, "--decisions", to_check, "--target-rate", "1%")
    assert "Wrong labels in all: " in filled.stdout
    assert "worst first" in filled.stdout
    as_json = json.loads(gwaudit("status", run, "--decisions", to_check, "--json").stdout)
    assert as_json["total"]["samples"] == N
    assert as_json["random"] == 200


def test_sample_writes_the_table_and_says_how_to_go_on(run, tmp_path):
    done = gwaudit("sample", run, "--size", 40, "--output", tmp_path / "s.csv")
    assert done.exit_code == 0, done.output
    assert "40 labels to decide" in done.stdout
    assert "gwaudit status" in done.stdout
    assert gwaudit("sample", run, "--size", 0, "-o", tmp_path / "t.csv").exit_code == 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("key\n0001.jpg\n", "no column of groups"),
        ("key,annotator\nnone.jpg,ann\n", "name no sample"),
        ("key,annotator\n0001.jpg,ann\n0001.jpg,bob\n", "already"),
        ("sample_id,annotator\n99999,ann\n", "name no sample"),
        ("name,annotator\n0001.jpg,ann\n", "the cells of 'name' are keys of .*: call this column key"),
        ("annotator;ID\nann;17\nbob;18\n", "the cells of 'ID' are possible sample ids .*: call this column sample_id"),
        ("id,batch\nx1,3\nx2,3\n", "there are id, batch. .*keys are such as '0000.jpg'"),
        ("key,annotator\n1.jpg,ann\n", "write the keys as the run has them, such as '0000.jpg'"),
        ("sample_id,annotator\n-1,ann\n", "whole number from 0 to 999"),
        ('sample_id,annotator\n"1,000",ann\n', "name no sample"),
        ("sample_id,key,annotator\n3,0004.jpg,ann\n", "another sample by sample_id than by key"),
        ("key,a,a\n0001.jpg,ann,bob\n", "several columns"),
    ],
)
def test_a_file_of_groups_that_does_not_fit_is_refused(run, tmp_path, text, reason):
    (tmp_path / "groups.csv").write_text(text)
    with pytest.raises(DataError, match=reason):
        estimate(run, groups=tmp_path / "groups.csv")


def test_ids_that_a_spreadsheet_wrote_as_numbers_are_read(run, tmp_path):
    text = "Sample-ID;key;annotator\n3.0;0003.jpg;ann\n 4 ;;bob\n;0005.jpg;bob\n"  # one of the two names is enough
    (tmp_path / "groups.csv").write_text(text, encoding="utf-16")
    table = estimate(run, groups=tmp_path / "groups.csv").groups["annotator"].set_index("annotator")
    assert table["samples"].to_dict() == {"": N - 3, "ann": 1, "bob": 2}


@pytest.mark.parametrize("rate", [-0.1, 1, 2, float("nan")])
def test_a_target_that_is_no_share_is_refused(run, rate):
    with pytest.raises(SettingsError, match="is a share"):
        estimate(run, target_rate=rate)


def test_a_review_mixes_the_sample_with_as_many_uncertain_ones(run):
    audit, sample, decided = draw_for_review(run, 40)
    ids = ids_to_review(audit, sample, decided, 40)
    assert len(ids) == len(set(ids)) == 80
    assert [i for i in ids if sample.is_drawn[i]] == sample.ids().tolist()
    distance = np.abs(audit.by_id("log_odds_wrong"))
    others = distance[[i for i in ids if not sample.is_drawn[i]]]
    assert (np.diff(others) >= 0).all()
    assert others.max() <= np.delete(distance, ids).min()


@pytest.mark.parametrize("name", ["samples", "found_wrong", "estimate", "low", "[bold]who[/bold]"])
def test_a_column_of_groups_may_be_called_as_the_numbers_are(run, to_check, tmp_path, name):
    pd.DataFrame({"key": [f"{i:04d}.jpg" for i in range(N)], name: ["ann", "bob"] * (N // 2)}).to_csv(
        tmp_path / "groups.csv", index=False
    )
    done = gwaudit("status", run, "--decisions", to_check, "--groups", tmp_path / "groups.csv")
    assert done.exit_code == 0, done.output
    assert name in done.stdout
    table = estimate(run, [to_check], groups=tmp_path / "groups.csv").groups[name]
    assert table.columns.is_unique
    assert sorted(table.iloc[:, 0]) == ["ann", "bob"]
    assert table["samples"].tolist() == [N // 2, N // 2]


def test_a_seed_below_zero_is_refused_for_a_first_and_for_a_larger_draw(run, tmp_path):
    for _ in range(2):
        with pytest.raises(SettingsError, match="`seed` must be 0 or more"):
            write_sample(run, tmp_path / "s.csv", 50, seed=-1)
        draw_for_review(run, 10)


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_an_output_that_is_closed_or_full_is_no_result_of_a_check(run, to_check, options):
    command = [sys.executable, "-m", "gwaudit", "check", run, "--max-wrong", "50%", "--decisions", to_check, *options]
    reader, writer = os.pipe()
    os.close(reader)
    assert subprocess.run(command, stdout=writer, stderr=subprocess.PIPE).returncode == 141
    os.close(writer)
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert "the output cannot be written" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_filled_file_is_never_written_over_and_its_samples_are_left_out_of_the_next(run, to_check, tmp_path):
    filled = to_check.read_bytes()
    with pytest.raises(DataError, match="holds 200 answers, which would be lost"):
        write_sample(run, to_check, 260)
    assert to_check.read_bytes() == filled
    assert write_sample(run, tmp_path / "more.csv", 260, decisions=[to_check]) == 60
    next_command = gwaudit("check", run, "--max-wrong", "8.5%", "--decisions", to_check).stdout
    assert f"--decisions {to_check}" in " ".join(next_command.split())


def test_the_precision_does_not_follow_from_the_decisions_that_a_calibration_took_out_of_the_suspects(run, truth):
    audit = Audit.load(run)
    _, sample, _ = draw_for_review(run, 200, seed=0)
    decide(run, sample.ids(), truth)
    decided = read_decided(audit)
    before = estimate_wrong_labels(audit, decided).flagged
    # A calibration with the order and the cut as they were: samples that were found right are no suspects any more.
    frame = audit.frame.assign(unsupervised_log_odds=audit.frame["log_odds_wrong"], decision="")
    ids = frame["sample_id"].to_numpy()
    frame.loc[decided.is_decided[ids], "decision"] = "keep"
    frame["suspect"] = (frame["suspect"] & ~decided.is_right[ids]) | decided.is_wrong[ids]
    after = estimate_wrong_labels(replace(audit, table=RankedTable(frame)), decided).flagged
    assert after.rate[0] == pytest.approx(before.rate[0], abs=0.05)
    assert before.rate[0] < 0.95  # and not 1, as of the samples that were found wrong alone


def test_a_redraw_says_what_it_needs(run, to_check, truth, tmp_path):
    with pytest.warns(UserWarning, match="200 of the 200 labels drawn before have no decision in the files"):
        write_sample(run, tmp_path / "again.csv", 60, seed=1, redraw=True)
    write_sample(run, tmp_path / "known.csv", 60, seed=2, redraw=True, decisions=[to_check])  # nothing to say
    fill(tmp_path / "known.csv", truth)
    [left_out, *_] = [note for note in estimate(run, [tmp_path / "known.csv"]).notes if "left out" in note]
    assert left_out.startswith("The draw left out 200 samples that were decided before")
    whole = estimate(run, [tmp_path / "known.csv", to_check])
    assert whole.total.estimate is not None
    assert not any("left out" in note for note in whole.notes)


def test_a_seed_that_does_nothing_is_named(run, to_check, tmp_path):
    with pytest.warns(UserWarning, match="`seed` does nothing: the sample was drawn before with seed 0"):
        write_sample(run, tmp_path / "more.csv", 220, seed=9, decisions=[to_check])


def test_decisions_that_the_ranking_takes_for_mistakes_are_named(run, truth):
    _, sample, _ = draw_for_review(run, 400, seed=0)
    answers = truth.copy()
    answers[sample.ids()[::12]] ^= True
    decide(run, sample.ids(), answers)
    audit = Audit.load(run)
    decided = read_decided(audit)
    calibrated = calibrate(audit, decided.decisions.frame, decided.is_random)
    assert calibrated.calibration.has_doubtful_answers
    assert any("of the decisions for mistakes" in note for note in estimate_wrong_labels(calibrated, decided).notes)
    assert not any("mistakes" in note for note in estimate_wrong_labels(audit, decided).notes)


@pytest.mark.parametrize("everything", [False, True])
def test_recall_stays_where_every_suspect_was_decided(run, truth, everything):
    audit = Audit.load(run)
    _, sample, _ = draw_for_review(run, 120, seed=0)
    decide(run, range(N) if everything else [*sample.ids(), *audit.suspects["sample_id"]], truth)
    decided = read_decided(audit)
    before = estimate_wrong_labels(audit, decided)
    calibrated = calibrate(audit, decided.decisions.frame, decided.is_random)
    assert not (calibrated.is_undecided & calibrated.column("suspect").astype(bool)).any()
    after = estimate_wrong_labels(calibrated, decided)
    assert after.flagged.samples == pytest.approx(before.flagged.samples, abs=6)
    assert after.recall == pytest.approx(before.recall, abs=0.02)
    assert "-0.0" not in json.dumps(after.to_dict())


def test_the_intervals_of_rows_are_explained_only_while_samples_are_undecided(run, to_check, truth):
    text = "rests on few random decisions"
    assert text in gwaudit("status", run, "--decisions", to_check).stdout
    decide(run, range(N), truth)
    assert text not in gwaudit("status", run).stdout


def test_a_wrong_label_without_its_class_gives_no_estimate(run, to_check):
    table = pd.read_csv(to_check, dtype=str, keep_default_na=False)
    table.loc[0, "decision"] = "relabel"
    table.to_csv(to_check, index=False)
    done = gwaudit("check", run, "--max-wrong", "2%", "--decisions", to_check)
    assert done.exit_code == 2
    assert "there is no estimate, as 1 decision cannot be used" in " ".join(done.output.split())
    assert "to-check.csv" in done.output
