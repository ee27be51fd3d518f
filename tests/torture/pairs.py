"""Run two commands at once on one run."""

import random
import time
from pathlib import Path

from .commands import AUDIT, CASES, Case, gwaudit
from .contents import contents, differences, require_whole
from .forked import Forked, fresh, run
from .tally import Tally, last_lines


def two_at_once(starts: dict[str, Path], draw: random.Random, *, trials: int) -> Tally:
    """Run two commands at once; what they leave must be what one after the other, or one alone, leaves."""
    tally = Tally("two commands at once")
    again = gwaudit(*AUDIT, "--resume")
    cases = [case for case in CASES if case.start == "ranked"] + [Case("audit --resume (done)", "ranked", again, again)]
    pairs = [(first, second) for i, first in enumerate(cases) for second in cases[i:]]
    draw.shuffle(pairs)
    allowed: dict[tuple[str, ...], dict[str, str]] = {}

    def after(*commands: Case) -> dict[str, str]:
        names = tuple(case.name for case in commands)
        if names not in allowed:
            folder = fresh(starts["ranked"])
            for case in commands:
                run(case.action, folder)
            allowed[names] = contents(folder)
        return allowed[names]

    for trial in range(trials):
        first, second = pairs[trial % len(pairs)]
        where = f"{first.name} with {second.name}"
        folder = fresh(starts["ranked"])
        processes = [Forked(first.action, folder)]
        time.sleep(draw.choice([0, 0, draw.uniform(0, 0.5)]))
        processes.append(Forked(second.action, folder))
        ended = [process.wait() for process in processes]
        if any(one.crashed for one in ended):
            tally.fail(where, " | ".join(last_lines(one) for one in ended))
            continue
        done = [case for case, one in zip((first, second), ended, strict=True) if one.code == 0]
        orders = [done, done[::-1]]
        # A command that failed because its output exists has been overtaken by the other one.
        wrong = min((differences(after(*order), contents(folder)) for order in orders), key=len)
        if len(done) < 2:  # the round of refinement that a command has finished before it failed stays
            wrong = [name for name in wrong if not name.startswith("run/rounds/")]
        checked = run(lambda folder=folder: require_whole(folder, ranked=True), folder)
        if not done:
            tally.fail(where, "both failed: " + " | ".join(last_lines(one) for one in ended))
        elif wrong:
            tally.fail(where, f"exits {[one.code for one in ended]}, and the files differ: {', '.join(wrong[:6])}")
        elif checked.code:
            tally.fail(where, last_lines(checked))
        else:
            tally.add("both right" if len(done) == 2 else "one right, one named error")
    return tally
