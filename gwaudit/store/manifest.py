"""Make, read and lock the folder of a run: `run.json`, the samples' files, and the lock of the one writer."""

import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args
from weakref import WeakValueDictionary

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from gwaudit.core.errors import (
    InvalidEpochError,
    SettingsError,
    StoreDamagedError,
    StoreError,
    StoreExistsError,
    StoreNotFoundError,
    StoreVersionError,
)
from gwaudit.core.files import is_absent, sync, writing
from gwaudit.core.json import read_json, sealed, unsealed, write_json
from gwaudit.core.locks import Lock, acquire_lock
from gwaudit.core.origins import MARKER, withdraw
from gwaudit.core.outputs import RECORDED, require_folder
from gwaudit.core.partial_files import TEMPORARY
from gwaudit.core.settings import Alignment
from gwaudit.store import version_1
from gwaudit.store.block_files import SIGNALS, FileRecord, damaged, write_samples
from gwaudit.store.commits import committed_epochs
from gwaudit.store.layout import FORMAT_VERSION, RunLayout
from gwaudit.store.working_copies import names_at_origin, refreshed

_CONTENTS = RECORDED | {MARKER}
_PARTS_OF_EPOCHS = ("epochs", "commits", "checkpoints")

_FIELDS: dict[str, type] = {
    "format": str, "format_version": int, "n_samples": int, "class_names": list, "is_multi_label": bool,
    "block_rows": int, "signals": dict, "samples": list, "settings": dict, "fingerprint": str,
}  # fmt: skip
"""The fields of `run.json` and their types, without `alignment`, which runs of before there was a choice lack."""


def make_run(
    path: Path,
    *,
    given_labels: ArrayLike,
    class_names: Sequence[str],
    keys: Sequence[str | os.PathLike[str]] | None,
    split: str | Sequence[str],
    settings: Mapping[str, Any],
    fingerprint: str,
    alignment: Alignment,
    block_rows: int,
) -> tuple[dict[str, Any], Lock]:
    """Make the folder of a new run, with the arguments and errors of `TrajectoryStore.create`.

    Returns:
        The content of its `run.json`, and the writer's lock.
    """
    if alignment not in get_args(Alignment):
        raise SettingsError(f"`alignment` must be one of {', '.join(get_args(Alignment))}, not {alignment!r}")
    try:
        labels = np.asarray(given_labels)
    except (RuntimeError, TypeError, ValueError) as error:  # a tensor that requires grad or is on a GPU; a ragged list
        raise InvalidEpochError(f"given labels cannot be made an array of NumPy: {error}") from error
    is_multi_label = labels.ndim == 2
    labels = _checked_matrix(labels, len(class_names)) if is_multi_label else _checked_labels(labels, len(class_names))
    n = len(labels)
    if repeated := [name for name, count in Counter(class_names).items() if count > 1]:
        raise InvalidEpochError(f"two classes have the name {repeated[0]!r}: give each class a name of its own")
    layout = RunLayout(path, n, tuple(class_names), is_multi_label, block_rows)
    splits = split if isinstance(split, str) else list(split)
    names = None if keys is None else checked_keys(keys)
    for what, values in (("keys", names), ("splits", splits)):
        if isinstance(values, list) and len(values) != n:
            raise InvalidEpochError(f"{len(values)} {what} for {n} labels: one {what[:-1]} a sample is needed")
    require_free(path)
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)
    lock = acquire(path)
    try:
        require_free(path)  # again: another process may have made a run meanwhile
        with writing(path):
            withdraw(*(path / part for part in ("samples", *_PARTS_OF_EPOCHS)))
            for part in ("samples", *_PARTS_OF_EPOCHS):
                shutil.rmtree(path / part, ignore_errors=True)
                (path / part).mkdir()
            files = _write_all_samples(layout, names, splits, labels.reshape(-1))
            manifest = {
                "format": "gwaudit",
                "format_version": FORMAT_VERSION,
                "n_samples": n,
                "class_names": list(class_names),
                "is_multi_label": is_multi_label,
                "block_rows": block_rows,
                "signals": {name: dtype.name for name, dtype in SIGNALS.items()},
                "samples": [asdict(file) for file in files],
                "settings": dict(settings or {}),
                "fingerprint": fingerprint,
                "alignment": alignment,
            }
            write_json(path / "run.json", sealed(manifest))
            sync(path.parent)
    except BaseException:
        lock.release()
        raise
    return manifest, lock


