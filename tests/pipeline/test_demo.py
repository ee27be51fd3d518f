"""The demo does the main job on embedded data in under a minute, and finds the errors that it adds."""

import json
import os
import resource
import subprocess

import pytest

from helpers.command import COMMAND


def demo(cwd, *arguments):
    """Run it on one thread, and return the process and the seconds of a processor that it took."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([*COMMAND, "demo", *arguments], capture_output=True, text=True, cwd=cwd, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Not the clock: other processes may have the processors.
    return done, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """Return the folder that it was started in, the process, and its seconds."""
    folder = tmp_path_factory.mktemp("demo")
    return folder, *demo(folder)


def test_the_demo_finds_the_added_errors_in_under_a_minute(first):
    folder, done, seconds = first
    assert done.returncode == 0, done.stderr
    assert seconds <= 60
    for part in ("precision", "recall", "The 10 most suspicious", "suggested", "gwaudit-demo/suspects.csv"):
        assert part in done.stdout
    facts = json.loads((folder / "gwaudit-demo" / "evaluation.json").read_text())
    assert facts["n_wrong"] == 180
    assert facts["precision"] > 0.8
    assert facts["recall"] > 0.9
    assert facts["suggested_accuracy"] > 0.8


def test_a_second_demo_leaves_the_first_alone_and_repeats_it(first):
    folder, *_ = first
    before = {path: path.stat().st_mtime_ns for path in (folder / "gwaudit-demo").rglob("*") if path.is_file()}
    second, _ = demo(folder, "--json")
    assert (folder / "gwaudit-demo-1").is_dir()
    assert {path: path.stat().st_mtime_ns for path in before} == before
    facts = json.loads((folder / "gwaudit-demo" / "evaluation.json").read_text())
    assert json.loads(second.stdout)["evaluation"] == facts
