"""Torture the store and the commands, and print the counts as a Markdown table.

    PYTHONPATH=tests python -m torture --processes 2 --rows rows.jsonl

A second call with the same file of rows takes the trials that it lacks. Exit code 1 means that a trial ended wrongly;
each is listed.
"""

import argparse
import json
import random
import sys
import tempfile
import time
import traceback
from pathlib import Path

from . import damages, file_systems, full_disk, kills, object_kills, pairs
from .commands import CASES, import_everything
from .processes import forked, results
from .rows import Rows, checksum_of_sources, read_lines
from .table import table
from .trials import FAILURE, Outcome, Trial, failure
from .workplace import Workplace

PARTS = {**kills.PARTS, **damages.PARTS, **pairs.PARTS, **file_systems.PARTS, **full_disk.PARTS, **object_kills.PARTS}
FEW = [case for case in CASES if case.name in ("rank", "apply", "review")]

_workplaces: list[Workplace] = []
"""The one of this process."""


def begin(folder: Path, seed: int) -> None:
    """Prepare the runs of a process that takes trials."""
    _workplaces[:] = [Workplace(Path(tempfile.mkdtemp(dir=folder)), seed)]


def list_trials(part: str, short: bool) -> list[Trial]:
    """Return the trials of a part, in this process: a command is run to count its steps."""
    trials = PARTS[part].trials(_workplaces[0], FEW if short else CASES)
    return [trial for trial in trials if PARTS[part].is_short(trial) or not short]


def take(trial: Trial) -> tuple[Trial, Outcome, float]:
    """Take a trial; return how it ended, and its duration in seconds."""
    began = time.monotonic()
    try:
        outcome = PARTS[trial.part].take(_workplaces[0], trial)
    except Exception:  # a fault of the torture, or an undisturbed command that fails: the other trials go on
        outcome = failure(traceback.format_exc())
    return trial, outcome, time.monotonic() - began


def torture(options: argparse.Namespace, rows: Rows) -> None:
    """Take the trials that are asked for and that the rows lack, in random order within each part."""
    import_everything()
    with (
        tempfile.TemporaryDirectory(dir=options.folder, prefix="torture-") as folder,
        forked(options.processes, begin, Path(folder), options.seed) as pool,
    ):
        of: dict[str, int] = {}
        missing: list[Trial] = []
        parts = [options.trial.partition("/")[0]] if options.trial else options.only or PARTS
        lists = {part: pool.submit(list_trials, part, options.short) for part in parts}
        for part, listed in lists.items():
            trials = listed.result()
            of[part] = len(trials)
            random.Random(f"{options.seed}/{part}").shuffle(trials)
            asked = trials[: round(len(trials) * options.share)]
            if options.trial:
                asked = [trial for trial in trials if trial.key == options.trial]
            missing += [trial for trial in asked if trial.key not in rows.rows]
        for trial, outcome, seconds in results(pool, take, missing):
            if outcome.name == FAILURE:
                print(f"{trial.key}: {outcome.why}", file=sys.stderr, flush=True)
            row = {"part": trial.part, "of": of[trial.part], "outcome": outcome.name, "why": outcome.why}
            rows.add({"key": trial.key, **row, "seconds": round(seconds, 2)})


def main() -> None:
    """Read the options, take the trials, and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m torture", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the damages, times and sizes that are drawn")
    parser.add_argument("--short", action="store_true", help="the short form that the test suite runs")
    parser.add_argument("--share", type=float, default=1.0, help="share of the trials that are taken, by default all")
    parser.add_argument("--only", nargs="*", choices=list(PARTS), help="parts to run, in this order; by default all")
    parser.add_argument("--trial", help="key of one trial to take, as failures and rows name it")
    parser.add_argument("--processes", type=int, default=1, help="number of processes")
    parser.add_argument("--rows", type=Path, help="file that keeps the trials that have ended; those are not repeated")
    parser.add_argument("--table", action="store_true", help="take no trial, print the table of the file of rows")
    parser.add_argument("--folder", type=Path, help="where to make the runs; by default a temporary folder")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    if options.table:
        taken = read_lines(options.rows)[1:]
    else:
        shared = {"sources": checksum_of_sources(), "seed": options.seed, "short": options.short}
        with Rows(options.rows, shared) as rows:
            torture(options, rows)
            taken = list(rows.rows.values())
    print(json.dumps(taken) if options.json else table(taken, {name: part.title for name, part in PARTS.items()}))
    failures = [f"{row['key']}: {row['why']}" for row in taken if row["outcome"] == FAILURE]
    print(*failures, sep="\n", file=sys.stderr)
    raise SystemExit(bool(failures))


if __name__ == "__main__":
    main()
