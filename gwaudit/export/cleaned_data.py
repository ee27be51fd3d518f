"""Data sets as they should be: which samples stay, under which labels, in the formats that trainings read."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from gwaudit.analysis.audit import Audit
from gwaudit.core.errors import DataError
from gwaudit.core.files import write_folder
from gwaudit.core.safe_names import distinct_names, folder_name
from gwaudit.core.spreadsheets import write_csv
from gwaudit.data.image_files import image_file_of

if TYPE_CHECKING:  # for its type alone: ids can be written without torch
    from gwaudit.data.dataset import LabeledDataset

Action = Literal["drop", "relabel"]
CleanedFormat = Literal["ids", "hf", "imagefolder"]

_PARQUET_ROWS = 2048


@dataclass(frozen=True, eq=False)
class CleanedData:
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


def clean_data(audit: Audit, action: Action) -> CleanedData:
    """The audited data without their suspects ("drop"), or with the labels that the audit suggests ("relabel").

    Where samples have any number of classes, dropped is each sample with a suspect label, and relabelled is each label.
    """
    if audit.is_multi_label:
        return _clean_label_sets(audit, action)
    labels = audit.by_id("given_label").astype(np.int64)
    suspect = audit.by_id("suspect").astype(bool)
    ids = np.arange(len(labels))
    if action == "drop":
        ids = np.flatnonzero(~suspect)
    else:
        labels[suspect] = audit.by_id("suggested_label")[suspect]
    return CleanedData(ids, labels[ids], audit.by_id("key")[ids], audit.class_names, audit.fingerprint)


def _clean_label_sets(audit: Audit, action: Action) -> CleanedData:
    labels = audit.by_id("given_label").astype(np.int64).reshape(-1, len(audit.class_names))
    suspect = audit.by_id("suspect").astype(bool).reshape(labels.shape)
    ids = np.arange(len(labels))
    if action == "drop":
        ids = np.flatnonzero(~suspect.any(1))
    else:
        labels = np.where(suspect, 1 - labels, labels)
    keys = audit.by_id("key")[:: len(audit.class_names)]
    return CleanedData(ids, labels[ids], keys[ids], audit.class_names, audit.fingerprint)


def write_cleaned_data(
    split: CleanedData,
    folder: Path | str,
    *,
    format: CleanedFormat = "ids",
    dataset: "LabeledDataset | None" = None,
    source_root: Path | None = None,
    copy: bool = False,
    replace: bool = False,
) -> Path:
    """Write a split for a training to read.

    Args:
        split: what to write.
        folder: a new folder; it is there whole or not at all.
        format: "ids", the kept ids and their labels (`split.csv`, `ids.npy`, `labels.npy`); "hf", images, texts or
            features and labels in the Parquet layout of Hugging Face; "imagefolder", a folder a class, which
            torchvision's ImageFolder reads.
        dataset: the data set that it is a split of; needed for all but "ids".
        source_root: where the samples' keys are paths below: these files are then written, or linked, as they are.
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
            f"a folder a class has no place for the several classes of a sample: write {dataset.name} as ids or hf"
        )
    if format == "imagefolder" and dataset.modality != "images":
        raise DataError(f"{dataset.name} holds no images: write it as ids or hf")
    if format == "hf":
        return write_folder(folder, lambda target: _write_parquet(target, split, dataset, source_root), replace=replace)
    return write_folder(folder, lambda target: _write_tree(target, split, dataset, source_root, copy), replace=replace)


def _write_ids(target: Path, split: CleanedData) -> None:
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


def _write_parquet(target: Path, split: CleanedData, dataset: "LabeledDataset", source_root: Path | None) -> None:
    name, feature, kind = _input_column(dataset)
    several = split.labels.ndim == 2
    of_label: dict[str, Any] = {"_type": "ClassLabel", "names": list(split.class_names)}
    label, given, label_kind = "label", "given_label", pa.int64()
    if several:
        label, given, label_kind = "labels", "given_labels", pa.list_(pa.int64())
        of_label = {"_type": "List", "feature": of_label}
    features = {
        name: feature,
        label: of_label,
        "sample_id": {"_type": "Value", "dtype": "int64"},
        "key": {"_type": "Value", "dtype": "string"},
        given: of_label,
    }
    schema = pa.schema(
        [(name, kind), (label, label_kind), ("sample_id", pa.int64()), ("key", pa.string()), (given, label_kind)],
        metadata={"huggingface": json.dumps({"info": {"features": features}})},
    )
    with pq.ParquetWriter(target / "train-00000-of-00001.parquet", schema, compression="zstd") as writer:
        for start in range(0, len(split.ids), _PARQUET_ROWS):
            rows = slice(start, start + _PARQUET_ROWS)
            ids = split.ids[rows]
            inputs = pa.array([_input(dataset, i, source_root) for i in ids.tolist()], kind)
            labels = [
                [np.flatnonzero(row).tolist() for row in values] if several else values
                for values in (split.labels[rows], dataset.labels[ids])
            ]
            columns = [inputs, labels[0], ids, list(split.keys[rows]), labels[1]]
            writer.write_table(pa.table(columns, schema=schema))


def _input_column(dataset: "LabeledDataset") -> tuple[str, dict[str, Any], pa.DataType]:
    """Name, Hugging Face feature and type of the column that holds the inputs."""
    if dataset.texts is not None:
        return "text", {"_type": "Value", "dtype": "string"}, pa.string()
    if dataset.modality == "features":
        number = {"_type": "Value", "dtype": "float32"}
        return "features", {"_type": "List", "feature": number}, pa.list_(pa.float32())
    return "image", {"_type": "Image"}, pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def _input(dataset: "LabeledDataset", sample_id: int, source_root: Path | None) -> Any:
    if dataset.texts is not None:
        return dataset.texts[sample_id]
    if dataset.modality == "features":
        return dataset[sample_id][0].tolist()
    with image_file_of(dataset, sample_id, source_root).open() as file:
        return {"bytes": file.read(), "path": None}


def _write_tree(
    target: Path, split: CleanedData, dataset: "LabeledDataset", source_root: Path | None, copy: bool
) -> None:
    names = distinct_names(split.class_names, folder_name, alike=str.casefold)
    for name in names:
        (target / name).mkdir()
    for sample_id, label in zip(split.ids.tolist(), split.labels.tolist(), strict=True):
        picture = image_file_of(dataset, sample_id, source_root)
        # The id in front keeps files of one name apart that came from different folders.
        name = f"_{picture.source.name}" if isinstance(picture.source, Path) else picture.suffix
        picture.place(target / names[label] / f"{sample_id:07d}{name}", copy=copy)
