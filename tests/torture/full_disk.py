"""Let the disk be full at every step of every command, and in the middle of files."""

from collections.abc import Sequence
from pathlib import Path

from .commands import Case
from .contents import contents, differences
from .file_steps import fill_disk
from .forked import Ended, fresh, last_lines, run
from .kills import WHOLE, repeat
from .trials import Outcome, Part, Trial, failure
from .workplace import CASE_BY_NAME, Workplace

STAYS_FULL, ONCE = "stays full", "once"
LIMITED_FILES = 300


def step_trials(workplace: Workplace, cases: Sequence[Case]) -> list[Trial]:
    return [
        Trial("disk", case.name, how, step)
        for case in cases
        for step in range(workplace.unbroken(case).steps)
        for how in (ONCE, STAYS_FULL)
    ]


def at_step(workplace: Workplace, trial: Trial) -> Outcome:
    """Let a step of a command fail for want of space, alone or with all later ones."""
    case = CASE_BY_NAME[trial.case]
    folder = fresh(workplace.starts[case.start])
    done = run(case.action, folder, fill_disk(trial.number, stays_full=trial.variant == STAYS_FULL))
    return judge(case, folder, done, workplace.unbroken(case).contents)


def file_trials(workplace: Workplace, cases: Sequence[Case]) -> list[Trial]:
    return [Trial("files", cases[number % len(cases)].name, number=number) for number in range(LIMITED_FILES)]


def with_limited_files(workplace: Workplace, trial: Trial) -> Outcome:
    """Limit the size of files, so that writing fails in the middle of a file, also in native code."""
    case = CASE_BY_NAME[trial.case]
    size = int(10 ** trial.draw(workplace.seed).uniform(0, 6.7))
    folder = fresh(workplace.starts[case.start])
    done = run(case.action, folder, largest_file=size)
    return judge(case, folder, done, workplace.unbroken(case).contents)


def judge(case: Case, folder: Path, done: Ended, expected: dict[str, str]) -> Outcome:
    """Check that a command has succeeded, or has failed with a named error and can be repeated."""
    if done.crashed:
        return failure(last_lines(done, 6))
    if done.code:
        outcome = repeat(case, folder, expected)
        return Outcome("named error, repeated whole") if outcome.name == WHOLE else outcome
    if wrong := differences(expected, contents(folder)):
        return failure(f"exit 0, and the files differ: {', '.join(wrong[:6])}")
    return Outcome("succeeded all the same")


PARTS = {
    "disk": Part("full disk at a step", step_trials, at_step),
    "files": Part("full disk in the middle of a file", file_trials, with_limited_files, lambda trial: trial.number < 3),
}
