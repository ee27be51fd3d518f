"""Read the columns of the source of a run again, for the formats of cleaned data that keep them."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from gwaudit.core.errors import DataError
from gwaudit.core.settings import DataSettings
from gwaudit.data.dataset import LabeledDataset
from gwaudit.data.readers import hugging_face, webdataset
from gwaudit.data.readers.table_files import find_tables, holds_tables
from gwaudit.data.readers.tables import read_tables
from gwaudit.data.url_copies import with_local_files
from gwaudit.export.source_columns import SourceColumns


def read_source_columns(data: DataSettings, dataset: LabeledDataset) -> SourceColumns | None:
    """Read the columns of the source of a data set: of a table, or the files of the samples in WebDataset shards.

    Args:
        data: The settings of the data.
        dataset: The data set that was loaded with them.

    Returns:
        The columns; None where the source has none: a folder of images, arrays.

    Raises:
        DataError: The source cannot be read, or changed since the data set was loaded.
    """
    table = _read_table(with_local_files(data))
    if table is None:
        return None
    rows = np.arange(len(dataset)) if dataset.rows is None else dataset.rows
    if len(rows) and int(rows.max()) >= table.num_rows:
        raise DataError(f"{data.source} has {table.num_rows} rows now, fewer than were loaded: load it again")
    used = dataset.notes.columns_used
    images = next(iter(used.get("images", [])), None)
    names = tuple(table.column_names)
    if images is not None and not _is_text(table.schema.field(images).type):
        table = table.drop_columns([images])
    labels = () if data.labels is not None else tuple(used.get("labels", []))
    kept = table.take(pa.array(rows, mask=rows < 0))  # samples that are gone have no values
    return SourceColumns(kept, names, labels, images)


def _read_table(data: DataSettings) -> pa.Table | None:
    source = Path(data.source)
    if hugging_face.recognises(data.source, data):
        return hugging_face.read_table(data)
    if data.source == "digits" or not source.exists():
        return None
    if holds_tables(source):
        return read_tables(find_tables(source, data.split).files, source)[0]
    return webdataset.read_members(data) if webdataset.recognises(data.source, data) else None


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
