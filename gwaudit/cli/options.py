"""Make the options of the command line: from the settings dataclasses, and those that several commands share.

A settings dataclass declares every option once: its name, type, choices and default in its fields, its text in the
`Attributes` of its docstring.
"""

import functools
import inspect
import re
from collections.abc import Callable, Collection
from dataclasses import MISSING, fields, is_dataclass, replace
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import typer

from gwaudit.analysis.detectors import DETECTORS
from gwaudit.analysis.stopping import recorded_rules
from gwaudit.core.errors import SettingsError
from gwaudit.core.presets import PRESETS, Preset
from gwaudit.core.settings import DataSettings, TrainingSettings, split_commas

Run = Annotated[Path, typer.Argument(help="Folder of the run, or its URL.", show_default=False)]
Runs = Annotated[list[Path], typer.Argument(help="Folders of ranked runs, or their URLs.", show_default=False)]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder or URL of the run; a new one without --resume.")]
NewRun = Annotated[
    Path | None, typer.Option("--output", "-o", help="Folder or URL of the run. By default a new folder here.")
]
Before = Annotated[Path, typer.Argument(help="Folder of a ranked run, or its URL.", show_default=False)]
After = Annotated[Path, typer.Argument(help="Folder of a later ranked run, or its URL.", show_default=False)]
RUNS = (Run, Runs, Output, NewRun, Before, After)
"""The parameters of commands that are folders of runs, which may lie on an object store."""
AT_URLS = "may be a URL"
"""Mark, in the annotation of a parameter, a file or folder that commands write, or read, at a URL too."""
Resume = Annotated[bool, typer.Option("--resume", help="Continue the run after its last complete epoch, or start it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON and nothing else.")]
Truth = Annotated[
    Path | None,
    typer.Option(
        help="File with the true labels, one per row: .npy, .csv or CIFAR-N's .pt; or its URL. By default the data's."
    ),
    AT_URLS,
]
TruthKey = Annotated[str | None, typer.Option(help="Name of the labels to take from that file.")]
Patience = Annotated[
    int, typer.Option(help="Number of epochs after which a rule stops if its selected epoch has not changed.")
]
Strict = Annotated[
    bool,
    typer.Option("--strict", help="End with exit code 3 if only the order can be used, and 4 if the run cannot."),
]
Root = Annotated[
    Path | None,
    typer.Option(
        help="Place of the data now, or its URL, if they were moved: the folder or file that was the source, or the "
        "folder that holds it or its images. Samples that are gone are shown without a picture, and left out of "
        "exports.",
        show_default=False,
    ),
    AT_URLS,
]
Engine = Annotated[
    str,
    typer.Option(
        metavar="local|dask|dask://HOST:PORT",
        help="Engine that computes the blocks of samples of the ranking: this process, a cluster of Dask workers on "
        "this machine, or the Dask cluster whose scheduler runs at HOST:PORT. The results are the same.",
    ),
]
NoVerify = Annotated[
    bool,
    typer.Option(
        "--no-verify",
        help="Read the files of the run without comparing them with their checksums, which for a huge run takes "
        "about as long as reading them.",
    ),
]
Shown = Annotated[int, typer.Option(min=1, help="Number of suspects to show, the most suspicious ones.")]

# Choices that a registry holds: what is registered there is an option here.
_REGISTRIES = {"detector": ("auto", *DETECTORS), "select": recorded_rules()}
_ALIASES = {"detector": ["--score"]}
# Values that are counted from 1 on the command line and from 0 in Python.
_CONVERTERS: dict[str, Callable[[Any], Any]] = {"window": lambda epochs: tuple(epoch - 1 for epoch in epochs)}
_WIDEST_METAVAR = 40  # characters; longer choices stand in the text, for which they would leave no room
_COUNTED = "Epochs are counted from 1."


