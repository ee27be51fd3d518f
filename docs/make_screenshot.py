"""Take docs/images/report.png: the report of the demo, as a browser shows it.

    python docs/make_screenshot.py

It needs the extra `test` (selenium), Chromium and its driver, and takes less than a minute.
"""

import shutil
import sys
from io import BytesIO
from pathlib import Path
from subprocess import run
from tempfile import TemporaryDirectory

from PIL import Image
from selenium import webdriver

PICTURE = Path(__file__).parent / "images" / "report.png"
WIDTH, HEIGHT = 1280, 940  # of the window, in pixels
COLOURS = 128  # of the palette: keeps the file below 200 KiB


def main() -> None:
    """Run the demo and photograph the page that it writes."""
    with TemporaryDirectory() as folder:
        run([sys.executable, "-m", "gwaudit", "demo", "--output", "gwaudit-demo"], cwd=folder, check=True)
        take(Path(folder) / "gwaudit-demo" / "report.html", PICTURE)


def take(page: Path, path: Path) -> None:
    """Write a picture of the top of a page.

    Args:
        page: An HTML file.
        path: Of the PNG.
    """
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(argument)
    window = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        window.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False},
        )
        window.get(page.resolve().as_uri())
        window.implicitly_wait(5)
        picture = Image.open(BytesIO(window.get_screenshot_as_png())).convert("RGB")
    finally:
        window.quit()
    path.parent.mkdir(exist_ok=True)
    picture.quantize(COLOURS).save(path, optimize=True)


if __name__ == "__main__":
    main()
