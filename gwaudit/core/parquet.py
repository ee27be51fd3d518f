"""Read and write Parquet files.

Files are opened here: Arrow takes a path with a colon, such as `run:1/a.parquet`, for an address. A table that was read
is validated: values of a damaged file may point outside the memory, which ends the process.
"""

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


def read_parquet(path: Path) -> pa.Table:
    """Read and validate all rows of a Parquet file.

    Raises:
        OSError: The file cannot be read.
        pyarrow.ArrowException: It is no Parquet file, or is damaged.
    """
    with pa.OSFile(os.fsencode(path)) as file:  # bytes: a name may be no UTF-8
        return validated(pq.ParquetFile(file).read())


def write_parquet(table: pa.Table, path: Path, **options: Any) -> None:
    """Write a table as a Parquet file.

    Args:
        table: The rows.
        path: The file.
        options: Options of `pyarrow.parquet.write_table`; the compression is zstd.

    Raises:
        OSError: The file cannot be written.
    """
    with path.open("wb") as file:
        pq.write_table(table, file, compression="zstd", **options)


def validated(table: pa.Table) -> pa.Table:
    """Return a table after every value in it was checked: lengths, positions, texts in UTF-8.

    Raises:
        pyarrow.ArrowInvalid: A value is damaged.
    """
    table.validate(full=True)
    return table