def takes_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the fields of its settings dataclasses as options, in place of these parameters.

    A field without default becomes an argument. A command that takes data and a training also gets the option
    `--preset`, which changes the defaults of the others.

    Args:
        command: a function whose parameters include settings dataclasses.

    Returns:
        A function that takes the fields by name, and the `context` of the command.
    """
    signature = inspect.signature(command, eval_str=True)
    settings: dict[str, Any] = {
        p.name: p.annotation for p in signature.parameters.values() if is_dataclass(p.annotation)
    }
    parameters = [p for p in signature.parameters.values() if p.name not in settings]
    parameters += [option for cls in settings.values() for option in _options_of(cls)]
    if {DataSettings, TrainingSettings}.issubset(settings.values()):
        text = (
            "Set of defaults. `pretrained`, the default for photos: a head on the features of a pretrained network. "
            "`fine-tune`: that network is trained. `scratch`, the default for images of at most 96 pixels: a small "
            "network is trained from random weights. For these, `scratch-5min` takes half as long and finds less; "
            "`fast` adds two trainings that find more errors, on a CPU; `quality` adds two with a ResNet-18, for a "
            "GPU. Options that you type have priority."
        )
        option = typer.Option(None, help=_plain(text), metavar="<preset>", rich_help_panel="Training")
        parameters.append(_keyword("preset", Preset | None, option))

    parameters.append(_keyword("context", typer.Context, None))

    @functools.wraps(command)
    def wrapper(context: typer.Context, **values: Any) -> None:
        preset = values.pop("preset", None)
        if preset:
            _require_whole(preset, settings.values())
        for name, cls in settings.items():
            typed = _pop_fields(cls, values)
            defaults = [part for part in PRESETS[preset] if isinstance(part, cls)] if preset else []
            for part in defaults:
                typed |= {key: getattr(part, key) for key in typed if not _is_typed(context, key)}
            values[name] = cls(**{key: _from_typed(cls, key, value) for key, value in typed.items()})
        command(**values)

    parameters.sort(key=lambda p: p.default is not inspect.Parameter.empty)
    wrapper.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # typer reads it
    wrapper.__annotations__ = {p.name: p.annotation for p in parameters}
    return wrapper


def _require_whole(preset: Preset, kinds: Collection[type]) -> None:
    """Raise SettingsError if a preset has settings of a kind that the command does not take."""
    left_out = [part for part in PRESETS[preset] if type(part) not in kinds and part != type(part)()]
    if left_out:
        usable = [name for name, parts in PRESETS.items() if all(type(p) in kinds or p == type(p)() for p in parts)]
        raise SettingsError(
            f"the preset {preset!r} adds trainings after the first one, which only `gwaudit audit` does: use it, or "
            f"choose one of {', '.join(usable)}"
        )


def attribute_texts(cls: type) -> dict[str, str]:
    """Return the texts of the `Attributes` section of a class docstring, by attribute."""
    section = (inspect.getdoc(cls) or "").partition("Attributes:\n")[2]
    texts = attribute_texts(cls.__base__) if is_dataclass(cls.__base__) else {}
    for entry in re.split(r"\n(?=    \S)", "\n" + section):
        names, colon, text = entry.strip().partition(": ")
        if colon:
            texts.update(dict.fromkeys(names.split(", "), _plain(" ".join(text.split()))))
    return texts


def parse_seeds(text: str) -> list[int]:
    """Return the seeds that commas separate in a text.

    Raises:
        SettingsError: they are no whole numbers.
    """
    if not all(seed.isdecimal() for seed in split_commas(text)):
        raise SettingsError(f"`seeds` takes whole numbers separated by commas, not {text!r}")
    return [int(seed) for seed in split_commas(text)]


def parse_share(text: str, setting: str) -> float:
    """Return the share that a text names, as 2% or 0.02.

    Args:
        text: The text.
        setting: Name of the setting, for the error.

    Raises:
        SettingsError: It is no share from 0 to below 1; a whole number without % may be meant as either.
    """
    number, is_percentage = text.strip().removesuffix("%").strip(), text.strip().endswith("%")
    try:
        share = float(number) / (100 if is_percentage else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        raise SettingsError(f"`{setting}` takes a share of the labels, as 2% or 0.02, not {text!r}")
    return share


def _options_of(cls: Any, held: Any = None, names: Collection[str] | None = None) -> list[inspect.Parameter]:
    """Return the options of a settings dataclass, and of the settings that it holds as a field.

    Args:
        cls: the dataclass.
        held: an instance whose values are the defaults, in place of those of the class.
        names: the fields that are options, by default all.
    """
    texts, hints = attribute_texts(cls), get_type_hints(cls)
    panel = cls.__name__.removesuffix("Settings")
    options = []
    for field in fields(cls):
        if is_dataclass(field.default):
            options += _options_of(type(field.default), field.default, field.metadata["options"])
        elif names is None or field.name in names:
            default = field.default if held is None else getattr(held, field.name)
            options.append(_option(field.name, hints[field.name], default, texts.get(field.name, ""), panel))
    return options


def _pop_fields(cls: Any, values: dict[str, Any]) -> dict[str, Any]:
    """Remove the values of a settings dataclass from those of a command, and return them by field."""
    typed = {}
    for field in fields(cls):
        if is_dataclass(held := field.default) and not isinstance(held, type):
            names = field.metadata["options"]
            changed = {name: _from_typed(type(held), name, values.pop(name)) for name in names}
            typed[field.name] = replace(held, **changed)
        else:
            typed[field.name] = values.pop(field.name)
    return typed


def _option(name: str, hint: Any, default: Any, text: str, panel: str) -> inspect.Parameter:
    if default is MISSING:
        return _keyword(name, hint, typer.Argument(..., help=text))
    if name in _CONVERTERS:
        text = f"{text} {_COUNTED}"
    names = [f"--{name.replace('_', '-')}", *_ALIASES.get(name, [])]
    if _is_automatic(hint):
        default, hint = None if default == "auto" else default, _value_type(hint) | None
        if hint == bool | None:  # "auto" is neither
            names[0] += f"/--no-{names[0].removeprefix('--')}"
    if name in _REGISTRIES:
        hint = Literal[_REGISTRIES[name]]
    choices = [str(choice) for choice in get_args(hint)] if get_origin(hint) is Literal else []
    metavar = None
    if len("|".join(choices)) > _WIDEST_METAVAR:
        metavar, text = f"<{name}>", f"{text} Choices: {', '.join(choices)}."
    option = typer.Option(default, *names, help=text, metavar=metavar, rich_help_panel=panel)
    return _keyword(name, hint, option)


def _is_automatic(hint: Any) -> bool:
    """Return whether a type is "auto" or a value of another type: such an option is "auto" if it is not typed."""
    return Literal["auto"] in get_args(hint)


def _value_type(hint: Any) -> Any:
    return next(kind for kind in get_args(hint) if kind is not NoneType and kind != Literal["auto"])


def _from_typed(cls: type, name: str, value: Any) -> Any:
    if value is None and _is_automatic(get_type_hints(cls)[name]):
        return "auto"
    return value if value is None or name not in _CONVERTERS else _CONVERTERS[name](value)


def _keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _plain(text: str) -> str:
    return text.replace("`", "")


def _is_typed(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"
