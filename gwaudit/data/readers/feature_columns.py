"""Choose the columns of a table that are features."""

import re
from collections.abc import Collection, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gwaudit.core.errors import DataError
from gwaudit.data.class_names import listed
from gwaudit.data.readers.column_cells import (
    Cells,
    Numbers,
    are_image_names,
    cells_of,
    have_other_dates,
    have_units,
    is_empty,
    is_text,
    kind_name,
    numbers_of_cells,
    numbers_of_column,
)
from gwaudit.data.readers.declared_columns import declared_categories, index_of_frame
from gwaudit.data.readers.feature_encoding import MOST_CATEGORIES, FeatureColumn, Features, encode_features
from gwaudit.data.readers.label_copies import (
    SAYS_LABEL,
    check_for_related_labels,
    class_indicators,
    codes_of_numbers,
    reason_as_label_copy,
    reason_as_row_numbers,
)
from gwaudit.data.reading_notes import ReadingNotes

_UNNAMED = re.compile(r"\s*|Unnamed: \d+(_level_\d+)?|__index_level_\d+__|level_\d+")
_IDS = "texts that are all different, as ids are"
_FIRST_ROWS = 1000
_NEARLY_UNIQUE = 0.5  # distinct texts, as a share of the rows with a text, above which they are no categories


def choose_features(
    table: pa.Table, candidates: Collection[str], labels: NDArray[np.int64], notes: ReadingNotes
) -> Features:
    """Return the features of the columns that describe the samples, and note why the other candidates do not.

    Left out are columns without a name, the index of a data frame, numbers that count or identify the rows, texts that
    are nearly all different, columns with one value or none, and columns that say the label again; with a warning those
    that may hold something: free texts, numbers with a unit, names of images, and columns of other types.

    Args:
        table: The rows.
        candidates: Names of columns that have no other role.
        labels: [n] class indices, or [n, C] of 0 and 1.
        notes: Notes of the reading.
    """
    index, declared, candidates = index_of_frame(table), declared_categories(table), set(candidates)
    chosen: list[FeatureColumn] = []
    unusable: list[str] = []
    for name in (name for name in table.column_names if name in candidates):
        column = table[name]
        values = None
        if name in index:
            reason: str | None = "index of the data frame that was saved"
        elif _UNNAMED.fullmatch(name):
            reason = "without a name, as a saved index is"
        elif is_empty(column):
            reason = "without a value"
        elif (values := _values(table[name], name in declared)) is None:
            reason = f"{kind_name(column.type)}, neither numbers nor categories"
            unusable.append(name)
        elif isinstance(values, Numbers):
            reason = reason_as_row_numbers(name, values.values) or reason_as_label_copy(
                name, codes_of_numbers(values.values), labels, notes
            )
        elif (reason := reason_as_label_copy(name, values.codes, labels, notes)) is None:
            if (reason := _reason_as_texts(table[name], values, name in declared)) is None:
                check_for_related_labels(name, values.codes, labels, notes)
            elif reason != _IDS:
                unusable.append(name)
        if reason is None and values is not None:
            chosen.append(FeatureColumn(name, values))
        else:
            notes.leave_out_columns(reason or "", [name or "''"])
    chosen = _without_class_indicators(chosen, labels, notes)
    features = encode_features(chosen, table.num_rows, notes)
    if unusable and features.names:
        notes.warn(
            f"columns that are neither numbers nor categories are not used: {', '.join(unusable)}. Encode them as "
            "numbers, or name the one that holds the inputs (`text_column`, `image_column`)"
        )
    return features


