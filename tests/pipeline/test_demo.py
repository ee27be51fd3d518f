"""The demo finds the errors that it adds in under a minute, and prints what README and quickstart show."""

import json
import os
import re
import resource
import subprocess

import pytest
import torch

from helpers.command import COMMAND, gwaudit
from helpers.pages import ROOT, blocks

PAGES = ["README.md", "docs/quickstart.md"]


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """Return the folder that it was started in, the process, and the seconds of a processor that it took."""
    folder = tmp_path_factory.mktemp("demo")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "120"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([*COMMAND, "demo"], capture_output=True, text=True, cwd=folder, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Not the clock: other processes may have the processors.
    return folder, done, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


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


def without_numbers(text):
    """The text on one line; the processor decides about the last digits, and so about the order."""
    return " ".join(re.sub(r"[+-]?\d[\d.,:]*", "#", text).split())


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_the_demo_prints_what_the_page_shows(page, first):
    _, done, _ = first
    printed = without_numbers(done.stderr + done.stdout)
    lines = [line for block in blocks(ROOT / page, "text") for line in block.splitlines() if line.strip(" .")]
    assert len(lines) > 5
    assert [line for line in lines if without_numbers(line) not in printed] == []


def test_a_second_demo_leaves_the_first_alone_and_repeats_it(first, monkeypatch):
    folder, *_ = first
    monkeypatch.chdir(folder)
    before = {path: path.stat().st_mtime_ns for path in (folder / "gwaudit-demo").rglob("*") if path.is_file()}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    second = gwaudit("demo", "--json")
    torch.set_num_threads(threads)
    assert (folder / "gwaudit-demo-1").is_dir()
    assert {path: path.stat().st_mtime_ns for path in before} == before
    facts = json.loads((folder / "gwaudit-demo" / "evaluation.json").read_text())
    assert json.loads(second.stdout)["evaluation"] == facts
