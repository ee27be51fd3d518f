"""The output of the demo that README and quickstart show is what the demo prints; the numbers may differ."""

import re

import pytest

from helpers.command import gwaudit
from helpers.pages import ROOT, blocks

PAGES = ["README.md", "docs/quickstart.md"]


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("demo"))
        done = gwaudit("demo", "--output", "gwaudit-demo")
    assert done.returncode == 0, done.stderr
    return without_numbers(done.stderr + done.stdout)


def without_numbers(text):
    """The text on one line; the processor decides about the last digits, and so about the order."""
    return " ".join(re.sub(r"[+-]?\d[\d.,:]*", "#", text).split())


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_the_demo_prints_what_the_page_shows(page, printed):
    lines = [line for block in blocks(ROOT / page, "text") for line in block.splitlines() if line.strip(" .")]
    assert len(lines) > 5
    assert [line for line in lines if without_numbers(line) not in printed] == []
