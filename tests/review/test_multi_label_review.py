"""Labels of multi-label data are drawn, decided, counted, calibrated on and corrected one (sample, class) at a time."""

import shutil

import numpy as np
import pandas as pd
import pytest
from selenium.webdriver.common.by import By
from sklearn.datasets import load_digits
from sklearn.metrics import average_precision_score

from gwaudit import audit as run_audit
from gwaudit import check, estimate
from gwaudit.analysis.audit import Audit, rows_of
from gwaudit.analysis.calibrated_audit import calibrate
from gwaudit.analysis.ranked_table import RankedTable
from gwaudit.core.settings import DataSettings, RankingSettings, TrainingSettings
from gwaudit.pipeline.rank import rank_again
from gwaudit.pipeline.report import load_report_data, write_report
from gwaudit.pipeline.sample import draw_for_review, ids_to_review, write_sample
from gwaudit.review.decided_samples import decided_samples, read_decided
from gwaudit.review.decision_log import DecisionLog, LoggedDecision
from gwaudit.review.decisions import Decisions
from gwaudit.review.estimates import estimate_wrong_labels
from gwaudit.review.learning import ReviewLearner
from gwaudit.review.report.page import render_page
from gwaudit.review.review_sample import draw_sample
from gwaudit.review.server import ReviewServer
from helpers.browsing import cards, click, decided, errors, press, start, text_of, wait
from helpers.command import gwaudit
from helpers.serving import serving

TAGS = ("even", "=above four", "prime")


@pytest.fixture(scope="module")
def tagged(tmp_path_factory):
    """A run on digits with three tags, 5 % of the labels wrong; and the true labels, by row of the store."""
    folder = tmp_path_factory.mktemp("tagged")
    digits = load_digits()
    labels = np.stack([digits.target % 2 == 0, digits.target > 4, np.isin(digits.target, (2, 3, 5, 7))], 1).astype(int)
    given = np.where(np.random.default_rng(0).random(labels.shape) < 0.05, 1 - labels, labels)
    file = folder / "tags.npz"
    np.savez(file, x=(digits.data / 16).astype(np.float32), y=given, class_names=np.array(TAGS))
    run_audit(DataSettings(str(file)), folder / "run", TrainingSettings(epochs=20, head="mlp"))
    return folder / "run", labels.reshape(-1)


@pytest.fixture
def run(tagged, tmp_path):
    return shutil.copytree(tagged[0], tmp_path / "run")


@pytest.fixture(scope="module")
def truth(tagged):
    return tagged[1]


