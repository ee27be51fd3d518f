"""Hold the rows of a ranking, most suspicious first: in memory, or in a Parquet file that is read in parts."""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from gwaudit.core.files import writing_temporary_files
from gwaudit.core.parquet import validated, write_parquet

BLOCK_ROWS = 2**18
"""The number of rows that are sorted at once."""

MOST_IN_MEMORY = 2**20
"""The largest number of rows that a table holds in memory."""

_ROW_GROUP = 2**17
_SPOOLED = 2**20  # bytes
_MOST_KNOWN = 2**16  # texts, beyond which they are taken for different ones, such as keys
_ENCODING: dict[str, Any] = {"use_dictionary": False}
"""Hardly a value comes twice: a dictionary of each column takes three times as long, and a third more bytes."""


class RankedTable:
    """Hold the rows of a ranking: up to `MOST_IN_MEMORY` in memory, more in a file.

    Args:
        source: The rows, or an open Parquet file of them.
        file: The file of `source`, which is closed with this object; a temporary one has no name.
    """

    def __init__(self, source: pd.DataFrame | pq.ParquetFile, file: IO[bytes] | None = None) -> None:
        self._source, self._file = source, file

    @classmethod
    def of_blocks(cls, blocks: Iterable[pd.DataFrame]) -> Self:
        """Return the rows of blocks: of one as it is, of several by way of a temporary file.

        Raises:
            StoreError: It cannot be written.
        """
        blocks = iter(blocks)
        first = list(islice(blocks, 2))
        if len(first) == 1:
            return cls(first[0])
        tables = (pa.Table.from_pandas(block, preserve_index=False) for block in chain(first, blocks))
        table = next(tables)
        with writing_temporary_files():
            file = tempfile.TemporaryFile()  # noqa: SIM115  # this object closes it
            with pq.ParquetWriter(file, table.schema, compression="zstd", **_ENCODING) as writer:
                for block in chain([table], tables):
                    writer.write_table(block, row_group_size=_ROW_GROUP)
        return cls.of_file(file)

    @classmethod
    def of_file(cls, file: IO[bytes]) -> Self:
        """Return the rows of an open Parquet file.

        Raises:
            pyarrow.ArrowException: It is no Parquet file, or is damaged.
        """
        file.seek(0)
        source = pq.ParquetFile(file)
        if source.metadata.num_rows > MOST_IN_MEMORY:
            return cls(source, file)
        with file:
            return cls(validated(source.read()).to_pandas())

    @property
    def names(self) -> list[str]:
        """Return the names of the columns."""
        if isinstance(self._source, pd.DataFrame):
            return [str(name) for name in self._source.columns]
        return list(self._source.schema_arrow.names)

    def __len__(self) -> int:
        return len(self._source) if isinstance(self._source, pd.DataFrame) else int(self._source.metadata.num_rows)

    def frame(self) -> pd.DataFrame:
        """Return all rows in memory: several hundred bytes each, read again each time where they lie in a file."""
        if isinstance(self._source, pd.DataFrame):
            return self._source
        frame: pd.DataFrame = validated(self._source.read()).to_pandas()
        return frame

    def frames(
        self, names: Sequence[str] | None = None, chosen: NDArray[np.bool_] | None = None
    ) -> Iterator[pd.DataFrame]:
        """Yield the rows in parts, their positions as the index; one part at least, which may have no rows.

        Args:
            names: Names of the columns, by default all.
            chosen: [n] whether to yield the row; by default all are.
        """
        if isinstance(self._source, pd.DataFrame):
            rows = self._source if names is None else self._source[list(names)]
            yield rows if chosen is None else rows[chosen]
            return
        stop = 0
        for group in range(self._source.num_row_groups):
            start, stop = stop, stop + self._source.metadata.row_group(group).num_rows
            of_group = np.ones(stop - start, bool) if chosen is None else chosen[start:stop]
            if of_group.any() or group == 0:
                rows = validated(self._source.read_row_group(group, columns=names)).to_pandas()
                yield rows.set_axis(pd.RangeIndex(start, stop), axis=0)[of_group]

    def head(self, count: int) -> pd.DataFrame:
        """Return the first rows."""
        return self.select(np.arange(len(self)) < count)

    def select(self, chosen: NDArray[np.bool_], names: Sequence[str] | None = None) -> pd.DataFrame:
        """Return the rows that `frames` yields, in memory."""
        parts = list(self.frames(names, chosen))
        return parts[0] if len(parts) == 1 else pd.concat(parts)

    def take(self, positions: NDArray[np.integer], names: Sequence[str] | None = None) -> pd.DataFrame:
        """Return rows by their positions, in the order of these, which are different and the index.

        Args:
            positions: [k] positions.
            names: Names of the columns, by default all.
        """
        chosen = np.zeros(len(self), bool)
        chosen[positions] = True
        return self.select(chosen, names).loc[positions]

    def column(self, name: str) -> NDArray[Any]:
        """Return a column, [n]; equal texts of a file are one object, but for those of columns with very many."""
        if isinstance(self._source, pd.DataFrame):
            return np.asarray(self._source[name])
        column, start, known = np.empty(0), 0, dict[str, str]()
        for group in range(self._source.num_row_groups):
            part = _values(validated(self._source.read_row_group(group, columns=[name]))[name], known)
            if group == 0:
                column = np.empty(len(self), part.dtype)
            elif part.dtype != column.dtype:  # missing integers are not numbers
                column = column.astype(np.result_type(column, part))
            column[start : start + len(part)] = part
            start += len(part)
        return column

    def texts(self, name: str, rank: NDArray[np.int64]) -> pa.ChunkedArray:
        """Return a column of texts in another order, [n], without an object for each; they are sorted in parts.

        Args:
            name: Name of the column.
            rank: [n] rank of each row in that order, 1 to n.

        Raises:
            StoreError: A temporary file cannot be written.
        """
        if isinstance(self._source, pd.DataFrame):
            texts = pa.array(self._source[name].astype(str), pa.large_string())
            return pa.chunked_array([texts.take(np.argsort(rank))])
        groups = (self._source.read_row_group(i, columns=[name]) for i in range(self._source.num_row_groups))
        blocks = (pa.table({name: group[name].cast(pa.large_string())}) for group in groups)
        parts = [chunk for table in in_rank_order(blocks, rank) for chunk in table[name].chunks]
        return pa.chunked_array(parts, pa.large_string())

    def write(self, path: Path) -> None:
        """Write the rows as a Parquet file.

        Raises:
            OSError: The file cannot be written.
        """
        if self._file is None:
            write_parquet(pa.Table.from_pandas(self.frame(), preserve_index=False), path, **_ENCODING)
            return
        self._file.seek(0)
        with path.open("wb") as copy:
            while part := self._file.read(2**24):
                copy.write(part)


