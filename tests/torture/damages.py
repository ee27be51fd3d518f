"""Damage any file of a finished run, and use the run."""

import random
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .commands import AUDIT, Case, gwaudit
from .contents import contents, differences
from .forked import copy_of, fresh, last_lines, run
from .trials import Outcome, Part, Trial, failure
from .workplace import Workplace

KINDS = ("bit", "bytes", "cut", "empty", "remove", "append", "double", "other run", "other file")
EDITED = {"decisions.csv", "suspects.csv", "truth.csv"}
"""Files that people fill in: another valid content is no damage."""


@dataclass(frozen=True)
class Use:
    """Name a command that uses a finished run, and the folder of files that it reads."""

    name: str
    action: Callable[[], object]
    reads: str


USES = (
    Use("rank", gwaudit("rank", "run", "--detector", "aum", "--force"), r"run/(run\.json|samples|epochs|commits)"),
    Use("show --verify", gwaudit("show", "run", "--verify"), r"run/(run\.json|samples|epochs|commits)"),
    Use("show --sample", gwaudit("show", "run", "--sample", "s03"), r"run/(run\.json|samples|epochs|commits)"),
    Use("resume", gwaudit(*AUDIT, "--resume"), r"run/(run\.json|samples|epochs|commits|checkpoints)"),
    Use("refine", gwaudit(*AUDIT, "--refine", "1", "--resume"), r"run/(checkpoints|commits|epochs)"),
    Use("report", gwaudit("report", "run", "--top", "5"), r"run/"),
    Use("status", gwaudit("status", "run"), r"run/results"),
    Use("export", gwaudit("export", "run", "--to", "csv", "-o", "exported.csv"), r"run/(results|run\.json)"),
    Use("apply", gwaudit("apply", "run", "decisions.csv", "-o", "corrected"), r"(run/results|decisions\.csv)"),
    Use("evaluate", gwaudit("evaluate", "run", "--truth", "truth.csv"), r"(run/results|run/run\.json|truth\.csv)"),
)


DAMAGES = 2000


def trials(workplace: Workplace, cases: Sequence[Case]) -> list[Trial]:
    return [Trial("damages", USES[number % len(USES)].name, number=number) for number in range(DAMAGES)]


def to_any_file(workplace: Workplace, trial: Trial) -> Outcome:
    """Damage a file, run a command that reads it; its result must be right, or its error named."""
    (use,) = (use for use in USES if use.name == trial.case)
    finished = workplace.starts["ranked"]

    def undisturbed() -> tuple[str, dict[str, str]]:
        folder = fresh(finished)
        done = run(use.action, folder)
        assert done.code == 0, f"{use.name}: {last_lines(done, 20)}"
        return done.output, contents(folder)

    output, expected = workplace.once(("use", use.name), undisturbed)
    files = [path.relative_to(finished) for path in _files(finished)]
    draw = trial.draw(workplace.seed)
    place = draw.choice([path for path in files if re.match(use.reads, path.as_posix())])
    kind = draw.choice(KINDS)
    folder = fresh(finished)
    what = damage(folder / place, kind, draw, workplace.starts["other"], place, files)
    undamaged = copy_of(folder, "before")
    done = run(use.action, folder)
    if done.crashed:
        return failure(f"after {what}: {last_lines(done, 6)}")
    if done.code:
        return Outcome("named error")
    if place.name in EDITED or _is_loss_of_the_last_epoch(place, kind):
        return Outcome("another valid input")
    if done.output != output and use.name.startswith(("show", "status")):
        return failure(f"after {what}: another output")
    if wrong := _changed_by_the_command(expected, undamaged, folder):
        return failure(f"after {what}: exit 0, and the files differ: {', '.join(wrong[:6])}")
    return Outcome("no effect")


def _files(folder: Path) -> list[Path]:
    """Return the files of a folder, without links and locks, and without the versions of results not in use."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)
    return sorted(path for path in paths if not path.is_symlink() and not any(p.is_symlink() for p in path.parents))


def damage(path: Path, kind: str, draw: random.Random, other: Path, place: Path, files: list[Path]) -> str:
    """Damage a file in one way, and return what was done."""
    data = path.read_bytes()
    position = draw.randrange(len(data))
    what = f"{kind} at {position} of {place}"
    if kind == "bit":
        path.write_bytes(data[:position] + bytes([data[position] ^ 1 << draw.randrange(8)]) + data[position + 1 :])
    elif kind == "bytes":
        path.write_bytes(data[:position] + draw.randbytes(20) + data[position + 20 :])
    elif kind == "cut":
        path.write_bytes(data[:position])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "remove":
        path.unlink()
    elif kind == "append":
        path.write_bytes(data + draw.randbytes(9))
    elif kind == "double":
        path.write_bytes(data + data)
    else:
        root = Path(str(path)[: -len(str(place))])
        source, name = (other, _counterpart(other, place)) if kind == "other run" else (root, draw.choice(files))
        what = f"{name} of {'another run' if source == other else 'the run'} in place of {place}"
        if (source / name) != path:
            shutil.copyfile(source / name, path)
    return what


def _counterpart(other: Path, place: Path) -> Path:
    """Return the file of another run that has the place of a file."""
    pattern = "/".join("*" if re.fullmatch(r"[0-9a-f]{12}", part) else part for part in place.parts)
    found = sorted(other.glob(pattern))
    return found[0].relative_to(other) if found else Path("data.csv")


def _is_loss_of_the_last_epoch(place: Path, kind: str) -> bool:
    """Return whether the commit of the last epoch was removed: there is no such epoch then."""
    return kind == "remove" and place.name == "epoch-00001.json"


def _changed_by_the_command(expected: dict[str, str], before: Path, after: Path) -> list[str]:
    """Return the files that a command has left otherwise than it should; what it did not touch stays damaged."""
    damaged, found = contents(before), contents(after)
    return [name for name in differences(expected, found) if found.get(name) != damaged.get(name)]


PARTS = {
    "damages": Part(
        "damage to a file",
        trials,
        to_any_file,
        lambda trial: trial.number < 40 and trial.case in ("rank", "show --verify", "show --sample"),
    )
}
