"""The processes that train together: ranks, as torchrun starts them.

Every rank trains on its share of each batch and scores what it trained on. At an epoch's end each row goes to the rank
that owns its block, which writes it; rank 0 alone commits, keeps checkpoints and speaks. Where something fails on one
rank that a user can mend, all ranks end with that one error, and nobody waits for a rank that has left.

With one process every function here is its plain counterpart, without torch.distributed.
"""

import atexit
import inspect
import os
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn

from gwaudit.core.errors import GwauditError, SettingsError, StoreError, StoreNotFoundError
from gwaudit.store.store import TrajectoryStore

T = TypeVar("T")


def world_size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def process_rank() -> int:
    """This process's number among them, from 0."""
    return dist.get_rank() if world_size() > 1 else 0


def is_rank0() -> bool:
    """Whether this is rank 0, which commits and speaks for all."""
    return process_rank() == 0


def init_process_group(device: str = "auto") -> None:
    """Have the processes that torchrun started train together from now on, on a GPU each (NCCL) or the CPU (gloo).

    Does nothing in a single process, and where they do so already.

    Args:
        device: as in `TrainingSettings`.

    Raises:
        SettingsError: not a GPU for each process, or the environment does not say how they find each other.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or not dist.is_available() or dist.is_initialized():
        return
    on_gpu = torch.cuda.is_available() and (device == "auto" or device.startswith("cuda"))
    if on_gpu:
        here, gpus = int(os.environ.get("LOCAL_WORLD_SIZE", "1")), torch.cuda.device_count()
        if here > gpus or device not in ("auto", "cuda"):
            raise SettingsError(
                f"{here} processes need a GPU each, {gpus} are here, and device is {device!r}: start as many processes "
                "as there are GPUs with the device 'cuda', or train with the device 'cpu'"
            )
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    try:
        dist.init_process_group("nccl" if on_gpu else "gloo")
    except ValueError as error:
        raise SettingsError(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']}, but the processes cannot find each other ({error}): start them "
            "with torchrun, or unset WORLD_SIZE"
        ) from error
    # No sooner: the same processes cannot meet a second time.
    atexit.register(_part)


def _part() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


@contextmanager
def raise_on_all_ranks() -> Iterator[None]:
    """Let a `GwauditError` that is raised inside on one rank be raised on all of them. Every rank must come by.

    What is inside must not wait for other ranks.
    """
    if world_size() == 1:
        yield
        return
    error: GwauditError | None = None
    try:
        yield
    except GwauditError as raised:
        error = raised
    first = next((found for found in all_gather(error) if found is not None), None)
    if first is not None:
        # Its own error keeps its traceback; where several failed, all raise the first rank's.
        raise first if error is None or str(first) != str(error) else error


def all_gather(value: T) -> list[T]:
    """What each rank has here, by rank; anything that can be pickled."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value, group=_host_group())
    return values


def run_on_rank0(make: Callable[[], T]) -> T:
    """Do it on rank 0 alone: all ranks get what came of it, or its `GwauditError`."""
    made: list[Any] = [None]
    with raise_on_all_ranks():
        if is_rank0():
            made = [make()]
    if world_size() > 1:
        dist.broadcast_object_list(made, src=0, group=_host_group(), device=torch.device("cpu"))
    result: T = made[0]
    return result


def all_reduce_sum(values: Tensor) -> Tensor:
    """The sum of all ranks' tensors [k], on the CPU."""
    if world_size() > 1:
        dist.all_reduce(values, group=_host_group())
    return values


def in_parallel(model: nn.Module, device: torch.device) -> nn.Module:
    """The model as a training step calls it: on several ranks, its backward pass averages their gradients."""
    if world_size() == 1:
        return model
    wrapper = nn.parallel.DistributedDataParallel
    # Statistics are averaged once an epoch (below), not sent at every step. Later versions of torch name this anew.
    names = ("forward_sync_buffers", "broadcast_buffers")
    options: dict[str, Any] = {next(name for name in names if name in inspect.signature(wrapper).parameters): False}
    if device.type == "cuda":
        options["device_ids"] = [device]
    return wrapper(model, **options)


def average_statistics(model: nn.Module) -> None:
    """Give all ranks the mean of what their batch norms keep of their own shares."""
    if world_size() == 1:
        return
    for norm in model.modules():
        if isinstance(norm, nn.modules.batchnorm._BatchNorm):
            for statistic in (norm.running_mean, norm.running_var):
                if statistic is not None:
                    dist.all_reduce(statistic)
                    statistic /= world_size()


