"""A pickled store opens the same run for reading in another process, by its path or its URL, or not at all."""

import pickle
import shutil

import numpy as np
import pytest

from gwaudit.core.errors import StoreError
from gwaudit.store.store import SIGNALS, TrajectoryStore

N = 6


def make(path, label=0):
    store = TrajectoryStore.create(path, given_labels=np.full(N, label), class_names=["a", "b"])
    with store:
        store.append_epoch(0, np.arange(N), {name: np.ones(N, dtype) for name, dtype in SIGNALS.items()})
    return store


def test_a_relative_path_is_opened_from_any_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sent = pickle.dumps(make("run"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    store = pickle.loads(sent)
    assert store.read_block(0, 0)["loss"].tolist() == [1] * N
    assert not store.writable


def test_another_run_at_the_path_is_refused(tmp_path):
    sent = pickle.dumps(make(tmp_path / "run"))
    shutil.rmtree(tmp_path / "run")
    make(tmp_path / "run", label=1)
    with pytest.raises(StoreError, match="is another run than the one to read"):
        pickle.loads(sent)


def test_a_run_at_a_url_is_opened_in_the_working_copy_or_by_the_url(tmp_path, monkeypatch):
    monkeypatch.setenv("GWAUDIT_CACHE", str(tmp_path / "here"))
    made = make("memory://reopened/run")
    sent = pickle.dumps(made)
    assert pickle.loads(sent).path == made.path
    monkeypatch.setenv("GWAUDIT_CACHE", str(tmp_path / "there"))  # as on another machine
    (tmp_path / "here").rename(tmp_path / "gone")
    store = pickle.loads(sent)
    assert store.path.is_relative_to(tmp_path / "there")
    assert store.read_block(0, 0)["loss"].tolist() == [1] * N
