"""Decisions on the page: one at a time or several, by button and by key, undone, filtered, cleared."""

from dataclasses import replace

import pytest
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from gwaudit import RankingSettings, rank
from gwaudit.pipeline.report import write_report
from helpers.browsing import cards, click, decided, press, start, suspects, text_of, wait
from helpers.making import few_digits
from helpers.recorded_runs import make_run


def test_undo_takes_back_one_step_at_a_time(browser, report):
    browser.get(report.as_uri())
    browser.execute_script("localStorage.clear()")
    browser.refresh()
    start(browser)
    press(browser, "k", "d", "z")
    assert "1 of" in text_of(browser, "#progress-text")
    press(browser, "z", "z")
    assert "0 of" in text_of(browser, "#progress-text")


def test_a_button_decides_on_its_own_card_and_the_selection_has_buttons_of_its_own(browser, report, data):
    browser.get(report.as_uri())
    first, second, third, fourth = (f"#sample-{sample['id']}" for sample in suspects(data)[:4])
    assert not browser.find_element(By.ID, "bulk").is_displayed()
    click(browser, f"{first} input")
    click(browser, f"{second} input")
    click(browser, f"{fourth} [data-kind=drop]")
    assert decided(browser) == ["", "", "", "drop", ""]
    click(browser, f"{fourth} [data-kind=drop]")  # again: cleared
    assert decided(browser) == [""] * 5
    drop = browser.find_element(By.CSS_SELECTOR, "#bulk [data-bulk=drop]")
    assert drop.text.startswith("Drop the 2 selected")
    drop.click()
    assert decided(browser) == ["drop", "drop", "", "", ""]
    assert "2 samples: to be dropped" in text_of(browser, "#announce")
    browser.find_element(By.ID, "undo").click()
    assert decided(browser) == [""] * 5

    browser.find_element(By.ID, "select-all").click()
    assert f"Keep the {len(suspects(data))} selected" in text_of(browser, "#bulk [data-bulk=keep]")
    click(browser, f"{third} [data-kind=keep]")
    assert decided(browser) == ["", "", "keep", "", ""]
    assert "1 of" in text_of(browser, "#progress-text")
    pressed = browser.find_element(By.CSS_SELECTOR, f"{third} [data-kind=keep]")
    assert pressed.get_attribute("aria-pressed") == "true"
    click(browser, f"{third} .clear")
    assert "0 of" in text_of(browser, "#progress-text")


def test_keys_act_on_the_current_sample_and_with_shift_on_the_selected_ones(browser, report):
    browser.get(report.as_uri())
    press(browser, "k", "d", Keys.ARROW_RIGHT, "u")  # no card was clicked
    assert decided(browser) == ["keep", "drop", "", "unsure", ""]
    press(browser, "p", Keys.BACKSPACE, "p", "p", "p", Keys.DELETE)
    assert decided(browser) == ["", "drop", "", "", ""]
    press(browser, "z", "z", "z", "z", "z")

    press(browser, "x")
    shifted = ActionChains(browser).key_down(Keys.SHIFT)
    shifted.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT).key_up(Keys.SHIFT).perform()
    assert "3 selected" in text_of(browser, "#count")
    press(browser, "k")  # the third, which is the current one
    assert decided(browser) == ["", "", "keep", "", ""]
    ActionChains(browser).key_down(Keys.SHIFT).send_keys("d").key_up(Keys.SHIFT).perform()
    assert decided(browser) == ["drop", "drop", "drop", "", ""]
    press(browser, "z")
    assert decided(browser) == ["", "", "keep", "", ""]


@pytest.mark.parametrize(("names", "keys"), [
    (("1", "2", "3"), {"1": 0, "2": 1, "3": 2}),
    (("-1", "0", "1"), {"0": 1, "1": 2}),
    (("1 star", "2 stars", "10 stars"), {"1": 0, "2": 1}),
    (("0.5", "1.5", "5"), {"5": 2}),
    (("a2", "b2", "mp3"), {"3": 2}),
    (("ant", "bee", "cat"), {"0": 0, "1": 1, "2": 2}),
])  # fmt: skip
def test_a_digit_means_the_class_of_that_number(browser, tmp_path, names, keys):
    data = few_digits(60)
    data = replace(data, labels=data.labels % 3, class_names=names, true_labels=None)
    with make_run(tmp_path / "run", data) as store:
        ranked = rank(store, RankingSettings(top=20, force=True))
        ranked.save(store.path)
    browser.get(write_report(tmp_path / "run").as_uri())
    assert browser.execute_script("return Object.fromEntries(DIGIT_KEYS)") == keys
    start(browser)
    first = ranked.suspects.iloc[0]
    digit, label = next((digit, label) for digit, label in keys.items() if label != first["given_label"])
    press(browser, digit)
    [decision] = browser.execute_script("return [...decisions.bySample.values()]")
    assert (decision["decision"], decision["label"]) == ("relabel", label)
    shown = text_of(browser, "#digit-names")
    assert all(f"{digit} = {names[label]}" in shown for digit, label in keys.items())


def test_keys_never_decide_while_typing_or_on_a_sample_out_of_sight(browser, report, data):
    browser.get(report.as_uri())
    press(browser, "/", "dku")
    assert browser.find_element(By.NAME, "search").get_attribute("value") == "dku"
    assert "0 of" in text_of(browser, "#progress-text")
    Select(browser.find_element(By.NAME, "category")).select_by_value("fine")
    browser.find_element(By.CSS_SELECTOR, "#filters [type=reset]").click()
    wait(browser, lambda b: f"{len(suspects(data))} shown" in text_of(b, "#count"))  # as the page opened
    assert browser.find_element(By.NAME, "search").get_attribute("value") == ""

    browser.execute_script("document.querySelectorAll('.card')[40].scrollIntoView()")
    press(browser, "d")
    assert "0 of" in text_of(browser, "#progress-text")
    assert "press the key again" in text_of(browser, "#announce")
    current = browser.find_elements(By.CSS_SELECTOR, ".card[aria-current=true]")
    assert len(current) == 1
    press(browser, "d")
    assert current[0].get_attribute("data-decision") == "drop"


def test_another_class_is_chosen_by_its_name(browser, report, dataset):
    browser.get(report.as_uri())
    start(browser)
    press(browser, "c", "9", Keys.ENTER)
    first = cards(browser)[0]
    assert first.get_attribute("data-decision") == "relabel"
    assert dataset.class_names[9] in first.find_element(By.CSS_SELECTOR, ".verdict").text
