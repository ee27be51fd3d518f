"""Open the run of a pickled store again, in another process or on another machine, and check that it is the same."""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gwaudit.core.errors import StoreError
from gwaudit.core.origins import origin_of
from gwaudit.store.working_copies import run_folder


def reopening(
    open_store: Callable[..., Any], path: Path, run_id: str, *, verify: bool
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """Return what `__reduce__` of a store returns: a function and its arguments, which open the same run for reading.

    A run in a folder is opened by its absolute path. A run at a URL is opened by its working copy where that is, and by
    its URL on other machines, which then make a working copy of their own.

    Args:
        open_store: `TrajectoryStore.open` of the store's class.
        path: The run's folder.
        run_id: The id of the run.
        verify: Whether files are compared with their checksums when they are read.
    """
    absolute = path.absolute()
    if (origin := origin_of(absolute)) is None:
        return _open_same, (open_store, absolute, None, "", "", run_id, verify)
    return _open_same, (open_store, absolute, origin.folder.url, origin.name, origin.copy, run_id, verify)


def _open_same(
    open_store: Callable[..., Any], path: Path, url: str | None, name: str, copy: str, run_id: str, verify: bool
) -> Any:
    if url is not None and ((origin := origin_of(path)) is None or origin.copy != copy):
        path = run_folder(url) / name
    store = open_store(path, verify=verify)
    if store.run_id != run_id:
        raise StoreError(
            f"{path} on {socket.gethostname()} is another run than the one to read: give all machines the same folder "
            "at this path"
        )
    return store
