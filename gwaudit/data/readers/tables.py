"""Read tables in files: CSV, JSON Lines, Parquet and Arrow, in one file or several."""

import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gwaudit.core.errors import DataError
from gwaudit.core.settings import DataSettings
from gwaudit.data.readers.columns import samples_of_table
from gwaudit.data.readers.raw_samples import BrokenRows, RawSamples, Source, source_name

TABLE_SUFFIXES = (".parquet", ".arrow", ".csv", ".tsv", ".jsonl", ".ndjson")

_FORMATS = {".parquet": "Parquet", ".arrow": "Arrow", ".jsonl": "JSON Lines", ".ndjson": "JSON Lines"}
_METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")  # beside images, as in Hugging Face's ImageFolder


def recognises(source: Source, settings: DataSettings) -> bool:
    """Return whether the source is a table, or a folder of tables in one of Hugging Face's layouts."""
    path = Path(settings.source)
    if path.is_file():
        return path.suffix in TABLE_SUFFIXES
    has_arrow_files = _has_splits(path) or any(path.glob("*.arrow"))
    return has_arrow_files or bool(_parquet_files(path) or _metadata_files(path, settings.split))


def read(source: Source, settings: DataSettings) -> RawSamples:
    """Read the rows of the tables; `gwaudit.data.readers.columns` finds the columns of inputs, labels and keys.

    Raises:
        DataError: The folder has no table of the split, a file cannot be read, or a column is missing or of a wrong
            type.
    """
    path = Path(settings.source)
    table, broken = read_tables(tables_of(path, settings.split), path)
    root = Path(settings.root) if settings.root is not None else path if path.is_dir() else path.parent
    return samples_of_table(table, settings, name=source_name(path), root=root, broken=broken)


def tables_of(path: Path, split: str) -> list[Path]:
    """Return the files of tables that a source consists of, in order; none where it is another kind of source.

    In a folder these are `SPLIT-*.parquet` in it or in its `data` folder; `SPLIT/*.arrow`, or `*.arrow` where it was
    saved without splits (`save_to_disk` of the `datasets` library); or `metadata.csv` (`.jsonl`, `.parquet`) beside
    images.

    Raises:
        DataError: The folder has Parquet or Arrow files, but none of this split.
    """
    if path.is_file():
        return [path] if path.suffix in TABLE_SUFFIXES else []
    parquet = _parquet_files(path)
    files = [file for file in parquet if file.name == f"{split}.parquet" or file.name.startswith(f"{split}-")]
    files += sorted((path / split if _has_splits(path) else path).glob("*.arrow"))
    if files:
        return files
    if parquet:
        raise DataError(f"{path} has no Parquet file of the split {split!r}: it has {_first_names(parquet)}")
    if _has_splits(path):
        folders = sorted(folder for folder in path.iterdir() if folder.is_dir())
        raise DataError(f"{path} has no folder of the split {split!r}: it has {_first_names(folders)}")
    return _metadata_files(path, split)[:1]


def _parquet_files(folder: Path) -> list[Path]:
    return sorted([*folder.glob("*.parquet"), *folder.glob("data/*.parquet")])


def _has_splits(folder: Path) -> bool:
    """Return whether the `datasets` library saved a folder for each split here."""
    return (folder / "dataset_dict.json").is_file()


def _metadata_files(folder: Path, split: str) -> list[Path]:
    files = [parent / name for parent in (folder / split, folder) for name in _METADATA]
    return [file for file in files if file.is_file()]


def _first_names(paths: list[Path]) -> str:
    return ", ".join(path.name for path in paths[:5])


def read_tables(files: list[Path], source: Path) -> tuple[pa.Table, BrokenRows]:
    """Read the rows of all files, in order, and the reason for each row that cannot be read, by its number.

    Raises:
        DataError: A file cannot be read, or the files have different columns.
    """
    tables: list[pa.Table] = []
    broken: BrokenRows = {}
    for file in files:
        start = sum(table.num_rows for table in tables)
        table, unreadable = _read_table(file)
        tables.append(table)
        broken |= {start + row: reason for row, reason in unreadable.items()}
    try:
        return pa.concat_tables(tables), broken
    except pa.ArrowException as error:
        raise DataError(f"the files of {source} have different columns: {str(error).splitlines()[0]}") from error


def _read_table(file: Path) -> tuple[pa.Table, BrokenRows]:
    try:
        if file.suffix == ".parquet":
            return pq.read_table(file), {}
        if file.suffix == ".arrow":
            return _read_arrow(file), {}
        if file.suffix in (".csv", ".tsv"):
            # As text: an id 007 stays as it is, and a class named NA or None is not a missing value.
            separator = "\t" if file.suffix == ".tsv" else ","
            frame = pd.read_csv(file, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig")
            return pa.Table.from_pandas(frame, preserve_index=False), {}
        return _read_json_lines(file)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(
            f"{file} cannot be read as {_FORMATS.get(file.suffix, 'CSV')} ({str(error).splitlines()[0]}): "
            "fix it, or copy it again"
        ) from error


def _read_arrow(file: Path) -> pa.Table:
    with pa.memory_map(str(file)) as source:
        try:
            return pa.ipc.open_stream(source).read_all()
        except pa.ArrowInvalid:
            return pa.ipc.open_file(source).read_all()


def _read_json_lines(file: Path) -> tuple[pa.Table, BrokenRows]:
    rows: list[dict[str, object]] = []
    broken: BrokenRows = {}
    with file.open(encoding="utf-8-sig") as lines:
        for line in lines:
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise ValueError(f"a {type(row).__name__}, not an object")
            except ValueError as error:
                broken[len(rows)] = f"is not a JSON object: {error}"
                row = {}
            rows.append(row)
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pa.table({name: _column([row.get(name) for row in rows]) for name in names}), broken


def _column(values: list[object]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError):  # values of several types
        return pa.array([None if value is None else str(value) for value in values])
