"""Runs of format version 1 are read under the names of today, and not written to."""

import numpy as np
import pandas as pd
import pytest

from gwaudit.analysis.ranking import rank
from gwaudit.core.errors import StoreVersionError
from gwaudit.core.settings import TrainingSettings
from gwaudit.store.store import SIGNALS, TrajectoryStore
from helpers.version_1 import write_version_1

CLASSES = ("cat", "dog", "eel")
MATRIX = np.random.default_rng(0).integers(0, 2, (12, 3))
LABELS = np.arange(12) % 3


def make_epochs(n_rows, n_labels, epochs=4):
    random = np.random.default_rng(1)
    return [
        {
            name: random.integers(0, n_labels, n_rows).astype(dtype)
            if dtype.kind == "i"
            else random.normal(size=n_rows).astype(dtype)
            for name, dtype in SIGNALS.items()
        }
        for _ in range(epochs)
    ]


@pytest.fixture(params=[LABELS, MATRIX], ids=["single-label", "multi-label"])
def runs(request, tmp_path):
    """The same run in version 1 and in version 2, with blocks that cut a sample in two."""
    given = request.param
    epochs = make_epochs(given.size, 2 if given.ndim == 2 else 3)
    write_version_1(tmp_path / "old", given, CLASSES, epochs)
    keys = [f"key {sample}" for sample in range(len(given))]
    options = {"given_labels": given, "class_names": CLASSES, "keys": keys, "fingerprint": "old", "block_rows": 4}
    with TrajectoryStore.create(tmp_path / "new", **options) as new:
        for epoch, signals in enumerate(epochs):
            new.append_epoch(epoch, np.arange(given.size), signals, metrics={"gwa": 0.5, "kurtosis": float("nan")})
        yield TrajectoryStore.open(tmp_path / "old"), new


def test_a_run_of_version_1_reads_like_the_same_run_of_version_2(runs):
    old, new = runs
    assert (old.n_samples, old.n_rows, old.class_names) == (new.n_samples, new.n_rows, new.class_names)
    assert old.is_multi_label == new.is_multi_label
    assert old.keys() == new.keys()
    np.testing.assert_array_equal(old.given_labels(), new.given_labels())
    columns = ["sample_id", "class_id", "row_id"] if new.is_multi_label else ["sample_id"]
    assert old.read_samples([*columns, "key", "split"]).equals(new.read_samples([*columns, "key", "split"]))
    for epoch in range(4):
        assert old.read_epoch(epoch).equals(new.read_epoch(epoch))
        for name, values in old.read_block(epoch, 1).items():
            np.testing.assert_array_equal(values, new.read_block(epoch, 1)[name])
    if new.is_multi_label:
        pd.testing.assert_frame_equal(old.trajectories(5), new.trajectories(5))
    name = "eel" if new.is_multi_label else None
    pd.testing.assert_frame_equal(old.trajectory(5, name), new.trajectory(5, name))
    old.verify()


def test_a_run_of_version_1_is_ranked_like_the_same_run_of_version_2(runs):
    old, new = runs
    pd.testing.assert_frame_equal(rank(old).frame, rank(new).frame)


def test_the_final_sweeps_of_version_1_are_final_evaluation_passes(tmp_path):
    signals = {name: np.zeros(8, dtype) for name, dtype in SIGNALS.items()}
    write_version_1(tmp_path / "old", np.zeros(8, int), CLASSES, [signals] * 3, final_sweeps=1)
    store = TrajectoryStore.open(tmp_path / "old")
    assert (store.training_epochs, store.final_passes) == (range(2), range(2, 3))
    settings = TrainingSettings.from_dict(store.settings["training"])
    assert (settings.final_passes, settings.record) == (1, "pass")


def test_a_run_of_version_1_is_not_written_to(runs):
    old, _ = runs
    with pytest.raises(StoreVersionError, match=r"version 1.*record a new run in another folder"):
        TrajectoryStore.open(old.path, writable=True)
