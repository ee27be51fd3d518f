"""Decisions on the page are kept, downloaded, loaded and served; what is not saved is said."""

from dataclasses import replace

import pandas as pd
from selenium.webdriver import Keys
from selenium.webdriver.common.by import By

from gwaudit import rank
from gwaudit.core.spreadsheets import from_cell
from gwaudit.data.loading import load_dataset
from gwaudit.pipeline.report import write_report
from gwaudit.review.decisions import read_decisions
from helpers.browsing import (
    LEAVE,
    cards,
    decided,
    downloaded,
    errors,
    load,
    press,
    requests,
    start,
    suspects,
    text_of,
    wait,
)
from helpers.command import FAST, gwaudit
from helpers.recorded_runs import make_run


def test_twenty_suspects_are_reviewed_by_keyboard_kept_and_downloaded(browser, report, data, dataset, tmp_path):
    browser.get(report.as_uri())
    start(browser)
    kinds = ["s", "k", "d", "u", "7"] * 4
    press(browser, *kinds)
    assert "20 of" in text_of(browser, "#progress-text")

    browser.refresh()
    assert "20 of" in text_of(browser, "#progress-text")
    browser.find_element(By.ID, "download").click()
    table = downloaded(tmp_path)

    worst = {sample["id"]: (sample, kind) for sample, kind in zip(suspects(data), kinds, strict=False)}
    assert set(table["sample_id"]) == set(worst)
    for row in table.itertuples():
        sample, kind = worst[row.sample_id]
        assert from_cell(row.key) == sample["key"]
        assert from_cell(row.given_name) == dataset.class_names[sample["given"]]
        if kind == "7":  # the class of that name
            same = sample["given"] == 7
            expected = ("keep", "") if same else ("relabel", dataset.class_names[7])
        else:
            expected = {
                "s": ("relabel", dataset.class_names[sample["suggested"]]),
                "k": ("keep", ""), "d": ("drop", ""), "u": ("unsure", ""),
            }[kind]  # fmt: skip
        assert (row.decision, from_cell(row.label)) == expected
    assert not errors(browser)


def test_an_audit_is_reviewed_applied_and_the_labels_are_changed(browser, tmp_path):
    done = gwaudit("audit", "digits", "--add-noise", "0.1", "--output", tmp_path / "run", *FAST)
    assert done.returncode == 0, done.stderr
    browser.get((tmp_path / "run" / "report.html").as_uri())
    start(browser)
    press(browser, *(["s"] * 17), "d", "k", "u")
    browser.refresh()
    assert "20 of" in text_of(browser, "#progress-text")
    browser.find_element(By.ID, "download").click()
    decided = downloaded(tmp_path)
    assert decided["decision"].value_counts().to_dict() == {"relabel": 17, "drop": 1, "keep": 1, "unsure": 1}

    done = gwaudit("apply", tmp_path / "run", tmp_path / "decisions.csv", "--output", tmp_path / "corrected")
    assert done.returncode == 0, done.stderr
    suspects = pd.read_csv(tmp_path / "run" / "suspects.csv", dtype=str).head(20)
    labels = pd.read_csv(tmp_path / "corrected" / "labels.csv", dtype=str, keep_default_na=False).set_index("key")
    for position, suspect in enumerate(suspects.to_dict("records")):
        name = suspect["suggested_name"] if position < 17 else "" if position == 17 else suspect["given_name"]
        assert labels.loc[suspect["key"], "label"] == name


def test_decisions_of_other_data_are_not_loaded_and_rows_that_do_not_fit_are_counted(
    browser, report, data, dataset, tmp_path
):
    names = dataset.class_names
    first = suspects(data)[:5]
    table = pd.DataFrame({
        "sample_id": [sample["id"] for sample in first],
        "key": [sample["key"] for sample in first],
        "given_name": [names[sample["given"]] for sample in first],
        "decision": ["keep", "drop", "relabel", "unsure", "keep"],
        "label": ["", "", names[first[2]["suggested"]], "", ""],
    })  # fmt: skip
    browser.get(report.as_uri())
    others = table.assign(key=[f"other {i}" for i in range(5)])
    assert "about other data" in load(browser, tmp_path / "others.csv", others)
    relabelled = table.assign(given_name=[names[(sample["given"] + 1) % 10] for sample in first])
    assert "Nothing was loaded" in load(browser, tmp_path / "relabelled.csv", relabelled)
    one_other = table.assign(data_fingerprint="data-0123456789abcdef", key=[*table["key"][:4], "other"])
    assert "by its fingerprint" in load(browser, tmp_path / "fingerprint.csv", one_other)
    assert "no column decision" in load(browser, tmp_path / "suspects.csv", table.drop(columns="decision"))
    assert "no key" in load(browser, tmp_path / "keyless.csv", table.drop(columns="key"))
    assert decided(browser) == [""] * 5

    press(browser, "d")
    partly = table.assign(key=[*table["key"][:4], "other"])
    said = load(browser, tmp_path / "partly.csv", partly)
    assert "4 of 5 decisions loaded" in said
    assert "1 of them replaced another decision" in said
    assert "1 row (row 6): the key is another sample's" in said
    assert decided(browser) == ["keep", "drop", "relabel", "unsure", ""]
    browser.find_element(By.ID, "undo").click()
    assert decided(browser) == ["drop", "", "", "", ""]
    assert "5 of 5 decisions loaded. 1 of" in load(browser, tmp_path / "all.csv", table)

    browser.find_element(By.ID, "download").click()
    again = downloaded(tmp_path)
    assert set(again["data_fingerprint"]) == {f"data-{data.audit.fingerprint}"}
    browser.find_element(By.ID, "load").send_keys(str(tmp_path / "decisions.csv"))
    wait(browser, lambda b: "decisions.csv: 5 of 5 decisions loaded." in text_of(b, "#loaded-text"))
    read = read_decisions([tmp_path / "decisions.csv"], data.audit)
    assert not read.problems
    assert len(read.frame) == 5


