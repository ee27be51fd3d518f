"""Keep the rows of a benchmark: a JSON file with one row a line, and a Markdown table beside it."""

import json
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from gwaudit.core.errors import StoreDamagedError
from gwaudit.core.files import write_text
from gwaudit.core.json import read_json, to_json

if TYPE_CHECKING:
    import pandas as pd
    from _typeshed import DataclassInstance

Row = TypeVar("Row")


def read_results(path: Path, make: Callable[..., Row], *, key: str = "rows") -> list[Row]:
    """Read the rows of a file; none if there is no such file.

    Args:
        path: Path of the JSON file.
        make: Makes a row from its values, by name.
        key: Name of the list of rows in the file.

    Raises:
        StoreDamagedError: The file is broken.
    """
    try:
        return [make(**row) for row in read_json(path)[key]]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreDamagedError(f"{path} is broken ({error}): move it away, and run the benchmark again") from error


def write_results(path: Path, rows: "Sequence[DataclassInstance]", *, key: str = "rows", table: str = "") -> None:
    """Write the rows and a description of this machine.

    Args:
        path: Path of the JSON file.
        rows: Rows, as dataclasses.
        key: Name of the list of rows in the file.
        table: Markdown for the file beside it, with the suffix `.md`; none if empty.

    Raises:
        StoreError: A file cannot be written.
    """
    lines = ",\n".join(to_json(asdict(row), indent=None) for row in rows)  # a row a line, for people and for diffs
    write_text(path, f'{{"machine": {json.dumps(describe_machine())}, "{key}": [\n{lines}\n]}}\n')
    if table:
        write_text(path.with_suffix(".md"), table)


def describe_machine() -> dict[str, Any]:
    """Return the version of Python and of torch, the number of its threads, and the device."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine(),
    }


def mean_and_spread(values: "pd.Series[Any]", form: str) -> str:
    """Return the mean over the seeds as text, with ± half the range if there are several; a dash if there is none.

    Args:
        values: Number of each seed, [seeds]; NaN where there is none.
        form: Format of a number, such as "{:.3f}".
    """
    known = values.dropna().astype(float)
    if known.empty:
        return "–"
    text = form.format(known.mean())
    return text if len(known) == 1 else f"{text} ± {form.format((known.max() - known.min()) / 2)}"
