"""Read and write JSON that every parser accepts: NaN and infinity, which JSON does not have, become null.

A sealed file also holds the SHA-256 checksum of its content, so that damage to any character is noticed on reading.
"""

import hashlib
import json
import math
from pathlib import Path
from typing import Any

from gwaudit.core.files import write_text

SEAL = "sha256"
"""Name of the field of a sealed object that holds the checksum of the others."""


def to_json(value: Any, *, indent: int | None = 1) -> str:
    """Return a value as JSON text.

    Args:
        value: dicts, sequences, texts, numbers, None; numpy's scalars and arrays.
        indent: spaces of indentation; None for a single line.

    Example:
        >>> to_json({"loss": float("nan"), "epoch": 3}, indent=None)
        '{"loss": null, "epoch": 3}'
    """
    return json.dumps(without_nan(value), indent=indent, allow_nan=False)


def without_nan(value: Any) -> Any:
    """Return a value with None in place of NaN and infinity, and Python's types in place of numpy's."""
    if hasattr(value, "tolist"):  # numpy's scalars and arrays; importing numpy here would slow down every `--help`
        value = value.tolist()
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def with_texts(value: Any) -> Any:
    """Return a value with texts in place of what JSON has no form for, such as dates and bytes.

    Example:
        >>> import datetime
        >>> with_texts({"day": datetime.date(2026, 1, 31), "counts": (1, None)})
        {'day': '2026-01-31', 'counts': [1, None]}
    """
    if isinstance(value, list | tuple):
        return [with_texts(item) for item in value]
    if isinstance(value, dict):
        return {str(name): with_texts(item) for name, item in value.items()}
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def write_json(path: Path, value: Any) -> Path:
    """Write a value as a JSON file, atomically, and return its path.

    Raises:
        StoreError: the file cannot be written.
    """
    return write_text(path, to_json(value))


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: it cannot be read.
        ValueError: it is no JSON, or no object.
    """
    value = parse_json(path.read_text(encoding="utf-8"))
    if not isinstance(value, dict):
        raise ValueError(f"an object was expected, not {type(value).__name__}")
    return value


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text, whoever wrote it.

    Raises:
        ValueError: it is no JSON, or is nested too deep.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def sealed(value: dict[str, Any]) -> dict[str, Any]:
    """Return an object with the checksum of its content in the field `SEAL`, in place of an earlier one."""
    content = {name: item for name, item in value.items() if name != SEAL}
    return {**content, SEAL: _checksum(json.loads(to_json(content)))}


def unsealed(value: dict[str, Any]) -> dict[str, Any]:
    """Return an object without its seal, which is checked; one without a seal, as earlier versions wrote, as it is.

    Raises:
        ValueError: the content is not what was sealed.
    """
    content = {name: item for name, item in value.items() if name != SEAL}
    if SEAL in value and value[SEAL] != _checksum(content):
        raise ValueError("it was altered: its checksum differs")
    return content


def _checksum(value: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
