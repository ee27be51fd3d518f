"""Use the page in a browser as a person does."""

import json
import time

import pandas as pd
from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from gwaudit.core.spreadsheets import write_csv

LEAVE = """
    const event = new Event("beforeunload", { cancelable: true });
    window.dispatchEvent(event);
    return event.defaultPrevented;
"""
"""Return whether the browser asks before the page is left."""


COUNT_KEYS = """
    if (!("keysThatArrived" in window)) {
        window.addEventListener("keydown", () => { window.keysThatArrived += 1; }, true);
    }
    window.keysThatArrived = 0;
"""
"""Count the keys that reach the page, wherever they go from there."""


def cards(browser):
    return browser.find_elements(By.CSS_SELECTOR, ".card")


def suspects(data):
    return [s for s in data.samples if s["category"] == "suspect"]


def press(browser, *keys):
    """Press keys one after the other; one that the page did not get is pressed again.

    Chromium drops the keys that reach a tab before it has shown its page, which a busy machine does late.
    """
    browser.execute_script(COUNT_KEYS)
    for arrived, key in enumerate("".join(keys), start=1):
        wait(browser, lambda b, key=key, arrived=arrived: pressed(b, key) >= arrived)


def pressed(browser, key):
    """Press a key, and return how many keys the page got by then."""
    ActionChains(browser).send_keys(key).perform()
    return browser.execute_script("return window.keysThatArrived")


def start(browser):
    browser.execute_script("document.querySelector('.card[tabindex=\"0\"]').focus()")


def text_of(browser, selector):
    return browser.find_element(By.CSS_SELECTOR, selector).get_attribute("textContent")


def wait(browser, condition, seconds=60):
    return WebDriverWait(browser, seconds, poll_frequency=0.05).until(condition)


def downloaded(folder):
    path = folder / "decisions.csv"
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig", lineterminator="\n")
    return table.astype({"sample_id": int})


def requests(browser):
    """The addresses that the browser asked for."""
    log = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [m["params"]["request"]["url"] for m in log if m["method"] == "Network.requestWillBeSent"]


def errors(browser):
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


def decided(browser, n=5):
    """Return the decisions on the first cards; an empty text is no decision."""
    return [card.get_attribute("data-decision") for card in cards(browser)[:n]]


def click(browser, selector):
    browser.execute_script("arguments[0].click()", browser.find_element(By.CSS_SELECTOR, selector))


def load(browser, path, table):
    """Load a file of decisions into the page, and return what the page says about it."""
    write_csv(table, path)
    browser.execute_script("document.getElementById('loaded').hidden = true")
    browser.find_element(By.ID, "load").send_keys(str(path))
    wait(browser, lambda b: b.find_element(By.ID, "loaded").is_displayed())
    return text_of(browser, "#loaded-text")
