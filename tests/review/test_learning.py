"""A review learns while people decide: the server calibrates in the background, and the page follows in its place."""

import threading

import numpy as np
import pytest

from gwaudit.analysis.calibrated_audit import calibrate
from gwaudit.review.decision_log import DecisionLog, LoggedDecision
from gwaudit.review.learning import FIT_EVERY, ReviewLearner, sentences
from gwaudit.review.report.page import render_page
from gwaudit.review.review_sample import draw_sample
from gwaudit.review.server import ReviewServer
from helpers.audits import make_audit, make_decisions
from helpers.browsing import cards, click, press, start, text_of, wait
from helpers.serving import serving

KEEP = LoggedDecision("keep")


@pytest.fixture
def audit():
    log_odds = np.linspace(4, -6, 200)
    audit = make_audit([f"k{i}" for i in range(200)], [0, 1] * 100, ["a", "b"], log_odds=log_odds, suspects=range(80))
    return audit


def after(audit, decisions, sample=None):
    learner = ReviewLearner(audit, range(150), sample)
    learner.follow(decisions)
    learner.wait()
    return learner


def test_a_few_decisions_change_nothing(audit):
    assert after(audit, dict.fromkeys(range(FIT_EVERY - 1), KEEP)).learned_since(0) is None


def test_what_is_learned_is_what_a_ranking_would_learn(audit):
    decisions = {i: KEEP if i % 3 else LoggedDecision("relabel", 1 - i % 2) for i in range(40)}
    learned = after(audit, decisions).learned_since(0)
    rows = [(i, d.decision, "" if d.label is None else audit.class_names[d.label]) for i, d in decisions.items()]
    frame = make_decisions(audit, *rows).assign(label=[1 - i % 2 if i % 3 == 0 else i % 2 for i in range(40)])
    calibrated = calibrate(audit, frame)
    assert learned["sentences"] == sentences(calibrated)
    assert "Calibrated on 40 decisions, which found 14 wrong labels" in learned["sentences"]["learned"]
    assert "of 160 labels without a decision" in learned["sentences"]["suspects"]
    shown = calibrated.undecided[calibrated.undecided["sample_id"] < 150]
    assert [row[0] for row in learned["samples"]] == shown["sample_id"].tolist()
    assert [row[2] for row in learned["samples"]] == shown["probability_wrong"].tolist()
    assert [row[4] for row in learned["samples"]] == shown["category"].tolist()
    assert learned["samples"][0][1] == 41  # the decided ones stand before


def test_decisions_that_the_ranking_counts_are_counted_on(audit):
    rows = [(i, "keep") for i in range(30, 70)]
    of_file = make_decisions(audit, *rows).assign(label=[i % 2 for i, _ in rows])
    ranked = calibrate(audit, of_file)
    made = dict.fromkeys(range(12), KEEP)
    learned = after(ranked, made).learned_since(0)
    assert "Calibrated on 52 decisions" in learned["sentences"]["learned"]
    learner = ReviewLearner(ranked, range(150), logged=range(30, 70))  # they were of the log: some are taken back
    learner.follow(made)
    learner.wait()
    assert "Calibrated on 12 decisions" in learner.learned_since(0)["sentences"]["learned"]


def test_it_is_sent_once_and_again_after_more_decisions(audit):
    learner = after(audit, dict.fromkeys(range(10), KEEP))
    seen = learner.learned_since(0)["revision"]
    assert learner.learned_since(seen) is None
    learner.follow(dict.fromkeys(range(20), KEEP))
    learner.wait()
    assert "Calibrated on 20" in learner.learned_since(seen)["sentences"]["learned"]
    learner.follow({})
    learner.wait()
    assert "not yet calibrated" in learner.learned_since(seen)["sentences"]["learned"]


def test_random_decisions_are_known_as_such(audit):
    sample = draw_sample(audit, 120, seed=0)
    learner = after(audit, dict.fromkeys(sample.ids().tolist(), KEEP), sample)
    assert learner.learned_since(0)["sentences"]["learned"].startswith("Calibrated on 120 decisions")