def checked_keys(keys: Iterable[Any]) -> list[str]:
    """Return the keys of the samples as text.

    Args:
        keys: [n] texts or paths.

    Raises:
        InvalidEpochError: A key is neither text nor path, is not UTF-8, or is given to several samples.

    Example:
        >>> checked_keys([Path("cat/1.png"), "cat/2.png"])
        ['cat/1.png', 'cat/2.png']
    """
    names = []
    for sample, key in enumerate(keys):
        name = os.fspath(key) if isinstance(key, os.PathLike) else key
        if not isinstance(name, str):
            raise InvalidEpochError(
                f"the key of sample {sample} is {key!r:.80} ({type(key).__name__}): keys are texts or paths; convert "
                "numbers by str(), and observe by those texts, as integers in observe() are sample ids"
            )
        try:
            name.encode()
        except UnicodeEncodeError:
            raise InvalidEpochError(
                f"the key of sample {sample}, {name!r:.80}, cannot be written as UTF-8: rename it"
            ) from None
        names.append(str(name))
    if len(set(names)) < len(names):
        counts = Counter(names)
        repeated = [name for name, count in counts.items() if count > 1]
        first, second = [sample for sample, name in enumerate(names) if name == repeated[0]][:2]
        raise InvalidEpochError(
            f"the key {repeated[0]!r} is given to {counts[repeated[0]]} samples (the first are {first} and {second})"
            + (f", and {len(repeated) - 1} more keys to several, such as {repeated[1]!r}" if repeated[1:] else "")
            + ": a key stands for one sample; make the keys unique, or leave `keys` out for the ids"
        )
    return names


def read_manifest(path: Path) -> dict[str, Any]:
    """Return the content of `run.json`, under the names of today where the run is of version 1.

    Raises:
        StoreNotFoundError: There is no run.
        StoreDamagedError: The file is broken, or not of gwaudit.
        StoreVersionError: The run was written by a later version.
    """
    file = path / "run.json"
    try:
        manifest = read_json(file)
    except (ValueError, OSError) as error:
        if isinstance(error, OSError) and is_absent(error):
            _require_no_epochs(path)
            raise StoreNotFoundError(f"{path} holds no run (no {file.name}): check the path") from None
        raise damaged(file, f"cannot be read ({error})") from error
    if manifest.get("format") != "gwaudit":
        raise StoreDamagedError(f"{file} is not of gwaudit: check the path")
    version = manifest.get("format_version")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise StoreVersionError(
            f"{file} has format version {version}, this gwaudit reads up to {FORMAT_VERSION}: upgrade gwaudit"
        )
    try:
        manifest = unsealed(manifest)
    except ValueError as error:
        raise damaged(file, f"cannot be read ({error})") from error
    content: dict[str, Any] = version_1.upgrade_manifest(manifest) if version == version_1.VERSION else manifest
    for name, kind in _FIELDS.items():
        if not isinstance(content.get(name), kind):
            raise damaged(file, f"has no valid {name!r}")
    if recorded_alignment(content) not in get_args(Alignment):
        raise damaged(file, "has no valid 'alignment'")
    if unknown := content.keys() - _FIELDS.keys() - {"alignment"}:  # such as a seal whose name is damaged
        raise damaged(file, f"has an unknown field {min(unknown)!r}")
    return content


def recorded_alignment(manifest: Mapping[str, Any]) -> Alignment:
    """Return the parameters of the head that a run's alignments are computed with: its weight only without the field.

    Args:
        manifest: The content of `run.json`.
    """
    alignment: Alignment = manifest.get("alignment", "weight")
    return alignment


def recorded_samples(manifest: Mapping[str, Any], layout: RunLayout) -> list[FileRecord]:
    """Return the files of the columns that do not change over the epochs, one a block.

    Args:
        manifest: The content of `run.json`.
        layout: The run's.

    Raises:
        StoreDamagedError: `run.json` names other ones.
    """
    try:
        files = [FileRecord(**record) for record in manifest["samples"]]
    except TypeError as error:
        raise damaged(layout.path / "run.json", f"has no valid 'samples' ({error})") from None
    if len(files) != layout.n_blocks:
        raise damaged(layout.path / "run.json", f"names {len(files)} files of samples for {layout.n_blocks} blocks")
    return files


def acquire(path: Path) -> Lock:
    """Acquire the lock of the one writer of a run.

    Raises:
        StoreBusyError: Another process has it.
    """
    with refreshed(path):
        lock = acquire_lock(path / "lock", _busy(path))
    _held[path.resolve()] = lock
    return lock


# The runs that this process holds open for writing.
_held: WeakValueDictionary[Path, Lock] = WeakValueDictionary()


def _busy(path: Path) -> str:
    """Return the message for a run whose lock is held."""
    held = _held.get(path.resolve())
    if held is not None and held.is_locked:
        return (
            f"{path} is open for writing in this process already, as after a notebook cell that ran before: go on with "
            "that store, or close() it first"
        )
    distributed = sys.modules.get("torch.distributed")  # the store does not import torch
    if (distributed is not None and distributed.is_available() and distributed.is_initialized()) or int(
        os.environ.get("WORLD_SIZE", "1")
    ) > 1:
        return (
            f"{path} is being written by another process: if that is another rank of this training, open the run on "
            "every rank with gwaudit.shared_store(lambda: TrajectoryStore.create(...)); otherwise wait for it, or stop "
            "it"
        )
    return f"{path} is being written by another process: wait for it, or stop it"


