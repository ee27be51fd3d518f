"""Command-line options made from the dataclasses that hold the settings, so that defaults and texts stand once.

A command that takes all settings of a preset gets an option `--preset`: it changes the defaults of the others.
"""

import functools
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, Literal, get_origin, get_type_hints

import typer

from gwaudit.core.errors import SettingsError
from gwaudit.core.settings import PRESETS


def takes_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command whose parameters include settings dataclasses take their fields as options instead.

    A field without default becomes an argument; the texts are those of the dataclass's `Attributes`.
    """
    presets: dict[str, dict[type, Any]] = {n: {type(part): part for part in parts} for n, parts in PRESETS.items()}
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

    has_preset = all(cls in settings.values() for cls in next(iter(presets.values())))
    if has_preset:
        text = (
            "Settings that belong together, for small images: fast, two more trainings that find more, on a CPU; "
            "quality, with a ResNet-18, for a GPU. Options that are typed still count."
        )
        parameters.append(_option("preset", str | None, None, text, "Training"))
        kind = inspect.Parameter.KEYWORD_ONLY
        parameters.append(inspect.Parameter("context", kind, default=None, annotation=typer.Context))

    @functools.wraps(command)
    def wrapper(**values: Any) -> None:
        chosen = _preset(values.pop("preset"), presets) if has_preset else {}
        context: typer.Context | None = values.pop("context", None)
        for name, cls in settings.items():
            given = {field.name: values.pop(field.name) for field in fields(cls)}
            if context is not None and cls in chosen:
                untyped = [key for key in given if not _is_typed(context, key)]
                given |= {key: getattr(chosen[cls], key) for key in untyped}
            values[name] = cls(**given)
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


def _preset(name: str | None, presets: Mapping[str, dict[type, Any]]) -> dict[type, Any]:
    if name is None:
        return {}
    if name not in presets:
        raise SettingsError(f"unknown preset {name!r}: choose from {', '.join(presets)}")
    return presets[name]


def _is_typed(context: typer.Context, parameter: str) -> bool:
    source = context.get_parameter_source(parameter)
    return source is not None and source.name != "DEFAULT"


def _parameter(field: "Field[Any]", hint: Any, text: str, panel: str) -> inspect.Parameter:
    annotation = str if get_origin(hint) is Literal else hint
    if field.default is not MISSING:
        return _option(field.name, annotation, field.default, text, panel)
    default = typer.Argument(..., help=text)
    return inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _option(name: str, annotation: Any, default: Any, text: str, panel: str) -> inspect.Parameter:
    option = typer.Option(default, f"--{name.replace('_', '-')}", help=text, rich_help_panel=panel)
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=option, annotation=annotation)
