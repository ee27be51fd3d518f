"""Write cleaned data as Parquet in the layout of Hugging Face's `datasets`, with its features as metadata.

The columns of a source that is a table keep their names, their order and, except for the labels, their values. Images
keep the bytes of the source.
"""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from gwaudit.core.errors import DataError
from gwaudit.data.exported_columns import exported_columns, schema_metadata
from gwaudit.export.cleaned_data import CleanedData
from gwaudit.export.original_data import OriginalData
from gwaudit.export.source_columns import SourceColumns

if TYPE_CHECKING:  # for its type alone
    from gwaudit.data.dataset import LabeledDataset

_BATCH = 2048
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_KEPT_NAMES = {"float": "float32", "double": "float64", "halffloat": "float16"}


class _Column(NamedTuple):
    """Describe a column of the output.

    Attributes:
        name: Its name.
        kind: Its type.
        feature: Its feature, as Hugging Face writes it.
        values: Returns the values of the kept samples from `start` to `stop`.
    """

    name: str
    kind: pa.DataType
    feature: Any
    values: Callable[[slice], Any]


_ADDED = ("sample_id", "key", "given_label", "given_labels")
_NONE = _Column("", pa.null(), None, lambda rows: [])


def write(cleaned: CleanedData, folder: Path, original: OriginalData) -> None:
    """Write images, texts or features with their labels into an empty folder.

    Raises:
        DataError: the data are not those that were audited, an image can no longer be read, or a column cannot be kept.
    """
    dataset = original.require(cleaned.fingerprint)
    columns, added = _columns(cleaned, dataset, original)
    features = {column.name: column.feature for column in columns}
    schema = pa.schema(
        [(column.name, column.kind) for column in columns],
        metadata={b"huggingface": json.dumps({"info": {"features": features}}).encode(), **added},
    )
    # An open file: Arrow takes a path with a colon for an address.
    with (
        (folder / "train-00000-of-00001.parquet").open("wb") as file,
        pq.ParquetWriter(file, schema, compression="zstd") as writer,
    ):
        for start in range(0, len(cleaned.ids), _BATCH):
            rows = slice(start, start + _BATCH)
            writer.write_table(pa.table([_array(column, rows) for column in columns], schema=schema))


def _array(column: _Column, rows: slice) -> Any:
    values = column.values(rows)
    return values if isinstance(values, pa.ChunkedArray) else pa.array(values, column.kind)


def _columns(
    cleaned: CleanedData, dataset: "LabeledDataset", original: OriginalData
) -> tuple[list[_Column], dict[bytes, bytes]]:
    """Return the columns, and the metadata that marks those of the labels and those that the source does not have."""
    source = original.columns or SourceColumns(pa.table({}), (), (), None)
    own = _own_columns(cleaned, dataset, source, original)
    labels = source.labels or ("labels" if cleaned.is_multi_label else "label",)
    added = [name for name in own if name in _ADDED]
    earlier = exported_columns(source.table).added
    columns = []
    for name in source.names:
        if name in earlier and name in own:  # an export of an export
            continue
        if name in source.labels or name not in source.table.column_names or own.get(name, _NONE).kind == _IMAGE:
            columns.append(own.pop(name))
        elif name not in own:
            columns.append(_source_column(source, name, name, cleaned))
        elif _is_key(source, name, cleaned):
            columns.append(_source_column(source, name, name, cleaned))
            del own[name]
            added.remove(name)
        else:
            free = next(other for other in _free_names(name) if other not in {*source.names, *own})
            columns.append(_source_column(source, name, free, cleaned))
    return [*columns, *own.values()], schema_metadata(labels, added)


def _free_names(name: str) -> Iterable[str]:
    while True:
        yield (name := f"source_{name}")


def _is_key(source: SourceColumns, name: str, cleaned: CleanedData) -> bool:
    """Return whether a column of the source has the keys of the samples already."""
    if name != "key":
        return False
    values = source.table[name].take(pa.array(cleaned.ids)).to_pylist()
    keys: list[str] = cleaned.keys.to_pylist()
    return [str(value) for value in values] == keys


