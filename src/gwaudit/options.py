"""Command-line options made from the dataclasses that hold the settings, so that defaults and texts stand once."""

import functools
import inspect
import re
from collections.abc import Callable
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, Literal, get_origin, get_type_hints

import typer


def takes_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command whose parameters include settings dataclasses take their fields as options instead.

    A field without default becomes an argument; the texts are those of the dataclass's `Attributes`.
    """
    signature = inspect.signature(command, eval_str=True)
    settings: dict[str, Any] = {
        p.name: p.annotation for p in signature.parameters.values() if is_dataclass(p.annotation)
    }
    parameters = [p for p in signature.parameters.values() if p.name not in settings]
    for cls in settings.values():
        texts = attribute_texts(cls)
        hints = get_type_hints(cls)
        panel = cls.__name__.removesuffix("Settings")
        parameters += [_parameter(field, hints[field.name], texts.get(field.name, ""), panel) for field in fields(cls)]

    @functools.wraps(command)
    def wrapper(**values: Any) -> None:
        for name, cls in settings.items():
            values[name] = cls(**{field.name: values.pop(field.name) for field in fields(cls)})
        command(**values)

    parameters.sort(key=lambda p: p.default is not inspect.Parameter.empty)
    wrapper.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {p.name: p.annotation for p in parameters}
    return wrapper


def attribute_texts(cls: type) -> dict[str, str]:
    """The texts of a class docstring's `Attributes` section, by attribute."""
    section = (inspect.getdoc(cls) or "").partition("Attributes:\n")[2]
    texts = {}
    for entry in re.split(r"\n(?=    \S)", "\n" + section):
        names, colon, text = entry.strip().partition(": ")
        if colon:
            text = " ".join(text.split())
            if not text.startswith("`"):  # a value stays as it is typed
                text = text[:1].upper() + text[1:]
            texts.update(dict.fromkeys(names.split(", "), text.replace("`", "")))
    return texts


def _parameter(field: "Field[Any]", hint: Any, text: str, panel: str) -> inspect.Parameter:
    annotation = str if get_origin(hint) is Literal else hint
    if field.default is MISSING:
        default = typer.Argument(..., help=text)
    else:
        default = typer.Option(field.default, f"--{field.name.replace('_', '-')}", help=text, rich_help_panel=panel)
    return inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
