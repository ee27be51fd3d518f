"""Plain technical English: docstrings begin with a verb, and some words are not used."""

import ast
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "gwaudit"
SOURCES = sorted(PACKAGE.rglob("*.py"))

# A new verb is a new word here.
VERBS = """
    Acquire Add Apply Assemble Assign Attach Audit Augment Average Begin Build Calibrate Call Check Choose Clean Cluster
    Collect Commit Compare Compute Copy Corrupt Count Create Decide Declare Decode Define Delete Describe Detach Discard
    Draw Drive End Estimate Evaluate Export Find Fit Flag Flush Give Hold Initialise Join Judge Keep Let Load Lock Log
    Make Measure Mirror Move Multiply Observe Open Parse Prepare Print Publish Query Raise Rank Read Receive Record
    Reduce Register Release
    Render Replace Restore Return Run Save Say Score Select Send Serve Set Shift Show Signal Sort Start Subtract
    Summarise Switch Time Train Translate Turn Wrap Write Yield
"""

# Words that readers whose first language is not English have to look up, or that name nothing.
FORBIDDEN = re.compile(
    r"(?<!\.)\b(tells?|told|by heart|so many|humps?|humped|two-humped|blind errors?|superfluous|as loud"
    r"|comes? to|mends?|knows|whatever)\b",
    re.IGNORECASE,
)
TEXTS = [
    path
    for pattern in ("gwaudit/**/*.py*", "gwaudit/**/*.j2", "gwaudit/**/*.js", "docs/**/*.md", "*.md")
    for path in sorted(ROOT.glob(pattern))
    if path.suffix != ".pyc"
]


def public_docstrings(path):
    """Yield the name, line and docstring of a module and of the public classes, functions, methods in it."""
    tree = ast.parse(path.read_text("utf-8"))
    yield "module", 1, ast.get_docstring(tree)
    nodes = [("", node) for node in tree.body]
    while nodes:
        owner, node = nodes.pop()
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or node.name.startswith("_"):
            continue
        if any(
            isinstance(decorator, ast.Attribute) and decorator.attr == "setter" for decorator in node.decorator_list
        ):
            continue  # the property has the docstring
        yield owner + node.name, node.lineno, ast.get_docstring(node)
        if isinstance(node, ast.ClassDef):
            nodes += [(f"{node.name}.", member) for member in node.body]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_public_docstring_begins_with_a_verb(path):
    wrong = []
    for name, line, docstring in public_docstrings(path):
        first = "" if not docstring else docstring.split()[0].rstrip(".,:;")
        if first not in VERBS.split():
            wrong.append(f"{path.relative_to(ROOT)}:{line} {name}: {(docstring or 'no docstring').splitlines()[0]}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_words_that_readers_stumble_over_are_not_used(path):
    lines = enumerate(path.read_text("utf-8").splitlines(), start=1)
    used = [f"{path.relative_to(ROOT)}:{number}: {line.strip()}" for number, line in lines if FORBIDDEN.search(line)]
    assert not used, "\n".join(used)


@pytest.mark.parametrize("notebook", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.name)
def test_the_text_of_a_notebook_does_not_use_them_either(notebook):
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    assert [match.group() for text in texts for match in FORBIDDEN.finditer(text)] == []