def _own_columns(
    cleaned: CleanedData, dataset: "LabeledDataset", source: SourceColumns, original: OriginalData
) -> dict[str, _Column]:
    """Return the columns that the source does not have, or not with these values, by their names."""
    columns = [] if _has_inputs(dataset, source) else [_input_column(cleaned, dataset, source, original)]
    one: Any = {"_type": "ClassLabel", "names": list(cleaned.class_names)}
    feature, kind, label, given = one, pa.int64(), "label", "given_label"
    if cleaned.is_multi_label:
        feature, kind, label, given = {"_type": "List", "feature": one}, pa.list_(pa.int64()), "labels", "given_labels"
    if len(source.labels) == 1:
        label = source.labels[0]
    elif source.labels:  # a column of 0 and 1 for each class
        zero_or_one = {"_type": "Value", "dtype": "int64"}
        for position, name in enumerate(cleaned.class_names):
            columns.append(_Column(name, pa.int64(), zero_or_one, _column_of(cleaned.labels, position)))
    columns += [
        _Column(label, kind, feature, lambda rows: _label_values(cleaned.labels[rows])),
        _Column("sample_id", pa.int64(), {"_type": "Value", "dtype": "int64"}, lambda rows: cleaned.ids[rows]),
        _Column("key", pa.string(), {"_type": "Value", "dtype": "string"}, lambda rows: cleaned.keys[rows].to_pylist()),
        _Column(given, kind, feature, lambda rows: _label_values(dataset.labels[cleaned.ids[rows]])),
    ]
    return {column.name: column for column in columns}


def _column_of(labels: NDArray[np.int64], position: int) -> Callable[[slice], Any]:
    return lambda rows: labels[rows, position]


def _has_inputs(dataset: "LabeledDataset", source: SourceColumns) -> bool:
    """Return whether the columns of the source hold the inputs as they are: texts, or features."""
    return bool({"texts", "features"} & {*dataset.notes.columns_used}) and bool(source.names)


def _input_column(
    cleaned: CleanedData, dataset: "LabeledDataset", source: SourceColumns, original: OriginalData
) -> _Column:
    ids = cleaned.ids
    if dataset.texts is not None:
        texts = dataset.texts
        return _Column(
            "text", pa.string(), {"_type": "Value", "dtype": "string"}, lambda rows: [texts[i] for i in ids[rows]]
        )
    if dataset.modality == "features":
        kind = pa.float64() if str(dataset[0][0].dtype) == "torch.float64" else pa.float32()
        feature = {"_type": "List", "feature": {"_type": "Value", "dtype": _KEPT_NAMES.get(str(kind), str(kind))}}
        return _Column("features", pa.list_(kind), feature, lambda rows: [dataset[i][0].tolist() for i in ids[rows]])
    # A column of paths stays beside the images, unless it has the name of theirs.
    paths = source.images if source.images in source.table.column_names else None
    name = source.images if source.images is not None and paths is None else "image"

    def images(rows: slice) -> list[dict[str, Any]]:
        return [{"bytes": _content(dataset, i, original), "path": _path(source, paths, name, i)} for i in ids[rows]]

    return _Column(name, _IMAGE, {"_type": "Image"}, images)


def _content(dataset: "LabeledDataset", sample_id: int, original: OriginalData) -> bytes:
    with original.original_file(dataset, int(sample_id)).open() as file:
        return file.read()


def _path(source: SourceColumns, paths: str | None, name: str, sample_id: int) -> str | None:
    """Return the path of an image where its column of paths is replaced by the images."""
    if paths != name:
        return None
    path: str | None = source.table[name][int(sample_id)].as_py()
    return path


def _label_values(labels: NDArray[np.int64]) -> Any:
    """Return labels as the column holds them: [m] indices, or lists of the indices of the classes."""
    return [np.flatnonzero(row).tolist() for row in labels] if labels.ndim == 2 else labels


def _source_column(source: SourceColumns, name: str, new_name: str, cleaned: CleanedData) -> _Column:
    field, column = source.table.schema.field(name), source.table[name]
    kind = field.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
        column = column.cast(kind)
    ids = cleaned.ids
    feature = _feature_of_source(source, name) or _feature_of(kind, name)
    return _Column(new_name, kind, feature, lambda rows: column.take(pa.array(ids[rows])))


def _feature_of_source(source: SourceColumns, name: str) -> Any:
    """Return the feature of a column in the metadata of the source, where there is one."""
    metadata = (source.table.schema.metadata or {}).get(b"huggingface")
    try:
        feature = json.loads(metadata)["info"]["features"].get(name) if metadata else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return feature if isinstance(feature, dict | list) and (not isinstance(feature, dict) or feature) else None


def _feature_of(kind: pa.DataType, name: str) -> Any:
    """Return the feature of a type, as Hugging Face writes it.

    Raises:
        DataError: there is none.
    """
    if pa.types.is_struct(kind):
        return {field.name: _feature_of(field.type, name) for field in kind}
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        is_large = {"_type": "LargeList"} if pa.types.is_large_list(kind) else {"_type": "List"}
        return is_large | {"feature": _feature_of(kind.value_type, name)}
    if pa.types.is_fixed_size_list(kind):
        return {"_type": "List", "feature": _feature_of(kind.value_type, name), "length": kind.list_size}
    if pa.types.is_map(kind) or pa.types.is_union(kind):
        raise DataError(
            f"the column {name!r} is of the type {kind}, which Hugging Face's format cannot hold: remove it"
        )
    return {"_type": "Value", "dtype": _KEPT_NAMES.get(str(kind), str(kind))}