def require_free(path: Path) -> None:
    """Raise an error where no new run can be made: its place is no folder, or holds anything but a creation cut short.

    Raises:
        StoreExistsError: The folder holds a run with epochs, or something else; or a file is there.
        StoreDamagedError: It holds the epochs of a run whose `run.json` is missing.
        StoreError: It cannot be written to.
    """
    require_folder(path)
    names = {entry.name for entry in path.iterdir()} if path.is_dir() else set()
    names |= names_at_origin(path)
    if "run.json" in names and not _is_without_epochs(path):
        raise StoreExistsError(
            f"{path} already holds a run: continue it (`resume=True`; in a loop of your own, "
            f"TrajectoryStore.open({os.fspath(path)!r}, writable=True)), choose another folder, or delete it"
        )
    if "run.json" not in names:
        _require_no_epochs(path)
    others = {name for name in names - _CONTENTS if not name.endswith(TEMPORARY)}
    if others:
        raise StoreExistsError(f"{path} is not empty ({min(others)}): choose a new or empty folder")


def _is_without_epochs(path: Path) -> bool:
    """Return whether a folder holds a run of gwaudit in which no epoch, and no checkpoint, was ever begun."""
    try:
        read_manifest(path)
    except StoreError:
        return False
    return names_at_origin(path).isdisjoint(_PARTS_OF_EPOCHS) and not any(
        file.is_file() for part in _PARTS_OF_EPOCHS for file in (path / part).rglob("*")
    )


def _require_no_epochs(path: Path) -> None:
    """Raise StoreDamagedError where a folder without `run.json` holds epochs, which a creation cut short has not."""
    if path.is_dir() and committed_epochs(path):
        raise damaged(path / "run.json", "is missing, though epochs are committed")


def _write_all_samples(
    layout: RunLayout, keys: list[str] | None, splits: list[str] | str, given_labels: NDArray[np.int32]
) -> list[FileRecord]:
    """Write the samples' files, one a block; of what is the same for all samples one block is in memory.

    Args:
        layout: The run's.
        keys: The key of each sample, [n]; None for the ids.
        splits: The split of each sample, [n], or of all.
        given_labels: The label of each row of the run, [n_rows].
    """
    files = []
    for block in range(layout.n_blocks):
        rows = np.array(layout.block_range(block), dtype=np.int64)
        sample_ids = layout.sample_of(rows)
        columns: dict[str, Any] = {layout.id_column: rows, "sample_id": sample_ids}
        if layout.is_multi_label:
            columns["class_id"] = layout.class_of(rows).astype(np.int32)
        first, of_row = int(sample_ids[0]), pa.array(sample_ids - sample_ids[0])
        samples = slice(first, int(sample_ids[-1]) + 1)
        key = pa.array(map(str, range(samples.start, samples.stop)) if keys is None else keys[samples], pa.string())
        columns |= {"key": key.take(of_row), "given_label": given_labels[rows]}
        if isinstance(splits, str):
            columns["split"] = pa.repeat(pa.scalar(splits, pa.string()), len(rows))
        else:
            columns["split"] = pa.array(splits[samples], pa.string()).take(of_row)
        target = layout.path / "samples" / f"block-{block:06d}.parquet"
        files.append(write_samples(layout, target, block, pa.table(columns)))
    sync(layout.path / "samples")
    return files


def _checked_labels(labels: NDArray[Any], n_classes: int) -> NDArray[np.int32]:
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or not len(labels):
        raise InvalidEpochError(
            f"given labels must be [n] integers, n >= 1, not {labels.dtype} {labels.shape}: the index of each sample's "
            "class in `class_names`"
        )
    outside = np.flatnonzero((labels < 0) | (labels >= n_classes))
    if len(outside):
        row = int(outside[0])
        raise InvalidEpochError(f"given label {labels[row]} of sample {row} is outside the {n_classes} classes")
    return labels.astype(np.int32)


def _checked_matrix(given: NDArray[Any], n_classes: int) -> NDArray[np.int32]:
    if given.shape[1] != n_classes or given.dtype.kind not in "iubf":
        raise InvalidEpochError(
            f"given labels must be [n] integers, or [n, {n_classes}] of 0 and 1, not {given.dtype} {given.shape}"
        )
    other = np.argwhere((given != 0) & (given != 1))
    if len(other):
        sample, label = other[0].tolist()
        raise InvalidEpochError(
            f"given label {given[sample, label]} of sample {sample} and class {label} is not 0 or 1"
        )
    return given.astype(np.int32)
