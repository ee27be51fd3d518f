"""Hold the columns of a source that an audit does not use, so that cleaned data keep them."""

from dataclasses import dataclass

import pyarrow as pa


@dataclass(frozen=True, eq=False)
class SourceColumns:
    """Hold the columns of a source, a row for each sample of its data set.

    Attributes:
        table: All columns but the one with the contents of the images, which can be large.
        names: Names of all columns, in the order of the source.
        labels: Names of the columns with the labels that were audited; empty where they are from another file.
        images: Name of the column with the images or their paths; None where the samples are not images.
    """

    table: pa.Table
    names: tuple[str, ...]
    labels: tuple[str, ...]
    images: str | None
