"""Query a run with SQL: DuckDB over views of its epochs, samples, classes, ranking and decisions (`sql`).

The views read the run's Parquet files through Arrow, and DuckDB opens no file itself: a query can neither write, nor
read anything but the views. Of a run at a URL the files that a query needs are fetched to its working copy.
"""

import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyarrow import fs

from gwaudit.analysis.audit import FRAME_FILE, Audit
from gwaudit.core.errors import (
    GwauditError,
    MissingExtraError,
    QueryError,
    SettingsError,
    StoreDamagedError,
    StoreError,
    StoreNotFoundError,
)
from gwaudit.core.files import write_atomically
from gwaudit.core.json import to_json, with_texts
from gwaudit.core.shown_paths import path_at
from gwaudit.core.spreadsheets import write_csv
from gwaudit.core.url_outputs import local_output, shown_output, written_output
from gwaudit.core.urls import restored_url
from gwaudit.pipeline.stages import StageProgress, Warnings, note_decisions, note_unverified
from gwaudit.review.decided_samples import DECISIONS_FILE
from gwaudit.review.decisions import read_decisions
from gwaudit.store import version_1
from gwaudit.store.block_files import SIGNAL_SCHEMA, SIGNALS
from gwaudit.store.layout import ANSWERS
from gwaudit.store.results import results_of
from gwaudit.store.store import TrajectoryStore
from gwaudit.store.working_copies import run_folder

if TYPE_CHECKING:  # for its type alone: the extra `sql` may not be installed
    from duckdb import DuckDBPyConnection

Value = TypeVar("Value")

VIEWS = ("epochs", "evaluation_passes", "samples", "classes", "audit", "decisions")
"""The names of the views."""

MEMORY = "2GB"
"""The memory that DuckDB uses before it writes temporary files."""

_BATCH_ROWS = 2**16
_CSV_TYPES: dict[
    pa.DataType, Any
] = {  # without them pandas makes floats of integers, and objects of booleans, with null
    **{kind(): pd.Int64Dtype() for kind in (pa.int8, pa.int16, pa.int32, pa.int64, pa.uint8, pa.uint16, pa.uint32)},
    pa.bool_(): pd.BooleanDtype(),
}


@dataclass(frozen=True)
class QueryResult:
    """Hold the result of a query, of which one part at a time is in memory.

    Attributes:
        schema: Names and types of the columns. The names are all different: a repeated one gets a number.
        batches: The rows in parts, which can be read once.
    """

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]


@contextmanager
def run_query(
    run: Path | str, query: str, *, verify: bool = True, progress: StageProgress | None = None
) -> Iterator[QueryResult]:
    """Run one SELECT over the views of a run.

    The views are `epochs` (the rows that the training epochs recorded), `evaluation_passes` (those of evaluation passes
    after the training), `samples`, `classes`, `audit` (the ranking in use) and `decisions` (those of the run's
    `decisions.csv`). Epochs are counted from 1. Epochs that are committed when the query begins are seen.

    Args:
        run: the folder of the run, or its URL.
        query: the SELECT, in DuckDB's SQL.
        verify: whether each file that the query needs is compared with its checksum first.
        progress: receives notes on the decisions and on the ranking; by default these are warnings.

    Yields:
        The result.

    Raises:
        MissingExtraError: DuckDB is not installed.
        QueryError: the query is not one SELECT, names no view, or DuckDB refuses it or cannot finish it.
        StoreNotFoundError: there is no run, or no ranking where the query names `audit`.
        StoreDamagedError: a file of the run is damaged.
    """
    try:
        import duckdb
    except ImportError as error:
        raise MissingExtraError("`gwaudit sql`", "sql") from error
    run, progress = run_folder(run), progress or Warnings()
    with (
        TrajectoryStore.open(run, verify=verify) as store,
        tempfile.TemporaryDirectory(prefix="gwaudit-sql-", ignore_cleanup_errors=True) as temporary,
        duckdb.connect(
            config={
                "memory_limit": MEMORY,
                "temp_directory": temporary,
                "python_enable_replacements": False,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
            }
        ) as connection,
    ):
        with _named_errors(run):
            _require_select(connection, query)
        views = _Views(connection, store, progress)
        absent = views.create(_named_views(query))
        with _named_errors(run, absent):
            connection.execute("set enable_external_access = false")
            connection.execute("set lock_configuration = true")
            reader = _interruptible(connection, lambda: connection.sql(query).to_arrow_reader(_BATCH_ROWS))
        schema = _plain_schema(reader.schema)
        yield QueryResult(schema, _plain_batches(connection, reader, schema, run))
        note_unverified(store.unverified_files, run, progress)


