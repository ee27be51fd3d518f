"""The Parquet files of a run: one block of samples each, known by row count, size and checksum."""

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
"""What an epoch holds of each sample; `gwaudit.recording.alignment.SampleSignals` says what each is."""

SIGNAL_SCHEMA = pa.schema([(name, pa.from_numpy_dtype(dtype)) for name, dtype in SIGNALS.items()])

# One sample's trajectory reads one row group an epoch: small enough for that, large enough to compress and scan well.
_ROW_GROUP = 2**17
_LABELS = [name for name, dtype in SIGNALS.items() if dtype.kind == "i"]
_ENCODINGS = {"sample_id": "DELTA_BINARY_PACKED"} | {
    name: "BYTE_STREAM_SPLIT" for name in SIGNALS if name not in _LABELS
}

Array = NDArray[Any]


@dataclass(frozen=True)
class FileRecord:
    """A file that a commit vouches for; `path` is relative to the run."""

    path: str
    block: int
    rows: int
    bytes: int
    sha256: str


def write_samples(root: Path, path: Path, block: int, table: pa.Table) -> FileRecord:
    """Write what does not change over the epochs of one block's samples."""
    pq.write_table(table, path, compression="zstd", row_group_size=_ROW_GROUP)
    return _record(root, path, block)


def write_signals(
    root: Path, path: Path, block: int, ids: range, signals: Mapping[str, Array]
) -> tuple[FileRecord, int]:
    """Write one block of an epoch.

    Args:
        root: the run's folder.
        path: of the new file.
        block: its number.
        ids: the block's.
        signals: the arrays of `SIGNALS`, a place for each id; NaN and `MISSING_LABEL`, stored as null, where missing.

    Returns:
        The file's record, and how many samples are missing.
    """
    arrays = {"sample_id": pa.array(np.arange(ids.start, ids.stop, dtype=np.int64))}
    for name, values in signals.items():
        absent = np.isnan(values) if values.dtype.kind == "f" else values == MISSING_LABEL
        arrays[name] = pa.array(values, mask=absent if absent.any() else None)
    pq.write_table(
        pa.table(arrays),
        path,
        compression="zstd",
        compression_level=1,
        row_group_size=_ROW_GROUP,
        use_dictionary=_LABELS,
        column_encoding=_ENCODINGS,
        write_statistics=["sample_id"],
    )
    return _record(root, path, block), arrays["alignment"].null_count


def read_columns(root: Path, record: FileRecord, columns: Sequence[str], *, rows: int) -> pa.Table:
    """Columns of a file, which must have so many rows.

    Raises:
        StoreDamagedError: it is missing, broken, or has another number of rows.
    """
    path = root / record.path
    with reading(path), pq.ParquetFile(path) as file:
        table = file.read(columns=list(columns))
    if table.num_rows != rows:
        raise damaged(path, f"has {table.num_rows} rows instead of {rows}")
    return table


def read_signals_of_rows(root: Path, record: FileRecord, rows: range) -> pa.Table:
    """The signals of some rows of a file that follow each other, from the row groups that hold them.

    Raises:
        StoreDamagedError: the file is missing or broken.
    """
    path = root / record.path
    with reading(path), pq.ParquetFile(path) as file:
        groups = range(rows.start // _ROW_GROUP, (rows.stop - 1) // _ROW_GROUP + 1)
        read = file.read_row_groups(list(groups), columns=list(SIGNALS))
    return read.slice(rows.start - groups.start * _ROW_GROUP, len(rows))


def verify_file(root: Path, record: FileRecord, ids: range) -> None:
    """Compare a file with its record, and its ids with those of its block.

    Raises:
        StoreDamagedError: what differs.
    """
    path = root / record.path
    if not path.is_file():
        raise damaged(path, "is missing")
    if path.stat().st_size != record.bytes:
        raise damaged(path, f"has {path.stat().st_size} bytes instead of {record.bytes}")
    if sha256(path) != record.sha256:
        raise damaged(path, "was altered: its checksum differs")
    found = read_columns(root, record, ["sample_id"], rows=len(ids))["sample_id"].to_numpy()
    if not np.array_equal(found, np.arange(ids.start, ids.stop)):
        raise damaged(path, f"does not hold exactly the ids {ids.start} to {ids.stop - 1}, in order")


def checked_signals(epoch: int, signals: Mapping[str, ArrayLike], rows: int) -> dict[str, Array]:
    """The arrays of `SIGNALS`, [rows] each, in their types.

    Raises:
        InvalidEpochError: other names, shapes or kinds.
    """
    if set(signals) != set(SIGNALS):
        raise InvalidEpochError(f"epoch {epoch}: signals must be {sorted(SIGNALS)}, not {sorted(signals)}")
    arrays = {}
    for name, dtype in SIGNALS.items():
        array = np.asarray(signals[name])
        if array.shape != (rows,):
            raise InvalidEpochError(f"epoch {epoch}: signal {name!r} has shape {array.shape} instead of ({rows},)")
        if array.dtype.kind not in ("f" if dtype.kind == "f" else "iu"):
            raise InvalidEpochError(f"epoch {epoch}: signal {name!r} is {array.dtype} instead of {dtype}")
        arrays[name] = array.astype(dtype, copy=False)
    return arrays


def to_numpy(column: pa.ChunkedArray) -> Array:
    """A column as an array: null is NaN, or `MISSING_LABEL`."""
    if pa.types.is_integer(column.type) and column.null_count:
        column = column.fill_null(MISSING_LABEL)
    array: Array = column.to_numpy()
    return array


def damaged(path: Path, what: str) -> StoreDamagedError:
    """The error for a file of a run that is not as it was written."""
    return StoreDamagedError(f"{path} {what}: restore it from a copy, or delete the run's folder and record anew")


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """What fails inside is damage to this file."""
    try:
        yield
    except FileNotFoundError:
        raise damaged(path, "is missing") from None
    except (pa.ArrowException, OSError, IndexError) as error:
        raise damaged(path, f"cannot be read ({str(error).splitlines()[0]})") from error


def _record(root: Path, path: Path, block: int) -> FileRecord:
    sync(path)
    rows = pq.read_metadata(path).num_rows
    return FileRecord(path.relative_to(root).as_posix(), block, rows, path.stat().st_size, sha256(path))
