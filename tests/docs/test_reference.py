"""The reference pages name what the package has, no more and no less."""

import ast
import importlib
import json
import re

import pytest

import gwaudit
from gwaudit.analysis.audit import COLUMNS, MULTI_LABEL_COLUMNS
from helpers.pages import PAGES, ROOT, blocks, page_name

REFERENCE = ROOT / "docs" / "reference"


def described(page):
    return set(re.findall(r"`(\w+)`", (ROOT / "docs" / page).read_text("utf-8")))


def documented_names():
    """The names that the reference shows, as they are imported."""
    pages = [page.read_text("utf-8") for page in sorted((REFERENCE / "python").glob("*.md"))]
    return re.findall(r"^::: ([\w.]+)$", "\n".join(pages), re.MULTILINE)


def test_the_pages_of_python_have_every_public_name_once():
    names = [path for path in documented_names() if path.count(".") == 1]
    assert sorted(names) == sorted(f"gwaudit.{name}" for name in set(gwaudit.__all__) - {"__version__"})


@pytest.mark.parametrize("path", documented_names())
def test_a_documented_name_exists(path):
    module, _, name = path.rpartition(".")
    assert hasattr(importlib.import_module(module), name)


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_the_programs_import_documented_names_alone(page):
    for program in blocks(page, "python"):
        for node in ast.walk(ast.parse(program)):
            if isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] == "gwaudit":
                imported = {f"{node.module}.{alias.name}" for alias in node.names}
                assert imported <= set(documented_names())


def test_every_column_of_an_audit_is_described():
    assert set(COLUMNS) | set(MULTI_LABEL_COLUMNS) <= described("reference/files.md")


def test_every_field_of_a_run_and_every_signal_is_described(tmp_path):
    with gwaudit.TrajectoryStore.create(tmp_path / "run", given_labels=[0, 1], class_names=["cat", "dog"]):
        fields = json.loads((tmp_path / "run" / "run.json").read_text())
    assert set(fields) <= described("reference/files.md")
    assert set(fields["signals"]) <= described("concepts/alignment.md")
