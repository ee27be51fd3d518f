"""Read the cells of a table's column as numbers, times or categories, by its distinct values."""

import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from gwaudit.data.feature_scaling import as_float64
from gwaudit.data.image_signatures import IMAGE_SUFFIXES

_TRUTH = {"true": 1.0, "false": 0.0}
_NO_VALUE = frozenset(
    ["na", "n/a", "n.a.", "nan", "null", "none", "nil", "?", "-", "--", ".", "missing", "unknown", "undefined", "<na>"]
)
_FEW = 12  # ways to write true, false and a missing value
_MOSTLY = 0.5  # share of a text column's cells that are numbers, above which the others are errors
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+")
_THREE_DECIMALS = re.compile(r"[+-]?\d{1,3}(,\d{3})+")
_WITH_UNIT = re.compile(r"[+-]?[$€£¥]?\s*[+-]?\d{1,3}([,. '\u00a0]?\d{3})*([.,]\d+)?\s*[%$€£¥°]?")
_PER_SECOND = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
_TIME = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?)?")
_OTHER_DATE = re.compile(r"(\d{1,2}([/.-])\d{1,2}\2(\d{4}|\d{2})|\d{4}[/.]\d{1,2}[/.]\d{1,2})([ T].*)?")
_IMAGE_NAME = r"(?i)[^/\\](" + "|".join(re.escape(suffix) for suffix in sorted(IMAGE_SUFFIXES)) + ")$"


class Cells(NamedTuple):
    """Hold the distinct values of a column.

    Attributes:
        codes: [n] int64, the position of each row's value among the distinct ones; -1 where the row has none.
        values: The distinct values as text, in the order in which they occur.
        counts: Number of rows with each.
    """

    codes: NDArray[np.int64]
    values: list[str]
    counts: NDArray[np.int64]

    @property
    def are_unique(self) -> bool:
        """Return whether no two rows have the same value."""
        return bool((self.counts == 1).all())

    @property
    def distinct_share(self) -> float:
        """Return the number of distinct values, as a share of the rows with a value."""
        return len(self.values) / max(1, int(self.counts.sum()))

    def share(self, is_kind: Sequence[bool] | NDArray[np.bool_]) -> float:
        """Return the share of the rows with a value whose value is of a kind.

        Args:
            is_kind: Whether each distinct value is of this kind.
        """
        return float(self.counts[np.asarray(is_kind, bool)].sum() / max(1, self.counts.sum()))

    def take(self, of_values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the number of each row [n] from one for each distinct value; NaN where a row has no value."""
        return np.append(of_values, np.nan)[self.codes]


class Numbers(NamedTuple):
    """Hold a column of numbers.

    Attributes:
        values: [n] float64; NaN where a row has no finite number.
        infinite: Number of rows with an infinity.
        unread: Number of rows with each text that is no number and no usual mark of a missing one.
        form: How the numbers were written: "number", "decimal comma" or "time" (seconds from 1970).
    """

    values: NDArray[np.float64]
    infinite: int = 0
    unread: Mapping[str, int] = MappingProxyType({})
    form: str = "number"


def is_text(kind: pa.DataType) -> bool:
    """Return whether a type is of texts."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def is_list(kind: pa.DataType) -> bool:
    """Return whether a type is of lists."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def is_list_of_numbers(kind: pa.DataType) -> bool:
    """Return whether a type is of lists of numbers."""
    return is_list(kind) and bool(pa.types.is_integer(kind.value_type) or pa.types.is_floating(kind.value_type))


def is_empty(column: pa.ChunkedArray) -> bool:
    """Return whether no row of a column has a value."""
    if column.null_count == len(column):
        return True
    if is_text(column.type):
        return not pc.any(pc.greater(pc.utf8_length(_trimmed(column)), 0)).as_py()
    return bool(pa.types.is_floating(column.type) and np.isnan(column.to_numpy()).all())


def are_image_names(values: pa.ChunkedArray) -> bool:
    """Return whether a column holds names of image files: texts of which most end in the suffix of an image."""
    if not is_text(values.type):
        return False
    trimmed = _trimmed(values)
    filled = pc.sum(pc.greater(pc.utf8_length(trimmed), 0)).as_py() or 0
    return (pc.sum(pc.match_substring_regex(trimmed, _IMAGE_NAME)).as_py() or 0) > filled / 2


def kind_name(kind: pa.DataType) -> str:
    """Return the name of a type, for messages."""
    names: tuple[tuple[Callable[[pa.DataType], bool], str], ...] = (
        (is_text, "texts"),
        (pa.types.is_temporal, "dates and times"),
        (is_list_of_numbers, "lists of numbers"),
    )
    return next((name for is_kind, name in names if is_kind(kind)), f"values of the type {kind}")


def cells_of(column: pa.ChunkedArray) -> Cells:
    """Return the distinct values of a column of texts or of plain values, without white space at their ends."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    texts = _trimmed(column)
    texts = pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.large_string()), texts)
    encoded = pa.chunked_array([texts.combine_chunks()] if isinstance(texts, pa.ChunkedArray) else [texts])
    array = encoded.combine_chunks().dictionary_encode()
    codes = array.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    values = array.dictionary.to_pylist()
    return Cells(codes, values, np.bincount(codes[codes >= 0], minlength=len(values)))


def are_numbers(texts: Sequence[str]) -> bool:
    """Return whether most texts are numbers."""
    return bool(texts) and bool((~np.isnan(_numbers_of_texts(texts))).mean() > _MOSTLY)


