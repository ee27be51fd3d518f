"""Keep the copies of audited samples in another split beside a run, sealed: `RUN/across_splits.json`."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from gwaudit.core.errors import StoreDamagedError
from gwaudit.core.json import read_json, sealed, unsealed, write_json

_FILE = "across_splits.json"


@dataclass(frozen=True)
class SplitCopies:
    """Describe samples of the audited split and of another one that are copies of one another.

    Attributes:
        keys: Keys of the samples, those of the audited split first.
        labels: Given label of each.
        splits: Split of each.
        nearly: Whether some of them are images that are nearly equal only.
    """

    keys: list[str]
    labels: list[str]
    splits: list[str]
    nearly: bool = False

    @property
    def is_contradictory(self) -> bool:
        """Return whether the samples have different labels."""
        return len(set(self.labels)) > 1


def write_split_copies(run: Path, copies: Sequence[SplitCopies]) -> None:
    """Write the copies that were found, none too, into the folder of a run.

    Raises:
        StoreError: The file cannot be written.
    """
    write_json(run / _FILE, sealed({"groups": [asdict(group) for group in copies]}))


def read_split_copies(run: Path) -> tuple[SplitCopies, ...] | None:
    """Return the copies of a run's samples in another split; None where no other split was read.

    Raises:
        StoreDamagedError: The file was altered.
    """
    file = run / _FILE
    if not file.exists():
        return None
    try:
        return tuple(SplitCopies(**group) for group in unsealed(read_json(file))["groups"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreDamagedError(
            f"{file} is damaged ({error}): delete it, or audit the run again with `resume` and `also_split`"
        ) from error
