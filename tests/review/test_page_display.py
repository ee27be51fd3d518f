"""The page on paper, on a phone, and for people who see colours otherwise."""

import base64
import itertools

import numpy as np
import pytest
from PIL import Image

from gwaudit import RankingSettings, rank
from gwaudit.data.loading import load_dataset
from gwaudit.review.decision_log import DecisionLog
from gwaudit.review.report.contents import CATEGORIES, RIGHT, WRONG, collect_report_data
from gwaudit.review.report.figures import COLOURS, DASHES, draw_figures
from gwaudit.review.report.page import render_page
from gwaudit.review.report.trajectories import PHASES
from gwaudit.review.server import ReviewServer
from helpers.browsing import cards, click, press, suspects, wait
from helpers.recorded_runs import make_run
from helpers.serving import serving

# Viénot, Brettel and Mollon (1999), on linear RGB.
COLOUR_BLIND = {
    "deuteranopia": [[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]],
    "protanopia": [[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]],
}


def test_a_print_has_every_figure_and_every_sample_and_cuts_no_card(browser, report, data):
    browser.get(report.as_uri())
    wait(browser, lambda b: b.execute_script("return waiting.size === 0"))  # without scrolling
    browser.execute_script(
        "window.addEventListener('beforeprint', () => { window.printed = printedPage(); }, {once: true})"
    )
    browser.execute_script(
        """window.printedPage = () => ({
            cards: document.querySelectorAll('.card').length,
            blank: [...document.querySelectorAll('.figure')].filter((f) => !f.querySelector('svg.main-svg')).length,
            widths: [...document.querySelectorAll('.figure')].map((f) => f._fullLayout.width),
        })"""
    )
    paper = browser.execute_cdp_cmd("Page.printToPDF", {})
    assert base64.b64decode(paper["data"]).startswith(b"%PDF")
    printed = browser.execute_script("return window.printed")
    assert printed["cards"] == len(suspects(data))
    assert printed["blank"] == 0
    assert max(printed["widths"]) <= 700
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    rules = browser.execute_script(
        """const rule = (part) => getComputedStyle(document.querySelector(part)).breakInside;
        return ['.card', '.figure', 'tr'].map(rule)"""
    )
    assert rules == ["avoid"] * 3


@pytest.mark.parametrize("browser", ["phone"], indirect=True)
def test_on_a_phone_the_close_view_begins_with_the_picture_and_tables_keep_their_words(browser, report):
    browser.get(report.as_uri())
    click(browser, ".card .actions button:last-child")
    top, height = browser.execute_script(
        """const box = document.querySelector('#detail-body .picture').getBoundingClientRect();
        return [box.top, box.height]"""
    )
    assert top >= 0
    assert height > 100
    assert top + height <= 844
    press(browser, " ")  # closes
    cut = browser.execute_script(
        """return [...document.querySelectorAll('#classes th')].filter((cell) => {
            const longest = cell.textContent.trim().split(/\\s+/).reduce((a, b) => (b.length > a.length ? b : a), '');
            return longest.length < 15 && cell.clientWidth < 6 * longest.length;
        }).map((cell) => cell.textContent)"""
    )
    assert cut == []
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    assert cards(browser)


def test_the_close_view_of_a_review_shows_the_whole_original_and_marks_what_the_network_saw(browser, tmp_path):
    for label in ("cat", "dog"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for i in range(5):
            Image.new("RGB", (1500, 500), (50 * i, 0, 0)).save(tmp_path / "photos" / label / f"{i}.jpg")
    dataset = load_dataset(tmp_path / "photos", image_size=32, fit="crop")
    with make_run(tmp_path / "run", dataset) as store:
        audit = rank(store, RankingSettings(top=5))
        audit.save(store.path)
        data = collect_report_data(audit, store, dataset)
    with (
        DecisionLog(audit) as log,
        ReviewServer(log, render_page(data, served=True), picture=data.large_picture) as server,
        serving(server),
    ):
        browser.get(server.url)
        press(browser, " ")
        image = "document.querySelector('#detail .picture img')"
        wait(browser, lambda b: b.execute_script(f"return {image}.naturalWidth") == 1500)
        picture, seen = browser.execute_script(
            f"""return [{image}, document.querySelector('#detail .seen')].map((node) => {{
                const {{ left, right }} = node.getBoundingClientRect();
                return [left, right];
            }})"""
        )
    width = picture[1] - picture[0]
    assert width > 600
    assert seen == pytest.approx([picture[0] + width / 3, picture[1] - width / 3], abs=2)


@pytest.mark.parametrize("lines", [CATEGORIES, (WRONG, RIGHT), PHASES], ids=["categories", "truth", "phases"])
@pytest.mark.parametrize("vision", COLOUR_BLIND)
def test_lines_of_one_figure_differ_for_the_colour_blind_and_in_their_dashes(lines, vision):
    assert len({DASHES.get(name, "solid") for name in lines}) == len(lines)
    for one, other in itertools.combinations(lines, 2):
        distance = np.abs(seen(COLOURS[one], vision) - seen(COLOURS[other], vision)).max()
        assert distance > 25, (one, other)  # of 255, in the channel that differs most


def seen(colour, vision):
    """Return the colour, 0 to 255 in sRGB, as a colour-blind person sees it."""
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.array(COLOUR_BLIND[vision]) @ rgb**2.2
    return 255 * linear.clip(0, 1) ** (1 / 2.2)


def test_the_dashes_are_drawn(data):
    lines = {trace.name: trace.line.dash for trace in draw_figures(data)["mean-trajectories"].data if trace.name}
    assert len(set(lines.values())) == len(lines) > 1
