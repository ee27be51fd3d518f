"""What is written is read back, by us and by any other engine; what is wrong is refused and nothing altered."""

import json
import pickle
import tracemalloc

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gwaudit.core.errors import (
    InvalidEpochError,
    StoreDamagedError,
    StoreError,
    StoreExistsError,
    StoreNotFoundError,
    StoreVersionError,
)
from gwaudit.store.store import MISSING_LABEL, SIGNALS, TrajectoryStore

CLASSES = ("cat", "dog", "eel")


def make_signals(n, seed=0):
    random = np.random.default_rng(seed)
    return {
        name: random.integers(0, 3, n).astype(dtype) if dtype.kind == "i" else random.normal(size=n).astype(dtype)
        for name, dtype in SIGNALS.items()
    }


def make_store(path, n=10, **options):
    labels = np.arange(n) % 3
    return TrajectoryStore.create(path, given_labels=labels, class_names=CLASSES, **options)


@pytest.fixture
def store(tmp_path):
    with make_store(tmp_path / "run", block_rows=4) as store:
        yield store


@given(
    n=st.integers(1, 40),
    block_rows=st.integers(1, 12),
    share=st.floats(0, 1),
    seed=st.integers(0, 99),
)
@settings(max_examples=25, deadline=None)
def test_any_epoch_is_read_back_as_it_was_written(tmp_path_factory, n, block_rows, share, seed):
    random = np.random.default_rng(seed)
    ids = random.permutation(n)[: round(share * n)]
    signals = make_signals(len(ids), seed)
    with make_store(tmp_path_factory.mktemp("s") / "run", n, block_rows=block_rows) as store:
        commit = store.append_epoch(0, ids, signals, repeated=3, metrics={"gwa": 0.5, "k": float("nan")})
        assert (commit.missing, commit.repeated) == (n - len(ids), 3)
        assert np.isnan(TrajectoryStore.open(store.path).commit(0).metrics["k"])
        store.verify()
        for block in range(store.n_blocks):
            reach, read = store.block_range(block), store.read_block(0, block)
            for name, values in signals.items():
                missing = np.nan if values.dtype.kind == "f" else MISSING_LABEL
                dense = np.full(n, missing, values.dtype)
                dense[ids] = values
                np.testing.assert_array_equal(read[name], dense[reach.start : reach.stop])
                assert read[name].dtype == values.dtype


def test_another_engine_reads_the_same_rows(store):
    signals = make_signals(7)
    store.append_epoch(0, [9, 1, 3, 0, 5, 2, 8], signals)
    pattern = f"{store.path}/epochs/epoch-00000/*/*.parquet"
    rows = duckdb.sql(f"select sample_id, margin, predicted_label from '{pattern}' order by sample_id").fetchall()
    assert [row[0] for row in rows] == list(range(10))
    assert rows[4][1:] == (None, None), "a missing sample is null"
    assert rows[9][1] == pytest.approx(float(signals["margin"][0]))


def test_a_store_is_shown_in_one_line(store):
    shown = f"<TrajectoryStore {store.path}: {store.n_samples} samples, 3 classes, 0 epochs"
    assert repr(store) == f"{shown}, open for writing>"
    assert repr(TrajectoryStore.open(store.path)) == f"{shown}>"


def test_a_trajectory_is_one_sample_over_all_epochs(store):
    for epoch in range(3):
        store.append_epoch(epoch, np.arange(10), make_signals(10, epoch))
    trajectory = store.trajectory(6)
    assert list(trajectory.index) == [0, 1, 2]
    expected = [make_signals(10, epoch)["alignment"][6] for epoch in range(3)]
    np.testing.assert_array_equal(trajectory["alignment"], expected)


def test_samples_are_found_by_key_or_id(tmp_path):
    with make_store(tmp_path / "run", 3, keys=["a/1.png", "2", "c"]) as store:
        assert store.find("a/1.png") == 0
        assert store.find("2") == 1, "a key comes before an id"
        assert store.find("0") == 0
        with pytest.raises(StoreError, match="no sample 'x'"):
            store.find("x")


def test_reading_a_block_takes_memory_for_that_block_only(tmp_path):
    n, block_rows = 400_000, 50_000
    with make_store(tmp_path / "run", n, block_rows=block_rows) as store:
        store.append_epoch(0, np.arange(n), make_signals(n))
        tracemalloc.start()
        for block in range(store.n_blocks):
            store.read_block(0, block, ["alignment", "margin"])
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 2 * 4 * block_rows * 3


def test_a_pickled_store_reads_the_same_run(store):
    store.append_epoch(0, np.arange(10), make_signals(10))
    copy = pickle.loads(pickle.dumps(store))
    assert copy.epochs == (0,)
    assert not copy.writable