def named_features(table: pa.Table, names: Sequence[str], source: str, notes: ReadingNotes) -> Features:
    """Return the features of the columns with these names, of numbers, times and categories.

    Raises:
        DataError: A column holds neither numbers nor categories, or all columns have one value or none.
    """
    chosen: list[FeatureColumn] = []
    declared = declared_categories(table)
    for name in names:
        column = table[name]
        if is_empty(column):
            notes.leave_out_columns("without a value", [name])
            continue
        values = _values(table[name], name in declared)
        if isinstance(values, Cells) and values.distinct_share > _NEARLY_UNIQUE:
            values = numbers_of_cells(values, least_share=0) or values
        if values is None:
            raise DataError(
                f"{source}: the column {name!r} holds {kind_name(column.type)}, neither numbers nor categories: leave "
                "it out"
            )
        if isinstance(values, Cells) and values.distinct_share > _NEARLY_UNIQUE:
            raise DataError(
                f"{source}: the column {name!r} holds texts that are nearly all different, which are no categories: "
                "leave it out, or audit it alone with `text_column`"
            )
        chosen.append(FeatureColumn(name, values))
    features = encode_features(chosen, table.num_rows, notes)
    if not features.names:
        raise DataError(f"{source}: the columns {listed(names)} have one value in all rows, or none: name others")
    return features


def _values(column: pa.ChunkedArray, is_declared: bool) -> Numbers | Cells | None:
    """Return the numbers of a column, its categories, or None where its type is of neither.

    Codes that are declared as categories are categories, unless they are numbers of many values.
    """
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if is_text(column.type):
        cells = cells_of(column)
        return (None if is_declared else numbers_of_cells(cells)) or cells
    numbers = numbers_of_column(column)
    if is_declared and numbers is not None:
        cells = cells_of(column)
        return cells if len(cells.values) <= MOST_CATEGORIES else numbers
    return numbers


def _reason_as_texts(column: pa.ChunkedArray, cells: Cells, is_declared: bool) -> str | None:
    """Return why texts are no categories, or None where they are."""
    if are_image_names(column):
        return "names of image files, of which none is below the root"
    if have_units(cells) and not is_declared:
        return "numbers with a unit or a separator of thousands, which are not read"
    if have_other_dates(cells):
        return "dates that are not written as in 2020-12-31, which are not read"
    if cells.are_unique and not any(" " in text for text in cells.values):
        return _IDS
    if cells.distinct_share > _NEARLY_UNIQUE:
        return "texts that are nearly all different, as free texts and names are"
    return None


def _without_class_indicators(
    columns: list[FeatureColumn], labels: NDArray[np.int64], notes: ReadingNotes
) -> list[FeatureColumn]:
    """Return the columns that are not the one-hot form of the labels, and warn of those that say the labels again."""
    if again := notes.columns_left_out.get(SAYS_LABEL):
        notes.warn(
            "columns with one value for each class, or with a value in one of two classes only, say the label again "
            f"and are left out: {listed(again)}. With them no error could be found. If one is a feature, name the "
            "columns of features with `feature_columns`"
        )
    of_two_values = {column.name: codes for column in columns if (codes := _codes_of_two_values(column)) is not None}
    indicators = class_indicators(of_two_values, labels)
    if indicators:
        notes.warn(
            f"the columns {listed(indicators)} are 1 for one class and 0 for the others, so together they say the "
            "label again and are left out: with them no error could be found. If they are features, name the columns "
            "of features with `feature_columns`"
        )
        notes.leave_out_columns("say the label again", indicators)
    return [column for column in columns if column.name not in indicators]


def _codes_of_two_values(column: FeatureColumn) -> NDArray[np.int64] | None:
    """Return 0 or 1 for each row of a column with two values, one of which may be missing; None for other columns."""
    if isinstance(column.values, Numbers):
        first = column.values.values[:_FIRST_ROWS]
        if len(np.unique(first[~np.isnan(first)])) > 2:
            return None
    codes = column.values.codes if isinstance(column.values, Cells) else codes_of_numbers(column.values.values)
    if len(codes) and codes.max() == 0 and codes.min() < 0:
        return codes + 1
    return codes if len(codes) and codes.max() == 1 and codes.min() == 0 else None
