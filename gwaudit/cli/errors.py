"""Translate the settings that a message names into the options of the command line.

The library writes settings in backticks, as Python does: "give them with `truth`", "with `on_error='skip'`". Words
without them are left alone: they may be names of columns, classes or samples. What an option is called comes from the
commands themselves.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import typer

_FLAGS: ContextVar[Mapping[str, str] | None] = ContextVar("flags", default=None)

_QUOTED = re.compile(r"`(\w+)(?:=([^`]*))?`")


@contextmanager
def flags_of(context: typer.Context) -> Iterator[None]:
    """Let `with_flags` translate into the options of a command, and of the other commands where it has none."""
    flags = {**_flags(context.find_root().command), **_flags(context.command)}
    token = _FLAGS.set(flags)
    try:
        yield
    finally:
        _FLAGS.reset(token)


def with_flags(message: str) -> str:
    """Return a message with the options of the command line in place of the settings of Python.

    Settings without an option stay as they are.
    """
    flags = _FLAGS.get() or {}

    def quoted(match: re.Match[str]) -> str:
        name, value = match.groups()
        if name not in flags:
            return match[0]
        if value == "False":
            return f"--no-{flags[name].removeprefix('--')}"
        typed = "" if value in (None, "True") else f" {value.strip(chr(39))}"
        return flags[name] + typed

    return _QUOTED.sub(quoted, message)


def _flags(command: Any) -> dict[str, str]:
    """Return the options of a command, or of all commands of a group, by the parameters that they set."""
    flags: dict[str, str] = {}
    for member in getattr(command, "commands", {}).values():
        flags = {**_flags(member), **flags}
    for parameter in command.params:
        if parameter.param_type_name == "option":
            flags[parameter.name] = next(name for name in parameter.opts if name.startswith("--"))
    return flags
