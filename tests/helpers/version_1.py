"""Write small runs of format version 1, as gwaudit wrote them before version 2."""

import hashlib
import json
from dataclasses import asdict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gwaudit.store.block_files import SIGNALS, FileRecord

NAMES = {"alternative_label": "counterfactual_label", "alternative_alignment": "counterfactual_alignment"}


def write_version_1(path, given_labels, class_names, epochs, *, block_rows=4, keys=None, final_sweeps=0):
    """Write a run of version 1; epochs are mappings of today's signals, [n_rows] each."""
    given = np.asarray(given_labels)
    is_multi_label = given.ndim == 2
    width = given.shape[1] if is_multi_label else 1
    n_rows = given.size
    for folder in ("samples", "epochs", "commits", "checkpoints"):
        (path / folder).mkdir(parents=True)
    keys = [f"key {sample}" for sample in range(n_rows // width)] if keys is None else keys
    samples = {
        "sample_id": np.arange(n_rows),
        "key": np.repeat(keys, width),
        "given_label": given.reshape(-1).astype(np.int32),
        "split": np.repeat("train", n_rows),
    }
    manifest = {
        "format": "gwaudit",
        "format_version": 1,
        "n_samples": n_rows,
        "class_names": ["absent", "present"] if is_multi_label else list(class_names),
        "block_rows": block_rows,
        "signals": {NAMES.get(name, name): dtype.name for name, dtype in SIGNALS.items()},
        "samples": _write_blocks(path, path / "samples", samples, block_rows),
        "settings": {
            "training": {"epochs": len(epochs) - final_sweeps, "final_sweeps": final_sweeps, "record": "sweep"}
        },
        "fingerprint": "old",
    }
    if is_multi_label:
        manifest["label_names"] = list(class_names)
    (path / "run.json").write_text(json.dumps(manifest, indent=1))
    for epoch, signals in enumerate(epochs):
        folder = path / "epochs" / f"epoch-{epoch:05d}" / "attempt"
        folder.mkdir(parents=True)
        columns = {"sample_id": np.arange(n_rows)} | {NAMES.get(name, name): signals[name] for name in SIGNALS}
        commit = {
            "epoch": epoch,
            "attempt": "attempt",
            "files": _write_blocks(path, folder, columns, block_rows),
            "missing": 0,
            "repeated": 0,
            "metrics": {"gwa": 0.5, "kurtosis": None}
            | ({"final_sweep": 0} if epoch >= len(epochs) - final_sweeps else {}),
            "committed_at": "2025-01-01T00:00:00+00:00",
        }
        (path / "commits" / f"epoch-{epoch:05d}.json").write_text(json.dumps(commit))


def _write_blocks(run, folder, columns, block_rows):
    records = []
    for block, start in enumerate(range(0, len(columns["sample_id"]), block_rows)):
        file = folder / f"block-{block:06d}.parquet"
        table = pa.table({name: values[start : start + block_rows] for name, values in columns.items()})
        pq.write_table(table, file)
        data = file.read_bytes()
        record = FileRecord(
            file.relative_to(run).as_posix(), block, table.num_rows, len(data), hashlib.sha256(data).hexdigest()
        )
        records.append(asdict(record))
    return records
