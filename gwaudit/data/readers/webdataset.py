"""Read shards in WebDataset's layout: tar files in which the members of one name belong to one sample."""

import tarfile
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa

from gwaudit.core.errors import DataError
from gwaudit.core.json import parse_json
from gwaudit.core.settings import DataSettings
from gwaudit.data.image_decoding import EncodedImage, FilePart
from gwaudit.data.image_search import reason_left_out
from gwaudit.data.image_signatures import IMAGE_SUFFIXES
from gwaudit.data.inputs import Inputs, Texts
from gwaudit.data.labels import parse_labels
from gwaudit.data.readers.raw_samples import BrokenRows, RawSamples, Source, source_name
from gwaudit.data.readers.table_files import files_of_split, folders_of_splits
from gwaudit.data.reading_notes import ReadingNotes

PARTS: tuple[str, ...] = ("classes", "root")
"""Settings that name parts of such a source."""
_LABELS = (".cls", ".label")
_METADATA = ".json"
_TEXT = ".txt"


def recognises(source: Source, settings: DataSettings) -> bool:
    """Return whether the source is a `.tar` file, or a folder with some."""
    return bool(_shards(settings))


def read(source: Source, settings: DataSettings) -> RawSamples:
    """Read the samples of all shards, in order; images stay in their shards.

    A sample is an image (`KEY.jpg`) or a text (`KEY.txt`) with its label: `KEY.cls`, or `label` or `cls` in `KEY.json`.
    A list, or a text with `label_separator` between the classes, is multi-label.

    Raises:
        DataError: A shard cannot be read, or there are no samples.
    """
    notes = ReadingNotes()
    shards, split = files_of_split(_shards(settings), settings.split, Path(settings.source), notes)
    keys, samples = _collect_samples(shards, settings, notes)
    broken: BrokenRows = {}
    images: list[EncodedImage] = []
    texts: list[str] = []
    labels: list[Any] = []
    for row, (key, parts) in enumerate(zip(keys, samples, strict=True)):
        image = next((part for suffix, part in parts.items() if suffix in IMAGE_SUFFIXES), None)
        images.append(image or b"")
        texts.append("" if image or _TEXT not in parts else parts[_TEXT].read().decode("utf-8", "replace"))
        if not (images[row] or texts[row].strip()):
            broken[row] = f"{key!r} has neither an image nor a text"
        labels.append(_label(parts))
    if all(label is None for label in labels):
        suffixes = ", ".join(list(dict.fromkeys(suffix for parts in samples for suffix in parts))[:5])
        raise DataError(
            f"no sample in {settings.source} has a label: expected KEY.cls, or label or cls in KEY.json, beside each "
            f"image or text; the files end in {suffixes}"
        )
    if any(texts) and any(images):
        raise DataError(f"{settings.source} mixes images and texts: make a data set of each")
    inputs: Inputs | list[EncodedImage] = Texts(texts) if any(texts) else images
    parsed = parse_labels(labels, settings.class_names, settings.label_separator)
    notes.remarks.extend(parsed.remarks)
    return RawSamples(
        name=source_name(Path(settings.source)),
        split=split or settings.split,
        inputs=inputs,
        labels=parsed.labels,
        class_names=parsed.class_names,
        keys=keys,
        broken={**parsed.broken, **broken},
        notes=notes,
    )


def read_members(settings: DataSettings) -> pa.Table:
    """Read the files of the samples that are neither images nor labels nor texts: a column for each suffix.

    Args:
        settings: Source and split.

    Returns:
        A row for each sample, in the order of `read`. Files that are UTF-8 are texts, others bytes.

    Raises:
        DataError: A shard cannot be read, or there are no samples.
    """
    notes = ReadingNotes()
    shards, _ = files_of_split(_shards(settings), settings.split, Path(settings.source), notes)
    _, samples = _collect_samples(shards, settings, notes)
    suffixes = dict.fromkeys(suffix for parts in samples for suffix in parts)
    others = [suffix for suffix in suffixes if suffix not in {*IMAGE_SUFFIXES, *_LABELS, _TEXT}]
    columns: dict[str, Any] = {}
    for suffix in others:
        contents = [parts[suffix].read() if suffix in parts else None for parts in samples]
        try:
            texts = [None if content is None else content.decode() for content in contents]
            columns[suffix.lstrip(".")] = pa.array(texts, pa.string())
        except UnicodeDecodeError:
            columns[suffix.lstrip(".")] = pa.array(contents, pa.binary())
    return pa.table(columns) if columns else pa.table({"": pa.nulls(len(samples))}).select([])


def _shards(settings: DataSettings) -> list[Path]:
    """Return the tar file, or those of a folder and of its folders of splits."""
    path = Path(settings.source)
    if path.is_file():
        return [path] if path.suffix == ".tar" else []
    return [file for folder in folders_of_splits(path) for file in sorted(folder.glob("*.tar"))]


def _collect_samples(
    shards: list[Path], settings: DataSettings, notes: ReadingNotes
) -> tuple[list[str], list[dict[str, FilePart]]]:
    """Return the key of each sample, and its parts by their suffixes, in the order in which the samples begin.

    A file that a sample has already begins another sample, as do the files of another shard. Where shards number their
    samples alike, the keys begin with the shard's name.
    """
    keys: list[tuple[Path, str]] = []
    samples: list[dict[str, FilePart]] = []
    for shard in shards:
        newest: dict[str, int] = {}
        for key, suffix, part in _members(shard, notes):
            if key not in newest or suffix in samples[newest[key]]:
                newest[key] = len(samples)
                keys.append((shard, key))
                samples.append({})
            samples[newest[key]][suffix] = part
    if not samples:
        raise DataError(f"{settings.source} holds no samples: expected KEY.jpg and KEY.cls in tar files")
    shards_of_key: dict[str, set[Path]] = {}
    for shard, key in keys:
        shards_of_key.setdefault(key, set()).add(shard)
    are_alike = any(len(owners) > 1 for owners in shards_of_key.values())
    return [f"{shard.stem}/{key}" if are_alike else key for shard, key in keys], samples


def _members(shard: Path, notes: ReadingNotes) -> list[tuple[str, str, FilePart]]:
    """Return the key, the suffix and the position of every file in a shard, but not of hidden ones."""
    members = []
    try:
        with tarfile.open(shard, "r:") as archive:
            for member in archive:
                if member.size < 0:  # of a damaged header, which tarfile would read again and again
                    raise tarfile.ReadError(f"the size of {member.name} is {member.size}")
                if not member.isfile():
                    continue
                if left_out := next(filter(None, map(reason_left_out, PurePosixPath(member.name).parts)), None):
                    notes.pass_over(left_out, [f"{shard.name}: {member.name}"])
                    continue
                folder, _, base = member.name.rpartition("/")
                stem, dot, suffix = base.partition(".")
                key = f"{folder}/{stem}" if folder else stem
                members.append((key, dot + suffix.lower(), FilePart(shard, member.offset_data, member.size)))
    except (tarfile.TarError, OSError, EOFError, ValueError, OverflowError, RecursionError) as error:
        raise DataError(f"{shard} cannot be read as an uncompressed tar file ({error}): copy it again") from error
    return members


def _label(parts: dict[str, FilePart]) -> Any:
    for suffix in _LABELS:
        if suffix in parts:
            return parts[suffix].read().decode("utf-8", "replace").strip()
    if _METADATA in parts:
        try:
            content = parse_json(parts[_METADATA].read())
        except ValueError:
            return None
        return content.get("label", content.get("cls")) if isinstance(content, dict) else None
    return None
