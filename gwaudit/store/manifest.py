"""What a run is, before its first epoch: `run.json`, the samples' files, and the lock of the one writer."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from filelock import FileLock, Timeout
from numpy.typing import ArrayLike, NDArray

from gwaudit.core.errors import (
    InvalidEpochError,
    StoreBusyError,
    StoreDamagedError,
    StoreExistsError,
    StoreNotFoundError,
    StoreVersionError,
)
from gwaudit.core.files import sync, write_text, writing
from gwaudit.store.block_files import SIGNALS, damaged, write_samples

FORMAT_VERSION = 1
DEFAULT_BLOCK_ROWS = 2**22
PAIR_NAMES = ("absent", "present")
"""What is given of a pair of sample and class, where samples have any number of classes."""
_PARTS = {"run.json", "samples", "epochs", "commits", "checkpoints", "lock"}


def make_run(
    path: Path,
    *,
    given_labels: ArrayLike,
    class_names: Sequence[str],
    keys: Sequence[str] | None,
    split: str | Sequence[str],
    settings: Mapping[str, Any],
    fingerprint: str,
    block_rows: int,
) -> tuple[dict[str, Any], FileLock]:
    """Make the folder of a new run, with the arguments and errors of `TrajectoryStore.create`.

    Returns:
        What its `run.json` holds, and the writer's lock.
    """
    given, width = np.asarray(given_labels), 1
    several = given.ndim == 2
    if several:
        width = len(class_names)
        given = _checked_matrix(given, width).reshape(-1)
    labels = _checked_labels(given, 2 if several else len(class_names))
    n = len(labels) // width
    splits = [split] * n if isinstance(split, str) else list(split)
    names = [str(i) for i in range(n)] if keys is None else list(keys)
    for what, values in (("keys", names), ("splits", splits)):
        if len(values) != n:
            raise InvalidEpochError(f"{len(values)} {what} for {n} labels: one {what[:-1]} a sample is needed")
    found = {entry.name for entry in path.iterdir()} if path.is_dir() else set()
    if path.exists() and ("run.json" in found or not path.is_dir()):
        raise StoreExistsError(
            f"{path} already holds a run: go on with it (--resume), or choose another folder or delete it"
        )
    if found - _PARTS:
        raise StoreExistsError(f"{path} is not empty ({sorted(found)[0]}): choose a new or empty folder")
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)
    lock = acquire(path)
    try:
        with writing(path):
            for part in ("samples", "epochs", "commits", "checkpoints"):
                shutil.rmtree(path / part, ignore_errors=True)
                (path / part).mkdir()
            samples = pa.table({"key": pa.array(names, pa.string()), "split": pa.array(splits, pa.string())})
            files = []
            for block, start in enumerate(range(0, len(labels), block_rows)):
                target = path / "samples" / f"block-{block:06d}.parquet"
                rows = np.arange(start, min(start + block_rows, len(labels)), dtype=np.int64)
                block_samples = samples.take(rows // width)
                table = pa.table(
                    {
                        "sample_id": rows,
                        "key": block_samples["key"],
                        "given_label": labels[rows],
                        "split": block_samples["split"],
                    }
                )
                files.append(asdict(write_samples(path, target, block, table)))
            sync(path / "samples")
            manifest = {
                "format": "gwaudit",
                "format_version": FORMAT_VERSION,
                "n_samples": len(labels),
                "class_names": list(PAIR_NAMES if several else class_names),
                "block_rows": block_rows,
                "signals": {name: dtype.name for name, dtype in SIGNALS.items()},
                "samples": files,
                "settings": dict(settings or {}),
                "fingerprint": fingerprint,
            }
            if several:
                manifest["label_names"] = list(class_names)
            write_text(path / "run.json", json.dumps(manifest, indent=1))
    except BaseException:
        lock.release()
        raise
    return manifest, lock


def read_manifest(path: Path) -> dict[str, Any]:
    """What `run.json` holds.

    Raises:
        StoreNotFoundError: there is no run.
        StoreDamagedError: it is broken, or not of gwaudit.
        StoreVersionError: written by a later version.
    """
    file = path / "run.json"
    try:
        manifest = json.loads(file.read_text())
    except (FileNotFoundError, NotADirectoryError):
        raise StoreNotFoundError(f"{path} holds no run (no {file.name}): check the path") from None
    except (ValueError, OSError) as error:
        raise damaged(file, f"cannot be read ({error})") from error
    if not isinstance(manifest, dict) or manifest.get("format") != "gwaudit":
        raise StoreDamagedError(f"{file} is not of gwaudit: check the path")
    version = manifest.get("format_version")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise StoreVersionError(
            f"{file} has format version {version}, this gwaudit reads up to {FORMAT_VERSION}: upgrade gwaudit"
        )
    expected = {"n_samples": int, "class_names": list, "block_rows": int, "samples": list, "settings": dict}
    for name, kind in expected.items():
        if not isinstance(manifest.get(name), kind):
            raise damaged(file, f"has no valid {name!r}")
    return manifest


def _checked_labels(given_labels: ArrayLike, n_classes: int) -> NDArray[np.int32]:
    labels = np.asarray(given_labels)
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or not len(labels):
        raise InvalidEpochError(f"given labels must be [n] integers, n >= 1, not {labels.dtype} {labels.shape}")
    outside = np.flatnonzero((labels < 0) | (labels >= n_classes))
    if len(outside):
        row = int(outside[0])
        raise InvalidEpochError(f"given label {labels[row]} of sample {row} is outside the {n_classes} classes")
    return labels.astype(np.int32)


def _checked_matrix(given: NDArray[Any], n_classes: int) -> NDArray[np.int64]:
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
    return given.astype(np.int64)


def acquire(path: Path) -> FileLock:
    """The lock of the one writer.

    Raises:
        StoreBusyError: another process has it.
    """
    # The system drops the lock when its process dies, so a killed writer leaves none behind.
    lock = FileLock(path / "lock")
    with writing(path):
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise StoreBusyError(f"{path} is being written by another process: wait for it, or stop it") from None
    return lock
