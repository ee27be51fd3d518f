"""Open the engine that computes the blocks of a ranking: this process, a local Dask cluster, or one that runs already.

An engine is a `concurrent.futures.Executor`, so the same functions compute a block everywhere, and the results are
equal bit for bit. Workers read the run and write nothing; the results are put together, and written, here.
"""

import logging
import os
import pickle
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Executor, Future, wait
from contextlib import ExitStack, contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import pyarrow as pa

import gwaudit
from gwaudit.core.errors import EngineError, MissingExtraError, SettingsError, StoreError
from gwaudit.core.urls import redacted

LOCAL = "local"
_CLUSTER = "dask"
_HERE = "127.0.0.1"
_CONNECT = 10.0  # seconds that a connection may take
_ANSWER = 30.0  # seconds after which a scheduler that does not answer is lost, and one without workers is given up
_LOOK = 5.0  # seconds between looks at the workers


def require_engine(engine: str) -> None:
    """Raise an error if an engine cannot be used: before a training, whose ranking needs it.

    Raises:
        SettingsError: `engine` has another value.
        MissingExtraError: Dask is not installed.
        EngineError: There is no scheduler at the address.
    """
    if engine not in (LOCAL, _CLUSTER):
        with open_engine(engine):
            pass
    elif engine == _CLUSTER:
        _require_dask()


@contextmanager
def open_engine(engine: str) -> Iterator[Executor | None]:
    """Open an engine for the block, and raise what happens to it there as EngineError.

    Args:
        engine: `local`, this process; `dask`, a cluster of one worker a core, which ends with the block; or
            `dask://HOST:PORT`, the cluster of a scheduler that runs there.

    Yields:
        The executor of `gwaudit.rank`, or None for `local`.

    Raises:
        SettingsError: `engine` has another value.
        MissingExtraError: Dask is not installed.
        EngineError: The scheduler cannot be reached or is lost, there are no workers, or a block ended several of them.
    """
    address = _address(engine)
    if engine == LOCAL:
        yield None
        return
    _require_dask()
    from distributed import Client, KilledWorker
    from distributed.comm.core import CommClosedError

    where = f"the scheduler at {address}" if address else "the local Dask cluster"
    with ExitStack() as stack:
        stack.enter_context(_quiet("distributed"))
        try:
            place = stack.enter_context(_local_cluster()) if address is None else f"tcp://{address}"
            client = Client(place, timeout=_CONNECT, set_as_default=False)
        except (OSError, TimeoutError, RuntimeError, ValueError) as error:
            raise EngineError(_not_reached(address, error)) from error
        stack.callback(_close, client)
        try:
            yield _DaskExecutor(client, where)
        except KilledWorker as error:
            raise EngineError(
                f"a block of samples ended {error.allowed_failures + 1} workers of {where}, most often because memory "
                "ran out: give each worker more memory, or use `engine='local'`. Nothing was written"
            ) from error
        except (CommClosedError, CancelledError) as error:
            raise EngineError(_lost(where)) from error


def _address(engine: str) -> str | None:
    """Return HOST:PORT of an engine that is the address of a scheduler, None for the others.

    Raises:
        SettingsError: The engine has another value.
    """
    if engine in (LOCAL, _CLUSTER):
        return None
    with suppress(ValueError):  # a port that is no number, or out of range
        url = urlsplit(engine)
        is_whole = url.scheme == _CLUSTER and url.hostname and url.port and not (url.query or url.fragment)
        if is_whole and "@" not in url.netloc and url.path in ("", "/"):
            return url.netloc
    raise SettingsError(
        f"`engine` must be local, dask (a local cluster) or dask://HOST:PORT (a scheduler that runs), not "
        f"{redacted(engine)!r}"
    )


def _require_dask() -> None:
    try:
        import distributed  # noqa: F401  # to see whether it is there
    except ImportError as error:
        raise MissingExtraError("the engine `dask`", "dask") from error


def _local_cluster() -> Any:
    """Return a cluster of worker processes on this machine, one a core, which other machines cannot reach."""
    from distributed import LocalCluster

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    # No limit of memory: Dask would stop or end workers that need more than their share of the machine.
    return LocalCluster(
        n_workers=cores,
        threads_per_worker=1,
        host=_HERE,
        dashboard_address=f"{_HERE}:0",
        worker_dashboard_address=f"{_HERE}:0",
        memory_limit=0,
        silence_logs=logging.CRITICAL,
    )


