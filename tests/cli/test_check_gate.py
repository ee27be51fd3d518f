"""The action for GitHub and the pre-commit hook run `gwaudit check`, and pass its exit code on."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gwaudit.review.decisions import write_decisions
from helpers.audits import make_audit, make_decisions

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A run of 40 decided labels, 4 of them wrong, and a program `gwaudit` on the path."""
    folder = tmp_path_factory.mktemp("gate")
    (folder / "run").mkdir()
    audit = make_audit([f"k{i}" for i in range(40)], np.zeros(40, int), ["a", "b"], run=folder / "run")
    audit.save(folder / "run")
    rows = [(i, "drop" if i < 4 else "keep") for i in range(40)]
    write_decisions(make_decisions(audit, *rows), folder / "run" / "decisions.csv")
    program = folder / "gwaudit"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m gwaudit "$@"\n')
    program.chmod(0o755)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "RUN": str(folder / "run")}


@pytest.mark.parametrize(("limit", "corrected", "code"), [("10%", "false", 0), ("5%", "false", 1), ("5%", "true", 0)])
def test_the_step_of_the_action_ends_as_the_check_does(environment, limit, corrected, code):
    script = (ROOT / ".github/actions/check/action.yml").read_text().partition("run: |\n")[2]
    values = {"MAX_WRONG": limit, "DECISIONS": "", "CORRECTED": corrected}
    done = subprocess.run(["bash", "-e", "-c", script], env=environment | values, capture_output=True, text=True)
    assert done.returncode == code, done.stdout + done.stderr


def test_the_hook_runs_the_check_with_its_arguments(environment):
    entry = re.search(r"entry: (.+)", (ROOT / ".pre-commit-hooks.yaml").read_text())[1]
    done = subprocess.run([*entry.split(), environment["RUN"], "--max-wrong", "5%"], env=environment, check=False)
    assert done.returncode == 1
