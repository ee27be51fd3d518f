"""The structure of the package holds: import direction, one job a file, every room described."""

import subprocess
import sys
from pathlib import Path

import pytest

import gwaudit

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path(gwaudit.__file__).parent
LONGEST = 500  # lines


def test_imports_keep_the_contracts_of_pyproject():
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", code, "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


def test_no_module_is_too_long_to_read_in_one_sitting():
    lengths = {str(path.relative_to(PACKAGE)): len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")}
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST} == {}


@pytest.mark.parametrize("room", sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py")))
def test_every_package_says_what_may_come_in_and_what_may_not(room):
    text = " ".join((PACKAGE / room / "__init__.py").read_text().split())
    assert " May import " in text
    assert "Must not " in text


def test_tests_lie_in_folders_that_mirror_the_packages():
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    folders = {path.parent.name for path in (ROOT / "tests").glob("*/test_*.py")}
    assert packages <= folders
    assert folders - packages == {"docs", "torture"}
