"""Define the errors that a user can fix; each message says what is wrong, where, and what to do.

Messages name settings and arguments of Python in backticks: "give them with `truth`", "with `on_error='skip'`". The
command line translates these to its options (`gwaudit.cli.errors`), prints the message on one line and exits with 2.
Every other exception is a bug and keeps its traceback.
"""

import difflib
from collections.abc import Sequence
from typing import Any

from gwaudit.core.shown_paths import with_urls


class GwauditError(Exception):
    """Signal an error that the user can fix; the base of all others."""

    def __str__(self) -> str:
        return with_urls(super().__str__())


class SettingsError(GwauditError):
    """Signal a setting, or a combination of settings, that cannot work."""


class DataError(GwauditError):
    """Signal a data set, label file or image that is missing, broken, or does not fit the rest."""


class ModelError(GwauditError):
    """Signal a model that does not exist, or that has no linear head to record at."""


class MissingExtraError(GwauditError):
    """Signal that a library is not installed.

    Args:
        what: the feature that needs the library.
        extra: the extra of gwaudit that installs it.
    """

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs libraries that are not installed: pip install 'gwaudit[{extra}]'")


class BrokenRowsError(DataError):
    """Signal rows of a source that cannot be used; `rows` holds all of them."""

    def __init__(self, message: str, rows: Sequence[Any]) -> None:
        super().__init__(message)
        self.rows = tuple(rows)


class UnresolvedDecisionsError(DataError):
    """Signal decisions that cannot be applied; `problems` holds every reason."""

    def __init__(self, message: str, problems: Sequence[Any]) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


class WorkerDiedError(GwauditError):
    """Signal that a process that reads images died, most often because memory ran out; a run can be resumed."""


class EngineError(GwauditError):
    """Signal that the engine of a ranking cannot be reached, or lost its scheduler or its workers."""


class QueryError(GwauditError):
    """Signal a query that is not one SELECT, or that DuckDB refuses or cannot finish."""


class VerdictError(GwauditError):
    """Signal that the verdict on a run forbids what was asked for."""


class RecordingError(GwauditError):
    """Signal a recorder that is used out of order, or values that cannot be recorded (shapes, ids, NaN)."""


class StoreError(GwauditError):
    """Signal a problem with the folder of a run, or with a file that is written; the base of the next ones."""


class StoreNotFoundError(StoreError):
    """Signal that the folder holds no run."""


class StoreExistsError(StoreError):
    """Signal that the folder holds a run already, or files that are not a run."""


class StoreBusyError(StoreError):
    """Signal that another process is writing to this run."""


class StoreDamagedError(StoreError):
    """Signal that a file of the run is missing, cut short or altered."""


class StoreVersionError(StoreError):
    """Signal that the run was written by another version of gwaudit."""


class InvalidEpochError(StoreError):
    """Signal rows that cannot become an epoch: ids out of range or repeated, wrong shapes, wrong epoch number."""


def did_you_mean(text: str, names: Sequence[str]) -> str:
    """Return ` (did you mean 'NAME'?)` with the nearest of the names, or nothing where none is near.

    Only the first 200 characters are compared: the time grows with the square of the length.
    """
    near = difflib.get_close_matches(text[:200], [name[:200] for name in names], n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""