def filled(path, run, truth):
    """Fill in a drawn sample as a person does who makes no mistake, and return its path."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    names = [name.removeprefix("'") for name in table["class_name"]]
    row = table["sample_id"].astype(int) * 3 + [TAGS.index(name) for name in names]
    right = np.array(["absent", "present"])[truth[row]]
    table["decision"] = np.where(table["given_name"] == right, "keep", "relabel")
    table.to_csv(path, index=False)
    return path


def answers(audit, truth, rows):
    """Return right decisions on rows of the store."""
    given = audit.by_id("given_label")[rows].astype(np.int64)
    words = np.where(given == truth[rows], "keep", "relabel")
    return pd.DataFrame({**audit.names_of(rows), "decision": words, "label": truth[rows]})


def test_a_sample_is_filled_in_and_estimates_all_labels_and_those_of_each_class(run, truth, tmp_path):
    given = Audit.load(run).by_id("given_label")
    file = tmp_path / "to-check.csv"
    done = gwaudit("sample", run, "--size", 300, "--seed", 1, "--output", file)
    assert done.returncode == 0, done.stderr
    assert "300 labels to decide" in done.stdout
    table = pd.read_csv(file, keep_default_na=False)
    assert list(table.columns[:4]) == ["sample_id", "key", "class_name", "given_name"]
    assert not table.duplicated(["sample_id", "class_name"]).any()

    result = estimate(run, [filled(file, run, truth)], groups=groups_of(run, tmp_path))
    assert (result.decided, result.random, result.drawn, result.total.samples) == (300, 300, 300, len(truth))
    n_wrong = int((given != truth).sum())
    assert result.total.low <= n_wrong <= result.total.high < 2 * n_wrong
    wrong_of_class = (given != truth).reshape(-1, 3).sum(0)
    for row in result.classes.to_dict("records"):
        assert row["samples"] == len(truth) // 3
        assert row["low"] <= wrong_of_class[TAGS.index(row["class"])] <= row["high"]
    assert result.groups["half"]["samples"].sum() == len(truth)

    shown = gwaudit("status", run, "--decisions", file).stdout
    assert f"Decided: 300 of {len(truth):,} labels, 300 of them at random" in shown
    assert check(run, 0.2, [file]).outcome == "passed"
    assert gwaudit("check", run, "--max-wrong", "0.5%", "--decisions", file).returncode == 1


def groups_of(run, folder):
    keys = Audit.load(run).by_id("key")[::3]
    pd.DataFrame({"key": keys, "half": np.arange(len(keys)) % 2}).to_csv(folder / "groups.csv", index=False)
    return folder / "groups.csv"


def test_intervals_of_many_reviews_hold_the_number_of_wrong_labels(run, truth):
    audit = Audit.load(run)
    n_wrong = int((audit.by_id("given_label") != truth).sum())
    held = 0
    for seed in range(100):
        sample = draw_sample(audit, 150, seed=seed)
        made = answers(audit, truth, sample.ids())
        total = estimate_wrong_labels(audit, decided_samples(audit, Decisions(made, ()), sample), by_class=False).total
        held += total.low <= n_wrong <= total.high
    assert held >= 90


def test_a_ranking_is_calibrated_on_labels_and_apply_follows_it(run, truth, tmp_path):
    before = Audit.load(run)
    write_sample(run, file := tmp_path / "to-check.csv", 200, seed=0)
    filled(file, run, truth)
    ranked = rank_again(run, decisions=[file]).audit
    assert (ranked.calibration.decided, ranked.calibration.random) == (200, 200)
    rows = rows_of(pd.read_csv(file).assign(class_id=class_ids(file)), TAGS)
    decision = ranked.by_id("decision")
    assert (decision[rows] != "").all()
    assert (np.delete(decision, rows) == "").all()
    wrong = before.by_id("given_label")[rows] != truth[rows]
    assert ((decision[rows] == "relabel") == wrong).all()
    left = before.by_id("given_label") != truth
    left[rows] = False
    low, high = ranked.calibration.left
    assert low <= left.sum() <= high

    others = ranked.undecided.iloc[:2]  # decided by hand; those of the ranking are followed too
    by_hand = tmp_path / "decided.csv"
    others[["sample_id", "class_name"]].assign(decision="keep").to_csv(by_hand, index=False)
    done = gwaudit("apply", run, by_hand, "--output", tmp_path / "corrected")
    assert done.returncode == 0, done.stderr
    assert "not given: 200, followed too" in " ".join(done.stdout.split())
    changes = pd.read_csv(tmp_path / "corrected" / "changes.csv")
    assert len(changes) == wrong.sum()


def class_ids(file):
    return [TAGS.index(name.removeprefix("'")) for name in pd.read_csv(file)["class_name"]]


def test_a_dropped_sample_takes_its_other_labels_along(run, truth, tmp_path):
    before = Audit.load(run)
    first = before.suspects.groupby("sample_id").filter(lambda rows: len(rows) > 1).iloc[0]
    file = tmp_path / "decided.csv"
    pd.DataFrame([first])[["sample_id", "class_name"]].assign(decision="drop").to_csv(file, index=False)
    assert gwaudit("rank", run, "--decisions", file).returncode == 0
    ranked, gone = Audit.load(run), first["sample_id"]
    assert ranked.calibration.decided == 1
    assert ranked.is_undecided.sum() == ranked.n_labels - 3
    assert gone not in set(pd.read_csv(run / "suspects.csv")["sample_id"])
    relabelled = pd.read_csv(run / "cleaned" / "relabel" / "split.csv")
    assert len(relabelled) == ranked.n_samples - 1
    assert first["key"] not in set(relabelled["key"])
    assert not estimate(run, [file]).notes[1:]  # none of the decisions of the ranking is missing


def test_decisions_find_errors_of_one_class_that_the_order_does_not():
    """Where the extra labels of one class are wrong, decisions raise all of these, and no missing ones."""
    rng = np.random.default_rng(0)
    n, names = 400, ("a", "b", "c")
    samples, classes = np.divmod(np.arange(3 * n), 3)
    given = rng.integers(0, 2, 3 * n)
    wrong = (classes == 1) & (given == 1) & (rng.random(3 * n) < 0.6)
    odds = rng.normal(-2, 1, 3 * n) + 0.5 * wrong
    frame = pd.DataFrame(
        {
            "sample_id": samples, "key": samples.astype(str), "class_id": classes,
            "class_name": np.array(names)[classes],
            "given_label": given, "given_name": "", "suggested_label": 1 - given,
            "suggested_name": np.array(["absent", "present"], object)[1 - given], "log_odds_wrong": odds,
            "probability_wrong": 1 / (1 + np.exp(-odds)), "suspect": odds > 0, "category": "fine",
        }
    ).sort_values("log_odds_wrong", ascending=False, ignore_index=True)  # fmt: skip
    frame.insert(0, "rank", np.arange(1, 3 * n + 1))
    audit = Audit(RankedTable(frame), names, RankingSettings(), (0, 0), 0.0, "run", "f", is_multi_label=True)
    rows = rng.permutation(3 * n)[:200]
    calibrated = calibrate(audit, answers(audit, np.where(wrong, 1 - given, given), rows))
    assert calibrated.calibration.scale > 0
    left = np.setdiff1d(np.arange(3 * n), rows)
    before, after = (
        average_precision_score(wrong[left], each.by_id("log_odds_wrong")[left]) for each in (audit, calibrated)
    )
    assert after > before + 0.1
    assert set(calibrated.column("suggested_label")) == {0, 1}
    restored = calibrate(calibrated, answers(audit, given, rows[:0]))
    as_before = [name for name in frame if name not in ("suspect", "category")]  # made up above
    pd.testing.assert_frame_equal(restored.frame[as_before], frame[as_before], check_dtype=False)


def test_a_log_keeps_decisions_on_labels_and_is_read_again(run):
    audit = Audit.load(run)
    made = {4: LoggedDecision("relabel", int(1 - audit.by_id("given_label")[4])), 5: LoggedDecision("keep"),
            30: LoggedDecision("drop")}  # fmt: skip
    with DecisionLog(audit) as log:
        log.change(made)
    with DecisionLog(audit) as log:
        assert log.decisions == made
        with pytest.raises(ValueError, match="there is no class 2"):
            log.parse_changes([[0, {"decision": "relabel", "label": 2}]])
        with pytest.raises(ValueError, match="there is no sample"):
            log.parse_changes([[audit.n_labels, None]])
    assert read_decided(audit).is_wrong.nonzero()[0].tolist() == [4, 30]
    assert list(pd.read_csv(run / "decisions.csv").columns[:4]) == ["sample_id", "key", "class_name", "given_name"]


def test_the_page_decides_on_labels_and_follows_what_they_teach(browser, run, truth):
    contents = load_report_data(run, top=40)
    audit = contents.audit
    shown = {sample["id"] for sample in contents.samples}
    learner = ReviewLearner(audit, shown)
    with (
        DecisionLog(audit) as log,
        ReviewServer(log, render_page(contents, served=True), 0, None, learner) as server,
        serving(server),
    ):
        browser.get(server.url)
        wait(browser, lambda _: len(cards(browser)) > 3)
        first, second, third = cards(browser)[:3]
        rows = [int(card.get_attribute("id").removeprefix("sample-")) for card in (first, second, third)]
        assert rows == audit.suspects.assign(row=rows_of(audit.suspects, TAGS))["row"].head(3).tolist()
        given = audit.by_id("given_label")[rows].astype(int)
        assert f"take {('present', 'absent')[given[0]]}" in first.text
        tags = [
            tag
            for tag, there in zip(TAGS, audit.by_id("given_label").reshape(-1, 3)[rows[0] // 3], strict=True)
            if there
        ]
        assert f"all given {', '.join(tags) or '–'}" in " ".join(first.text.split())
        assert not browser.find_elements(By.CSS_SELECTOR, "[data-kind=choose]")
        start(browser)
        press(browser, "s", "k", "d")
        assert decided(browser)[:3] == ["relabel", "keep", "drop"]
        press(browser, "z", str(1 - given[2]))  # 0 is absent, 1 is present
        wait(browser, lambda _: len(log.decisions) == 3 and log.decisions[rows[2]].decision == "relabel")
        assert log.decisions[rows[0]] == LoggedDecision("relabel", int(1 - given[0]))
        click(browser, f"#sample-{rows[0]} .clear")
        click(browser, f"#sample-{rows[0]} input")
        browser.find_element(By.CSS_SELECTOR, "#bulk [data-bulk=suggest]").click()
        assert "1 label: relabelled" in text_of(browser, "#announce")
        press(browser, "j", *"s" * 12)
        wait(browser, lambda _: "Calibrated on" in text_of(browser, "#learned-sentence"))
        assert not errors(browser)
    shown = gwaudit("rank", run).stdout
    assert "calibrated on" in shown.lower()


def test_a_file_of_the_page_is_loaded_on_a_page_and_applied(browser, run, tmp_path):
    page = write_report(run).as_uri()
    browser.get(page)
    browser.execute_script("localStorage.clear()")
    browser.refresh()
    start(browser)
    press(browser, "s", "k", "u")
    made = browser.execute_script("return [...decisions.bySample]")
    text = browser.execute_script("return decisionsAsCsv()")
    file = tmp_path / "decisions.csv"
    file.write_text(text.removeprefix("\ufeff"))
    changes = browser.execute_script("return readDecisions(arguments[0])", text)
    assert dict(changes["changes"]) == dict(made)
    assert "3 of 3 decisions loaded" in changes["text"]
    audit = Audit.load(run)
    shown = set(browser.execute_script("return facts.samples.map((sample) => sample.id)"))
    off_page = next(row for row in range(audit.n_labels) if row not in shown and row % 3 == 1)
    given = audit.by_id("given_name")[off_page]
    key, name = audit.by_id("key")[off_page], TAGS[1].upper()  # as a spreadsheet program may change it
    row = f'{off_page // 3},{key},"\'{name}",{given},relabel,,data-{audit.fingerprint}'
    [[changed, decision]] = browser.execute_script("return readDecisions(arguments[0]).changes", head(text) + row)
    assert (changed, decision) == (off_page, {"decision": "relabel", "label": int(given == "absent")})
    other = text.replace(TAGS[0], "odd").replace(TAGS[2], "odd").replace(TAGS[1], "odd")
    assert "unknown class_name" in browser.execute_script("return readDecisions(arguments[0])", other)["text"]
    done = gwaudit("apply", run, file, "--output", tmp_path / "corrected")
    assert done.returncode == 0, done.stderr
    assert "1 kept, 1 relabelled, 0 dropped, 1 unsure" in done.stdout


def head(text):
    return text.splitlines()[0] + "\n"


def test_other_labels_of_a_dropped_sample_are_no_longer_asked_about(browser, run):
    browser.get(write_report(run).as_uri())
    browser.execute_script("localStorage.clear()")
    browser.refresh()
    start(browser)
    browser.execute_script("drawMore(1000)")
    ids = [int(card.get_attribute("id").removeprefix("sample-")) for card in cards(browser)]
    samples = [row // 3 for row in ids]
    dropped = next(i for i, sample in enumerate(samples) if sample in samples[i + 1 :])
    other = f"#sample-{ids[samples.index(samples[dropped], dropped + 1)]}"
    click(browser, f"#sample-{ids[dropped]} [data-kind=drop]")
    assert "the sample is dropped" in text_of(browser, other)
    assert text_of(browser, "#progress-text").startswith(f"{samples.count(samples[dropped])} of")
    assert browser.execute_script("return [...decisions.bySample.keys()]") == [ids[dropped]]
    press(browser, "z")
    assert "the sample is dropped" not in text_of(browser, other)


def test_a_review_for_an_estimate_asks_about_labels_without_scores(browser, run):
    audit, sample, before = draw_for_review(run, 6, seed=0)
    ids = ids_to_review(audit, sample, before, 6)
    contents = load_report_data(run, blind=ids)
    with (
        DecisionLog(audit) as log,
        ReviewServer(log, render_page(contents, served=True)) as server,
        serving(server),
    ):
        browser.get(server.url)
        wait(browser, lambda _: len(cards(browser)) == 12)
        assert [int(card.get_attribute("id").removeprefix("sample-")) for card in cards(browser)] == ids
        assert "%" not in "".join(card.text for card in cards(browser))
        start(browser)
        press(browser, *"ks" * 6)
        wait(browser, lambda _: len(log.decisions) == 12)
        assert not errors(browser)
    result = estimate(run)
    assert (result.decided, result.random, result.drawn, result.found_wrong) == (12, 6, 6, 6)
