"""Record which columns an export of gwaudit wrote, so that no reading takes the labels before for a feature."""

import json
from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa

_METADATA = b"gwaudit"


class ExportedColumns(NamedTuple):
    """Describe the columns of an exported table.

    Attributes:
        labels: Names of the columns with the labels.
        added: Names of the columns that the export added: ids, keys and the labels before.
    """

    labels: tuple[str, ...] = ()
    added: tuple[str, ...] = ()


def schema_metadata(labels: Sequence[str], added: Sequence[str]) -> dict[bytes, bytes]:
    """Return the entry for the metadata of an exported table's schema."""
    return {_METADATA: json.dumps({"labels": list(labels), "added": list(added)}).encode()}


def exported_columns(table: pa.Table) -> ExportedColumns:
    """Return the columns that an export wrote; none for a table from elsewhere.

    Example:
        >>> table = pa.table({"a": [1.0], "label": [0], "given_label": [1]})
        >>> exported_columns(table.replace_schema_metadata(schema_metadata(["label"], ["given_label"]))).added
        ('given_label',)
    """
    try:
        content = json.loads((table.schema.metadata or {})[_METADATA])
        labels, added = ([str(name) for name in content[key]] for key in ("labels", "added"))
    except (KeyError, ValueError, TypeError):
        return ExportedColumns()
    there = set(table.column_names)
    return ExportedColumns(tuple(labels) if set(labels) <= there else (), tuple(n for n in added if n in there))
