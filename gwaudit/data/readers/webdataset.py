"""Shards in WebDataset's layout: tar files whose members of one name belong together, keyed by that name."""

import json
import tarfile
from pathlib import Path
from typing import Any

from gwaudit.core.errors import DataError
from gwaudit.data.image_files import EncodedImage, FilePart
from gwaudit.data.inputs import Inputs, Texts
from gwaudit.data.labels import parse_labels
from gwaudit.data.readers.image_folder import EXTENSIONS
from gwaudit.data.readers.raw_samples import RawSamples, source_name

_LABELS = (".cls", ".label")
_METADATA = ".json"
_TEXT = ".txt"


def shard_files(source: Path, split: str) -> list[Path]:
    """The tar files: the file itself, or those of a folder; of the split where files are named for splits."""
    if source.is_file():
        return [source] if source.suffix == ".tar" else []
    found = sorted(source.glob("*.tar"))
    return [path for path in found if path.name.startswith(f"{split}-")] or found


def read_shards(
    files: list[Path], source: Path, split: str, class_names: tuple[str, ...] | None, separator: str | None = None
) -> RawSamples:
    """The samples of all shards, in order; images stay in their shards.

    A sample is an image (`KEY.jpg`) or a text (`KEY.txt`) with its label: `KEY.cls`, or `label` or `cls` of `KEY.json`;
    of any number of classes where that is a list, or has the separator between them.

    Raises:
        DataError: a shard cannot be read, or holds no samples.
    """
    samples: dict[str, dict[str, FilePart]] = {}
    broken: dict[int, str] = {}
    for file in files:
        for key, extension, part in _members(file):
            parts = samples.setdefault(key, {})
            if extension in parts:
                broken[list(samples).index(key)] = f"key {key!r} has two {extension} ({part.path.name})"
            parts[extension] = part
    if not samples:
        raise DataError(f"{source} holds no samples: expected KEY.jpg and KEY.cls in tar files")
    items: list[EncodedImage] = []
    texts: list[str] = []
    labels: list[Any] = []
    for row, (key, parts) in enumerate(samples.items()):
        image = next((part for extension, part in parts.items() if extension in EXTENSIONS), None)
        items.append(image or b"")
        texts.append("" if image or _TEXT not in parts else parts[_TEXT].read().decode("utf-8", "replace"))
        if not (items[row] or texts[row].strip()):
            broken[row] = f"{key!r} has neither an image nor a text"
        labels.append(_label(parts))
    if any(texts) and any(items):
        raise DataError(f"{source} mixes images and texts: audit them apart")
    inputs: Inputs | list[EncodedImage] = Texts(texts) if any(texts) else items
    numbers, names, wrong = parse_labels(labels, class_names, separator)
    return RawSamples(source_name(source), split, inputs, numbers, names, list(samples), {**wrong, **broken})


def _members(file: Path) -> list[tuple[str, str, FilePart]]:
    """Key, extension and place of every file in a shard."""
    members = []
    try:
        with tarfile.open(file, "r:") as shard:
            for member in shard:
                if not member.isfile():
                    continue
                folder, _, base = member.name.rpartition("/")
                stem, dot, extension = base.partition(".")
                key = f"{folder}/{stem}" if folder else stem
                members.append((key, dot + extension.lower(), FilePart(file, member.offset_data, member.size)))
    except (tarfile.TarError, OSError, EOFError) as error:
        raise DataError(f"{file} cannot be read as an uncompressed tar file ({error}): fetch it anew") from error
    return members


def _label(parts: dict[str, FilePart]) -> Any:
    for extension in _LABELS:
        if extension in parts:
            return parts[extension].read().decode("utf-8", "replace").strip()
    if _METADATA in parts:
        try:
            content = json.loads(parts[_METADATA].read())
        except ValueError:
            return None
        return content.get("label", content.get("cls")) if isinstance(content, dict) else None
    return None
