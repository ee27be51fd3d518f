"""What leaves an audit: the suspects for people to check, and the cleaned splits to train on."""

import csv
import io
import json
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from gwaudit.durable import TEMPORARY, write_atomically
from gwaudit.errors import DataError, StoreError, StoreExistsError
from gwaudit.noise import class_health, transition_matrix
from gwaudit.ranking import Audit

if TYPE_CHECKING:  # for its type alone: an audit can be exported as ids without torch
    from gwaudit.datasets import LabeledDataset, SkippedSample

Action = Literal["drop", "relabel"]
SplitFormat = Literal["ids", "parquet", "imagefolder"]

SUSPECT_COLUMNS = (
    "rank", "sample_id", "key", "given_label", "given_name", "suggested_label", "suggested_name",
    "score", "probability_wrong", "mean_alignment", "share_negative", "category",
)  # fmt: skip

_PARQUET_ROWS = 2048


def write_suspects(
    audit: Audit, path: Path | str, *, top: int | None = None, texts: Sequence[str] | None = None
) -> Path:
    """Write the suspects, most suspicious first, as a CSV that a spreadsheet opens well.

    UTF-8 with a byte order mark, without which Excel takes it for another encoding. Text that a spreadsheet would
    run as a formula gets an apostrophe in front.

    Args:
        audit: whose suspects.
        path: of the file; it is there whole or not at all.
        top: write so many samples from the top of the ranking instead, suspects or not.
        texts: [n] what the samples say, for a column `text` behind the key.

    Raises:
        StoreError: it cannot be written.
    """
    path = Path(path)
    frame = audit.suspects if top is None else audit.frame.head(top)
    frame = frame[list(SUSPECT_COLUMNS)].copy()
    if texts is not None:
        frame.insert(3, "text", [texts[sample_id] for sample_id in frame["sample_id"]])
    for column in ("key", "given_name", "suggested_name", *([] if texts is None else ["text"])):
        frame[column] = frame[column].astype(object).map(_without_formula)
    text = frame.round(6).to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8-sig"))
    return path


def write_skipped(skipped: "Sequence[SkippedSample]", path: Path | str) -> Path:
    """Write the rows of a source that were left out, and why, as a CSV.

    Raises:
        StoreError: it cannot be written.
    """
    rows = [(sample.row, _without_formula(sample.key), _without_formula(sample.reason)) for sample in skipped]
    frame = pd.DataFrame(rows, columns=["row", "key", "reason"])
    text = frame.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    with _writing(Path(path)):
        write_atomically(Path(path), lambda temporary: temporary.write_text(text, encoding="utf-8-sig"))
    return Path(path)