def write_query(
    run: Path | str, query: str, path: Path | str, *, verify: bool = True, progress: StageProgress | None = None
) -> int:
    """Write the result of a query as a CSV or Parquet file, and return its number of rows.

    Args:
        run, query, verify, progress: as for `run_query`.
        path: the file, `.csv` or `.parquet`, outside the run, or its URL at an object store. CSV is that of
            `gwaudit.core.spreadsheets.write_csv`, with numbers rounded to six decimals.

    Raises:
        SettingsError: the file has another suffix, or lies in the run.
        StoreError: it cannot be written.
        GwauditError: as for `run_query`.
    """
    run = run_folder(run)
    output = path_at(restored_url(path)) or path  # in the working copy of the run, where it lies in the run at its URL
    local = local_output(output)
    if local is not None and local.absolute().resolve().is_relative_to(run.resolve()):
        raise SettingsError(
            f"{shown_output(path)} lies in the run, which a query does not change: give another folder for `output`"
        )
    with written_output(output, is_file=True) as file:
        if file.suffix not in (".csv", ".parquet"):
            raise SettingsError(
                f"`output` takes a file whose name ends with .csv or .parquet, not {shown_output(output)}"
            )
        with run_query(run, query, verify=verify, progress=progress) as result:
            return _write_result(result, file)


