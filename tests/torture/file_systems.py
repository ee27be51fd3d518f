"""Run every command on file systems that lack something, by a simulated layer."""

import builtins
import io
import os
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

from .commands import CASES, Case
from .contents import contents, differences
from .file_steps import deny
from .forked import fresh, run
from .kills import expected_of
from .tally import Tally, last_lines

LACKS = {
    "hard links": ("os.link",),
    "symbolic links": ("os.symlink",),
    "locks": ("fcntl.flock",),
    "hard links, symbolic links and locks": ("os.link", "os.symlink", "fcntl.flock"),
}


def on_poor_file_systems(starts: dict[str, Path], *, cases: Sequence[Case] = CASES) -> Tally:
    """Run each command on each kind of file system; its files must be those of an ordinary one."""
    tally = Tally("file systems that lack something")
    for case in cases:
        expected, _, _ = expected_of(case, starts)
        kinds: list[tuple[str, dict[str, Any]]] = [(what, {"fault": deny(*names)}) for what, names in LACKS.items()]
        kinds.append(("case", {"prepare": ignore_case}))
        for what, options in kinds:
            folder = fresh(starts[case.start])
            done = run(case.action, folder, **options)
            if done.code:
                tally.fail(f"{case.name} without {what}", last_lines(done, 6))
            elif wrong := differences(expected, contents(folder)):
                tally.fail(f"{case.name} without {what}", f"the files differ: {', '.join(wrong[:6])}")
            else:
                tally.add("equal")
    return tally


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
