"""Read the groups of samples, as annotators, cameras or batches, from a CSV file with a row per sample."""

from pathlib import Path

from gwaudit.analysis.audit import Audit
from gwaudit.core.errors import DataError
from gwaudit.core.spreadsheet_changes import TextIndex
from gwaudit.core.spreadsheets import column_name, from_cell, read_cells

_NAMED = 3
_MOST_GROUPS = 1000


def read_groups(path: Path | str, audit: Audit) -> dict[str, list[str]]:
    """Read the group of each sample from a CSV file with a column `key` or `sample_id` and one or more others.

    Args:
        path: The file. Samples without a row, or with an empty cell, have the group "".
        audit: Audit of the run.

    Returns:
        The group of each sample, by sample id, by the name of the column.

    Raises:
        DataError: The file cannot be read, names samples that the run does not have or one sample twice, or has no
            column of groups, or one with more than 1,000 groups.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"there is no file of groups at {path}")
    header, *rows = read_cells(path, ("key", "sample_id"))
    names = [column_name(cell) for cell in header]
    own = "key" if "key" in names else "sample_id"
    columns = {
        i: cell.strip() for i, cell in enumerate(header) if names[i] not in ("key", "sample_id") and cell.strip()
    }
    if not columns:
        raise DataError(f"{path}, row 1: there is no column of groups beside {own}: add one, such as annotator")
    if repeated := {name for name in columns.values() if list(columns.values()).count(name) > 1}:
        raise DataError(f"{path}, row 1: there are several columns {repeated.pop()!r}: keep one")
    groups = {name: [""] * audit.n_samples for name in columns.values()}
    ids = _sample_ids(path, [row[names.index(own)] for row in rows], own, audit)
    rows_of: dict[int, int] = {}
    for number, (sample_id, row) in enumerate(zip(ids, rows, strict=True), start=2):
        if sample_id in rows_of:
            raise DataError(
                f"{path}, row {number}: sample {sample_id} is in row {rows_of[sample_id]} already: keep one row per "
                "sample"
            )
        rows_of[sample_id] = number
        for column, name in columns.items():
            groups[name][sample_id] = from_cell(row[column]).strip()
    for name, values in groups.items():
        if len(set(values)) > _MOST_GROUPS:
            raise DataError(
                f"{path}: column {name!r} has {len(set(values)):,} groups, more than {_MOST_GROUPS:,}: leave it out"
            )
    return groups


def _sample_ids(path: Path, cells: list[str], column: str, audit: Audit) -> list[int]:
    """Return the sample id of each row; refuse a file that names samples that the run does not have."""
    ids: list[int | None] = []
    if column == "key":
        index = TextIndex([str(key) for key in audit.by_id("key")])
        ids = [found[0] if len(found := index.find(cell)) == 1 else None for cell in cells]
    else:
        numbers = (int(cell) if cell.strip().isdecimal() and len(cell) < 19 else -1 for cell in cells)
        ids = [number if 0 <= number < audit.n_samples else None for number in numbers]
    unknown = [number for number, sample_id in enumerate(ids, start=2) if sample_id is None]
    if unknown:
        first = ", ".join(f"{cells[number - 2]!r} (row {number})" for number in unknown[:_NAMED])
        raise DataError(
            f"{path}: {len(unknown):,} of {len(cells):,} rows name no sample of {audit.run}, or several, in the column "
            f"{column}, such as {first}: use the keys of the run"
        )
    return [sample_id for sample_id in ids if sample_id is not None]
