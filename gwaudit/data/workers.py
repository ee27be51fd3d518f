"""Read inputs in worker processes, ahead of the process that uses them.

The workers are those of `torch.utils.data.DataLoader`. Results come in the order of the requests, so that they do not
depend on the number of workers.
"""

import ctypes
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Any, Generic, Literal, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from gwaudit.core.errors import GwauditError, WorkerDiedError
from gwaudit.data.dataset import LabeledDataset
from gwaudit.data.inputs import are_in_memory

_MOST_AUTOMATIC = 16
_PREFETCHED = 2  # requests of each worker
_SET_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux's prctl
_UNTIL_DEATH_IS_KNOWN = 5.0  # seconds
_SIGNAL = re.compile(r"by signal: (.+?)\.?\s*$", re.MULTILINE)

Request = TypeVar("Request")
Result = TypeVar("Result")


def resolve_workers(workers: Literal["auto"] | int, *, beside_training: bool = True) -> int:
    """Return the number of worker processes: for "auto" a core each, beside one for the training.

    Elsewhere than on Linux "auto" is 0: a new process there imports everything again, and the script of the user too.

    Args:
        workers: The setting `workers`.
        beside_training: Whether this process computes meanwhile.
    """
    if workers != "auto":
        return workers
    if sys.platform != "linux":
        return 0
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # of torchrun, which share the cores
    return max(1, min(len(os.sched_getaffinity(0)) // processes - beside_training, _MOST_AUTOMATIC))


def in_worker() -> bool:
    """Return whether this process is a worker."""
    return torch.utils.data.get_worker_info() is not None


@contextmanager
def naming_dead_workers() -> Iterator[None]:
    """Turn torch's error for a worker that died, which may be raised in any line of the block, into a WorkerDiedError.

    Raises:
        WorkerDiedError: A worker died.
    """
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        text = f"{error}\n{error.__cause__}"  # torch raises its error again where it waited for a result
        match = _SIGNAL.search(text)
        how = f"was killed by the signal {match[1]}" if match else "ended"
        why = (
            "shared memory (/dev/shm) is too small. Give the container more"
            if "us error" in text
            else "memory ran out. Close other programs"
        )
        raise WorkerDiedError(
            f"a process that reads images {how}, most often because {why}, or set `workers` to fewer; 0 reads in this "
            "process. Complete epochs are kept: go on with `resume`"
        ) from error


class WorkerPool(Generic[Request, Result]):
    """Compute the results of requests in worker processes, which stay for the next requests.

    Args:
        work: Returns the result of a request, a tensor or a container of tensors. It does not depend on the order.
        workers: Number of processes; with 0 this process does the work, when the result is asked for.
        pin_memory: Whether to put tensors into pinned memory, from which a GPU reads faster.
    """

    def __init__(self, work: Callable[[Request], Result], workers: int, *, pin_memory: bool = False) -> None:
        self._work, self._workers, self._pin_memory = work, workers, pin_memory
        self._requests = _Requests()
        self._loader: DataLoader[Any] | None = None

    def map(self, requests: Iterable[Request]) -> Iterator[Result]:
        """Yield the result of each request, in order. A new call ends the one before.

        Raises:
            WorkerDiedError: A worker died.
            GwauditError: The work raised it.
        """
        if not self._workers:
            yield from map(self._work, requests)
            return
        self._requests.iterable = requests
        with naming_dead_workers():
            try:
                for result in self._made_loader():
                    if isinstance(result, _Failure):
                        raise result.error
                    yield result
            except (OSError, EOFError):  # the connection to a worker broke: most often it died while it sent
                time.sleep(_UNTIL_DEATH_IS_KNOWN)  # torch raises its error here, when the system reports the death
                raise
            finally:
                if _with_dead_worker(self._loader) is not None:
                    self.close()

    def close(self) -> None:
        """End the workers.

        Where one has died, nothing is waited for: it may hold a lock that torch needs to end the others.
        """
        broken = _with_dead_worker(self._loader)
        if broken is not None:
            threading.Thread(target=broken._shutdown_workers, daemon=True).start()
        self._loader = None

    def _made_loader(self) -> DataLoader[Any]:
        if self._loader is None:
            self._loader = _Loader(
                _Work(self._work),
                sampler=self._requests,  # requests in place of indices
                batch_size=None,
                num_workers=self._workers,
                collate_fn=_unchanged,
                pin_memory=self._pin_memory,
                worker_init_fn=_prepare_worker,
                multiprocessing_context="fork" if sys.platform == "linux" else None,
                generator=torch.Generator(),  # else each pass draws a number from the generator of the training
                prefetch_factor=_PREFETCHED,
                persistent_workers=True,
            )
        return self._loader


def read_batches(dataset: LabeledDataset, batches: Sequence[Tensor], *, pin_memory: bool = False) -> Iterator[Tensor]:
    """Yield the inputs of batches of sample ids, in order; `dataset.workers` processes read and decode them ahead.

    Inputs in memory are copied by this process: a worker would copy them twice.

    Args:
        dataset: The data set.
        batches: The ids of each batch, [B] int64.
        pin_memory: Whether to put the inputs into pinned memory, from which a GPU reads faster.

    Raises:
        DataError: An image can no longer be read.
        WorkerDiedError: A worker died.
    """
    workers = 0 if are_in_memory(dataset.inputs) else dataset.workers
    with closing(WorkerPool(dataset.read, workers, pin_memory=pin_memory)) as pool:
        yield from pool.map(batches)


class _Loader(DataLoader[Any]):
    """Be torch's loader, without its warning of more workers than processors: their number is what the user asked for.

    It would count as the warning of a decoder (`gwaudit.data.encoded_images.recorded_warnings`).
    """

    def check_worker_number_rationality(self) -> None:
        """Accept any number."""


def _with_dead_worker(loader: DataLoader[Any] | None) -> Any:
    """Return torch's iterator of a loader, which has its processes, if one of these has died; None otherwise."""
    iterator: Any = getattr(loader, "_iterator", None)
    has_died = iterator is not None and any(worker.exitcode is not None for worker in iterator._workers)
    return iterator if has_died else None


class _Requests:
    """Yield the requests of the current call."""

    iterable: Iterable[Any] = ()

    def __iter__(self) -> Iterator[Any]:
        return iter(self.iterable)


class _Failure:
    """Hold an error for the user, which is raised in the process that asked."""

    def __init__(self, error: GwauditError) -> None:
        self.error = error


class _Work(Dataset[Any]):
    def __init__(self, work: Callable[[Any], Any]) -> None:
        self._work = work

    def __getitem__(self, request: Any) -> Any:
        try:
            return self._work(request)
        except GwauditError as error:
            return _Failure(error)


def _unchanged(result: Any) -> Any:
    return result


def _prepare_worker(_number: int) -> None:
    """Let the process that started this worker handle Ctrl-C, and let this one die with it.

    A worker that outlives a killed training would keep the lock of its run for some seconds.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
