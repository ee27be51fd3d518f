"""Prepare small runs, and name the commands that write, with the state that each begins with."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from .file_steps import kill_at_path
from .forked import copy_of, fresh, run

TRAIN = ("--epochs", "2", "--head", "linear", "--id-column", "id", "--device", "cpu")
AUDIT = ("audit", "data.csv", "-o", "run", *TRAIN, "--force")  # the verdict on so few samples allows no cut
PICTURES = ("audit", "pictures", "-o", "run", "--epochs", "1", "--model", "resnet9_16", "--device", "cpu", "--force")


@dataclass(frozen=True)
class Case:
    """Name a command that writes.

    Attributes:
        name: Its name here.
        start: The prepared folder that it begins with.
        action: The command.
        again: The command that repeats it after a kill.
    """

    name: str
    start: str
    action: Callable[[], object]
    again: Callable[[], object]


def gwaudit(*arguments: str) -> Callable[[], None]:
    """Return an action that runs a command line."""

    def action() -> None:
        from gwaudit.cli.app import app

        app(list(arguments), prog_name="gwaudit")

    action.__name__ = " ".join(arguments)
    return action


def decide() -> None:
    """Decide on two samples, as the review server does."""
    from gwaudit.analysis.audit import Audit
    from gwaudit.core.errors import GwauditError
    from gwaudit.review.decision_log import DecisionLog, LoggedDecision

    try:
        with DecisionLog(Audit.load("run")) as log:
            log.change({0: LoggedDecision("drop")})
            log.change({1: LoggedDecision("relabel", 2)})
    except GwauditError as error:
        print(f"Error {error}")
        raise SystemExit(2) from None


def _case(name: str, start: str, *arguments: str, again: tuple[str, ...] = ()) -> Case:
    return Case(name, start, gwaudit(*arguments), gwaudit(*arguments, *again))


CASES = (
    _case("audit", "data", *AUDIT, again=("--resume",)),
    _case("audit --resume", "half", *AUDIT, "--resume"),
    _case("audit --refine 1", "ranked", *AUDIT, "--refine", "1", "--resume"),
    _case("train", "data", "train", "data.csv", "-o", "run", *TRAIN, again=("--resume",)),
    _case("rank", "ranked", "rank", "run", "--detector", "aum", "--force"),
    _case("rank (first)", "trained", "rank", "run", "--force"),
    _case("report", "ranked", "report", "run", "--top", "5"),
    _case("evaluate", "ranked", "evaluate", "run", "--truth", "truth.csv"),
    _case("export csv", "ranked", "export", "run", "--to", "csv", "-o", "exported.csv"),
    _case("export cleanlab", "ranked", "export", "run", "--to", "cleanlab", "-o", "exported.parquet"),
    _case("export ids", "ranked", "export", "run", "--to", "ids", "-o", "exported"),
    _case("export label-studio", "ranked", "export", "run", "--to", "label-studio", "--top", "3", "-o", "exported"),
    _case("export hf", "ranked", "export", "run", "--to", "hf", "-o", "exported"),
    _case("export imagefolder", "ranked-pictures", "export", "run", "--to", "imagefolder", "-o", "exported"),
    _case(
        "export imagefolder --copy",
        "ranked-pictures",
        "export",
        "run",
        "--to",
        "imagefolder",
        "--copy",
        "-o",
        "exported",
    ),
    _case("apply", "ranked", "apply", "run", "decisions.csv", "-o", "corrected"),
    _case("apply --format hf", "ranked", "apply", "run", "decisions.csv", "--format", "hf", "-o", "corrected"),
    Case("review", "ranked", decide, decide),
)


def import_everything() -> None:
    """Import what the commands import, so that a forked process need not."""
    import torch

    torch.set_num_threads(1)
    sys.dont_write_bytecode = True
    os.environ["COLUMNS"] = "200"
    from gwaudit.cli import app  # noqa: F401
    from gwaudit.pipeline import apply, audit, evaluate, export, rank, report  # noqa: F401
    from gwaudit.review.report.page import _packed_plotly

    _packed_plotly()  # once for all forked processes


def import_what_was_used(names: Path) -> None:
    """Import the modules that a process has listed in a file."""
    import importlib

    for name in names.read_text().split():
        try:
            importlib.import_module(name)
        except Exception:  # a module that cannot be imported by itself
            continue


def prepare(folder: Path) -> dict[str, Path]:
    """Make the folders that the commands begin with, by name: data, half, trained, ranked, ranked-pictures, other."""
    data = folder / "start-data"
    data.mkdir(parents=True)
    write_data(data)
    listing = folder / "modules"

    def audit_and_list() -> None:
        try:
            gwaudit(*AUDIT, "--refine", "1")()
        finally:
            listing.write_text("\n".join(sorted(sys.modules)))

    done = run(audit_and_list, fresh(data))
    assert done.code == 0, done.output
    import_what_was_used(listing)
    starts = {"data": data}
    for name, start, commands in (
        ("trained", "data", [gwaudit("train", "data.csv", "-o", "run", *TRAIN)]),
        ("ranked", "trained", [gwaudit("rank", "run", "--force")]),
        ("other", "data", [gwaudit(*AUDIT, "--seed", "1")]),
        ("ranked-pictures", "data", [gwaudit(*PICTURES)]),
    ):
        work = fresh(starts[start])
        for command in commands:
            done = run(command, work)
            assert done.code == 0, done.output
        starts[name] = copy_of(work, f"start-{name}")
    work = fresh(data)
    done = run(gwaudit(*AUDIT), work, kill_at_path("epochs/epoch-00001"))
    assert done.was_killed, done.output
    starts["half"] = copy_of(work, "start-half")
    return starts


def write_data(folder: Path) -> None:
    """Write a table of 30 samples, the true labels, decisions, and a folder of six pictures."""
    random = np.random.default_rng(0)
    true = np.arange(30) % 3
    features = (random.normal(size=(30, 3)) + 2 * np.eye(3)[true]).round(3)
    given = true.copy()
    given[:4] = (given[:4] + 1) % 3
    names, keys = np.array(list("abc")), [f"s{i:02d}" for i in range(30)]
    columns = {f"x{i}": features[:, i] for i in range(3)}
    pd.DataFrame({"id": keys, **columns, "label": names[given]}).to_csv(folder / "data.csv", index=False)
    pd.DataFrame({"key": keys, "label": names[true]}).to_csv(folder / "truth.csv", index=False)
    (folder / "decisions.csv").write_text("key,decision,label\ns00,relabel,a\ns05,drop,\n")
    for number in range(6):
        picture = folder / "pictures" / "ab"[number % 2] / f"{number}.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(picture)
