"""Sources of any kind become a `LabeledDataset`: inputs, given labels, stable ids and keys, a fingerprint."""

from gwaudit.datasets.labeled import LabeledDataset, SkippedSample
from gwaudit.datasets.loading import load_dataset
from gwaudit.datasets.planted import centroid_similarity, plant_label_errors
from gwaudit.datasets.sample_ids import WithSampleIds

__all__ = [
    "LabeledDataset",
    "SkippedSample",
    "WithSampleIds",
    "centroid_similarity",
    "load_dataset",
    "plant_label_errors",
]
