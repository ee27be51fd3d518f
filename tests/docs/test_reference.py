"""The reference pages name what the package has, no more and no less."""

import json
import re

import gwaudit
from gwaudit.analysis.audit import COLUMNS, MULTI_LABEL_COLUMNS
from helpers.pages import ROOT

REFERENCE = ROOT / "docs" / "reference"


INTEGRATIONS = ("gwaudit.recording.lightning.", "gwaudit.recording.transformers.", "gwaudit.recording.keras.")


def described(page):
    return set(re.findall(r"`(\w+)`", (ROOT / "docs" / page).read_text("utf-8")))


def test_the_pages_of_python_have_every_public_name_once():
    pages = [page.read_text("utf-8") for page in sorted((REFERENCE / "python").glob("*.md"))]
    shown = re.findall(r"^::: ([\w.]+)$", "\n".join(pages), re.MULTILINE)
    names = [path.rpartition(".")[2] for path in shown if not path.startswith(INTEGRATIONS)]
    assert sorted(names) == sorted(set(gwaudit.__all__) - {"__version__"})


def test_every_column_of_an_audit_is_described():
    assert set(COLUMNS) | set(MULTI_LABEL_COLUMNS) <= described("reference/files.md")


def test_every_field_of_a_run_and_every_signal_is_described(tmp_path):
    with gwaudit.TrajectoryStore.create(tmp_path / "run", given_labels=[0, 1], class_names=["cat", "dog"]):
        fields = json.loads((tmp_path / "run" / "run.json").read_text())
    assert set(fields) <= described("reference/files.md")
    assert set(fields["signals"]) <= described("concepts/alignment.md")
