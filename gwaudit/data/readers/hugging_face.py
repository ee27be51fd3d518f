"""Read data sets of the `datasets` library: objects in memory, and names on the Hugging Face hub."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from gwaudit.core.errors import DataError, MissingExtraError
from gwaudit.core.hub import only_cached_if_unreachable
from gwaudit.core.settings import DataSettings
from gwaudit.data.readers.columns import samples_of_table
from gwaudit.data.readers.raw_samples import RawSamples, Source
from gwaudit.data.reading_notes import ReadingNotes
from gwaudit.data.splits import choose_split, split_of_part

_HUB = "hf:"


def recognises(source: Source, settings: DataSettings) -> bool:
    """Return whether the source is a data set of the `datasets` library, or `hf:NAME`."""
    return settings.source.startswith(_HUB) or _is_dataset(source)


def read(source: Source, settings: DataSettings) -> RawSamples:
    """Read the rows of a `datasets.Dataset`, or of the split of a `datasets.DatasetDict`.

    Without a column of ids the key of a row is its number in the data set as it was loaded: `shuffle`, `filter` and
    `select` do not change it.

    Raises:
        MissingExtraError: The `datasets` library is not installed.
        DataError: The data set cannot be loaded, has no such split, or a column is missing or of a wrong type.
    """
    notes = ReadingNotes()
    name = "the data set" if _is_dataset(source) else settings.source
    dataset: Any = source if _is_dataset(source) else _load(settings.source.removeprefix(_HUB))
    if not hasattr(dataset, "features"):
        split = choose_split(settings.split, list(dataset), name, notes)
        dataset = dataset[split]
    else:
        split = split_of_part(settings.split, dataset.split, name, notes)
    settings = replace(settings, split=split)
    table = dataset.with_format("arrow")[:]
    items = {name: getattr(feature, "feature", feature) for name, feature in dataset.features.items()}
    class_names = {name: {"names": list(item.names)} for name, item in items.items() if hasattr(item, "names")}
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": class_names}})})
    raw = samples_of_table(
        table, settings, name=str(dataset.info.dataset_name or "dataset"), root=Path(settings.root or "."), notes=notes
    )
    indices = dataset._indices
    if indices is None or not raw.keys[0].startswith(f"{split}/"):
        return raw
    return replace(raw, keys=[f"{split}/{original:06d}" for original in indices.column(0).to_pylist()])


def read_table(settings: DataSettings) -> pa.Table:
    """Read all columns of a data set by its name, `hf:NAME`, in the order of `read`.

    Raises:
        DataError: The data set cannot be loaded.
    """
    dataset: Any = _load(settings.source.removeprefix(_HUB))
    if not hasattr(dataset, "features"):
        dataset = dataset[choose_split(settings.split, list(dataset), settings.source, ReadingNotes())]
    table: pa.Table = dataset.with_format("arrow")[:]
    return table


def _is_dataset(source: Source) -> bool:
    library = sys.modules.get("datasets")  # imported already where such an object exists
    return library is not None and isinstance(source, library.Dataset | library.DatasetDict)


def _load(name: str) -> Any:
    """Load all splits of a data set by its name on the hub, `NAME` or `NAME:CONFIGURATION`."""
    try:
        import datasets
    except ImportError as error:
        raise MissingExtraError("the source hf:", "hf") from error
    path, _, configuration = name.partition(":")
    try:
        with only_cached_if_unreachable() as unreachable:
            return datasets.load_dataset(path, configuration or None)
    except Exception as error:  # the library and the network may raise any exception
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        if unreachable:
            reason = (
                f"{unreachable}, and it was not downloaded before: connect to the network, or name a folder or file"
            )
        raise DataError(f"{_HUB}{name} cannot be loaded: {reason}") from error