def _write_result(result: QueryResult, file: Path) -> int:
    """Write a result as a file of the kind that its name says, and return the number of rows."""
    rows = 0

    def counted(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        nonlocal rows
        for batch in batches:
            rows += batch.num_rows
            yield batch

    batches = counted(result.batches)
    with _writable_types(file):
        if file.suffix == ".csv":
            empty = pa.RecordBatch.from_pylist([], schema=result.schema)
            write_csv((_csv_frame(part) for part in _or_one(batches, empty)), file)
        else:
            write_atomically(file, lambda temporary: _write_parquet(batches, result.schema, temporary))
    return rows


class _Views:
    """Make the views of a run in a connection.

    Args:
        connection: The connection.
        store: The run.
        progress: Receives notes.
    """

    def __init__(self, connection: "DuckDBPyConnection", store: TrajectoryStore, progress: StageProgress) -> None:
        self._connection, self._store, self._progress = connection, store, progress
        self._layout = store.layout
        connection.execute("set variable class_names = $names", {"names": list(store.class_names)})
        connection.execute("set variable answers = $names", {"names": list(self._layout.answers)})

    def create(self, names: Sequence[str]) -> dict[str, GwauditError]:
        """Make some views, and return the errors of those that the run has not, by name."""
        makers: dict[str, Callable[[], None]] = {
            "epochs": lambda: self._make_epochs("epochs", self._store.training_epochs),
            "evaluation_passes": lambda: self._make_epochs("evaluation_passes", self._store.final_passes),
            "samples": self._make_samples,
            "classes": self._make_classes,
            "audit": self._make_audit,
            "decisions": self._make_decisions,
        }
        absent: dict[str, GwauditError] = {}
        for name in names:
            try:
                makers[name]()
            except StoreNotFoundError as error:  # raised once DuckDB misses the view: it may be another name alone
                absent[name] = error
        return absent

    def _make_epochs(self, name: str, epochs: range) -> None:
        schema = pa.schema([(self._stored(self._layout.id_column), pa.int64())])
        schema = pa.schema([*schema, *(pa.field(self._stored(f.name), f.type) for f in SIGNAL_SCHEMA)])
        self._progress.on_stage("comparing files with their checksums")
        files = [
            (self._store.files.intact(file), ds.field("epoch") == pa.scalar(epoch + 1, pa.int32()))
            for epoch in epochs
            for file in self._store.commit(epoch).files
        ]
        self._register(name, files, schema.append(pa.field("epoch", pa.int32())))
        signals = ", ".join(f"{self._stored(signal)} as {signal}" for signal in SIGNALS)
        self._connection.execute(
            f"create view {name} as select epoch, {self._ids()}, {signals} from files_of_{name} "
            "where alignment is not null"
        )

    def _make_samples(self) -> None:
        files = [(self._store.files.intact(file), None) for file in self._store.sample_files]
        columns = {self._stored(self._layout.id_column): pa.int64(), "key": pa.string()}
        columns |= {"given_label": pa.int32(), "split": pa.string()}
        self._register("samples", files, pa.schema(columns))
        self._connection.execute(
            f"create view samples as select {self._ids()}, key, given_label, "
            "list_extract(getvariable('answers'), given_label + 1) as given_name, split from files_of_samples"
        )

    def _make_classes(self) -> None:
        names = pa.array(self._store.class_names, pa.string())
        self._connection.register("classes", pa.table({"class_id": range(len(names)), "class_name": names}))

    def _make_audit(self) -> None:
        audit = self._audit()
        path = results_of(audit.run) / FRAME_FILE
        with path.open("rb") as file:
            schema = pq.read_schema(file)
        self._register("audit", [(path, None)], schema.remove_metadata())
        withheld = []
        if not audit.has_probabilities:
            withheld.append("null::double as probability_wrong")
        if not audit.has_cut:
            withheld.append("null::boolean as suspect")
        replaced = f" replace ({', '.join(withheld)})" if withheld else ""
        self._connection.execute(f"create view audit as select *{replaced} from files_of_audit")
        if withheld:
            columns = " and ".join(column.rpartition(" ")[2] for column in withheld)
            self._progress.on_note(
                f"the verdict on the run is {audit.verdict.level!r}: {columns} of `audit` are null "
                f"({audit.verdict.short_reason})"
            )

    def _make_decisions(self) -> None:
        audit = self._audit()
        own = audit.run / DECISIONS_FILE
        decisions = read_decisions([own] if own.exists() else [], audit)
        note_decisions(decisions, self._progress)
        frame = decisions.frame
        label = pa.array(frame["label"], pa.int32(), mask=(frame["decision"] != "relabel").to_numpy(bool))
        table = {
            "sample_id": pa.array(frame["sample_id"], pa.int64()),
            "key": pa.array(frame["key"], pa.string()),
            "given_label": pa.array(frame["given_label"], pa.int32()),
            "decision": pa.array(frame["decision"], pa.string()),
            "new_label": label,
        }
        of_class, names = "", "getvariable('class_names')"
        if audit.is_multi_label:
            table["class_id"] = pa.array(frame["class_id"], pa.int32())
            of_class = f"class_id, list_extract({names}, class_id + 1) as class_name, "
            names = f"['{ANSWERS[0]}', '{ANSWERS[1]}']"
        self._connection.register("decided", pa.table(table))
        self._connection.execute(
            f"create view decisions as select sample_id, key, {of_class}given_label, "
            f"list_extract({names}, given_label + 1) as given_name, decision, new_label, "
            f"list_extract({names}, new_label + 1) as new_name from decided"
        )

    def _audit(self) -> Audit:
        return Audit.load(self._store.path)

    def _ids(self) -> str:
        """Return the columns that identify a row of the run, as SQL."""
        row = self._stored(self._layout.id_column)
        if not self._layout.is_multi_label:
            return f"{row} as sample_id"
        classes = self._layout.n_classes
        class_id = f"({row} % {classes})::int"
        name = f"list_extract(getvariable('class_names'), {class_id} + 1)"
        return f"{row} // {classes} as sample_id, {class_id} as class_id, {name} as class_name"

    def _stored(self, column: str) -> str:
        """Return the name of a column in the files."""
        is_old = self._layout.format_version == version_1.VERSION
        return version_1.stored_columns([column])[0] if is_old else column

    def _register(self, name: str, files: Sequence[tuple[Path, ds.Expression | None]], schema: pa.Schema) -> None:
        """Let DuckDB read files as `files_of_NAME`, each with the constant columns that an expression gives."""
        parquet, local = ds.ParquetFileFormat(), fs.LocalFileSystem()
        fragments = [
            parquet.make_fragment(_readable(path), filesystem=local, partition_expression=constant)
            for path, constant in files
        ]
        data = ds.FileSystemDataset(fragments, schema, parquet, filesystem=local) if files else schema.empty_table()
        self._connection.register(f"files_of_{name}", data)


def _readable(path: Path) -> str:
    """Return an absolute path as Arrow takes it."""
    text = os.fspath(path.absolute())
    try:
        text.encode()
    except UnicodeEncodeError:
        raise StoreError(
            f"{path} cannot be read by a query, as its name is not UTF-8: rename the folders of the run"
        ) from None
    return text


def _named_views(query: str) -> list[str]:
    """Return the views whose names a query holds.

    Raises:
        QueryError: It holds none.
    """
    words = set(re.findall(r"\w+", query.lower()))
    named = [view for view in VIEWS if view in words]
    if not named:
        raise QueryError(f"the query names none of the views of a run, which are {', '.join(VIEWS)}")
    return named


def _require_select(connection: "DuckDBPyConnection", query: str) -> None:
    """Raise QueryError unless a query is one SELECT: a statement of another kind could write."""
    try:
        query.encode()
    except UnicodeEncodeError:
        raise QueryError("the query is not UTF-8: write it again in UTF-8") from None
    kinds = [statement.type.name for statement in connection.extract_statements(query)]
    if kinds == ["SELECT"]:
        return
    found = f"{len(kinds)} statements" if len(kinds) != 1 else kinds[0] if kinds[0] != "MULTI" else "several statements"
    pivot = " (PIVOT needs its values: `on category in ('hard', 'fine')`)" if "pivot" in query.lower() else ""
    raise QueryError(f"a query is one SELECT, not {found}{pivot}: what a run holds is not changed")


@contextmanager
def _named_errors(run: Path, absent: dict[str, GwauditError] | None = None) -> Iterator[None]:
    """Raise an error of DuckDB as a QueryError with its message; one about a view that the run has not, as its own."""
    import duckdb

    try:
        yield
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        message = str(error)
        for view, reason in (absent or {}).items():
            if isinstance(error, duckdb.CatalogException) and f"name {view} " in message.lower():
                raise reason from None
        if "files_of_" in message or "get_next failed" in message:  # as DuckDB 2 and 1 say it
            raise StoreDamagedError(
                f"a file of {run} cannot be read ({message.splitlines()[0]}): `gwaudit show` with `verify` names it"
            ) from error
        raise QueryError(f"DuckDB: {message}") from error


def _plain_schema(schema: pa.Schema) -> pa.Schema:
    """Return the schema of a result as it is shown and written: different names, and no decimals.

    DuckDB's sums of integers are decimals of 38 digits.
    """
    fields: list[pa.Field] = []
    taken: set[str] = set()
    for field in schema:
        names = (field.name if not number else f"{field.name}_{number}" for number in count())
        name = next(name for name in names if name not in taken and (name == field.name or name not in schema.names))
        taken.add(name)
        kind = field.type
        if pa.types.is_decimal(kind):
            kind = pa.float64() if kind.scale else pa.int64()
        fields.append(pa.field(name, kind))
    return pa.schema(fields)


def _interruptible(connection: "DuckDBPyConnection", call: Callable[[], Value]) -> Value:
    """Return the value of a call of DuckDB or Arrow, which an exception of this thread, as by Ctrl-C, ends.

    The call runs in another thread, as Python handles no signal while this one is in it.
    """
    with ThreadPoolExecutor(1) as executor:
        future = executor.submit(call)
        try:
            return future.result()
        except KeyboardInterrupt:
            connection.interrupt()
            raise


def _plain_batches(
    connection: "DuckDBPyConnection", reader: pa.RecordBatchReader, schema: pa.Schema, run: Path
) -> Iterator[pa.RecordBatch]:
    while True:
        with _named_errors(run):
            batch = _interruptible(connection, lambda: next(reader, None))
            if batch is None:
                return
        try:
            columns = [column.cast(field.type) for column, field in zip(batch.columns, schema, strict=True)]
        except pa.ArrowInvalid as error:
            raise QueryError(f"an integer of the result has more than 64 bits ({error}): cast it to double") from error
        yield pa.RecordBatch.from_arrays(columns, schema=schema)


def _or_one(batches: Iterator[pa.RecordBatch], other: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Yield batches, or another one where there are none."""
    first = next(batches, other)
    yield first
    yield from batches


@contextmanager
def _writable_types(file: Path) -> Iterator[None]:
    """Raise QueryError if a column has a type that the block cannot write."""
    try:
        yield
    except pa.ArrowNotImplementedError as error:
        raise QueryError(
            f"a {file.suffix} file cannot hold a column of this result ({error}): make it a text in the query, as "
            "column::varchar"
        ) from error


def _csv_frame(batch: pa.RecordBatch) -> pd.DataFrame:
    """Return rows as they are written as CSV: lists, structs and maps as JSON, which no length shortens."""
    columns = [_json_texts(column) if pa.types.is_nested(column.type) else column for column in batch.columns]
    texts = pa.RecordBatch.from_arrays(columns, names=batch.schema.names)
    frame: pd.DataFrame = texts.to_pandas(types_mapper=_CSV_TYPES.get)
    return frame


def _json_texts(column: pa.Array) -> pa.Array:
    values = with_texts(column.to_pylist())
    return pa.array([None if value is None else to_json(value, indent=None) for value in values], pa.string())


def _write_parquet(batches: Iterator[pa.RecordBatch], schema: pa.Schema, path: Path) -> None:
    with path.open("wb") as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)
