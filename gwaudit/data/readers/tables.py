"""Tables in files, whatever their format, as one Arrow table: CSV, JSON Lines, Parquet and Arrow, one or several."""

import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gwaudit.core.errors import DataError

TABLES = (".parquet", ".arrow", ".csv", ".tsv", ".jsonl", ".ndjson")

Broken = dict[int, str]


def table_files(folder: Path, split: str) -> list[Path]:
    """The Parquet or Arrow files of a split in a folder in one of the layouts of Hugging Face data sets.

    That is `split-*.parquet` in the folder or its `data` folder; `split/*.arrow`, or `*.arrow` where the folder was
    saved without splits (`save_to_disk`).

    Raises:
        DataError: the folder has such files, but none of this split.
    """
    found = sorted([*folder.glob("*.parquet"), *folder.glob("data/*.parquet")])
    chosen = [path for path in found if path.name == f"{split}.parquet" or path.name.startswith(f"{split}-")]
    saved = folder / split if (folder / "dataset_dict.json").is_file() else folder
    chosen += sorted(saved.glob("*.arrow"))
    if not chosen and (found or saved != folder):
        there = [path.name for path in (found or sorted(p for p in folder.iterdir() if p.is_dir()))]
        kind = "Parquet file" if found else "folder"
        raise DataError(f"{folder} has no {kind} of the split {split!r}: there are {', '.join(there[:5])}")
    return chosen


def read_tables(files: list[Path], source: Path) -> tuple[pa.Table, Broken]:
    """The rows of the files, in order, and what is wrong with a row, by its number.

    Raises:
        DataError: a file cannot be read, or the files have different columns.
    """
    tables: list[pa.Table] = []
    broken: Broken = {}
    for file in files:
        start = sum(table.num_rows for table in tables)
        table, wrong = _read(file)
        tables.append(table)
        broken |= {start + row: reason for row, reason in wrong.items()}
    try:
        return pa.concat_tables(tables), broken
    except pa.ArrowException as error:
        raise DataError(f"the files of {source} have different columns: {str(error).splitlines()[0]}") from error


def _read(file: Path) -> tuple[pa.Table, Broken]:
    kind = {".parquet": "Parquet", ".arrow": "Arrow", ".jsonl": "JSON Lines", ".ndjson": "JSON Lines"}
    try:
        if file.suffix == ".parquet":
            return pq.read_table(file), {}
        if file.suffix == ".arrow":
            return _read_arrow(file), {}
        if file.suffix in (".csv", ".tsv"):
            # As text: an id 007 stays that, and a class that is called NA or None is no missing value.
            separator = "\t" if file.suffix == ".tsv" else ","
            frame = pd.read_csv(file, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig")
            return pa.Table.from_pandas(frame, preserve_index=False), {}
        return _read_json_lines(file)
    except (pa.ArrowException, OSError, ValueError) as error:
        what = kind.get(file.suffix, "CSV")
        raise DataError(
            f"{file} cannot be read as {what} ({str(error).splitlines()[0]}): mend or fetch it anew"
        ) from error


def _read_arrow(file: Path) -> pa.Table:
    with pa.memory_map(str(file)) as source:
        try:
            return pa.ipc.open_stream(source).read_all()
        except pa.ArrowInvalid:
            return pa.ipc.open_file(source).read_all()


def _read_json_lines(file: Path) -> tuple[pa.Table, Broken]:
    rows: list[dict[str, object]] = []
    broken: Broken = {}
    with file.open(encoding="utf-8-sig") as lines:
        for line in lines:
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise ValueError(f"a {type(row).__name__}, not an object")
            except ValueError as error:
                broken[len(rows)] = f"is no JSON object: {error}"
                row = {}
            rows.append(row)
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pa.table({name: _column([row.get(name) for row in rows]) for name in names}), broken


def _column(values: list[object]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError):  # of several types
        return pa.array([None if value is None else str(value) for value in values])