def _values(values: pa.ChunkedArray, known: dict[str, str]) -> NDArray[Any]:
    """Return the values of a column, of which the first texts are kept in `known`: equal ones are one object."""
    if not (pa.types.is_large_string(values.type) or pa.types.is_string(values.type)):
        return np.asarray(values.to_pandas())
    encoded = values.combine_chunks().dictionary_encode()
    texts = encoded.dictionary.to_pylist()
    if len(known) < _MOST_KNOWN:
        texts = [known.setdefault(text, text) for text in texts]
    found: NDArray[Any] = np.array(texts, object)[encoded.indices.to_numpy()]
    return found


def open_ranked_table(path: Path) -> RankedTable:
    """Open a Parquet file of ranked rows.

    Raises:
        OSError: The file cannot be read.
        pyarrow.ArrowException: It is no Parquet file, or is damaged.
    """
    return RankedTable.of_file(path.open("rb"))


def in_rank_order(blocks: Iterable[pa.Table], rank: NDArray[np.int64]) -> Iterator[pa.Table]:
    """Yield the rows of tables in the order of their ranks, `BLOCK_ROWS` at a time; the others wait in temporary files.

    Args:
        blocks: The rows, in any number of tables.
        rank: [n] rank of each row, 1 to n.

    Yields:
        The rows of consecutive ranks, with the column `rank` in front.

    Raises:
        StoreError: A temporary file cannot be written.
    """
    ends = np.arange(BLOCK_ROWS, len(rank) + BLOCK_ROWS, BLOCK_ROWS)
    with ExitStack() as stack:
        files = [stack.enter_context(tempfile.SpooledTemporaryFile(_SPOOLED)) for _ in ends]
        writers: list[Any] = []
        start = 0
        for block in blocks:
            ranks = rank[start : start + block.num_rows]
            start += block.num_rows
            order = np.argsort(ranks)
            ordered = block.add_column(0, "rank", pa.array(ranks)).take(order)
            writers = writers or [pa.ipc.new_stream(file, ordered.schema) for file in files]
            bounds = [0, *np.searchsorted(ranks[order], ends, side="right").tolist()]
            with writing_temporary_files():
                for writer, (first, last) in zip(writers, pairwise(bounds), strict=True):
                    writer.write_table(ordered.slice(first, last - first))
        for writer, file in zip(writers, files, strict=True):
            writer.close()
            file.seek(0)
            with pa.ipc.open_stream(file) as stream:
                table = stream.read_all()
            file.close()
            yield table.take(np.argsort(table["rank"].to_numpy()))
