"""Find the files of tables in a folder, and those of a split among them."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gwaudit.core.errors import DataError
from gwaudit.core.json import parse_json
from gwaudit.data.readers.table_formats import is_table
from gwaudit.data.reading_notes import ReadingNotes
from gwaudit.data.splits import choose_split, split_kind, split_kind_within, split_of_part, split_word

METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
"""Names of tables beside the images that they name, as the `imagefolder` builder of the `datasets` library has them."""

_STATE = "state.json"  # of a data set that the `datasets` library saved, beside its Arrow files
_SHARD = re.compile(r"(.+)-\d{5}-of-\d{5}(-.*)?")


class TableFiles(NamedTuple):
    """Describe the files that hold the rows of a source.

    Attributes:
        files: Files of the rows, in order.
        split: Split of these files; None where the files are not those of a split.
        folder: Folder that the paths in the rows are relative to.
        indices: Arrow files with the numbers of the rows that count, in order; none where all do.
    """

    files: list[Path]
    split: str | None
    folder: Path
    indices: Sequence[Path] = ()


def holds_tables(path: Path) -> bool:
    """Return whether a path is a table, or a folder of tables in one of Hugging Face's layouts."""
    if path.is_file():
        return is_table(path)
    return bool(_saved_splits(path) or (path / _STATE).is_file() or _data_files(path) or _all_metadata(path))


def find_tables(path: Path, split: str, notes: ReadingNotes | None = None) -> TableFiles:
    """Return the files of the tables that a source consists of.

    In a folder these are the files of a data set that the `datasets` library saved, as its `state.json` lists them;
    Parquet or Arrow files, of a split where their names or folders say it (`train-00000-of-00002.parquet`,
    `data/val.parquet`, `test/0000.parquet`); or `metadata.csv` (`.jsonl`, `.parquet`) beside images.

    Args:
        path: A table, or a folder that `holds_tables`.
        split: Split that is asked for.
        notes: Notes of the reading, which receive splits and files passed over.

    Raises:
        DataError: The folder has no such split, or lacks a file.
    """
    notes = ReadingNotes() if notes is None else notes
    if path.is_file():
        return TableFiles([path], None, path.parent)
    if saved := _saved_splits(path):
        found = choose_split(split, saved, path, notes)
        return _saved_tables(path / found, found, notes)._replace(folder=path)
    if (path / _STATE).is_file():
        found = split_of_part(split, _read_json(path / _STATE).get("_split"), path, notes)
        return _saved_tables(path, found, notes)
    if files := _data_files(path):
        cached = [file for file in files if file.name.startswith("cache-")]
        notes.pass_over("cache of the datasets library", _names(cached, path))
        found_files, found_split = files_of_split([f for f in files if f not in cached], split, path, notes)
        return TableFiles(found_files, found_split, path)
    return _find_metadata(path, split, notes)


def files_of_split(
    files: Sequence[Path], split: str, source: Path, notes: ReadingNotes
) -> tuple[list[Path], str | None]:
    """Return the files of a split, and its name: all files, and None, where their names say no splits.

    Args:
        files: Files of all splits, whose own names or whose folders' names may say their split.
        split: Split that is asked for.
        source: Folder of the source.
        notes: Notes of the reading, which receive the splits and the files without one.

    Raises:
        DataError: There is no such split.
    """
    groups: dict[str, list[Path]] = {}
    for file in files:
        groups.setdefault(_group(file, source), []).append(file)
    if not any(split_kind_within(name) for name in groups) and split not in groups:
        groups.pop("", None)
        if len(groups) <= 1:
            choose_split(split, [], source, notes)
            return list(files), None
    notes.pass_over("its name says no split", _names(groups.pop("", []), source))
    words = {name: split_word(name) if split_kind_within(name) else name for name in groups}
    counts = list(words.values())
    by_split = {words[name] if counts.count(words[name]) == 1 else name: group for name, group in groups.items()}
    found = choose_split(split, sorted(by_split), source, notes)
    return by_split[found], found


def folders_of_splits(folder: Path) -> list[Path]:
    """Return a folder itself, its folder `data`, and the folders in them that are named for splits."""
    parents = [parent for parent in (folder, folder / "data") if parent.is_dir()]
    return [*parents, *(child for parent in parents for child in sorted(parent.iterdir()) if _is_split_folder(child))]


