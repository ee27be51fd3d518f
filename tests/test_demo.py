"""The demo does the main job on embedded data in under a minute, and finds what was planted."""

import json
import subprocess
import time

from command import COMMAND


def demo(cwd, *arguments):
    began = time.monotonic()
    done = subprocess.run([*COMMAND, "demo", *arguments], capture_output=True, text=True, cwd=cwd)
    return done, time.monotonic() - began


def test_the_demo_finds_the_planted_errors_in_under_a_minute(tmp_path):
    done, seconds = demo(tmp_path)
    assert done.returncode == 0, done.stderr
    assert seconds <= 60
    for part in ("precision", "recall", "The 10 most suspicious", "suggested", "gwaudit-demo/suspects.csv"):
        assert part in done.stdout
    facts = json.loads((tmp_path / "gwaudit-demo" / "evaluation.json").read_text())
    assert facts["n_wrong"] == 180
    assert facts["precision"] > 0.8
    assert facts["recall"] > 0.9
    assert facts["suggested_accuracy"] > 0.8


def test_a_second_demo_leaves_the_first_alone_and_repeats_it(tmp_path):
    first, _ = demo(tmp_path, "--json")
    second, _ = demo(tmp_path, "--json")
    assert (tmp_path / "gwaudit-demo-1").is_dir()
    assert json.loads(first.stdout)["evaluation"] == json.loads(second.stdout)["evaluation"]
