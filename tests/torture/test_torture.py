"""The short form of the torture: kills, damages, full disks, two commands at once, poor file systems."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def tallies(tmp_path_factory):
    """The counts of the short form, by part, from a process that forks for each trial."""
    command = [sys.executable, "-m", "torture", "--short", "--json", "--folder", tmp_path_factory.mktemp("runs")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.stdout, done.stderr
    return {tally["part"]: tally for tally in json.loads(done.stdout)}


@pytest.mark.parametrize(
    "part",
    [
        "kill before a step",
        "damage to a file",
        "full disk in the middle of a file",
        "two commands at once",
        "file systems that lack something",
    ],
)
def test_a_command_that_is_disturbed_leaves_the_run_whole(tallies, part):
    assert tallies[part]["trials"] > 0
    assert tallies[part]["failures"] == []
