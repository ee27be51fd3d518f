"""Hold the two consoles: results go to standard output, progress and errors to standard error."""

import math
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from gwaudit.core.json import to_json
from gwaudit.core.shown_paths import with_urls

_SHOWN = {
    **{code: chr(0x2400 + code) for code in range(32) if chr(code) not in "\t\n"},
    **dict.fromkeys((*range(0x80, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)), "�"),
    **{code: f"\\u{code:04x}" for code in range(0xD800, 0xE000)},
    **{0xDC00 + byte: f"\\x{byte:02x}" for byte in range(0x80, 0x100)},  # of a path that is not UTF-8
    0x7F: "␡",
}


def printable(text: str) -> str:
    """Return a text without characters that control a terminal: each is shown as a picture or as a number.

    Example:
        >>> printable("\x1b[31mcat")
        '␛[31mcat'
    """
    return with_urls(text).translate(_SHOWN)


class _PlainConsole(Console):
    """Print what comes from data as `printable`: names, keys and paths cannot control the terminal."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a string as rich prints it: of a line, or of a cell of a table."""
        return super().render_str(printable(text), **options)

    def on_broken_pipe(self) -> None:
        """Let the command end, with an exit code of its own: rich's is 1, which is a result of some commands."""
        raise BrokenPipeError


out = _PlainConsole()
err = _PlainConsole(stderr=True)


def print_json(value: Any) -> None:
    """Print a value as JSON on standard output."""
    print(with_urls(to_json(value)))


def print_facts(title: str, facts: Iterable[tuple[str, str]]) -> None:
    """Print a table of names and values."""
    table = Table("", title, show_header=True)
    for name, value in facts:
        table.add_row(escape(name), escape(value))
    out.print(table)


def one_line(text: str, longest: int | None = None) -> str:
    """Return a text on one line, cut to a length if one is given."""
    line = " ".join(text.split())
    return line if longest is None or len(line) <= longest else f"{line[: longest - 3]}..."


def number(value: float | None) -> str:
    """Return a number with four decimals; a dash for None and NaN."""
    return "-" if value is None or math.isnan(value) else f"{value:.4f}"


def share(value: float) -> str:
    """Return a share in [0, 1] with three decimals; a dash for NaN."""
    return "-" if math.isnan(value) else f"{value:.3f}"


def amount(value: float) -> str:
    """Return a number of samples, expected ones too; a dash for NaN."""
    return "-" if math.isnan(value) else f"{value:,.0f}"


def percent(value: float) -> str:
    """Return a share in [0, 1] as a percentage; a dash for NaN."""
    return "-" if math.isnan(value) else f"{value:.1%}"
