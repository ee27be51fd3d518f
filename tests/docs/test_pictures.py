"""The scripts that make the pictures of the documentation write small pictures."""

import importlib.util

import numpy as np
import pytest
from PIL import Image

from helpers.pages import ROOT

MOST_BYTES = 200 * 1024
PICTURES = sorted((ROOT / "docs" / "images").iterdir())


def script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("picture", PICTURES, ids=lambda path: path.name)
def test_a_picture_is_small_and_made_by_a_script(picture):
    assert picture.stat().st_size <= MOST_BYTES
    names = ("make_alignment_picture", "make_screenshot")
    assert picture in [script(name).PICTURE for name in names]


def test_the_alignment_of_two_groups_is_drawn(tmp_path):
    wrong = np.arange(100) < 20
    alignment = np.where(wrong, -0.1, 0.1) + np.random.default_rng(0).normal(0, 0.02, (6, 100))
    script("make_alignment_picture").draw(alignment, wrong, tmp_path / "alignment.png")
    assert Image.open(tmp_path / "alignment.png").width > 500


def test_a_page_is_photographed(tmp_path, chromium):
    page = tmp_path / "page.html"
    page.write_text("<body style='background: rgb(255, 0, 0)'></body>")
    take = script("make_screenshot")
    take.take(page, tmp_path / "page.png")
    picture = Image.open(tmp_path / "page.png").convert("RGB")
    assert picture.size == (take.WIDTH, take.HEIGHT)
    assert picture.getpixel((10, 10)) == (255, 0, 0)
