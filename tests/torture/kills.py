"""Kill every command before each of its steps and at random times, and repeat it."""

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from .commands import Case
from .contents import contents, differences, require_whole
from .file_steps import deny, kill_before
from .forked import Forked, fresh, last_lines, run
from .trials import Outcome, Part, Trial, failure
from .workplace import CASE_BY_NAME, Workplace

OUTPUTS = ("exported", "exported.csv", "exported.parquet", "corrected")
NOT_WHOLE = 70
"""The exit code of a check that found what was committed damaged."""
LINKS = ("os.link", "os.symlink")
RANDOM_KILLS = 1000
WHOLE = "whole and equal"


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


def repeat(case: Case, folder: Path, expected: dict[str, str]) -> Outcome:
    """Repeat a killed command and compare what both have left with an unbroken run."""
    remove_complete_outputs(folder, expected)
    done = run(check_and_repeat(case, folder), folder)
    if done.code != 0:
        return failure(last_lines(done))
    if wrong := differences(expected, contents(folder)):
        return failure(f"the files differ: {', '.join(wrong[:6])}")
    return Outcome(WHOLE)


def _steps(part: str, *denied: str) -> Callable[[Workplace, Sequence[Case]], list[Trial]]:
    def trials(workplace: Workplace, cases: Sequence[Case]) -> list[Trial]:
        return [
            Trial(part, case.name, number=step)
            for case in cases
            for step in range(workplace.unbroken(case, *denied).steps)
        ]

    return trials


def before_step(workplace: Workplace, trial: Trial) -> Outcome:
    """Kill a command before one of its steps."""
    case = CASE_BY_NAME[trial.case]
    folder = fresh(workplace.starts[case.start])
    killed = run(case.action, folder, kill_before(trial.number))
    if not killed.was_killed:
        return failure(f"was not killed: {last_lines(killed)}")
    return repeat(case, folder, workplace.unbroken(case).contents)


def random_trials(workplace: Workplace, cases: Sequence[Case]) -> list[Trial]:
    return [Trial("random", cases[number % len(cases)].name, number=number) for number in range(RANDOM_KILLS)]


def at_random_time(workplace: Workplace, trial: Trial) -> Outcome:
    """Kill a command at a random time."""
    case = CASE_BY_NAME[trial.case]
    unbroken = workplace.unbroken(case)
    folder = fresh(workplace.starts[case.start])
    process = Forked(case.action, folder)
    time.sleep(trial.draw(workplace.seed).uniform(0, unbroken.seconds * 1.05))
    process.kill()
    process.wait()
    return repeat(case, folder, unbroken.contents)


def without_links(workplace: Workplace, trial: Trial) -> Outcome:
    """Kill a command before one of its steps on a file system without links."""
    case = CASE_BY_NAME[trial.case]
    folder = fresh(workplace.starts[case.start])
    run(case.action, folder, deny(*LINKS, then=kill_before(trial.number)))
    return repeat(case, folder, workplace.unbroken(case, *LINKS).contents)


PARTS = {
    "kills": Part("kill before a step", _steps("kills"), before_step, lambda trial: trial.number % 40 == 0),
    "random": Part("kill at a random time", random_trials, at_random_time),
    "links": Part("kill before a step, without links", _steps("links", *LINKS), without_links),
}
