"""The reference pages name what the package has, no more and no less."""

import re

import gwaudit
from gwaudit.analysis.audit import COLUMNS, MULTI_LABEL_COLUMNS
from helpers.pages import ROOT

REFERENCE = ROOT / "docs" / "reference"


INTEGRATIONS = ("gwaudit.recording.lightning.", "gwaudit.recording.transformers.", "gwaudit.recording.keras.")


def test_the_pages_of_python_have_every_public_name_once():
    pages = [page.read_text("utf-8") for page in sorted((REFERENCE / "python").glob("*.md"))]
    shown = re.findall(r"^::: ([\w.]+)$", "\n".join(pages), re.MULTILINE)
    names = [path.rpartition(".")[2] for path in shown if not path.startswith(INTEGRATIONS)]
    assert sorted(names) == sorted(set(gwaudit.__all__) - {"__version__"})


def test_every_column_of_an_audit_is_described():
    described = set(re.findall(r"`(\w+)`", (REFERENCE / "files.md").read_text("utf-8")))
    assert set(COLUMNS) | set(MULTI_LABEL_COLUMNS) <= described
