"""Let several processes (ranks), as torchrun starts them, train one model and record one run.

Every rank trains on its part of each batch and observes what it trained on. At the end of an epoch each row is sent to
the rank that owns its block, which writes it. Rank 0 alone commits, saves checkpoints and reports progress. If a
`GwauditError` is raised on one rank, it is raised on all ranks, so that none waits for a rank that has left.

In a single process every function here does its job without torch.distributed.
"""

import atexit
import inspect
import os
import time
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn

from gwaudit.core.errors import GwauditError, RecordingError, SettingsError, StoreError, StoreNotFoundError
from gwaudit.store.store import TrajectoryStore
from gwaudit.store.working_copies import place_of, run_folder

T = TypeVar("T")

DETACHED = "detached its recorder"
WENT_ON = "began another pass over the data"

SUSPICION_AFTER = 30.0
"""Seconds after which a rank that waits for others warns, or gives up waiting for those that went on."""

PATIENCE = 600.0
"""Seconds after which a rank gives up waiting for others."""

_meetings = 0  # made so far: the same on all ranks, as each takes part in each of them


def world_size() -> int:
    """Return the number of processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def process_rank() -> int:
    """Return the rank of this process, from 0."""
    return dist.get_rank() if world_size() > 1 else 0


def is_rank0() -> bool:
    """Return whether this process is rank 0, which commits the run."""
    return process_rank() == 0


def init_process_group(device: str = "auto") -> None:
    """Initialise torch's default process group for processes that torchrun started.

    On GPUs the backend is NCCL, with one GPU per process; on the CPU it is gloo. In a single process, and if a group is
    initialised already, nothing happens.

    Args:
        device: As in `TrainingSettings`.

    Raises:
        SettingsError: There are fewer GPUs than processes, or the environment lacks the address of rank 0.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or not dist.is_available() or dist.is_initialized():
        return
    on_gpu = torch.cuda.is_available() and (device == "auto" or device.startswith("cuda"))
    if on_gpu:
        local_processes, gpus = int(os.environ.get("LOCAL_WORLD_SIZE", "1")), torch.cuda.device_count()
        if local_processes > gpus or device not in ("auto", "cuda"):
            raise SettingsError(
                f"{local_processes} processes need one GPU each, this machine has {gpus}, and device is {device!r}: "
                "start one process per GPU with the device 'cuda', or train with the device 'cpu'"
            )
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    try:
        dist.init_process_group("nccl" if on_gpu else "gloo")
    except ValueError as error:
        raise SettingsError(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']}, but the process group cannot be initialised ({error}): "
            "start the processes with torchrun, or unset WORLD_SIZE"
        ) from error
    # Not earlier: the same processes cannot initialise a group a second time.
    atexit.register(_destroy_process_group)


def _destroy_process_group() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


@contextmanager
def raise_on_all_ranks() -> Iterator[None]:
    """Raise on all ranks a `GwauditError` that is raised inside the block on one of them.

    Every rank must enter the block, and the code inside must not wait for other ranks.
    """
    if world_size() == 1:
        yield
        return
    error: GwauditError | None = None
    try:
        yield
    except GwauditError as raised:
        error = raised
    first = next((gathered for gathered in all_gather(error) if gathered is not None), None)
    if first is not None:
        # A rank's own error keeps its traceback; if several ranks failed, all raise the error of the first of them.
        raise first if error is None or str(first) != str(error) else error


