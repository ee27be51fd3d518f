"""Write, read and check the Parquet files of a run, one a block of rows, recorded with row count, size and checksum."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import ArrayLike, NDArray

from gwaudit.core.errors import InvalidEpochError, StoreDamagedError
from gwaudit.core.files import sha256, sync
from gwaudit.core.origins import publish
from gwaudit.store import version_1
from gwaudit.store.layout import RunLayout

MISSING_LABEL = -1

SIGNALS: dict[str, np.dtype[Any]] = {
    "alignment": np.dtype(np.float32),
    "alternative_label": np.dtype(np.int32),
    "alternative_alignment": np.dtype(np.float32),
    "margin": np.dtype(np.float32),
    "loss": np.dtype(np.float32),
    "given_probability": np.dtype(np.float32),
    "el2n": np.dtype(np.float32),
    "predicted_label": np.dtype(np.int32),
}
"""The signals that an epoch holds of each row; `gwaudit.recording.alignment.SampleSignals` defines each."""

SIGNAL_SCHEMA = pa.schema([(name, pa.from_numpy_dtype(dtype)) for name, dtype in SIGNALS.items()])

ROW_GROUP = 2**17
"""The number of rows of each row group of a file but the last. It is the smallest part of a file that is read: one
sample's trajectory reads one an epoch."""

_LABELS = [name for name, dtype in SIGNALS.items() if dtype.kind == "i"]
_FLOAT_ENCODINGS = {name: "BYTE_STREAM_SPLIT" for name in SIGNALS if name not in _LABELS}

Array = NDArray[Any]


@dataclass(frozen=True)
class FileRecord:
    """Describe a file that `run.json` or a commit vouches for; `path` is relative to the run."""

    path: str
    block: int
    rows: int
    bytes: int
    sha256: str


def write_samples(layout: RunLayout, path: Path, block: int, table: pa.Table) -> FileRecord:
    """Write the columns of one block's rows that do not change over the epochs."""
    with path.open("wb") as file:
        pq.write_table(table, file, compression="zstd", row_group_size=ROW_GROUP)
    return _record(layout, path, block)


def write_signals(layout: RunLayout, path: Path, block: int, signals: Mapping[str, Array]) -> tuple[FileRecord, int]:
    """Write one block of an epoch.

    Args:
        layout: The run's.
        path: The path of the new file.
        block: The number of the block.
        signals: The arrays of `SIGNALS`, [rows of the block] each; NaN and `MISSING_LABEL`, which are stored as null,
            where a row is missing.

    Returns:
        The file's record, and the number of missing rows.
    """
    rows = layout.block_range(block)
    arrays = {layout.id_column: pa.array(np.arange(rows.start, rows.stop, dtype=np.int64))}
    for name, values in signals.items():
        absent = np.isnan(values) if values.dtype.kind == "f" else values == MISSING_LABEL
        arrays[name] = pa.array(values, mask=absent if absent.any() else None)
    with path.open("wb") as file:
        pq.write_table(
            pa.table(arrays),
            file,
            compression="zstd",
            compression_level=1,
            row_group_size=ROW_GROUP,
            use_dictionary=_LABELS,
            column_encoding={layout.id_column: "DELTA_BINARY_PACKED", **_FLOAT_ENCODINGS},
            write_statistics=[layout.id_column],
            write_page_checksum=True,
        )
    return _record(layout, path, block), arrays["alignment"].null_count


def read_columns(layout: RunLayout, record: FileRecord, columns: Sequence[str], part: range | None = None) -> pa.Table:
    """Read columns of a file, which must have as many rows as its block.

    Args:
        layout: The run's.
        record: The file.
        columns: Names of the columns.
        part: Positions in the block of the rows to read; by default all. The row groups that hold them are read.

    Raises:
        StoreDamagedError: The file is missing or broken, or has another number of rows.
    """
    path, rows = layout.path / record.path, len(layout.block_range(record.block))
    with _reading(path), _open_parquet(path) as file:
        if file.metadata.num_rows != rows:
            raise damaged(path, f"has {file.metadata.num_rows} rows instead of {rows}")
        names = _stored(layout, columns)
        table = file.read(columns=names) if part is None else _read_row_groups(file, names, part)
    if table.num_rows != (rows if part is None else len(part)):
        raise damaged(path, f"has {table.num_rows} rows where its footer has another number")
    return _renamed(layout, table, columns)


