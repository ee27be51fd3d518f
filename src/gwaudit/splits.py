"""Data sets as they should be: which samples stay, under which labels, in the formats that trainings read."""

import io
import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from gwaudit.durable import write_folder
from gwaudit.errors import DataError
from gwaudit.ranking import Audit
from gwaudit.spreadsheets import write_csv

if TYPE_CHECKING:  # for its type alone: ids can be written without torch
    from gwaudit.datasets import LabeledDataset

Action = Literal["drop", "relabel"]
SplitFormat = Literal["ids", "parquet", "imagefolder"]

_PARQUET_ROWS = 2048


@dataclass(frozen=True, eq=False)
class Split:
    """The samples of a data set that stay, and their labels.

    Attributes:
        ids: [m] int64, ascending.
        labels: [m] int64, which need not be the given ones; [m, C] of 0 and 1 where samples have any number of classes.
        keys: [m] what people know the samples by.
        class_names: C names.
        fingerprint: of the whole data set, under its given labels.
    """

    ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    keys: NDArray[np.object_]
    class_names: tuple[str, ...]
    fingerprint: str


def clean_split(audit: Audit, action: Action) -> Split:
    """The audited data without their suspects ("drop"), or with the labels that the audit suggests ("relabel").

    Where samples have any number of classes, dropped is each sample with a suspect label, and relabelled is each label.
    """
    if audit.label_names is not None:
        return _clean_label_sets(audit, audit.label_names, action)
    labels = audit.by_id("given_label").astype(np.int64)
    suspect = audit.by_id("suspect").astype(bool)
    ids = np.arange(len(labels))
    if action == "drop":
        ids = np.flatnonzero(~suspect)
    else:
        labels[suspect] = audit.by_id("suggested_label")[suspect]
    return Split(ids, labels[ids], audit.by_id("key")[ids], audit.class_names, audit.fingerprint)


def _clean_label_sets(audit: Audit, names: tuple[str, ...], action: Action) -> Split:
    labels = audit.by_id("given_label").astype(np.int64).reshape(-1, len(names))
    suspect = audit.by_id("suspect").astype(bool).reshape(labels.shape)
    ids = np.arange(len(labels))
    if action == "drop":
        ids = np.flatnonzero(~suspect.any(1))
    else:
        labels = np.where(suspect, 1 - labels, labels)
    keys = audit.by_id("key")[:: len(names)]
    return Split(ids, labels[ids], keys[ids], names, audit.fingerprint)


def write_split(
    split: Split,
    folder: Path | str,
    *,
    format: SplitFormat = "ids",
    dataset: "LabeledDataset | None" = None,
    source_root: Path | None = None,
    copy: bool = False,
    replace: bool = False,
) -> Path:
    """Write a split for a training to read.

    Args:
        split: what to write.
        folder: a new folder; it is there whole or not at all.
        format: "ids", the kept ids and their labels (`split.csv`, `ids.npy`, `labels.npy`); "parquet", images, texts
            or features and labels in the Hugging Face layout; "imagefolder", a folder a class, which torchvision's
            ImageFolder reads.
        dataset: the data set that it is a split of; needed for all but "ids".
        source_root: where the samples' keys are paths below; "imagefolder" then links these files.
        copy: copy these files rather than link them.
        replace: put it in the place of an earlier one.

    Returns:
        The folder.

    Raises:
        StoreExistsError: the folder exists.
        DataError: the data set is not the one that was split.
        StoreError: it cannot be written.
    """
    folder = Path(folder)
    if format == "ids":
        return write_folder(folder, lambda target: _write_ids(target, split), replace=replace)
    if dataset is None or dataset.fingerprint != split.fingerprint:
        raise DataError("the data are not those that were audited: give the same source and labels")
    if format == "imagefolder" and split.labels.ndim == 2:
        raise DataError(
            f"a folder a class has no place for the several classes of a sample: write {dataset.name} as ids or parquet"
        )
    if format == "imagefolder" and dataset.modality != "images":
        raise DataError(f"{dataset.name} holds no images: write it as ids or parquet")
    if format == "parquet":
        return write_folder(folder, lambda target: _write_parquet(target, split, dataset), replace=replace)
    return write_folder(folder, lambda target: _write_tree(target, split, dataset, source_root, copy), replace=replace)


def folder_name(class_name: str) -> str:
    """A class name as a folder's name on any system: separators, control and reserved characters become `_`."""
    name = re.sub(r'[\x00-\x1f\x7f<>:"/\\|?*]', "_", class_name).strip(" .")[:100]
    return name or "_"


def _write_ids(target: Path, split: Split) -> None:
    np.save(target / "ids.npy", split.ids)
    np.save(target / "labels.npy", split.labels)
    if split.labels.ndim == 2:
        separator = next((s for s in "|;,/" if not any(s in name for name in split.class_names)), "||")
        sets = [separator.join(split.class_names[label] for label in np.flatnonzero(row)) for row in split.labels]
        frame = pd.DataFrame({"sample_id": split.ids, "key": split.keys, "labels": sets})
    else:
        names = np.array(split.class_names, object)[split.labels]
        frame = pd.DataFrame({"sample_id": split.ids, "key": split.keys, "label": split.labels, "name": names})
    write_csv(frame, target / "split.csv")


def _write_parquet(target: Path, split: Split, dataset: "LabeledDataset") -> None:
    name, feature, kind = _input_column(dataset)
    label = "label"
    of_label: dict[str, Any] = {"_type": "ClassLabel", "names": list(split.class_names)}
    several = split.labels.ndim == 2
    if several:
        label, of_label = "labels", {"_type": "List", "feature": of_label}
    features = {
        name: feature,
        label: of_label,
        "sample_id": {"_type": "Value", "dtype": "int64"},
        "key": {"_type": "Value", "dtype": "string"},
    }
    schema = pa.schema(
        [
            (name, kind),
            (label, pa.list_(pa.int64()) if several else pa.int64()),
            ("sample_id", pa.int64()),
            ("key", pa.string()),
        ],
        metadata={"huggingface": json.dumps({"info": {"features": features}})},
    )
    with pq.ParquetWriter(target / "train-00000-of-00001.parquet", schema, compression="zstd") as writer:
        for start in range(0, len(split.ids), _PARQUET_ROWS):
            rows = slice(start, start + _PARQUET_ROWS)
            inputs = pa.array([_input(dataset, int(i)) for i in split.ids[rows]], kind)
            labels = [np.flatnonzero(row).tolist() for row in split.labels[rows]] if several else split.labels[rows]
            columns = [inputs, labels, split.ids[rows], list(split.keys[rows])]
            writer.write_table(pa.table(columns, schema=schema))


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


def _write_tree(target: Path, split: Split, dataset: "LabeledDataset", source_root: Path | None, copy: bool) -> None:
    names = _distinct_folders(split.class_names)
    for name in names:
        (target / name).mkdir()
    for sample_id, label in zip(split.ids.tolist(), split.labels.tolist(), strict=True):
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