def test_a_class_that_a_spreadsheet_may_have_changed_is_not_loaded(browser, tmp_path):
    dataset = replace(load_dataset("digits"), class_names=("1.1", "1.10", *"23456789"))
    with make_run(tmp_path / "run", dataset) as store:
        ranked = rank(store)
        ranked.save(store.path)
    browser.get(write_report(tmp_path / "run").as_uri())
    sample = int(ranked.suspects[ranked.suspects["given_label"] > 1]["sample_id"].iloc[0])
    row = {"sample_id": [sample], "key": [ranked.by_id("key")[sample]], "decision": ["relabel"], "label": ["1.1"]}
    (tmp_path / "changed.csv").write_text(pd.DataFrame(row).to_csv(index=False))
    browser.find_element(By.ID, "load").send_keys(str(tmp_path / "changed.csv"))
    wait(browser, lambda b: "may be 1.1 or 1.10" in text_of(b, "#loaded-text"))
    assert "1 of 1 decision loaded" in load(browser, tmp_path / "written.csv", pd.DataFrame(row))


def test_a_browser_that_keeps_nothing_is_reported_and_the_download_has_everything(browser, report, tmp_path):
    browser.get(report.as_uri())
    browser.execute_script("Storage.prototype.setItem = () => { throw new Error('full'); }")
    press(browser, "k", "d")
    assert "2 decisions are not saved" in text_of(browser, "#unsaved")
    assert "Download decisions" in text_of(browser, "#unsaved")
    assert browser.execute_script(LEAVE)
    browser.find_element(By.ID, "download").click()
    assert downloaded(tmp_path)["decision"].tolist() == ["keep", "drop"]


class TestServed:
    def test_decisions_reach_the_disk_and_the_other_tab(self, browser, server, data):
        browser.get(server.url)
        first = browser.current_window_handle
        browser.switch_to.new_window("tab")
        browser.get(server.url)
        start(browser)
        press(browser, "d")
        wait(browser, lambda b: text_of(b, "#saved") == "saved" and server.log.decisions)
        worst = suspects(data)[0]["id"]
        assert server.log.decisions[worst].decision == "drop"
        browser.switch_to.window(first)
        wait(browser, lambda b: cards(b)[0].get_attribute("data-decision") == "drop")
        start(browser)
        press(browser, Keys.ARROW_RIGHT, "k")
        wait(browser, lambda b: len(server.log.decisions) == 2)
        assert {address.split("/")[2] for address in requests(browser) if address.startswith("http")} == {
            f"127.0.0.1:{server.server_port}"
        }

    def test_it_says_so_when_nothing_is_saved(self, browser, server):
        browser.get(server.url)
        wait(browser, lambda b: text_of(b, "#saved") == "saved")
        server.shutdown()
        server.socket.close()
        start(browser)
        press(browser, "k")
        wait(browser, lambda b: "1 decision not saved yet" in text_of(b, "#saved"))
        alert = browser.find_element(By.ID, "unsaved")
        assert alert.is_displayed()
        assert "gwaudit review does not answer" in alert.text
        assert "Download decisions" in alert.text
        assert browser.execute_script(LEAVE)

    def test_a_review_that_was_started_again_says_what_to_do(self, browser, server, tmp_path):
        browser.get(server.url)
        wait(browser, lambda b: text_of(b, "#saved") == "saved")
        server.token, token = "another", server.token
        press(browser, "k")
        wait(browser, lambda b: "was started again" in text_of(b, "#unsaved"))
        browser.find_element(By.ID, "download").click()
        assert downloaded(tmp_path)["decision"].tolist() == ["keep"]
        server.token = token
        wait(browser, lambda b: text_of(b, "#saved") == "saved" and server.log.decisions)
        assert not browser.find_element(By.ID, "unsaved").is_displayed()
