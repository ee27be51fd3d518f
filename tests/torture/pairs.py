"""Run two commands at once on one run."""

import time
from collections.abc import Sequence

from .commands import AUDIT, CASES, Case, gwaudit
from .contents import contents, differences, require_whole
from .forked import Forked, fresh, last_lines, run
from .trials import Outcome, Part, Trial, failure
from .workplace import Workplace

PAIRS = 300

_AGAIN = gwaudit(*AUDIT, "--resume")
_ON_A_RUN = [case for case in CASES if case.start == "ranked"]
_ON_A_RUN += [Case("audit --resume (done)", "ranked", _AGAIN, _AGAIN)]
_ALL_PAIRS = {
    f"{first.name} with {second.name}": (first, second) for i, first in enumerate(_ON_A_RUN) for second in _ON_A_RUN[i:]
}


def trials(workplace: Workplace, cases: Sequence[Case]) -> list[Trial]:
    names = list(_ALL_PAIRS)
    return [Trial("pairs", names[number % len(names)], number=number) for number in range(PAIRS)]


def two_at_once(workplace: Workplace, trial: Trial) -> Outcome:
    """Run two commands at once; what they leave must be what one after the other, or one alone, leaves."""
    first, second = _ALL_PAIRS[trial.case]
    draw = trial.draw(workplace.seed)

    def after(commands: Sequence[Case]) -> dict[str, str]:
        def make() -> dict[str, str]:
            folder = fresh(workplace.starts["ranked"])
            for case in commands:
                run(case.action, folder)
            return contents(folder)

        return workplace.once(("after", *(case.name for case in commands)), make)

    folder = fresh(workplace.starts["ranked"])
    processes = [Forked(first.action, folder)]
    time.sleep(draw.choice([0, 0, draw.uniform(0, 0.5)]))
    processes.append(Forked(second.action, folder))
    ended = [process.wait() for process in processes]
    exits = " | ".join(last_lines(one) for one in ended)
    found = contents(folder)
    checked = run(lambda: require_whole(folder, ranked=True), folder)
    done = [case for case, one in zip((first, second), ended, strict=True) if one.code == 0]
    if any(one.crashed for one in ended):
        return failure(exits)
    if not done:
        return failure(f"both failed: {exits}")
    # A command that failed because its output exists has been overtaken by the other one.
    wrong = min((differences(after(order), found) for order in (done, done[::-1])), key=len)
    if len(done) < 2:  # the round of refinement that a command has finished before it failed stays
        wrong = [name for name in wrong if not name.startswith("run/rounds/")]
    if wrong:
        return failure(f"exits {[one.code for one in ended]}, and the files differ: {', '.join(wrong[:6])}")
    if checked.code:
        return failure(last_lines(checked))
    return Outcome("both right" if len(done) == 2 else "one right, one named error")


PARTS = {
    "pairs": Part(
        "two commands at once",
        trials,
        two_at_once,
        lambda trial: trial.case == "rank with report" and trial.number < len(_ALL_PAIRS),
    )
}