def write_noise(audit: Audit, folder: Path | str) -> tuple[Path, Path]:
    """Write `transition_matrix.csv` and `class_health.csv`, as `gwaudit.noise` has them, into a folder.

    Raises:
        StoreError: they cannot be written.
    """
    paths = (Path(folder) / "transition_matrix.csv", Path(folder) / "class_health.csv")
    tables = (transition_matrix(audit), class_health(audit).sort_values("share_wrong", ascending=False))
    for path, table in zip(paths, tables, strict=True):
        named = table.rename(index=_without_formula, columns=_without_formula)
        if "mistaken_for" in named:
            named["mistaken_for"] = named["mistaken_for"].map(_without_formula)
        text = named.round(6).to_csv(lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
        with _writing(path):
            write_atomically(path, partial(Path.write_text, data=text, encoding="utf-8-sig"))
    return paths


def write_clean_split(
    audit: Audit,
    folder: Path | str,
    *,
    action: Action,
    format: SplitFormat = "ids",
    dataset: "LabeledDataset | None" = None,
    source_root: Path | None = None,
    copy: bool = False,
    replace: bool = False,
) -> Path:
    """Write the data set as the audit would have it.

    Args:
        audit: whose suspects are left out or relabelled.
        folder: a new folder; it is there whole or not at all.
        action: "drop" the suspects, or "relabel" them to their suggestion.
        format: "ids", the kept ids and their labels (`split.csv`, `ids.npy`, `labels.npy`); "parquet", images, texts
            or features and labels in the Hugging Face layout; "imagefolder", a folder a class, which torchvision's
            ImageFolder reads.
        dataset: the audited data; needed for all but "ids".
        source_root: where the samples' keys are paths below; "imagefolder" then links these files.
        copy: copy these files rather than link them.
        replace: put it in the place of an earlier one.

    Returns:
        The folder.

    Raises:
        StoreExistsError: the folder exists.
        DataError: the data set is not the audited one.
        StoreError: it cannot be written.
    """
    folder = Path(folder)
    ids, labels = clean_labels(audit, action)
    if format == "ids":
        keys = audit.by_id("key")[ids]
        return _write_folder(folder, replace, lambda target: _write_ids(target, audit, ids, labels, keys))
    if dataset is None or dataset.fingerprint != audit.fingerprint:
        raise DataError(f"the data are not those of the audit in {audit.run}: give the same source and labels")
    if format == "imagefolder" and dataset.modality != "images":
        raise DataError(f"{dataset.name} holds no images: write it as ids or parquet")
    if format == "parquet":
        return _write_folder(folder, replace, lambda target: _write_parquet(target, dataset, ids, labels))
    return _write_folder(folder, replace, lambda target: _write_tree(target, dataset, ids, labels, source_root, copy))


def clean_labels(audit: Audit, action: Action) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The ids that stay, ascending, and the label of each."""
    labels = audit.by_id("given_label").astype(np.int64)
    suspect = audit.by_id("suspect").astype(bool)
    if action == "drop":
        ids = np.flatnonzero(~suspect)
        return ids, labels[ids]
    labels[suspect] = audit.by_id("suggested_label")[suspect]
    return np.arange(len(labels)), labels


def folder_name(class_name: str) -> str:
    """A class name as a folder's name on any system: separators, control and reserved characters become `_`."""
    name = re.sub(r'[\x00-\x1f\x7f<>:"/\\|?*]', "_", class_name).strip(" .")[:100]
    return name or "_"


def _without_formula(text: object) -> str:
    value = "" if text is None else str(text)
    return f"'{value}" if value.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else value


def _write_ids(
    target: Path, audit: Audit, ids: NDArray[np.int64], labels: NDArray[np.int64], keys: NDArray[np.object_]
) -> None:
    np.save(target / "ids.npy", ids)
    np.save(target / "labels.npy", labels)
    names = np.array(audit.class_names, object)[labels]
    frame = pd.DataFrame({"sample_id": ids, "key": keys, "label": labels, "name": names})
    for column in ("key", "name"):
        frame[column] = frame[column].astype(object).map(_without_formula)
    frame.to_csv(target / "split.csv", index=False, encoding="utf-8-sig", quoting=csv.QUOTE_NONNUMERIC)


def _write_parquet(target: Path, dataset: "LabeledDataset", ids: NDArray[np.int64], labels: NDArray[np.int64]) -> None:
    name, feature, kind = _input_column(dataset)
    features = {
        name: feature,
        "label": {"_type": "ClassLabel", "names": list(dataset.class_names)},
        "sample_id": {"_type": "Value", "dtype": "int64"},
        "key": {"_type": "Value", "dtype": "string"},
    }
    schema = pa.schema(
        [
            (name, kind),
            ("label", pa.int64()),
            ("sample_id", pa.int64()),
            ("key", pa.string()),
        ],
        metadata={"huggingface": json.dumps({"info": {"features": features}})},
    )
    with pq.ParquetWriter(target / "train-00000-of-00001.parquet", schema, compression="zstd") as writer:
        for start in range(0, len(ids), _PARQUET_ROWS):
            rows = slice(start, start + _PARQUET_ROWS)
            inputs = pa.array([_input(dataset, int(i)) for i in ids[rows]], kind)
            keys = [dataset.keys[i] for i in ids[rows]]
            writer.write_table(pa.table([inputs, labels[rows], ids[rows], keys], schema=schema))


def _input_column(dataset: "LabeledDataset") -> tuple[str, dict[str, Any], pa.DataType]:
    """Name, Hugging Face feature and type of the column that holds the inputs."""
    if dataset.texts is not None:
        return "text", {"_type": "Value", "dtype": "string"}, pa.string()
    if dataset.modality == "features":
        number = {"_type": "Value", "dtype": "float32"}
        return "features", {"_type": "List", "feature": number}, pa.list_(pa.float32())
    return "image", {"_type": "Image"}, pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def _input(dataset: "LabeledDataset", sample_id: int) -> Any:
    if dataset.texts is not None:
        return dataset.texts[sample_id]
    if dataset.modality == "features":
        return dataset[sample_id][0].tolist()
    return {"bytes": _png(dataset, sample_id), "path": None}


def _write_tree(
    target: Path,
    dataset: "LabeledDataset",
    ids: NDArray[np.int64],
    labels: NDArray[np.int64],
    source_root: Path | None,
    copy: bool,
) -> None:
    names = _distinct_folders(dataset.class_names)
    for name in names:
        (target / name).mkdir()
    for sample_id, label in zip(ids.tolist(), labels.tolist(), strict=True):
        original = None if source_root is None else source_root / dataset.keys[sample_id]
        if original is None or not original.is_file():
            (target / names[label] / f"{sample_id:07d}.png").write_bytes(_png(dataset, sample_id))
            continue
        # The id in front keeps files of one name apart that came from different folders.
        place = target / names[label] / f"{sample_id:07d}_{original.name}"
        if copy:
            shutil.copyfile(original, place)
        else:
            place.symlink_to(original.resolve())


def _distinct_folders(class_names: tuple[str, ...]) -> list[str]:
    names: list[str] = []
    for label, class_name in enumerate(class_names):
        name = folder_name(class_name)
        taken = {other.casefold() for other in names}
        names.append(name if name.casefold() not in taken else f"{name}_{label}")
    return names


def _png(dataset: "LabeledDataset", sample_id: int) -> bytes:
    content = io.BytesIO()
    dataset.image(sample_id).save(content, "PNG")
    return content.getvalue()


def _write_folder(folder: Path, replace: bool, write: Callable[[Path], None]) -> Path:
    if folder.exists() and not replace:
        raise StoreExistsError(f"{folder} exists: choose another folder, or delete it")
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}{TEMPORARY}")
    try:
        with _writing(folder):
            temporary.mkdir(parents=True)
            write(temporary)
            if replace:
                shutil.rmtree(folder, ignore_errors=True)
            temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise StoreError(f"cannot write {path}: {reason}; make room or choose another folder") from error