def rank_slice(n: int) -> slice:
    """Which of a batch's n samples are this rank's: at least two, as batch norm needs, or none."""
    ranks = max(1, min(world_size(), n // 2))
    bounds = [n * i // ranks for i in range(ranks + 1)]
    return slice(bounds[process_rank()], bounds[process_rank() + 1]) if process_rank() < ranks else slice(n, n)


def send_to_owner(
    ids: NDArray[np.int64], values: Mapping[str, NDArray[Any]], owners: NDArray[np.int64]
) -> tuple[NDArray[np.int64], dict[str, NDArray[Any]]]:
    """Send rows to the ranks that own them.

    Args:
        ids: [N] of the rows, in the order in which this rank made them.
        values: columns of four bytes a row, [N] each.
        owners: [N], the rank that each row goes to.

    Returns:
        The rows that came here, as `ids` and `values`. They are in the order in which they were made, rank by rank
        within the same place: a sampler pads at its end, and so what it repeats comes after the sample's own row.
    """
    if world_size() == 1:
        return ids, dict(values)
    # One matrix of int32, bits kept: ids and places take two columns each.
    wide = np.stack([ids, np.arange(len(ids))], axis=1).view(np.int32)
    columns = np.stack([column.view(np.int32) for column in values.values()], axis=1)
    rows = _exchanged(torch.from_numpy(np.concatenate([wide, columns], axis=1)), torch.from_numpy(owners)).numpy()
    wide = np.ascontiguousarray(rows[:, :4]).view(np.int64)
    order = np.argsort(wide[:, 1], kind="stable")
    columns = np.ascontiguousarray(rows[order, 4:].T)
    return wide[order, 0], {name: columns[i].view(column.dtype) for i, (name, column) in enumerate(values.items())}


def _exchanged(rows: Tensor, owners: Tensor) -> Tensor:
    """Rows [N, K] on the CPU to their owners [N]; what came here, [M, K], by the rank that it came from."""
    leaving = torch.bincount(owners, minlength=world_size())
    coming = torch.empty_like(leaving)
    dist.all_to_all_single(coming, leaving, group=_host_group())
    received = rows.new_empty((int(coming.sum()), rows.shape[1]))
    sorted_rows = rows[owners.argsort(stable=True)]
    dist.all_to_all_single(received, sorted_rows, coming.tolist(), leaving.tolist(), group=_host_group())
    return received


def shared_store(make: Callable[[], TrajectoryStore]) -> TrajectoryStore:
    """One run for all ranks: rank 0 creates or opens it for writing, the others open it for reading.

    Call it on every rank, after `init_process_group`; the ranks must share the file system that holds the run. In a
    single process it is `make()`.

    Args:
        make: creates the run, or opens it with `writable=True`.

    Returns:
        The store for this rank's `AlignmentRecorder`.

    Raises:
        GwauditError: what `make` raised on rank 0, on every rank.
        StoreError: a rank does not see the run.

    Example:
        >>> with shared_store(lambda: TrajectoryStore.open("runs/worse", writable=True)) as store:
        ...     store.writable
        True
    """
    made: list[TrajectoryStore] = []

    def make_and_tell() -> tuple[Any, ...]:
        made.append(make())
        return made[0].path.absolute(), [made[0].commit(epoch) for epoch in made[0].epochs]

    path, commits = run_on_rank0(make_and_tell)
    try:
        with raise_on_all_ranks():
            if not is_rank0():
                made.append(_opened(path))
    except BaseException:
        for store in made:
            store.close()
        raise
    for commit in commits:
        made[0].remember(commit)
    return made[0]


def _opened(path: Path) -> TrajectoryStore:
    try:
        return TrajectoryStore.open(path)
    except StoreNotFoundError as error:
        raise StoreError(
            f"rank {process_rank()} does not see {path}, which rank 0 writes: "
            "put the run on a file system that all ranks share"
        ) from error


# A weak reference, as torch ends a group's threads when it forgets the group: what is kept here would outlive them.
_host: weakref.ref[Any] | None = None


def _host_group() -> Any:
    """All ranks, by way of the CPU, whatever joins them on their devices; patient, as rank 0 may rank for long."""
    global _host
    group = None if _host is None else _host()
    if group is None:
        group = dist.new_group(backend="gloo", timeout=timedelta(days=1))
        _host = weakref.ref(group)
    return group