def test_the_estimate_of_a_random_sample_follows(audit):
    sample = draw_sample(audit, 120, seed=0)
    learned = after(audit, dict.fromkeys(sample.ids().tolist(), KEEP), sample).learned_since(0)
    assert learned["sentences"]["estimated"].startswith(
        "By decisions on a random sample, about 0 of all labels are wrong (0 to "
    )


def test_suspects_that_the_page_lacks_are_counted(audit):
    learner = ReviewLearner(audit, range(80))
    learner.follow(dict.fromkeys(range(20, 75), LoggedDecision("drop")))
    learner.wait()
    assert "suspects are not on this page: gwaudit rank" in learner.learned_since(0)["sentences"]["learned"]


class Reversed:
    """Learn from the first decision that the order of the samples is the reverse, and much else."""

    def __init__(self, samples):
        rows = [[s["id"], 500 - s["rank"], 0.123, s["given"], "hard"] for s in samples]
        rows[-1][4] = rows[-2][4] = rows[-3][4] = "suspect"
        texts = dict.fromkeys(("suspects", "learned", "estimated", "left"), "news")
        self.news, self.is_taught = {"revision": 1, "sentences": texts, "samples": rows}, False

    def follow(self, decisions):
        self.is_taught = self.is_taught or bool(decisions)

    def learned_since(self, revision):
        return self.news if self.is_taught and not revision else None


def test_what_is_in_sight_stays_and_the_cards_behind_are_sorted_anew(data, browser):
    seen = "return visible.map((s) => [s.id, s.rank, s.probability, s.suggested])"
    in_sight = "return [...gallery.children].filter(inSight).length"
    top = "return gallery.children[30].getBoundingClientRect().top"
    with DecisionLog(data.audit) as log:
        server = ReviewServer(log, render_page(data, served=True), learner=Reversed(data.samples))
        with server, serving(server):
            browser.get(server.url)
            wait(browser, lambda b: text_of(b, "#saved") == "saved")
            before = browser.execute_script(seen)
            browser.execute_script("gallery.children[30].scrollIntoView()")  # as with the mouse: the first is current
            stay, place = 30 + browser.execute_script(in_sight), browser.execute_script(top)
            click(browser, "#gallery > :nth-child(31) [data-kind='drop']")
            wait(browser, lambda b: text_of(b, "#suspects-sentence") == "news")
            after = browser.execute_script(seen)
            assert after[30:stay] == before[30:stay]
            assert [row[0] for row in after[:30]] == [row[0] for row in before[:30]]  # passed: in their places
            assert after[1][2] == 0.123
            assert [row[0] for row in after[stay:]] == [s["id"] for s in data.samples[:-4:-1]]
            assert [text_of(browser, f"#{name}-sentence") for name in ("learned", "estimated", "left")] == ["news"] * 3
            assert abs(browser.execute_script(top) - place) < 5
            assert f"1 of {1 + stay - 30 + 3} suspects" in text_of(browser, "#progress-text")
            browser.execute_script("setCurrent(29)")
            press(browser, "j")  # over the decided one
            assert browser.execute_script("return current") == 31
        log.path.unlink(missing_ok=True)


def test_the_page_follows_without_losing_its_place(data, browser):
    shown = {int(sample["sample_id"]) for sample in data.samples}
    learner = ReviewLearner(data.audit, shown)
    with DecisionLog(data.audit) as log:
        server = ReviewServer(log, render_page(data, served=True), learner=learner)
        with server, serving(server):
            browser.get(server.url)
            assert "not yet calibrated" in text_of(browser, "#learned-sentence")
            start(browser)
            press(browser, *"k" * FIT_EVERY)
            wait(browser, lambda b: f"Calibrated on {FIT_EVERY} decisions" in text_of(b, "#learned-sentence"))
            decided = [card.get_attribute("data-decision") for card in cards(browser)]
            assert decided[: FIT_EVERY + 1] == ["keep"] * FIT_EVERY + [""]
            assert browser.execute_script("return current") == FIT_EVERY
            before = browser.execute_script("return visible[current].id")
            press(browser, "k")
            assert browser.execute_script("return decisions.get(arguments[0]).decision", before) == "keep"
            ranks = browser.execute_script("return visible.slice(current).map((sample) => sample.rank)")
            assert ranks == sorted(ranks)
        log.path.unlink(missing_ok=True)
    assert threading.active_count() < 20
