"""Read what a table declares about its columns: by their types, and in the metadata of pandas and Hugging Face."""

import json
from contextlib import suppress
from typing import Any

import pyarrow as pa

from gwaudit.core.json import parse_json


def class_names_in(table: pa.Table) -> dict[str, list[str]]:
    """Return the class names of columns in Hugging Face's metadata, where there are some, by the column."""
    try:
        features = parse_json((table.schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}
    found: dict[str, list[str]] = {}
    for column, feature in features.items() if isinstance(features, dict) else ():
        with suppress(KeyError, TypeError, AttributeError):
            found[column] = list(feature.get("feature", feature)["names"])  # of a list of classes, or of one class
    return found


def index_of_frame(table: pa.Table) -> set[str]:
    """Return the columns that hold the index of the data frame that was saved, as pandas' metadata name them."""
    return {entry for entry in _pandas_entries(table, "index_columns") if isinstance(entry, str)}


def declared_categories(table: pa.Table) -> set[str]:
    """Return the columns that hold categories by their type, or by the metadata of pandas or of Hugging Face.

    Parquet stores categories of numbers as numbers; then only the metadata say it.
    """
    columns = (entry for entry in _pandas_entries(table, "columns") if isinstance(entry, dict))
    of_frame = {str(column.get("name")) for column in columns if column.get("pandas_type") == "categorical"}
    return (
        of_frame
        | class_names_in(table).keys()
        | {field.name for field in table.schema if pa.types.is_dictionary(field.type)}
    )


def _pandas_entries(table: pa.Table, key: str) -> list[Any]:
    """Return a list in pandas' metadata of a table; an empty one where there is none."""
    try:
        entries = json.loads((table.schema.metadata or {}).get(b"pandas", b"{}")).get(key, [])
    except (ValueError, AttributeError):
        return []
    return entries if isinstance(entries, list) else []