def read_signals_of_rows(layout: RunLayout, files: Sequence[FileRecord], rows: range) -> pa.Table:
    """Read all signals of consecutive rows of an epoch, from the row groups that hold them.

    Args:
        layout: The run's.
        files: The epoch's files, one a block.
        rows: Ids of the rows, which may lie in several blocks.

    Raises:
        StoreDamagedError: A file is missing or broken.
    """
    tables = []
    for block in range(rows.start // layout.block_rows, (rows.stop - 1) // layout.block_rows + 1):
        held = layout.block_range(block)
        within = range(max(rows.start, held.start) - held.start, min(rows.stop, held.stop) - held.start)
        path = layout.path / files[block].path
        with _reading(path), _open_parquet(path) as file:
            tables.append(_read_row_groups(file, _stored(layout, list(SIGNALS)), within))
    return _renamed(layout, pa.concat_tables(tables), list(SIGNALS))


def verify_content(layout: RunLayout, record: FileRecord) -> None:
    """Compare the size and the checksum of a file with its record.

    Raises:
        StoreDamagedError: The file differs; the message says how.
    """
    path = layout.path / record.path
    with _reading(path):
        if not path.is_file():
            raise damaged(path, "is missing")
        if path.stat().st_size != record.bytes:
            raise damaged(path, f"has {path.stat().st_size} bytes instead of {record.bytes}")
        if sha256(path) != record.sha256:
            raise damaged(path, "was altered: its checksum differs")


def verify_file(layout: RunLayout, record: FileRecord) -> None:
    """Compare a file with its record, and its row ids with those of its block.

    Raises:
        StoreDamagedError: The file differs; the message says how.
    """
    verify_content(layout, record)
    path = layout.path / record.path
    rows = layout.block_range(record.block)
    ids = read_columns(layout, record, [layout.id_column])[layout.id_column].to_numpy()
    if not np.array_equal(ids, np.arange(rows.start, rows.stop)):
        raise damaged(path, f"does not hold exactly the ids {rows.start} to {rows.stop - 1}, in order")


def checked_signals(epoch: int, signals: Mapping[str, ArrayLike], n_rows: int) -> dict[str, Array]:
    """Return the arrays of `SIGNALS`, [n_rows] each, in their types.

    Raises:
        InvalidEpochError: The signals have other names, shapes or kinds of numbers.
    """
    if set(signals) != set(SIGNALS):
        raise InvalidEpochError(f"epoch {epoch}: signals must be {sorted(SIGNALS)}, not {sorted(signals)}")
    arrays = {}
    for name, dtype in SIGNALS.items():
        array = np.asarray(signals[name])
        if array.shape != (n_rows,):
            raise InvalidEpochError(f"epoch {epoch}: signal {name!r} has shape {array.shape} instead of ({n_rows},)")
        if array.dtype.kind not in ("f" if dtype.kind == "f" else "iu"):
            raise InvalidEpochError(f"epoch {epoch}: signal {name!r} is {array.dtype} instead of {dtype}")
        arrays[name] = array.astype(dtype, copy=False)
    return arrays


def to_numpy(column: pa.ChunkedArray) -> Array:
    """Return a column as an array in which null is NaN, or `MISSING_LABEL`."""
    if pa.types.is_integer(column.type) and column.null_count:
        column = column.fill_null(MISSING_LABEL)
    array: Array = column.to_numpy()
    return array


def damaged(path: Path, what: str) -> StoreDamagedError:
    """Return the error for a file of a run that is not as it was written."""
    return StoreDamagedError(f"{path} {what}: restore it from a copy, or delete the run's folder and record anew")


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Raise an error of the block as damage to this file."""
    try:
        yield
    except FileNotFoundError:
        raise damaged(path, "is missing") from None
    except (pa.ArrowException, OSError, IndexError) as error:
        raise damaged(path, f"cannot be read ({str(error).splitlines()[0]})") from error


def _open_parquet(path: Path) -> pq.ParquetFile:
    # A file object, as Arrow takes a path with a colon ("exp:2/run.json") for the address of a file system.
    return pq.ParquetFile(pa.OSFile(os.fsencode(path)), page_checksum_verification=True)


def _read_row_groups(file: pq.ParquetFile, columns: list[str], rows: range) -> pa.Table:
    """Read consecutive rows of a file from the row groups that hold them."""
    groups = range(rows.start // ROW_GROUP, (rows.stop - 1) // ROW_GROUP + 1)
    table = file.read_row_groups(list(groups), columns=columns)
    return table.slice(rows.start - groups.start * ROW_GROUP, len(rows))


def _stored(layout: RunLayout, columns: Sequence[str]) -> list[str]:
    return version_1.stored_columns(columns) if layout.format_version == version_1.VERSION else list(columns)


def _renamed(layout: RunLayout, table: pa.Table, columns: Sequence[str]) -> pa.Table:
    return version_1.upgrade_table(layout, table, columns) if layout.format_version == version_1.VERSION else table


def _record(layout: RunLayout, path: Path, block: int) -> FileRecord:
    sync(path)
    publish(path)
    with _open_parquet(path) as file:
        rows = file.metadata.num_rows
    return FileRecord(path.relative_to(layout.path).as_posix(), block, rows, path.stat().st_size, sha256(path))
