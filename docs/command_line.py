"""Write the reference of the command line from the program itself, while the site is built (a hook of MkDocs)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer

from gwaudit.cli.app import app

COMMANDS, BENCHMARKS, OPTIONS = "<!-- commands -->", "<!-- benchmark commands -->", "<!-- options -->"
TYPE_NAMES = {int: "integer", float: "number", Path: "path"}


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the markers of a page: by the commands, or by the groups of options that commands share."""
    group = typer.main.get_command(app)
    benchmark = group.commands["benchmark"]
    if COMMANDS in markdown:
        commands = {name: command for name, command in group.commands.items() if command is not benchmark}
        markdown = markdown.replace(COMMANDS, sections("gwaudit", commands))
    if BENCHMARKS in markdown:
        markdown = markdown.replace(BENCHMARKS, sections("gwaudit benchmark", benchmark.commands))
    if OPTIONS in markdown:
        shared = {panel: options for panel, options in panels(group.commands["audit"]).items() if panel}
        texts = [f"## {panel}\n\n{table('Option', options)}" for panel, options in shared.items()]
        markdown = markdown.replace(OPTIONS, "\n".join(texts))
    return markdown


def sections(parent: str, commands: dict[str, Any]) -> str:
    """Return the Markdown of some commands, each under a heading."""
    return "\n".join(part for name, command in commands.items() for part in section(f"{parent} {name}", command))


def section(path: str, command: Any) -> Iterator[str]:
    """Yield the Markdown of a command, part by part."""
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    yield f"## `{path}`\n\n{command.help}\n"
    yield f"```text\n{' '.join([path, *map(placeholder, arguments), '[OPTIONS]'])}\n```\n"
    if arguments:
        yield table("Argument", arguments)
    shared = set(panels(typer.main.get_command(app).commands["audit"])) - {""}
    links = []
    for panel, options in panels(command).items():
        if panel in shared:
            links.append(f"[{panel}](options.md#{panel.lower()})")
        else:
            yield table(panel or "Option", options)
    if links:
        yield f"Further groups of options: {', '.join(links)}.\n"
    if command.epilog:
        yield f"{command.epilog}\n"


def panels(command: Any) -> dict[str, list[Any]]:
    """Return the options of a command by the panel of `--help` that shows them; "" is the unnamed one."""
    found: dict[str, list[Any]] = {}
    for option in command.params:
        if option.param_type_name == "option" and not option.hidden and option.name != "help":
            found.setdefault(option.rich_help_panel or "", []).append(option)
    return found


def table(title: str, parameters: list[Any]) -> str:
    """Return a Markdown table of arguments or options."""
    rows = [f"| {title} | Value | Default | Meaning |", "|---|---|---|---|"]
    for parameter in parameters:
        names = parameter.opts + parameter.secondary_opts if parameter.param_type_name == "option" else []
        shown = " ".join(f"`{name}`" for name in names) or f"`{placeholder(parameter)}`"
        default = "required" if parameter.required else default_text(parameter.default)
        rows.append(f"| {shown} | {value_text(parameter)} | {default} | {cell(parameter.help or '')} |")
    return "\n".join(rows) + "\n"


def placeholder(parameter: Any) -> str:
    """Return an argument as the usage line shows it."""
    return parameter.name.upper() + ("..." if parameter.nargs == -1 else "")


def value_text(parameter: Any) -> str:
    """Return what a parameter takes: its choices, or the name of its type."""
    if getattr(parameter, "is_flag", False):
        return "flag"
    annotation = parameter.type_descriptor.annotation
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(annotation))
    name = TYPE_NAMES.get((get_args(annotation) or (annotation,))[0], "text")
    return f"{parameter.nargs} {name}s" if parameter.nargs > 1 else name


def default_text(default: Any) -> str:
    """Return a default as it is typed; nothing for a flag that is off and for an option that is left out."""
    if default is None or default is False or callable(default):
        return ""
    return f"`{getattr(default, 'value', default)}`"


def cell(text: str) -> str:
    """Return a text on one line, with the characters escaped that end a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
