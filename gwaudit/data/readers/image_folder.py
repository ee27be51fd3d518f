"""Read a folder of images with a folder for each class, and for each split where there are several."""

from pathlib import Path

import numpy as np

from gwaudit.core.errors import DataError
from gwaudit.core.settings import DataSettings
from gwaudit.data.arrow_columns import PathColumn
from gwaudit.data.image_search import find_images, reason_left_out
from gwaudit.data.image_signatures import IMAGE_SUFFIXES
from gwaudit.data.readers.class_folders import find_classes
from gwaudit.data.readers.raw_samples import RawSamples, Source, source_name
from gwaudit.data.readers.table_formats import is_table
from gwaudit.data.reading_notes import ReadingNotes
from gwaudit.data.splits import TRAIN, split_kind, split_kind_within

PARTS: tuple[str, ...] = ()
"""Settings that name parts of such a source."""


def recognises(source: Source, settings: DataSettings) -> bool:
    """Return whether the source is a folder."""
    return Path(settings.source).is_dir()


def read(source: Source, settings: DataSettings) -> RawSamples:
    """Read the images of a folder, or of one of its splits.

    Each folder is a class, below the folder of the split where there are splits (`find_classes`); images may lie
    deeper. Samples are ordered by their path below the source, which is their key.

    Raises:
        DataError: There are no images, no such split, or fewer than two classes.
    """
    root, notes = Path(settings.source), ReadingNotes()
    found = find_classes(find_images(root, notes), settings.split, root, notes, _tables_hint(root))
    if not found.paths and (tables := _tables(root)):
        best = next((table for table in tables if split_kind_within(table.stem) == TRAIN), tables[0])
        raise DataError(
            f"{root} holds no data set: it holds tables ({', '.join(table.name for table in tables[:3])}), but "
            f"no folder for each class with images: give one table as the source, as {best}"
        )
    if not found.paths:
        raise DataError(
            f"{root} holds no data set: expected Parquet files, CIFAR batches, or a folder for each class with images "
            f"({', '.join(sorted(IMAGE_SUFFIXES))}){_passed_over(notes)}"
        )
    names = sorted(set(found.classes))
    if len(names) < 2:
        folder = root.joinpath(*found.folder)
        other = f", or choose another split ({', '.join(notes.splits)}) with `split`" if len(notes.splits) > 1 else ""
        raise DataError(
            f"{folder} has images of one class only ({names[0]!r}); an audit needs at least two. If its folders are "
            f"the classes, give {folder / names[0]} as the source{other}{_tables_hint(root)}"
        )
    _note_the_rest(root.joinpath(*found.folder), names, root, notes)
    index_of = {name: index for index, name in enumerate(names)}
    labels = np.array([index_of[name] for name in found.classes], np.int64)
    order = np.argsort(labels, kind="stable")
    paths = [found.paths[i] for i in order.tolist()]
    return RawSamples(
        name=source_name(root),
        split=found.split or "all",
        inputs=PathColumn(root, paths),
        labels=labels[order],
        class_names=tuple(names),
        keys=paths,
        notes=notes,
    )


def _note_the_rest(base: Path, names: list[str], root: Path, notes: ReadingNotes) -> None:
    """Note class folders without an image, and tables beside the images."""
    folders = {folder.name for folder in base.iterdir() if folder.is_dir() and not reason_left_out(folder.name)}
    if empty := sorted(name for name in folders - set(names) if split_kind(name) is None):
        notes.warn(f"No image is in the folders {', '.join(empty[:5])}: there is no class of these names.")
    for table in _tables(root):
        notes.remark(f"{table.name} is not read: give it as the source to audit its labels")


def _passed_over(notes: ReadingNotes) -> str:
    reasons = [f"{files.count:,} ({files.examples[0]}): {why}" for why, files in notes.files_passed_over.items()]
    return f". Files passed over: {'; '.join(reasons)}" if reasons else ""


def _tables_hint(root: Path) -> str:
    tables = _tables(root)
    names = ", ".join(table.name for table in tables)
    return f". The folder holds {names}: give a table as the source to read it, as {tables[0]}" if tables else ""


def _tables(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if is_table(path) and path.is_file())
