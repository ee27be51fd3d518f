"""Torture the store and the commands, and print the counts as a Markdown table.

    PYTHONPATH=tests python -m torture --seed 0

Exit code 1 means that a trial ended wrongly; each is listed.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from .commands import CASES, import_everything, prepare
from .tally import Tally


def parts(starts: dict[str, Path], draw: random.Random, *, short: bool, share: float) -> dict[str, Callable[[], Tally]]:
    """Return the parts of the torture by name, in their order."""
    from . import damages, file_systems, full_disk, kills, pairs

    if short:
        few = [case for case in CASES if case.name in ("rank", "apply", "review")]
        return {
            "kills": lambda: kills.before_every_step(starts, every=40, cases=few),
            "damages": lambda: damages.of_any_file(starts, draw, trials=12, uses=damages.USES[:3]),
            "files": lambda: full_disk.with_limited_files(starts, draw, trials=3, cases=few),
            "pairs": lambda: pairs.two_at_once(starts, draw, trials=1),
            "systems": lambda: file_systems.on_poor_file_systems(starts, cases=few[-1:]),
        }
    every = max(1, round(1 / share))
    return {
        "kills": lambda: kills.before_every_step(starts, every=every),
        "random": lambda: kills.at_random_times(starts, draw, trials=round(1000 * share)),
        "links": lambda: kills.without_links(starts, every=every),
        "damages": lambda: damages.of_any_file(starts, draw, trials=round(2000 * share)),
        "disk": lambda: full_disk.at_every_step(starts, every=every),
        "files": lambda: full_disk.with_limited_files(starts, draw, trials=round(300 * share)),
        "pairs": lambda: pairs.two_at_once(starts, draw, trials=round(300 * share)),
        "systems": lambda: file_systems.on_poor_file_systems(starts),
    }


def main() -> None:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(prog="python -m torture", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="seed of the damages, times and sizes that are drawn")
    parser.add_argument("--short", action="store_true", help="the short form that the test suite runs")
    parser.add_argument("--share", type=float, default=1.0, help="share of the steps and trials that are taken")
    parser.add_argument("--only", nargs="*", help="names of parts: kills, random, links, damages, disk, files, ...")
    parser.add_argument("--folder", type=Path, help="where to make the runs; by default a temporary folder")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    import_everything()
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="torture-") as folder:
        starts = prepare(Path(folder))
        tallies = []
        for name, part in parts(starts, random.Random(options.seed), short=options.short, share=options.share).items():
            if options.only and name not in options.only:
                continue
            begin = time.monotonic()
            tallies.append(part())
            print(f"{name}: {time.monotonic() - begin:.0f} s: {tallies[-1].row()}", file=sys.stderr, flush=True)
    if options.json:
        print(json.dumps([{"part": t.part, "trials": t.trials, "failures": t.failures} for t in tallies]))
    else:
        print("| part | trials | ended | failures |\n|---|---|---|---|")
        print(*(tally.row() for tally in tallies), sep="\n")
    raise SystemExit(any(tally.failures for tally in tallies))


if __name__ == "__main__":
    main()
