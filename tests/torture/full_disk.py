"""Let the disk be full at every step of every command."""

import random
from collections.abc import Sequence
from pathlib import Path

from .commands import CASES, Case
from .contents import contents, differences
from .file_steps import fill_disk
from .forked import Ended, fresh, run
from .kills import expected_of, repeat
from .tally import Tally, last_lines


def at_every_step(starts: dict[str, Path], *, every: int = 1) -> Tally:
    """Let each step of each command fail for want of space, alone and with all later ones."""
    tally = Tally("full disk at a step")
    for case in CASES:
        expected, steps, _ = expected_of(case, starts)
        for step in range(0, steps, every):
            for stays_full in (False, True):
                folder = fresh(starts[case.start])
                done = run(case.action, folder, fill_disk(step, stays_full=stays_full))
                where = f"{case.name}, step {step} of {steps}, {'stays full' if stays_full else 'once'}"
                judge(case, folder, done, expected, tally, where)
    return tally


def with_limited_files(
    starts: dict[str, Path], draw: random.Random, *, trials: int, cases: Sequence[Case] = CASES
) -> Tally:
    """Limit the size of files, so that writing fails in the middle of a file, also in native code."""
    tally = Tally("full disk in the middle of a file")
    measured = {case.name: expected_of(case, starts)[0] for case in cases}
    for trial in range(trials):
        case = cases[trial % len(cases)]
        size = int(10 ** draw.uniform(0, 6.7))
        folder = fresh(starts[case.start])
        done = run(case.action, folder, largest_file=size)
        judge(case, folder, done, measured[case.name], tally, f"{case.name}, {size} bytes")
    return tally


def judge(case: Case, folder: Path, done: Ended, expected: dict[str, str], tally: Tally, where: str) -> None:
    """Check that a command has succeeded, or has failed with a named error and can be repeated."""
    if done.crashed:
        tally.fail(where, last_lines(done, 6))
    elif done.code == 0:
        if wrong := differences(expected, contents(folder)):
            tally.fail(where, f"exit 0, and the files differ: {', '.join(wrong[:6])}")
        else:
            tally.add("succeeded all the same")
    else:
        before = len(tally.failures)
        repeat(case, folder, expected, tally, where)
        if len(tally.failures) == before:
            tally.outcomes.subtract(["whole and equal"])
            tally.outcomes["named error, repeated whole"] += 1
