"""Load the images of the stopping benchmark: training samples under a label variant, test images, corrupted ones."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from gwaudit.benchmarks.label_variants import make_label_variant
from gwaudit.benchmarks.stopping.corrupted import CorruptedImages, corrupted_by_library, corrupted_from_files
from gwaudit.benchmarks.stopping.probe import TestSet
from gwaudit.benchmarks.stopping.settings import StoppingSettings
from gwaudit.core.errors import DataError, SettingsError
from gwaudit.data.dataset import LabeledDataset
from gwaudit.data.loading import load_dataset


def load_images(source: str, settings: StoppingSettings) -> tuple[LabeledDataset, LabeledDataset, NDArray[np.int64]]:
    """Load all training samples, the test images, and the indices of the latter in the test set.

    Raises:
        DataError: The source holds no images, or the test images are of another kind.
    """
    dataset = load_dataset(source)
    if dataset.modality != "images":
        raise DataError(f"{dataset.name} holds {dataset.modality}: the stopping benchmark needs images")
    random = np.random.default_rng(settings.training.seed)
    test = _test_split(settings.test or source)
    if test is None:
        if settings.test is not None:
            raise DataError(f"{settings.test} has no split 'test'")
        order = random.permutation(len(dataset))
        fifth = np.sort(order[: len(dataset) // 5])
        test, dataset = dataset.subset(fifth), dataset.subset(np.sort(order[len(dataset) // 5 :]))
    if test.class_names != dataset.class_names or test.input_shape != dataset.input_shape:
        raise DataError(f"{test.name} ({test.split}) has other classes or image sizes than {dataset.name}")
    ids = _draw(len(test), settings.test_samples, random)
    return dataset, test.subset(ids), ids


def _test_split(source: str) -> LabeledDataset | None:
    try:
        test = load_dataset(source, split="test")
    except DataError:
        return None
    return test if test.split == "test" else None


def _draw(n: int, count: int, random: np.random.Generator) -> NDArray[np.int64]:
    ids = random.permutation(n)[:count] if 0 < count < n else np.arange(n)
    return np.sort(ids).astype(np.int64)


def given_labels(
    name: str, dataset: LabeledDataset, labels: Path | None, settings: StoppingSettings
) -> tuple[str, LabeledDataset]:
    """Return the name and data of a label variant, reduced to the samples that are trained on.

    Raises:
        SettingsError: The name is unknown, or the variant needs a training of its own.
        DataError: The label file does not fit.
    """
    given = make_label_variant(name, dataset, labels, seed=settings.training.seed).dataset
    if given is None:
        raise SettingsError(
            f"{name} needs a training of its own: choose symmetric, asymmetric or long-tail noise, or a key of the "
            "label file"
        )
    ids = _draw(len(given), settings.samples, np.random.default_rng((settings.training.seed, 1)))
    return name, given.subset(ids)


def corrupted_images(
    test: LabeledDataset, ids: NDArray[np.int64], settings: StoppingSettings
) -> CorruptedImages | None:
    """Return the corrupted test images that the settings ask for.

    Raises:
        MissingExtraError: The library that makes them is not installed.
        DataError: The files are missing, or of other images.
    """
    if settings.corrupted == "none":
        return None
    if settings.corrupted == "made":
        return corrupted_by_library(test, seed=settings.training.seed)
    return corrupted_from_files(Path(settings.corrupted), test, ids, seed=settings.training.seed)


def as_test(dataset: LabeledDataset) -> TestSet:
    """Return a data set as a test set, with its given labels: those of a test set are right."""
    return TestSet(dataset.read(torch.arange(len(dataset))), torch.from_numpy(dataset.labels))
