"""Read tables in files, in one file or several: their rows of a split become samples."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from gwaudit.core.errors import DataError
from gwaudit.core.settings import DataSettings
from gwaudit.data.image_search import find_images
from gwaudit.data.readers.columns import samples_of_table, usual_columns
from gwaudit.data.readers.declared_columns import class_names_in
from gwaudit.data.readers.raw_samples import BrokenRows, RawSamples, Source, source_name
from gwaudit.data.readers.split_rows import SplitRows, rows_of_folders, rows_of_split
from gwaudit.data.readers.table_files import METADATA, TableFiles, find_tables, holds_tables
from gwaudit.data.readers.table_formats import read_table
from gwaudit.data.reading_notes import ReadingNotes


def recognises(source: Source, settings: DataSettings) -> bool:
    """Return whether the source is a table, or a folder of tables in one of Hugging Face's layouts."""
    return holds_tables(Path(settings.source))


def read(source: Source, settings: DataSettings) -> RawSamples:
    """Read the rows of the tables; `gwaudit.data.readers.columns` finds the columns of inputs, labels and keys.

    Raises:
        DataError: The folder has no table of the split, a file cannot be read, or a column is missing or of a wrong
            type.
    """
    path, notes = Path(settings.source), ReadingNotes()
    found = find_tables(path, settings.split, notes)
    table, broken = read_tables(found.files, path, notes)
    selected = _selected_rows(table, found, settings, notes)
    if selected.rows is not None:
        table = table.take(pa.array(selected.rows))
        broken = {i: broken[row] for i, row in enumerate(selected.rows.tolist()) if row in broken}
    root = Path(settings.root) if settings.root is not None else path if path.is_dir() else path.parent
    if found.folder != root and settings.root is None:
        table = _with_paths_below(root, found.folder, table, settings)
    settings = replace(settings, split=selected.split)
    raw = samples_of_table(table, settings, name=source_name(path), root=root, broken=broken, notes=notes)
    if path.is_dir():
        _note_the_rest(found, raw, path, notes, all_rows=selected.rows is None)
    return replace(raw, rows=selected.rows)


def _note_the_rest(found: TableFiles, raw: RawSamples, folder: Path, notes: ReadingNotes, *, all_rows: bool) -> None:
    """Note the tables that were read, and the images of the folder that were not."""
    names = [file.relative_to(folder).as_posix() for file in found.files]
    more = f" and {len(names) - 3} more files" if len(names) > 3 else ""
    notes.remark(f"the rows are read from {', '.join(names[:3])}{more}")
    if found.files[0].name not in METADATA:
        images = find_images(folder, ReadingNotes())
        notes.pass_over("an image: the tables are read instead", images)
        if len({name.rpartition("/")[0] for name in images if "/" in name}) > 1:
            notes.warn(
                f"{folder} holds tables and folders of images, and only the tables are read: to audit the images, move "
                "the tables elsewhere."
            )
    elif all_rows and isinstance(raw.inputs, Sequence):
        listed = {item.absolute() for item in raw.inputs if isinstance(item, Path)}
        images_below = [found.folder / path for path in find_images(found.folder, ReadingNotes())]
        unlisted = [path.relative_to(folder).as_posix() for path in images_below if path.absolute() not in listed]
        notes.pass_over(f"{found.files[0].name} does not list it", unlisted)


def _selected_rows(table: pa.Table, found: TableFiles, settings: DataSettings, notes: ReadingNotes) -> SplitRows:
    """Return the rows that count: those of the split, or those that a saved data set lists as its own."""
    if found.indices:
        indices, _ = read_tables(list(found.indices), found.folder)
        return SplitRows(found.split or settings.split, indices[0].to_numpy().astype(np.int64))
    if found.split is not None:
        return SplitRows(found.split)
    path = Path(settings.source)
    of_folders = None
    if path.is_dir() and found.files[0].name in METADATA:
        of_folders = rows_of_folders(table, settings, path, notes)
    selected = of_folders or rows_of_split(table, settings, path, notes)
    if selected.column is not None:
        notes.use_columns("split", [selected.column])
    return selected


def _with_paths_below(root: Path, folder: Path, table: pa.Table, settings: DataSettings) -> pa.Table:
    """Return a table whose paths of images are relative to `root`, where they were relative to its own folder."""
    names = [settings.image_column] if settings.image_column else usual_columns("image_column", table.column_names)
    column = next((name for name in names if name in table.column_names), None)
    values = [] if column is None else table[column].to_pylist()
    if column is None or not all(isinstance(value, str | None) for value in values):
        return table
    first = next((value.strip() for value in values if value), "")
    if not (folder / first).is_file() and (root / first).is_file():
        return table
    prefix = folder.relative_to(root).as_posix()
    paths = [f"{prefix}/{value.strip()}" if value else value for value in values]
    return table.set_column(table.column_names.index(column), column, pa.array(paths, pa.string()))


def read_tables(files: list[Path], source: Path, notes: ReadingNotes | None = None) -> tuple[pa.Table, BrokenRows]:
    """Read the rows of all files, in order, and the reason for each row that cannot be read, by its number.

    Args:
        files: Files of tables.
        source: Source, for messages.
        notes: Notes of the reading.

    Raises:
        DataError: A file cannot be read, or the files have different columns.
    """
    tables: list[pa.Table] = []
    broken: BrokenRows = {}
    for file in files:
        start = sum(table.num_rows for table in tables)
        table, unreadable = read_table(file, ReadingNotes() if notes is None else notes)
        tables.append(table)
        broken |= {start + row: reason for row, reason in unreadable.items()}
        if repeated := [name for name, count in Counter(table.column_names).items() if count > 1]:
            raise DataError(f"{file} has several columns {repeated[0]!r}: give each column a name of its own")
        if different := set(table.column_names) ^ set(tables[0].column_names):
            raise DataError(
                f"the files of {source} have different columns: {min(different)!r} is not in both of {files[0].name} "
                f"and {file.name}"
            )
        if class_names_in(table) != class_names_in(tables[0]):
            raise DataError(f"{files[0].name} and {file.name} in {source} name different classes: write them again")
    names = tables[0].column_names
    try:
        tables = [table if table.column_names == names else table.select(names) for table in tables]
        return pa.concat_tables(tables, promote_options="permissive"), broken
    except pa.ArrowException as error:
        raise DataError(f"the files of {source} have different columns: {str(error).splitlines()[0]}") from error
