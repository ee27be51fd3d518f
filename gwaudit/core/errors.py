"""What can go wrong by a user's doing, each with a message that says what, where, and what to do.

The command line prints the message on one line and exits with 2; everything else is a bug and keeps its traceback.
"""

from collections.abc import Sequence
from typing import Any


class GwauditError(Exception):
    """Base of every error that the user can mend."""


class SettingsError(GwauditError):
    """A setting, or a combination of settings, that cannot work."""


class DataError(GwauditError):
    """A data set, label file or image that is missing, broken, or does not fit the rest."""


class ModelError(GwauditError):
    """A model that does not exist, or has no linear head to record at."""


class MissingExtraError(GwauditError):
    """A library is not installed that this needs: `what` it is that does, and the `extra` that brings the library."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs libraries that are not installed: pip install 'gwaudit[{extra}]'")


class BrokenRowsError(DataError):
    """Rows of a source that cannot be used, all of them in `rows`."""

    def __init__(self, message: str, rows: Sequence[Any]) -> None:
        super().__init__(message)
        self.rows = tuple(rows)


class UnresolvedDecisionsError(DataError):
    """Decisions that cannot be applied as they stand, all of what is wrong in `problems`."""

    def __init__(self, message: str, problems: Sequence[Any]) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


class RecordingError(GwauditError):
    """Recording used out of order, or fed values that cannot be recorded (shapes, ids, NaN)."""


class StoreError(GwauditError):
    """Base of everything about a run's folder."""


class StoreNotFoundError(StoreError):
    """The folder holds no run."""


class StoreExistsError(StoreError):
    """The folder already holds a run, or something that is not one."""


class StoreBusyError(StoreError):
    """Another process is writing to this run."""


class StoreDamagedError(StoreError):
    """A file of the run is missing, cut short or altered."""


class StoreVersionError(StoreError):
    """The run was written by a later version of gwaudit."""


class InvalidEpochError(StoreError):
    """Rows that cannot become an epoch: ids out of range or twice, wrong shapes, wrong epoch number."""
