"""Measure the accuracy of the model of a run on test data."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from gwaudit.core.errors import DataError
from gwaudit.core.json import write_json
from gwaudit.core.settings import DataSettings
from gwaudit.core.urls import redacted
from gwaudit.data.dataset import LabeledDataset
from gwaudit.data.splits import TRAIN, NoSplitsError
from gwaudit.pipeline.run_data import data_of_run, load_data
from gwaudit.store.store import TrajectoryStore
from gwaudit.store.working_copies import run_folder
from gwaudit.training.trainer import predict

TEST_FILE = "test.json"
"""Name of the file in which a run keeps its accuracy on test data."""


def measure_test_accuracy(run: Path | str, split: str = "test", source: str | None = None) -> float:
    """Measure the accuracy of a run on test data, under the weights of its selected epoch, and keep it in the run.

    Args:
        run: the folder of a finished run.
        split: the split to test on, of the source of the run or of `source`.
        source: other data with right labels, in the form of the source of the run.

    Returns:
        The share of the labels that are predicted, in [0, 1].

    Raises:
        DataError: there is no such split, or it has other classes.
    """
    run = run_folder(run)
    with TrajectoryStore.open(run) as store:
        data = data_of_run(store)
    trained_on = load_data(data)
    test = held_out_split(data, split, source)
    accuracy = accuracy_on(run, trained_on, test)
    facts = {"source": redacted(source or data.source), "split": split, "samples": len(test), "accuracy": accuracy}
    write_json(run / TEST_FILE, facts)
    return accuracy


def held_out_split(data: DataSettings, split: str = "test", source: str | None = None) -> LabeledDataset:
    """Load another split of a source, or other data in its form, with their own labels.

    Args:
        data: the data that were trained on.
        split: the other split.
        source: the other data; by default the source of `data`.

    Raises:
        DataError: the source has the same samples in both splits.
    """
    own_labels = replace(data, labels=None, label_key=None, add_noise=0.0)
    try:
        test = load_data(replace(own_labels, source=source or data.source, split=split))
    except NoSplitsError:
        if source is None:
            raise
        test = load_data(replace(own_labels, source=source, split=TRAIN))  # test data of their own need no splits
    if source is None and list(test.keys) == list(load_data(own_labels).keys):
        raise DataError(
            f"{data.source} has no split {split!r} apart from {data.split!r}: name another split "
            "(`test_split`), or test data of its own"
        )
    return test


def accuracy_on(run: Path, trained_on: LabeledDataset, test: LabeledDataset) -> float:
    """Return the share of the labels of a data set that the model of a run predicts.

    Args:
        run: the folder of the run.
        trained_on: the data of the run.
        test: the data to test on; classes are matched by name.

    Raises:
        DataError: the test data have a class that the run does not have.
    """
    unknown = [name for name in test.class_names if name not in trained_on.class_names]
    if unknown:
        raise DataError(f"{test.name} has the class {unknown[0]!r}, which the run does not have: give `classes`")
    class_ids = np.array([trained_on.class_names.index(name) for name in test.class_names])
    predicted = predict(run, trained_on, test).argmax(1).numpy()
    return float((predicted == class_ids[test.labels]).mean())
