"""The rows that a benchmark keeps: a JSON file of a row a line, its table beside it, and how several seeds are told."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gwaudit.benchmarks.machine import machine
from gwaudit.core.errors import StoreDamagedError
from gwaudit.core.files import write_text
from gwaudit.core.json import to_json

if TYPE_CHECKING:
    import pandas as pd
    from _typeshed import DataclassInstance

Row = TypeVar("Row")


def read_results(path: Path, make: Callable[..., Row], *, key: str = "rows") -> list[Row]:
    """The rows of a file, each made from its values by name; none where there is no such file.

    Raises:
        StoreDamagedError: it is broken.
    """
    if not path.exists():
        return []
    try:
        return [make(**row) for row in json.loads(path.read_text(encoding="utf-8"))[key]]
    except (ValueError, KeyError, TypeError) as error:
        raise StoreDamagedError(f"{path} is broken ({error}): move it away, and run the benchmark again") from error


def write_results(path: Path, rows: "Sequence[DataclassInstance]", *, key: str = "rows", table: str = "") -> None:
    """Write the rows and what they were measured on; a Markdown table, where one is given, as the `.md` beside it.

    Raises:
        StoreError: it cannot be written.
    """
    lines = ",\n".join(to_json(asdict(row), indent=None) for row in rows)  # a row a line, for people and for diffs
    files = {path: f'{{"machine": {json.dumps(machine())}, "{key}": [\n{lines}\n]}}\n'}
    if table:
        files[path.with_suffix(".md")] = table
    for file, text in files.items():
        write_text(file, text)


def mean_and_spread(values: "pd.Series[Any]", form: str) -> str:
    """The mean over the seeds, with ± half their range where there are several; a dash where there is none."""
    known = values.dropna().astype(float)
    if known.empty:
        return "–"
    text = form.format(known.mean())
    return text if len(known) == 1 else f"{text} ± {form.format((known.max() - known.min()) / 2)}"
