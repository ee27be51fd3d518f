"""Start Chromium, and give a test a profile of its own in it."""

from contextlib import contextmanager, suppress


@contextmanager
def starting_chromium(binary, driver, *, phone=False):
    """Run it without a window, within the block."""
    from selenium import webdriver  # here, as the lowest versions are tested without it

    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1400,1000"):
        options.add_argument(argument)
    if phone:
        metrics = {"deviceMetrics": {"width": 390, "height": 844, "pixelRatio": 2}}
        options.add_experimental_option("mobileEmulation", metrics)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    window = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    window.set_script_timeout(120)
    try:
        yield window
    finally:
        window.quit()


@contextmanager
def own_tab(window, downloads):
    """Open a tab of a browser in which nothing is stored, within the block; downloads go to a folder."""
    from selenium.common.exceptions import WebDriverException

    first = window.current_window_handle
    window.switch_to.new_window("tab")
    window.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(downloads)})
    for log in ("performance", "browser"):
        window.get_log(log)
    try:
        yield
    finally:
        for handle in window.window_handles:
            if handle != first:
                window.switch_to.window(handle)
                with suppress(WebDriverException):  # of a page that has none, or that a test took it from
                    window.execute_script("localStorage.clear()")
                window.close()
        window.switch_to.window(first)