def all_gather(value: T) -> list[T]:
    """Return the values of all ranks, in the order of the ranks. A value can be anything that can be pickled."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value, group=_host_group())
    return values


def run_on_rank0(function: Callable[[], T]) -> T:
    """Call `function` on rank 0 only, and return its result, or raise its `GwauditError`, on all ranks."""
    results: list[Any] = [None]
    with raise_on_all_ranks():
        if is_rank0():
            results = [function()]
    if world_size() > 1:
        dist.broadcast_object_list(results, src=0, group=_host_group(), device=torch.device("cpu"))
    result: T = results[0]
    return result


def all_reduce_sum(values: Tensor) -> Tensor:
    """Return the sum over the ranks of a tensor [k] on the CPU; the tensor is changed in place."""
    if world_size() > 1:
        dist.all_reduce(values, group=_host_group())
    return values


def meet(call: str, topic: str = "") -> None:
    """Join the other ranks in a call: wait until each has made it, but not for good for a rank that does not.

    Args:
        call: The call as a person writes it, for messages; the same on all ranks.
        topic: What `announce` was given on other ranks.

    Raises:
        RecordingError: A rank made another call; or a rank is missing that has detached its recorder, that went on
            `SUSPICION_AFTER` seconds ago, or that did not make the call within `PATIENCE` seconds.
    """
    global _meetings
    if world_size() == 1:
        return
    store, keys = _group_store(), [f"{_meetings}/{rank}" for rank in range(world_size())]
    mine = keys[process_rank()]
    try:
        store.set(mine, call)
        _wait_for(store, keys, call, topic)
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise RecordingError(f"{call}: the other ranks cannot be reached, one has ended ({reason})") from error
    except BaseException:
        store.delete_key(mine)
        raise
    _meetings += 1
    calls = all_gather(call)
    if len(set(calls)) > 1:
        made = "; ".join(f"rank {rank}: {one}" for rank, one in enumerate(calls))
        raise RecordingError(
            f"the ranks made different calls ({made}): all of them have to call the same, in one order"
        )


def _wait_for(store: Any, keys: Sequence[str], call: str, topic: str) -> None:
    """Wait until the keys of all ranks are in the store, as `meet` describes."""
    start, delay, warned = time.monotonic(), 0.001, False
    while not store.check(keys):
        time.sleep(delay)
        delay = min(2 * delay, 0.5)
        waited = time.monotonic() - start
        absent = [rank for rank, key in enumerate(keys) if not store.check([key])] if waited > 0.1 else []
        facts = {rank: _announced(store, topic, rank) for rank in absent}
        if not facts:
            continue
        if DETACHED in facts.values() or waited > PATIENCE or (waited > SUSPICION_AFTER and any(facts.values())):
            raise RecordingError(_missing(call, facts, waited))
        if waited > SUSPICION_AFTER and not warned:
            warnings.warn(_missing(call, facts, waited), stacklevel=4)
            warned = True


def announce(topic: str, fact: str | None) -> None:
    """Let ranks that wait in `meet` find out why this rank may not arrive.

    Args:
        topic: Subject that the ranks share, such as the name of a run.
        fact: `DETACHED` or `WENT_ON`; None takes it back.
    """
    if world_size() == 1:
        return
    try:
        _group_store().set(f"{topic}/{process_rank()}", fact or "")
    except RuntimeError:
        return  # the group has ended, so that nobody waits


def _announced(store: Any, topic: str, rank: int) -> str:
    key = f"{topic}/{rank}"
    fact: str = store.get(key).decode() if topic and store.check([key]) else ""
    return fact


def _missing(call: str, facts: Mapping[int, str], waited: float) -> str:
    """Return the message for ranks that did not make a call."""
    absent = ", ".join(f"rank {rank}" + (f" ({fact})" if fact else "") for rank, fact in facts.items())
    return (
        f"{call}: rank {process_rank()} has waited {waited:.0f} s for {absent}: every rank has to call it, also if "
        "rank 0 alone writes; take it out of `if rank == 0`, and call it before work that one rank does alone"
    )


def _group_store() -> Any:
    distributed: Any = dist  # whose types do not name these
    return distributed.PrefixStore("gwaudit", distributed.distributed_c10d._get_default_store())


def wrap_in_ddp(model: nn.Module, device: torch.device) -> nn.Module:
    """Return the model in DistributedDataParallel, which averages gradients over ranks; in a single process, itself."""
    if world_size() == 1:
        return model
    wrapper = nn.parallel.DistributedDataParallel
    # Batch norm's statistics are averaged once per epoch (`average_batch_norm`), not sent at every step. Newer versions
    # of torch have another name for the option.
    names = ("forward_sync_buffers", "broadcast_buffers")
    options: dict[str, Any] = {next(name for name in names if name in inspect.signature(wrapper).parameters): False}
    if device.type == "cuda":
        options["device_ids"] = [device]
    return wrapper(model, **options)


def average_batch_norm(model: nn.Module) -> None:
    """Average the running statistics of batch norm over the ranks, in place."""
    if world_size() == 1:
        return
    for norm in model.modules():
        if isinstance(norm, nn.modules.batchnorm._BatchNorm):
            for statistic in (norm.running_mean, norm.running_var):
                if statistic is not None:
                    dist.all_reduce(statistic)
                    statistic /= world_size()


def rank_slice(n: int) -> slice:
    """Return which of a batch's n samples belong to this rank: at least two, as batch norm needs, or none."""
    ranks = max(1, min(world_size(), n // 2))
    bounds = [n * i // ranks for i in range(ranks + 1)]
    return slice(bounds[process_rank()], bounds[process_rank() + 1]) if process_rank() < ranks else slice(n, n)


def send_to_owner(
    ids: NDArray[np.int64], values: Mapping[str, NDArray[Any]], owners: NDArray[np.int64]
) -> tuple[NDArray[np.int64], dict[str, NDArray[Any]]]:
    """Send rows to the ranks that own them.

    Args:
        ids: [N] row numbers, in the order in which this rank observed them.
        values: Columns [N] by name, of 4-byte dtypes.
        owners: [N] rank that owns each row.

    Returns:
        The `ids` and `values` that this rank received, in the order of observation, and by rank within the same
        position. A sampler pads at its end, so a repeated row comes after the first one of its sample.
    """
    if world_size() == 1:
        return ids, dict(values)
    # One matrix of int32 with unchanged bits: ids and positions are int64, and take two columns each.
    wide = np.stack([ids, np.arange(len(ids))], axis=1).view(np.int32)
    columns = np.stack([column.view(np.int32) for column in values.values()], axis=1)
    rows = _all_to_all(torch.from_numpy(np.concatenate([wide, columns], axis=1)), torch.from_numpy(owners)).numpy()
    wide = np.ascontiguousarray(rows[:, :4]).view(np.int64)
    order = np.argsort(wide[:, 1], kind="stable")
    columns = np.ascontiguousarray(rows[order, 4:].T)
    return wide[order, 0], {name: columns[i].view(column.dtype) for i, (name, column) in enumerate(values.items())}


def _all_to_all(rows: Tensor, owners: Tensor) -> Tensor:
    """Send rows [N, K] on the CPU to their owners [N]; return the received rows [M, K], ordered by sending rank."""
    n_sent = torch.bincount(owners, minlength=world_size())
    n_received = torch.empty_like(n_sent)
    dist.all_to_all_single(n_received, n_sent, group=_host_group())
    received = rows.new_empty((int(n_received.sum()), rows.shape[1]))
    sorted_rows = rows[owners.argsort(stable=True)]
    dist.all_to_all_single(received, sorted_rows, n_received.tolist(), n_sent.tolist(), group=_host_group())
    return received


def shared_store(open_run: Callable[[], TrajectoryStore]) -> TrajectoryStore:
    """Return one run for all ranks: rank 0 creates or opens it for writing, the others open it for reading.

    Call it on every rank, after the process group is initialised. The ranks must share the file system that holds the
    run, unless it lies at a URL of an object store: then each machine has a working copy. In a single process it
    returns `open_run()`.

    Args:
        open_run: Creates the run, or opens it with `writable=True`. It is called on rank 0 only.

    Returns:
        The store for this rank's `AlignmentRecorder`. Close it, or use it as a context manager.

    Raises:
        GwauditError: The error that `open_run` raised on rank 0, on every rank.
        StoreError: A rank does not see the run's folder.
        RecordingError: A rank does not call it.

    Example:
        >>> with shared_store(lambda: TrajectoryStore.open("runs/worse", writable=True)) as store:
        ...     store.writable
        True
    """
    meet("shared_store()")
    stores: list[TrajectoryStore] = []

    def open_on_rank0() -> tuple[Any, ...]:
        stores.append(open_run())
        return place_of(stores[0].path), [stores[0].commit(epoch) for epoch in stores[0].epochs]

    place, commits = run_on_rank0(open_on_rank0)
    try:
        with raise_on_all_ranks():
            if not is_rank0():
                stores.append(_open_for_reading(*place))
    except BaseException:
        for store in stores:
            store.close()
        raise
    for commit in commits:
        stores[0].remember(commit)
    return stores[0]


def _open_for_reading(folder: str, name: str) -> TrajectoryStore:
    try:
        return TrajectoryStore.open(run_folder(folder) / name)
    except StoreNotFoundError as error:
        raise StoreError(
            f"rank {process_rank()} does not see the run {Path(folder, name)}, which rank 0 writes: "
            "put the run on a file system that all ranks share, or at a URL of an object store"
        ) from error


# A weak reference: torch ends the threads of a group when it deletes the group, and a reference here would outlive it.
_host: weakref.ref[Any] | None = None


def _host_group() -> Any:
    """Return a gloo group of all ranks on the CPU, with a long timeout, as ranking on rank 0 can take long."""
    global _host
    group = None if _host is None else _host()
    if group is None:
        group = dist.new_group(backend="gloo", timeout=timedelta(days=1))
        _host = weakref.ref(group)
    return group
