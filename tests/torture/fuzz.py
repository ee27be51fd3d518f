"""Read random inputs in processes of their own: no traceback, no hang, no dead process, little memory.

PYTHONPATH=tests python -m torture.fuzz --inputs 100000 --processes 2 --rows rows.jsonl
PYTHONPATH=tests python -m torture.fuzz --kind CSV --seed 17  # one input, with its traceback

A second call with the same file of rows reads the inputs that it lacks.
"""

import argparse
import io
import mmap
import os
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from gwaudit.core.errors import GwauditError

from .fuzz_inputs import KINDS
from .processes import forked, results
from .rows import Rows, checksum_of_sources, read_lines

CHUNK = 250  # inputs that a process reads before the figures are kept
WEIGHTS = {"files of a run": 0.2}  # each is ranked, which takes as long as fifty other inputs
LONGEST = 10  # seconds
ALARM = 60  # other processes of the machine count too: the time of the processor decides
MOST_MEMORY = 2 * 2**30  # bytes

READ, REFUSED, CRASHED = 1, 2, 3


@dataclass
class Figures:
    """Hold the figures of one kind of input; `failures` describes what must not happen, with the seed."""

    kind: str
    inputs: int = 0
    read: int = 0
    refused: int = 0
    slowest: float = 0.0
    memory: int = 0
    failures: list[str] = field(default_factory=list)


def read_input(kind: str, seed: int, folder: Path) -> int:
    """Make one input and read it; return whether it was read or refused with a named error."""
    random = Random(f"{kind}/{seed}")
    place = folder / "input"
    place.mkdir()
    try:
        read = KINDS[kind](random, place)
        read()
        return READ
    except GwauditError as error:
        if not str(error).strip():
            raise
        return REFUSED
    finally:
        shutil.rmtree(place, ignore_errors=True)


def fuzz(kind: str, seeds: range, folder: Path) -> Figures:
    """Read inputs of one kind, in a process that is started again after its death."""
    figures = Figures(kind)
    shared = mmap.mmap(-1, 64)  # number of the input, slowest in seconds, read, refused
    log = folder / "failures.txt"
    log.write_text("")
    start = seeds.start
    while start < seeds.stop:
        pid = os.fork()
        if pid == 0:
            _work(kind, range(start, seeds.stop), folder, shared, log)
        _, status, usage = os.wait4(pid, 0)
        done, slowest, n_read, n_refused = struct.unpack("qdqq", shared[:32])
        figures.slowest, figures.memory = max(figures.slowest, slowest), max(figures.memory, usage.ru_maxrss * 1024)
        figures.read, figures.refused = figures.read + n_read, figures.refused + n_refused
        shutil.rmtree(folder / "input", ignore_errors=True)
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            what = f"took over {ALARM} s" if number == signal.SIGALRM else f"ended the process by signal {number}"
            figures.failures.append(f"{kind}, seed {done}: {what}")
        elif os.WEXITSTATUS(status):
            figures.failures.append(f"{kind}, seed {done}: ended the process with {os.WEXITSTATUS(status)}")
        start = done + 1
    figures.inputs = len(seeds)
    figures.failures += log.read_text().splitlines()
    if figures.memory > MOST_MEMORY:
        figures.failures.append(f"{kind}: took {figures.memory / 2**30:.1f} GiB of memory")
    return figures


