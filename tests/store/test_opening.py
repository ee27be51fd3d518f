"""A run is opened once at a time, and what stands in the way is said as Python says it."""

import multiprocessing
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gwaudit.core.errors import InvalidEpochError, StoreBusyError, StoreExistsError
from gwaudit.store.store import SIGNALS, TrajectoryStore


def create(path: Path, **options: Any) -> TrajectoryStore:
    return TrajectoryStore.create(path, given_labels=[0, 1, 0, 1], class_names=["cat", "dog"], **options)


def append_epoch(store: TrajectoryStore) -> None:
    store.append_epoch(store.next_epoch, range(4), {name: np.zeros(4, dtype) for name, dtype in SIGNALS.items()})


def test_a_run_without_epochs_does_not_block_its_path_and_one_with_an_epoch_does(tmp_path: Path) -> None:
    create(tmp_path / "run").close()
    with create(tmp_path / "run", keys=["a", "b", "c", "d"]) as store:
        assert store.keys() == ["a", "b", "c", "d"]
        append_epoch(store)
    with pytest.raises(StoreExistsError, match=r"TrajectoryStore\.open\('.*run', writable=True\)") as refused:
        create(tmp_path / "run")
    assert "--" not in str(refused.value)
    assert TrajectoryStore.open(tmp_path / "run").epochs == (0,)


@pytest.mark.parametrize("kept", ["checkpoints/last.pt", "epochs/epoch-00000/0a1b/block-000000.parquet"])
def test_a_run_without_epochs_that_holds_anything_is_kept(tmp_path: Path, kept: str) -> None:
    create(tmp_path / "run").close()
    (tmp_path / "run" / kept).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "run" / kept).write_text("mine")
    with pytest.raises(StoreExistsError):
        create(tmp_path / "run")
    assert (tmp_path / "run" / kept).read_text() == "mine"


def test_a_manifest_of_another_tool_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"format": "other"}')
    with pytest.raises(StoreExistsError):
        create(tmp_path)
    assert (tmp_path / "run.json").read_text() == '{"format": "other"}'


def test_a_cell_that_ran_before_is_named_as_what_holds_the_run(tmp_path: Path) -> None:
    store = create(tmp_path / "run")
    for again in (create, lambda path: TrajectoryStore.open(path, writable=True)):
        with pytest.raises(StoreBusyError, match=r"in this process already.*close\(\)"):
            again(tmp_path / "run")
    store.close()
    create(tmp_path / "run").close()


def hold(path: Path, ready: Any, done: Any) -> None:
    with create(path):
        ready.set()
        done.wait()


def test_another_process_that_holds_the_run_is_named_as_a_rank_where_ranks_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = multiprocessing.get_context("fork")
    ready, done = context.Event(), context.Event()
    process = context.Process(target=hold, args=(tmp_path / "run", ready, done))
    process.start()
    assert ready.wait(20)
    try:
        monkeypatch.setitem(sys.modules, "torch.distributed", None)
        with pytest.raises(StoreBusyError, match="being written by another process: wait for it, or stop it"):
            create(tmp_path / "run")
        monkeypatch.setenv("WORLD_SIZE", "2")
        with pytest.raises(StoreBusyError, match=r"another rank of this training.*shared_store.*otherwise wait for it"):
            create(tmp_path / "run")
    finally:
        done.set()
        process.join()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (["a", "b", "a", "c"], r"the key 'a' is given to 2 samples \(the first are 0 and 2\): .*make the keys unique"),
        (["a", "b", "a", "b"], r"'a' is given to 2 samples.*1 more keys to several, such as 'b'"),
        ([Path("a"), "b", "a", "c"], "the key 'a' is given to 2 samples"),
        ([1, 2, 3, 4], r"the key of sample 0 is 1 \(int\): keys are texts or paths; convert numbers by str\(\)"),
        (np.arange(4), r"sample 0 is .*0.*int64\)"),
        (["a", None, "b", "c"], r"the key of sample 1 is None"),
        (["a", float("nan"), "b", "c"], r"the key of sample 1 is nan \(float\)"),
        ([b"a", b"b", b"c", b"d"], r"the key of sample 0 is b'a' \(bytes\)"),
        (["a", "b", "c\udcff", "d"], r"the key of sample 2, 'c\\udcff', cannot be written as UTF-8"),
        (["a", "b"], "2 keys for 4 labels"),
    ],
)
def test_keys_that_do_not_stand_for_one_sample_each_are_refused_and_nothing_is_made(
    tmp_path: Path, keys: Any, message: str
) -> None:
    with pytest.raises(InvalidEpochError, match=message):
        create(tmp_path / "run", keys=keys)
    assert not (tmp_path / "run").exists()


def test_paths_and_arrays_of_texts_are_keys(tmp_path: Path) -> None:
    with create(tmp_path / "run", keys=[Path("cat/1.png"), Path("dog/2.png"), "3", np.str_("4")]) as store:
        assert store.keys() == [str(Path("cat/1.png")), str(Path("dog/2.png")), "3", "4"]
    with create(tmp_path / "other", keys=np.array(["a", "b", "c", "d"])) as store:
        assert store.keys() == ["a", "b", "c", "d"]
