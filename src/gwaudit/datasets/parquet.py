"""Images and labels in Parquet, in the column layout of Hugging Face data sets."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gwaudit.datasets.cifar import CIFAR10_CLASSES
from gwaudit.datasets.sources import RawSamples, named
from gwaudit.errors import DataError

IMAGE_COLUMNS = ("img", "image")
LABEL_COLUMNS = ("label", "fine_label", "labels")


def parquet_files(source: Path, split: str) -> list[Path]:
    """The Parquet files of a split: the file itself, or `split-*.parquet` in the folder or its `data` folder.

    Raises:
        DataError: the folder has Parquet files, but none of this split.
    """
    if source.is_file():
        return [source] if source.suffix == ".parquet" else []
    found = sorted([*source.glob("*.parquet"), *source.glob("data/*.parquet")])
    chosen = [path for path in found if path.name == f"{split}.parquet" or path.name.startswith(f"{split}-")]
    if found and not chosen:
        raise DataError(
            f"{source} has no Parquet file of the split {split!r}: there are {', '.join(p.name for p in found[:5])}"
        )
    return chosen


def read_parquet(files: list[Path], source: Path, split: str) -> RawSamples:
    """The rows of the files, in order. The images stay encoded.

    Class names come from the Hugging Face metadata where there are any, else from the labels.

    Raises:
        DataError: a file cannot be read, or lacks an image or label column, or a row lacks its image or label.
    """
    tables = []
    for file in files:
        try:
            tables.append(pq.read_table(file))
        except (pa.ArrowException, OSError) as error:
            raise DataError(
                f"{file} cannot be read as Parquet ({str(error).splitlines()[0]}): fetch it anew"
            ) from error
    try:
        table = pa.concat_tables(tables)
    except pa.ArrowException as error:
        raise DataError(f"the files of {source} have different columns: {str(error).splitlines()[0]}") from error
    image_column = _column(table, IMAGE_COLUMNS, source, "image")
    label_column = _column(table, LABEL_COLUMNS, source, "label")
    labels = table[label_column]
    if not pa.types.is_integer(labels.type):
        raise DataError(f"{source}: column {label_column!r} must hold integers, not {labels.type}")
    if labels.null_count:
        row = labels.to_pylist().index(None)
        raise DataError(f"{source}: row {row} has no label")
    images = table[image_column].combine_chunks()
    if not pa.types.is_struct(images.type) or images.type.get_field_index("bytes") < 0:
        raise DataError(f"{source}: column {image_column!r} must hold a struct with the bytes of each image")
    contents: list[bytes] = [content or b"" for content in images.field("bytes").to_pylist()]
    numbers = labels.to_numpy().astype(np.int64)
    names = _class_names(table, label_column) or _default_names(numbers)
    paths = images.field("path").to_pylist() if images.type.get_field_index("path") >= 0 else []
    usable = len(paths) == len(numbers) and all(paths) and len(set(paths)) == len(paths)
    keys = paths if usable else [f"{split}/{row:06d}" for row in range(len(numbers))]
    return RawSamples(named(source), split, contents, numbers, names, keys)


def _column(table: pa.Table, names: tuple[str, ...], source: Path, what: str) -> str:
    for name in names:
        if name in table.column_names:
            return name
    raise DataError(
        f"{source} has no {what} column ({' or '.join(names)}): its columns are {', '.join(table.column_names)}"
    )


def _class_names(table: pa.Table, column: str) -> tuple[str, ...] | None:
    metadata = (table.schema.metadata or {}).get(b"huggingface")
    try:
        return tuple(json.loads(metadata)["info"]["features"][column]["names"]) if metadata else None
    except (ValueError, KeyError, TypeError):
        return None


def _default_names(labels: np.ndarray) -> tuple[str, ...]:
    n_classes = int(labels.max()) + 1 if len(labels) else 0
    return CIFAR10_CLASSES if n_classes == 10 and len(labels) in (50_000, 10_000) else tuple(map(str, range(n_classes)))