def _is_split_folder(path: Path) -> bool:
    return split_kind(path.name) is not None and path.is_dir()


def _data_files(folder: Path) -> list[Path]:
    """Return the Parquet files of a folder, else its Arrow files."""
    for suffix in (".parquet", ".arrow"):
        files = [f for parent in folders_of_splits(folder) for f in sorted(parent.glob(f"*{suffix}"))]
        if files := [file for file in files if file.name not in METADATA]:
            return files
    return []


def _group(file: Path, source: Path) -> str:
    """Return the name that files of one split share; "" where a file's name says no split."""
    if file.parent != source and split_kind(file.parent.name):
        return file.parent.name
    if shard := _SHARD.fullmatch(file.stem):
        return shard[1]
    return split_word(file.stem) if split_kind_within(file.stem) else ""


def _saved_splits(folder: Path) -> list[str]:
    """Return the splits of a data set that the `datasets` library saved with splits, or [] where it did not."""
    file = folder / "dataset_dict.json"
    if file.is_file():
        splits = _read_json(file).get("splits")
        if not isinstance(splits, list) or not splits:
            raise DataError(f"{file} lists no splits: save the data set again")
        return [str(split) for split in splits]
    if not folder.is_dir() or (folder / _STATE).is_file():
        return []
    return sorted(child.name for child in folder.iterdir() if (child / _STATE).is_file())


def _saved_tables(folder: Path, split: str | None, notes: ReadingNotes) -> TableFiles:
    """Return the files that `state.json` lists."""
    state = folder / _STATE
    if not folder.is_dir():
        raise DataError(f"{folder} is missing: the data set that was saved has a folder for each split")
    if state.is_file():
        content = _read_json(state)
        names = _listed_files(content.get("_data_files"))
        indices = _listed_files(content.get("_indices_data_files") or content.get("_indices_files"))
    else:
        names, indices = [f.name for f in sorted(folder.glob("*.arrow")) if not f.name.startswith("cache-")], []
    if not names:
        raise DataError(f"{state} lists no files (`_data_files`): save the data set again")
    for name in (*names, *indices):
        if not (folder / name).is_file():
            raise DataError(f"{state} lists {name}, which is missing: copy the folder again")
    others = [file for file in sorted(folder.glob("*.arrow")) if file.name not in {*names, *indices}]
    notes.pass_over(f"{_STATE} does not list it (a cache of the datasets library)", _names(others, folder))
    return TableFiles([folder / name for name in names], split, folder, [folder / name for name in indices])


def _listed_files(entries: Any) -> list[str]:
    return [str(entry["filename"]) for entry in entries or () if isinstance(entry, dict) and "filename" in entry]


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = parse_json(file.read_bytes())
    except (ValueError, OSError) as error:
        raise DataError(f"{file} cannot be read as JSON ({error}): copy it again") from error
    if not isinstance(content, dict):
        raise DataError(f"{file} is not of the datasets library: it holds a {type(content).__name__}")
    return content


def _all_metadata(folder: Path) -> list[Path]:
    """Return the first file of metadata of each folder that has one: of the splits, and of the folder itself."""
    files = []
    for parent in folders_of_splits(folder):
        files += [parent / name for name in METADATA if (parent / name).is_file()][:1]
    return files


def _find_metadata(folder: Path, split: str, notes: ReadingNotes) -> TableFiles:
    files = _all_metadata(folder)
    of_splits = {file.parent.name: file for file in files if file.parent not in (folder, folder / "data")}
    if not of_splits:
        if not files:
            raise DataError(f"{folder} holds no table")
        return TableFiles(files[:1], None, files[0].parent)
    found = choose_split(split, list(of_splits), folder, notes)
    of_all = [file for file in files if file not in of_splits.values()]
    notes.pass_over(f"the metadata of the split {found} are read instead", _names(of_all, folder))
    return TableFiles([of_splits[found]], found, of_splits[found].parent)


def _names(files: Iterable[Path], folder: Path) -> list[str]:
    return [file.relative_to(folder).as_posix() for file in files]
