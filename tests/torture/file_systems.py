"""Run every command on file systems that lack something, by a simulated layer."""

import builtins
import io
import os
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

from .commands import Case
from .contents import contents, differences
from .file_steps import deny
from .forked import fresh, last_lines, run
from .trials import Outcome, Part, Trial, failure
from .workplace import CASE_BY_NAME, Workplace

LACKS = {
    "hard links": ("os.link",),
    "symbolic links": ("os.symlink",),
    "locks": ("fcntl.flock",),
    "hard links, symbolic links and locks": ("os.link", "os.symlink", "fcntl.flock"),
}


CASE = "case"


def trials(workplace: Workplace, cases: Sequence[Case]) -> list[Trial]:
    return [Trial("systems", case.name, f"without {what}") for case in cases for what in (*LACKS, CASE)]


def on_poor_file_system(workplace: Workplace, trial: Trial) -> Outcome:
    """Run a command on a kind of file system; its files must be those of an ordinary one."""
    case = CASE_BY_NAME[trial.case]
    what = trial.variant.removeprefix("without ")
    expected = workplace.unbroken(case).contents
    folder = fresh(workplace.starts[case.start])
    if what == CASE:
        done = run(case.action, folder, prepare=ignore_case)
    else:
        done = run(case.action, folder, deny(*LACKS[what]))
    if done.code:
        return failure(last_lines(done, 6))
    if wrong := differences(expected, contents(folder)):
        return failure(f"the files differ: {', '.join(wrong[:6])}")
    return Outcome("equal")


def ignore_case() -> None:
    """Let all paths in the working folder name files without regard to upper and lower case, for this process."""
    root = f"{Path.cwd().resolve()}{os.sep}"
    listdir = os.listdir

    def real(path: Any) -> Any:
        if not isinstance(path, str | os.PathLike):
            return path
        text = os.path.abspath(os.fspath(path))  # noqa: PTH100  # Path.resolve would follow links
        if not text.startswith(root):
            return path
        folder = root
        for name in Path(text[len(root) :]).parts:
            try:
                names = listdir(folder)
            except OSError:
                names = []
            if name not in names:
                name = next((entry for entry in names if entry.casefold() == name.casefold()), name)
            folder = f"{folder.rstrip(os.sep)}{os.sep}{name}"
        return folder

    def layered(function: Callable[..., Any], paths: int) -> Callable[..., Any]:
        @wraps(function)
        def call(*arguments: Any, **options: Any) -> Any:
            if options.get("dir_fd") is None and options.get("src_dir_fd") is None:
                arguments = (*(real(path) for path in arguments[:paths]), *arguments[paths:])
            return function(*arguments, **options)

        return call

    for name in ("open", "mkdir", "unlink", "remove", "rmdir", "stat", "lstat", "scandir", "listdir", "readlink"):
        setattr(os, name, layered(getattr(os, name), 1))
    for name in ("rename", "replace", "link"):
        setattr(os, name, layered(getattr(os, name), 2))
    symlink = os.symlink
    os.symlink = lambda target, path, *rest, **options: symlink(target, real(path), *rest, **options)
    io.open = builtins.open = layered(io.open, 1)


PARTS = {
    "systems": Part(
        "file systems that lack something", trials, on_poor_file_system, lambda trial: trial.case == "review"
    )
}