def _work(kind: str, seeds: range, folder: Path, shared: mmap.mmap, log: Path) -> None:
    """Read inputs, count them in shared memory, and end the process."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_DATA, (4 * MOST_MEMORY, 4 * MOST_MEMORY))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    counts, slowest = {READ: 0, REFUSED: 0}, 0.0
    warnings.simplefilter("ignore")
    for seed in seeds:
        shared[:32] = struct.pack("qdqq", seed, slowest, counts[READ], counts[REFUSED])
        began = time.process_time()
        signal.alarm(ALARM)
        try:
            with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                counts[read_input(kind, seed, folder)] += 1
        except BaseException as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            own = [f for f in traceback.extract_tb(error.__traceback__) if "gwaudit/" in f.filename]
            where = f"{own[-1].filename.rpartition('gwaudit/')[2]}:{own[-1].lineno}" if own else place.filename
            with log.open("a") as file:
                file.write(f"{kind}, seed {seed}: {type(error).__name__} at {where}: {str(error)[:120]!r}\n")
        signal.alarm(0)
        took = time.process_time() - began
        slowest = max(slowest, took)
        if took > LONGEST:
            with log.open("a") as file:
                file.write(f"{kind}, seed {seed}: took {took:.0f} s\n")
    shared[:32] = struct.pack("qdqq", seeds.stop - 1, slowest, counts[READ], counts[REFUSED])
    os._exit(0)


@dataclass(frozen=True)
class Chunk:
    """Describe inputs of one kind that one process reads, one after the other."""

    kind: str
    start: int
    stop: int

    @property
    def key(self) -> str:
        return f"{self.kind}/{self.start}-{self.stop}"


def chunks(kinds: Sequence[str], inputs: int, start: int) -> list[Chunk]:
    """Return the chunks of at least a number of inputs of all kinds; kinds that take long have fewer inputs each."""
    each = -(-inputs // sum(WEIGHTS.get(kind, 1) for kind in kinds))
    return [
        Chunk(kind, first, first + size)
        for kind in kinds
        for number, size in [(round(each * WEIGHTS.get(kind, 1)), round(CHUNK * WEIGHTS.get(kind, 1)))]
        for first in range(start, start + number, size)
    ]


_folders: list[Path] = []
"""The one of this process."""


def begin(folder: Path) -> None:
    """Make the folder of a process that reads chunks."""
    _folders[:] = [Path(tempfile.mkdtemp(dir=folder))]


def read_chunk(chunk: Chunk) -> tuple[Chunk, Figures]:
    """Read the inputs of a chunk."""
    place = _folders[0] / chunk.kind.replace(" ", "-")
    place.mkdir(exist_ok=True)
    return chunk, fuzz(chunk.kind, range(chunk.start, chunk.stop), place)


def total(rows: Iterable[dict[str, Any]]) -> list[Figures]:
    """Return the figures of each kind, from those of its chunks."""
    totals: dict[str, Figures] = {}
    for row in rows:
        figures = totals.setdefault(row["kind"], Figures(row["kind"]))
        figures.inputs += row["inputs"]
        figures.read += row["read"]
        figures.refused += row["refused"]
        figures.slowest = max(figures.slowest, row["slowest"])
        figures.memory = max(figures.memory, row["memory"])
        figures.failures += row["failures"]
    return [totals[kind] for kind in KINDS if kind in totals]


def table(all_figures: list[Figures]) -> str:
    """Return the figures as a table of Markdown."""
    lines = ["| inputs | number | read | refused | failures | slowest | memory |", "|---|--:|--:|--:|--:|--:|--:|"]
    lines += (
        f"| {f.kind} | {f.inputs:,} | {f.read:,} | {f.refused:,} | {len(f.failures)} | {f.slowest:.1f} s "
        f"| {f.memory / 2**30:.2f} GiB |"
        for f in all_figures
    )
    return "\n".join(lines)


def read_missing(options: argparse.Namespace, kinds: Sequence[str], folder: Path) -> list[dict[str, Any]]:
    """Read the inputs that are asked for and that the rows lack; return all rows."""
    with Rows(options.rows, {"sources": checksum_of_sources()}) as rows:
        asked = chunks(kinds, options.inputs, options.start)
        missing = [chunk for chunk in asked if chunk.key not in rows.rows]
        Random(0).shuffle(missing)  # of a call that is cut short, all kinds have some inputs
        with forked(options.processes, begin, folder) as pool:
            for chunk, figures in results(pool, read_chunk, missing):
                rows.add({"key": chunk.key, **asdict(figures)})
                print(*figures.failures, sep="\n", end="\n" * bool(figures.failures), file=sys.stderr, flush=True)
    return list(rows.rows.values())


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the options, fuzz, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=100_000, help="least number of inputs of all kinds together")
    parser.add_argument("--kind", choices=sorted(KINDS), action="append", help="kind of input; by default all")
    parser.add_argument("--start", type=int, default=0, help="first seed, a multiple of 250")
    parser.add_argument("--seed", type=int, help="read this one input in this process")
    parser.add_argument("--processes", type=int, default=1, help="number of processes")
    parser.add_argument("--rows", type=Path, help="file that keeps the figures; inputs that it has are not read again")
    parser.add_argument("--table", action="store_true", help="read no input, print the table of the file of rows")
    options = parser.parse_args(arguments)
    kinds = options.kind or list(KINDS)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        if options.seed is not None:
            print("read" if read_input(kinds[0], options.seed, Path(folder)) == READ else "refused")
            return
        taken = read_lines(options.rows)[1:] if options.table else read_missing(options, kinds, Path(folder))
    all_figures = total(taken)
    print(table(all_figures))
    sys.exit(any(figures.failures for figures in all_figures))


if __name__ == "__main__":
    main()
