"""Write cleaned data as Parquet in the layout of Hugging Face's `datasets`, with its features as metadata."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from gwaudit.export.cleaned_data import CleanedData
from gwaudit.export.original_data import OriginalData

if TYPE_CHECKING:  # for its type alone
    from gwaudit.data.dataset import LabeledDataset

_BATCH = 2048


def write(cleaned: CleanedData, folder: Path, original: OriginalData) -> None:
    """Write images, texts or features with their labels into an empty folder.

    Raises:
        DataError: the data are not those that were audited, or an image can no longer be read.
    """
    dataset = original.require(cleaned.fingerprint)
    schema = _schema(cleaned, dataset)
    with pq.ParquetWriter(folder / "train-00000-of-00001.parquet", schema, compression="zstd") as writer:
        for start in range(0, len(cleaned.ids), _BATCH):
            rows = slice(start, start + _BATCH)
            ids = cleaned.ids[rows]
            inputs = pa.array([_input(dataset, i, original) for i in ids.tolist()], schema.field(0).type)
            new, given = (_label_values(labels) for labels in (cleaned.labels[rows], dataset.labels[ids]))
            columns = [inputs, new, ids, list(cleaned.keys[rows]), given]
            writer.write_table(pa.table(columns, schema=schema))


def _schema(cleaned: CleanedData, dataset: "LabeledDataset") -> pa.Schema:
    name, feature, kind = _input_column(dataset)
    label_feature: dict[str, Any] = {"_type": "ClassLabel", "names": list(cleaned.class_names)}
    label, given, label_kind = "label", "given_label", pa.int64()
    if cleaned.is_multi_label:
        label, given, label_kind = "labels", "given_labels", pa.list_(pa.int64())
        label_feature = {"_type": "List", "feature": label_feature}
    features = {
        name: feature,
        label: label_feature,
        "sample_id": {"_type": "Value", "dtype": "int64"},
        "key": {"_type": "Value", "dtype": "string"},
        given: label_feature,
    }
    return pa.schema(
        [(name, kind), (label, label_kind), ("sample_id", pa.int64()), ("key", pa.string()), (given, label_kind)],
        metadata={"huggingface": json.dumps({"info": {"features": features}})},
    )


def _input_column(dataset: "LabeledDataset") -> tuple[str, dict[str, Any], pa.DataType]:
    """Return name, Hugging Face feature and type of the column with the inputs."""
    if dataset.texts is not None:
        return "text", {"_type": "Value", "dtype": "string"}, pa.string()
    if dataset.modality == "features":
        number = {"_type": "Value", "dtype": "float32"}
        return "features", {"_type": "List", "feature": number}, pa.list_(pa.float32())
    return "image", {"_type": "Image"}, pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def _input(dataset: "LabeledDataset", sample_id: int, original: OriginalData) -> Any:
    if dataset.texts is not None:
        return dataset.texts[sample_id]
    if dataset.modality == "features":
        return dataset[sample_id][0].tolist()
    with original.image_file(dataset, sample_id).open() as file:
        return {"bytes": file.read(), "path": None}


def _label_values(labels: NDArray[np.int64]) -> Any:
    """Return labels as the column holds them: [m] indices, or lists of the indices of the classes."""
    return [np.flatnonzero(row).tolist() for row in labels] if labels.ndim == 2 else labels
