"""Kill every command before each of its steps and at random times, and repeat it."""

import random
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from .commands import CASES, Case
from .contents import contents, differences, require_whole
from .file_steps import Fault, deny, kill_before
from .forked import Forked, fresh, run
from .tally import Tally, last_lines

OUTPUTS = ("exported", "exported.csv", "exported.parquet", "corrected")
NOT_WHOLE = 70
"""The exit code of a check that found what was committed damaged."""


def expected_of(case: Case, starts: dict[str, Path], fault: Fault | None = None) -> tuple[dict[str, str], int, float]:
    """Return what an unbroken command leaves, its number of steps, and its duration in seconds."""
    folder = fresh(starts[case.start])
    begin = time.monotonic()
    done = run(case.action, folder, fault)
    assert done.code == 0, f"{case.name}: {last_lines(done, 20)}"
    return contents(folder), done.steps, time.monotonic() - begin


def check_and_repeat(case: Case, folder: Path) -> Callable[[], None]:
    """Return an action that checks what a killed command has left, and repeats the command."""

    def action() -> None:
        try:
            require_whole(folder, ranked=case.start.startswith("ranked"))
        except Exception as error:
            print(f"not whole: {type(error).__name__} {error}")
            raise SystemExit(NOT_WHOLE) from None
        case.again()

    return action


def remove_complete_outputs(folder: Path, expected: dict[str, str]) -> None:
    """Delete the outputs beside the run, which a command that was killed after its last step has made."""
    found = contents(folder)
    for name in OUTPUTS:
        output = folder / name
        if not output.exists():
            continue
        made = {path: value for path, value in found.items() if path == name or path.startswith(f"{name}/")}
        whole = {path: value for path, value in expected.items() if path == name or path.startswith(f"{name}/")}
        if made == whole:
            shutil.rmtree(output) if output.is_dir() else output.unlink()


def repeat(case: Case, folder: Path, expected: dict[str, str], tally: Tally, where: str) -> None:
    """Repeat a killed command and compare what both have left with an unbroken run."""
    remove_complete_outputs(folder, expected)
    done = run(check_and_repeat(case, folder), folder)
    if done.code != 0:
        tally.fail(where, last_lines(done))
        return
    found = contents(folder)
    if wrong := differences(expected, found):
        tally.fail(where, f"the files differ: {', '.join(wrong[:6])}")
    else:
        tally.add("whole and equal")


def before_every_step(starts: dict[str, Path], *, every: int = 1, cases: Sequence[Case] = CASES) -> Tally:
    """Kill each command before each of its steps."""
    tally = Tally("kill before a step")
    for case in cases:
        expected, steps, _ = expected_of(case, starts)
        for step in range(0, steps, every):
            folder = fresh(starts[case.start])
            killed = run(case.action, folder, kill_before(step))
            if not killed.was_killed:
                tally.fail(f"{case.name}, step {step}", f"was not killed: {last_lines(killed)}")
                continue
            repeat(case, folder, expected, tally, f"{case.name}, before step {step} of {steps}")
    return tally


def at_random_times(starts: dict[str, Path], draw: random.Random, trials: int) -> Tally:
    """Kill commands at random times."""
    tally = Tally("kill at a random time")
    measured = {case.name: expected_of(case, starts) for case in CASES}
    for trial in range(trials):
        case = CASES[trial % len(CASES)]
        expected, _, seconds = measured[case.name]
        folder = fresh(starts[case.start])
        process = Forked(case.action, folder)
        time.sleep(draw.uniform(0, seconds * 1.05))
        process.kill()
        process.wait()
        repeat(case, folder, expected, tally, f"{case.name}, trial {trial}")
    return tally


def without_links(starts: dict[str, Path], *, every: int = 1) -> Tally:
    """Kill each command before its steps on a file system without links and locks."""
    tally = Tally("kill before a step, without links")
    names = ("os.link", "os.symlink")
    for case in CASES:
        whole = Case(case.name, case.start, case.action, case.again)
        expected, steps, _ = expected_of(whole, starts, deny(*names))
        for step in range(0, steps, every):
            folder = fresh(starts[case.start])
            run(case.action, folder, deny(*names, then=kill_before(step)))
            repeat(case, folder, expected, tally, f"{case.name}, before step {step} of {steps}")
    return tally