def numbers_of_cells(cells: Cells, least_share: float = _MOSTLY) -> Numbers | None:
    """Return the numbers, or times in ISO 8601, that texts say; None where most of the texts say none.

    Args:
        cells: Texts of a column.
        least_share: Share of the rows with a value above which they must be numbers.
    """
    parsed, form = _numbers_of_texts(cells.values), "number"
    has_no_value = np.isnan(parsed)
    has_no_value[has_no_value] = [cells.values[i].casefold() in _NO_VALUE for i in np.flatnonzero(has_no_value)]
    total = Cells(cells.codes, cells.values, np.where(has_no_value, 0, cells.counts))
    if total.share(~np.isnan(parsed)) <= least_share:
        parsed, form = _numbers_with_comma(total), "decimal comma"
    if total.share(~np.isnan(parsed)) <= least_share:
        parsed, form = _times(cells.values), "time"
    if total.share(~np.isnan(parsed)) <= least_share:
        return None
    unread = np.isnan(parsed) & ~has_no_value
    return _finite(
        cells.take(parsed),
        {cells.values[i]: int(cells.counts[i]) for i in np.flatnonzero(unread).tolist()},
        form,
    )


def numbers_of_column(column: pa.ChunkedArray) -> Numbers | None:
    """Return the numbers of a column of numbers, truth values or times; None where its type is another."""
    kind = column.type
    if pa.types.is_temporal(kind):
        return _times_of_column(column)
    if pa.types.is_integer(kind):
        return Numbers(_integers(column))
    if not any(is_kind(kind) for is_kind in (pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal)):
        return None
    return _finite(np.array(column.cast(pa.float64(), safe=False).to_numpy(), np.float64))


def have_units(cells: Cells) -> bool:
    """Return whether most texts are numbers with a sign such as % or $, or with separators of thousands."""
    return cells.share([_WITH_UNIT.fullmatch(text) is not None for text in cells.values]) > _MOSTLY


def _trimmed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column as texts without white space at their ends."""
    return pc.utf8_trim_whitespace(column.cast(pa.large_string()))


def have_other_dates(cells: Cells) -> bool:
    """Return whether most texts are dates in another form than ISO 8601: 31/12/2020, 31.12.20 or 2020/12/31."""
    return cells.share([_OTHER_DATE.fullmatch(text) is not None for text in cells.values]) > _MOSTLY


def _finite(values: NDArray[np.float64], unread: dict[str, int] | None = None, form: str = "number") -> Numbers:
    infinite = np.isinf(values)
    return Numbers(np.where(infinite, np.nan, values), int(infinite.sum()), unread or {}, form)


def _integers(column: pa.ChunkedArray) -> NDArray[np.float64]:
    values = np.full(len(column), np.nan)
    there = np.asarray(column.is_valid().to_numpy(), bool)
    values[there] = as_float64(column.drop_null().to_numpy())
    return values


def _times_of_column(column: pa.ChunkedArray) -> Numbers | None:
    """Return times in seconds: from 1970, from midnight, or of a duration."""
    kind = column.type
    if pa.types.is_date32(kind) or pa.types.is_date64(kind):
        column = column.cast(pa.timestamp("s"))
    elif pa.types.is_time32(kind):
        column = column.cast(pa.int32())
    if not pa.types.is_interval(kind):
        unit = getattr(kind, "unit", "s")
        return Numbers(_integers(column.cast(pa.int64())) / _PER_SECOND[unit], form="time")
    return None


def _numbers_of_texts(texts: Sequence[str]) -> NDArray[np.float64]:
    if len(texts) <= _FEW:
        truth = np.array([_TRUTH.get(text.casefold(), np.nan) for text in texts], np.float64)
        if not np.isnan(truth).all():
            return truth
    cells = pd.Series(list(texts), dtype=object)
    numbers = pd.to_numeric(cells, errors="coerce").to_numpy(np.float64, copy=True)
    are_read = ~np.isnan(numbers)
    numbers[are_read] = as_float64(pd.to_numeric(cells[are_read]).to_numpy())  # whole numbers of 17 digits stay apart
    return numbers


def _numbers_with_comma(cells: Cells) -> NDArray[np.float64]:
    """Return the number of each distinct text where they have decimal commas; NaN where they are no such numbers."""
    texts = cells.values
    with_comma = [text for text in texts if _DECIMAL_COMMA.fullmatch(text)]
    are_thousands = all(_THREE_DECIMALS.fullmatch(text) for text in with_comma)  # or decimals: 1,234 may be both
    if not with_comma or are_thousands or any("." in text for text in texts):
        return np.full(len(texts), np.nan)
    replaced = pd.Series([text.replace(",", ".") for text in texts], dtype=object)
    return pd.to_numeric(replaced, errors="coerce").to_numpy(np.float64)


def _times(texts: Sequence[str]) -> NDArray[np.float64]:
    """Return the seconds from 1970 of each distinct text in ISO 8601, NaN where it is none."""
    seconds = np.full(len(texts), np.nan)
    rows = [i for i, text in enumerate(texts) if _TIME.fullmatch(text)]
    if rows:
        times = pd.to_datetime([texts[i] for i in rows], format="ISO8601", utc=True, errors="coerce")
        microseconds = times.tz_localize(None).to_numpy().astype("datetime64[us]")
        seconds[rows] = np.where(np.isnat(microseconds), np.nan, microseconds.astype(np.int64) / 1e6)
    return seconds