def _not_reached(address: str | None, error: Exception) -> str:
    if address is None:
        return (
            f"the local Dask cluster did not start ({_first_line(error)}): in a script, call gwaudit under "
            "`if __name__ == '__main__'`, as worker processes import the script again; or use `engine='local'`"
        )
    host, _, port = address.rpartition(":")
    return (
        f"there is no Dask scheduler at host {host}, port {port} ({_first_line(error)}): start one (dask scheduler "
        f"--port {port}), check host and port, or use `engine='local'`"
    )


def _lost(where: str) -> str:
    return f"{where} was lost during the ranking: see whether it still runs, and rank again. Nothing was written"


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


@contextmanager
def _quiet(package: str) -> Iterator[None]:
    """Let the loggers of a package print nothing inside the block: what they would report is raised as an error."""
    loggers = [logging.getLogger(name) for name in logging.root.manager.loggerDict if name.split(".")[0] == package]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _close(client: Any) -> None:
    with suppress(Exception):  # the results are here, or an error is on its way
        client.close(timeout=_LOOK)


class _DaskExecutor(Executor):
    """Compute calls by the workers of a Dask client."""

    def __init__(self, client: Any, where: str) -> None:
        self._client, self._where = client, where
        self._inner = client.get_executor(pure=False)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Send a call to a worker. The scheduler, which need not see the run, passes it on as bytes."""
        call = pickle.dumps((fn, args, kwargs))
        try:
            future: Future[Any] = self._inner.submit(_call, call, _versions())
        except Exception as error:  # of a closed client: its kind differs between versions of Dask
            if self._client.status == "running":
                raise
            raise EngineError(_lost(self._where)) from error
        return future

    def map(
        self, fn: Callable[..., Any], *iterables: Iterable[Any], timeout: float | None = None, chunksize: int = 1
    ) -> Iterator[Any]:
        """Yield the values of calls, in their order.

        Raises:
            EngineError: The scheduler or all workers were lost, or cannot load gwaudit.
        """
        waiting = deque(self.submit(fn, *arguments) for arguments in zip(*iterables, strict=False))
        try:
            while waiting:
                yield self._value(waiting.popleft())
        finally:
            for future in waiting:
                future.cancel()

    def _value(self, future: Future[Any]) -> Any:
        """Return the value of a call, for which workers must be there."""
        last_seen = time.monotonic()
        while not wait([future], timeout=_LOOK).done:
            if self._has_workers():
                last_seen = time.monotonic()
            elif time.monotonic() - last_seen > _ANSWER:
                raise EngineError(
                    f"{self._where} has had no worker for {_ANSWER:.0f} seconds: start workers, and rank again. "
                    "Nothing was written"
                )
        try:
            return future.result()
        except ImportError as error:
            raise EngineError(
                f"a worker of {self._where} cannot load gwaudit ({_first_line(error)}): install gwaudit "
                f"{gwaudit.__version__} where the scheduler and the workers run"
            ) from error
        except RuntimeError as error:
            if "deserialization" not in str(error):
                raise
            raise EngineError(
                f"{self._where} cannot load gwaudit: install gwaudit {gwaudit.__version__}, and the same versions of "
                "Python and Dask as here, where the scheduler and the workers run"
            ) from error

    def _has_workers(self) -> bool:
        """Return whether the scheduler has workers.

        Raises:
            EngineError: It does not answer.
        """
        try:
            return bool(self._client.sync(self._client.scheduler.ncores, callback_timeout=_ANSWER))
        except Exception as error:  # of the connection: its kinds differ between versions of Dask
            raise EngineError(
                f"{self._where} does not answer ({_first_line(error)}): see whether it still runs, and rank again. "
                "Nothing was written"
            ) from error


def _versions() -> dict[str, str]:
    """Return the versions of what computes a block and carries its result."""
    modules = {"gwaudit": gwaudit, "numpy": np, "pandas": pd, "pyarrow": pa}
    return {name: module.__version__ for name, module in modules.items()}


def _call(call: bytes, versions: dict[str, str]) -> Any:
    """Make a call on a worker: it opens the run, reads and compares the files of its block by itself.

    Raises:
        EngineError: The worker has other versions than the process that ranks.
        StoreError: The run cannot be read here; the message names the machine.
    """
    here = _versions()
    if here != versions:
        others = ", ".join(
            f"{name} {here[name]} in place of {versions[name]}" for name in here if here[name] != versions[name]
        )
        raise EngineError(f"the worker on {socket.gethostname()} has {others}: install the same versions everywhere")
    try:
        function, arguments, named = pickle.loads(call)
        return function(*arguments, **named)
    except StoreError as error:
        raise type(error)(
            f"{error} (read by the Dask worker on {socket.gethostname()}: all workers need the run's folder at the "
            "same path, or its URL)"
        ) from None
