"""The short form of the torture: kills, damages, full disks, two commands at once, poor file systems, object stores."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from .trials import FAILURE

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """The trials of the short form, from a process that forks for each trial."""
    command = [sys.executable, "-m", "torture", "--short", "--json", "--folder", tmp_path_factory.mktemp("runs")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("part", ["kills", "damages", "files", "pairs", "systems", "urls"])
def test_a_command_that_is_disturbed_leaves_the_run_whole(rows, part):
    taken = [row for row in rows if row["part"] == part]
    assert taken
    assert [row for row in taken if row["outcome"] == FAILURE] == []
