"""Worker processes read ahead, in order, and their errors and deaths are named."""

import gc
import os
import signal
import time

import pytest
import torch
from PIL import Image

from gwaudit import load_dataset
from gwaudit.core.errors import DataError, SettingsError, WorkerDiedError
from gwaudit.data import image_decoding, images
from gwaudit.data.workers import WorkerPool, naming_dead_workers, read_batches, resolve_workers
from helpers.making import all_pixels, make_tree, picture


def read_on_demand(folder, monkeypatch, **options):
    monkeypatch.setattr(images, "IN_MEMORY_BYTES", 0)
    return load_dataset(folder, **options)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_batches_are_the_same_for_any_number_of_workers(tmp_path, monkeypatch, workers):
    make_tree(tmp_path, per_class=8)
    dataset = read_on_demand(tmp_path, monkeypatch, workers=workers)
    assert dataset.workers == workers
    batches = list(torch.split(torch.randperm(16), 3))
    torch.manual_seed(0)
    before = torch.get_rng_state()
    read = list(read_batches(dataset, batches))
    assert torch.equal(torch.get_rng_state(), before)  # the training draws from it
    assert torch.equal(torch.cat(read), torch.from_numpy(all_pixels(dataset))[torch.cat(batches)])


@pytest.mark.filterwarnings("error")
def test_more_workers_than_processors_are_no_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0}, raising=False)
    make_tree(tmp_path)
    dataset = read_on_demand(tmp_path, monkeypatch, workers=2)
    read = torch.cat(list(read_batches(dataset, list(torch.arange(6).split(2)))))
    assert torch.equal(read, torch.from_numpy(all_pixels(dataset)))
    assert not any("warned" in remark for remark in dataset.notes.remarks)


def test_an_image_that_is_gone_is_named_by_the_process_that_asked(tmp_path, monkeypatch):
    paths = make_tree(tmp_path)
    dataset = read_on_demand(tmp_path, monkeypatch, workers=1)
    paths[4].unlink()
    with pytest.raises(DataError, match=r"dog/001\.png can no longer be read"):
        list(read_batches(dataset, [torch.arange(3), torch.arange(3, 6)]))


def test_a_worker_that_is_killed_is_named_with_the_way_on():
    results = WorkerPool(lambda request: torch.tensor([os.getpid()]), 2).map(range(1000))

    def kill_one():  # of a second one, torch's error may come after the block
        os.kill(int(next(results)), signal.SIGKILL)
        for _ in results:
            time.sleep(0.01)

    with pytest.raises(WorkerDiedError, match=r"Killed.*memory ran out.*`workers`.*`resume`"), naming_dead_workers():
        kill_one()


@pytest.mark.timeout(20)
@pytest.mark.parametrize("ends", ["the results are dropped", "the pool is closed"])
def test_a_worker_that_dies_with_a_lock_hangs_nothing(ends):
    pool = WorkerPool(lambda request: torch.tensor([os.getpid()]), 2)
    results = pool.map(range(1000))
    pid = int(next(results))
    lock = pool._loader._iterator._workers_done_event._cond
    lock.acquire()  # stands for that of the worker, which nobody releases

    def wait_for_the_death():
        os.kill(pid, signal.SIGKILL)
        time.sleep(30)

    with pytest.raises(WorkerDiedError, match="Killed"), naming_dead_workers():
        wait_for_the_death()
    began = time.monotonic()
    results.close() if ends == "the results are dropped" else pool.close()
    del results, pool
    gc.collect()
    assert time.monotonic() - began < 10
    lock.release()


def test_a_worker_that_dies_while_it_sends_is_named_too(monkeypatch):
    def results(loader):
        """Stand in for torch's queue: the connection breaks, and then the system reports the death."""
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        raise ConnectionResetError(104, "Connection reset by peer")
        yield

    def report(signum, frame):
        raise RuntimeError("DataLoader worker (pid 1) is killed by signal: Killed.")

    monkeypatch.setattr(torch.utils.data.DataLoader, "__iter__", results)
    before = signal.signal(signal.SIGALRM, report)
    try:
        with pytest.raises(WorkerDiedError, match="Killed"):
            list(WorkerPool(torch.tensor, 1).map(range(3)))
    finally:
        signal.signal(signal.SIGALRM, before)


def test_other_errors_pass_unchanged():
    with pytest.raises(RuntimeError, match="shapes differ"), naming_dead_workers():
        raise RuntimeError("shapes differ")


def test_an_interrupted_pass_leaves_nothing_to_the_next_one():
    pool = WorkerPool(lambda request: torch.tensor(request), 2)
    for result in pool.map(range(100)):
        if int(result) == 5:
            break
    assert [int(result) for result in pool.map(range(200, 210))] == list(range(200, 210))


def test_photos_have_workers_by_themselves_and_small_images_in_memory_when_asked(tmp_path, monkeypatch):
    make_tree(tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)))
    photos, small = load_dataset(tmp_path, image_size=112), load_dataset(tmp_path)
    assert (photos.workers, small.workers) == (5, 0)
    assert load_dataset(tmp_path, workers=2).workers == 2
    assert load_dataset("digits", workers=2).workers == 2
    assert load_dataset(tmp_path, image_size=112, workers=0).workers == 0


def test_auto_leaves_a_core_to_the_training_and_ranks_share_the_cores(tmp_path, monkeypatch):
    make_tree(tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)))
    assert resolve_workers("auto") == 5
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")  # ranks share the cores
    assert resolve_workers("auto") == 1
    with pytest.raises(SettingsError, match="`workers`"):
        load_dataset(tmp_path, workers=-1)


@pytest.mark.parametrize("workers", [0, 2])
def test_small_images_are_opened_once_and_equal_those_that_are_opened_twice(tmp_path, monkeypatch, workers):
    make_tree(tmp_path, per_class=8)
    picture(1).convert("L").save(tmp_path / "cat" / "grey.jpg")
    picture(2).convert("RGBA").save(tmp_path / "cat" / "alpha.png")
    (tmp_path / "dog" / "broken.png").write_bytes((tmp_path / "dog" / "000.png").read_bytes()[:300])
    monkeypatch.setattr(images, "_HEADERS_A_SECOND", 1)  # so that few images are worth workers
    opened = []
    monkeypatch.setattr(image_decoding, "_opened", lambda source: opened.append(source) or Image.open(source))
    once = load_dataset(tmp_path, workers=workers, on_error="skip")
    if not workers:  # the one with an alpha channel is measured, the broken one is tried again
        assert sum(opened.count(path) for path in set(opened)) <= len(set(opened)) + 4
    monkeypatch.setattr(images, "_SMALL_BYTES", 0)
    twice = load_dataset(tmp_path, workers=workers, on_error="skip")
    assert once.fingerprint == twice.fingerprint
    assert [skipped.reason for skipped in once.skipped] == [skipped.reason for skipped in twice.skipped]
    assert len(once) == 18
    assert once.notes.to_dict() == twice.notes.to_dict()