@pytest.mark.parametrize(
    ("ids", "change", "message"),
    [
        ([0, 1, 10], {}, "sample id 10 is out of range"),
        ([0, -1, 2], {}, "sample id -1 is out of range"),
        ([0, 1, 1], {}, "sample id 1 comes 2 times"),
        ([0.0, 1.0, 2.0], {}, "must be \\[m\\] integers"),
        ([0, 1, 2], {"margin": np.zeros(2, np.float32)}, "'margin' has shape"),
        ([0, 1, 2], {"predicted_label": np.zeros(3, np.float32)}, "'predicted_label' is float32"),
        ([0, 1, 2], {"colour": np.zeros(3, np.float32)}, "signals must be"),
    ],
)
def test_rows_that_cannot_be_an_epoch_are_refused_and_nothing_is_written(store, ids, change, message):
    with pytest.raises(InvalidEpochError, match=message):
        store.append_epoch(0, ids, {**make_signals(3), **change})
    assert store.epochs == ()
    assert not list((store.path / "epochs").iterdir())


def test_epochs_are_written_in_order(store):
    with pytest.raises(InvalidEpochError, match="the next one is 0"):
        store.append_epoch(1, np.arange(10), make_signals(10))


def test_several_processes_write_the_blocks_of_one_attempt_and_the_one_with_the_lock_commits(store):
    other, signals = TrajectoryStore.open(store.path), make_signals(10)
    writers = [process.begin_epoch(0, "agreed") for process in (store, other)]
    for number, writer in enumerate(writers):
        for block in range(number, store.n_blocks, 2):
            ids = np.array(store.block_range(block))
            writer.write_rows(ids, {name: values[ids] for name, values in signals.items()}, range(block, block + 1))
    with pytest.raises(StoreError, match="open for reading"):
        writers[1].commit()
    with pytest.raises(InvalidEpochError, match="block 1 was not written"):
        writers[0].commit()
    writers[0].written |= writers[1].written
    other.remember(writers[0].commit())
    assert other.epochs == (0,)
    np.testing.assert_array_equal(other.read_epoch(0)["alignment"], signals["alignment"])
    other.verify()


def test_a_store_open_for_reading_is_not_written(store):
    with pytest.raises(StoreError, match="open for reading"):
        TrajectoryStore.open(store.path).append_epoch(0, np.arange(10), make_signals(10))


def snapshot(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[: len(data) // 2], "bytes instead of"),
        (lambda data: data[:60] + bytes([data[60] ^ 1]) + data[61:], "checksum differs"),
        (lambda data: None, "is missing"),
    ],
)
def test_a_damaged_block_is_named_and_left_as_it_is(store, damage, message):
    store.append_epoch(0, np.arange(10), make_signals(10))
    path = next(store.path.glob("epochs/*/*/block-000001.parquet"))
    data = damage(path.read_bytes())
    path.unlink() if data is None else path.write_bytes(data)
    before = snapshot(store.path)
    with pytest.raises(StoreDamagedError, match=f"block-000001.*{message}.*restore"):
        TrajectoryStore.open(store.path).verify()
    assert snapshot(store.path) == before


def test_a_block_cut_short_is_an_error_on_reading_too(store):
    store.append_epoch(0, np.arange(10), make_signals(10))
    path = next(store.path.glob("epochs/*/*/block-000001.parquet"))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(StoreDamagedError, match="block-000001"):
        store.read_block(0, 1)


def test_a_broken_commit_is_named(store):
    store.append_epoch(0, np.arange(10), make_signals(10))
    (store.path / "commits" / "epoch-00000.json").write_text("{")
    with pytest.raises(StoreDamagedError, match=r"epoch-00000\.json"):
        _ = TrajectoryStore.open(store.path).epochs


def test_a_run_from_the_future_is_refused(store):
    manifest = json.loads((store.path / "run.json").read_text())
    (store.path / "run.json").write_text(json.dumps({**manifest, "format_version": 99}))
    with pytest.raises(StoreVersionError, match=r"version 99.*upgrade"):
        TrajectoryStore.open(store.path)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"format": "gwaudit", "format_version": 1}'])
def test_a_foreign_or_broken_manifest_is_refused(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(StoreDamagedError, match=r"run\.json"):
        TrajectoryStore.open(tmp_path)


def test_a_folder_without_a_run_is_not_one(tmp_path):
    with pytest.raises(StoreNotFoundError, match="holds no run"):
        TrajectoryStore.open(tmp_path / "nowhere")


def test_a_run_is_not_created_over_another_or_among_other_files(store, tmp_path):
    store.append_epoch(0, range(10), make_signals(10))
    store.close()
    with pytest.raises(StoreExistsError, match="resume=True"):
        make_store(store.path)
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("mine")
    with pytest.raises(StoreExistsError, match=r"thesis\.tex"):
        make_store(other)
    assert [path.name for path in other.iterdir()] == ["thesis.tex"]


def test_labels_outside_the_classes_are_refused(tmp_path):
    with pytest.raises(InvalidEpochError, match="label 3 of sample 1"):
        TrajectoryStore.create(tmp_path / "run", given_labels=[0, 3], class_names=CLASSES)
    assert not (tmp_path / "run").exists()


def test_two_classes_of_one_name_are_refused(tmp_path):
    with pytest.raises(InvalidEpochError, match="two classes have the name 'b'"):
        TrajectoryStore.create(tmp_path / "run", given_labels=[0, 1], class_names=["a", "b", "b"])
    assert not (tmp_path / "run").exists()
