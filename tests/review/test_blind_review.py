"""A review for an estimate shows the samples alone, and its decisions on the drawn ones are random."""

import shutil
from dataclasses import replace

import pytest
from selenium.webdriver.common.by import By

from gwaudit import estimate
from gwaudit.pipeline.sample import draw_for_review, ids_to_review
from gwaudit.review.decision_log import DecisionLog
from gwaudit.review.report.contents import collect_report_data
from gwaudit.review.report.page import render_page
from gwaudit.review.server import ReviewServer
from gwaudit.store.store import TrajectoryStore
from helpers.browsing import cards, decided, errors, press, start, text_of, wait
from helpers.serving import serving

SIZE = 6


@pytest.fixture
def run(data, tmp_path):
    return shutil.copytree(data.audit.run, tmp_path / "run")


def test_a_review_for_an_estimate_shows_no_scores_and_its_decisions_give_an_interval(browser, run, dataset):
    audit, sample, before = draw_for_review(run, SIZE, seed=0)
    ids = ids_to_review(audit, sample, before, sample.size)
    with TrajectoryStore.open(run) as store:
        contents = collect_report_data(replace(audit, run=run), store, dataset, blind=ids)
    with (
        DecisionLog(audit) as log,
        ReviewServer(log, render_page(contents, served=True)) as server,
        serving(server),
    ):
        browser.get(server.url)
        wait(browser, lambda _: len(cards(browser)) == 2 * SIZE)
        shown = [int(card.get_attribute("id").removeprefix("sample-")) for card in cards(browser)]
        assert shown == ids  # drawn and uncertain ones in random order, numbered by it
        assert not browser.find_elements(By.CSS_SELECTOR, ".card [data-kind=suggest]")
        assert "%" not in "".join(card.text for card in cards(browser))
        head = text_of(browser, "body")
        assert "in random order" in head
        assert "gwaudit status" in head
        assert "most suspicious first" not in head
        assert "The first 0" not in head
        start(browser)
        press(browser, "s")  # no class is suggested
        assert decided(browser)[0] == ""
        press(browser, *"kd" * SIZE)
        wait(browser, lambda _: f"{2 * SIZE} of" in text_of(browser, "#progress-text"))
        wait(browser, lambda _: len(log.decisions) == 2 * SIZE)
        assert [log.decisions[i].decision for i in ids] == ["keep", "drop"] * SIZE
        assert not errors(browser)
    result = estimate(run)
    drawn = [i for i, name in enumerate(ids) if sample.is_drawn[name]]
    assert (result.decided, result.random, result.drawn) == (2 * SIZE, SIZE, SIZE)
    assert result.found_wrong == SIZE
    share = sum(i % 2 for i in drawn) / SIZE  # every second decision was to drop
    assert result.total.low <= result.total.estimate <= result.total.high
    assert (result.total.estimate > SIZE) == (share > 0)
