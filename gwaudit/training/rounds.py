"""Find and open the finished rounds of a run; without the networks that train them, which a ranking need not import."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from gwaudit.core.errors import StoreDamagedError, StoreNotFoundError
from gwaudit.core.settings import ResolvedTrainingSettings
from gwaudit.store.store import TrajectoryStore


def rounds_of(run: Path) -> list[Path]:
    """Return the folders of a run's finished rounds, in order; the first is the run itself, finished or not.

    Raises:
        StoreDamagedError: A round is missing, or is not finished, though a later one is there.
    """
    rounds = [run]
    while _is_finished(path := run / "rounds" / str(len(rounds))):
        rounds.append(path)
    later = run / "rounds" / str(len(rounds) + 1)
    if later.exists():
        raise StoreDamagedError(
            f"{path} is missing or not finished, though {later} is there: copy the run's folder again as a whole, or "
            "move the later rounds to another place"
        )
    return rounds


def unfinished_round(rounds: Sequence[Path]) -> Path | None:
    """Return the folder of the round after the finished ones, or None where none was begun.

    Args:
        rounds: Folders of the finished rounds, as `rounds_of` returns them.
    """
    path = rounds[0] / "rounds" / str(len(rounds))
    return path if path.exists() else None


def _is_finished(run: Path) -> bool:
    """Return whether a folder holds a finished round; a training cut short may not have made its run yet."""
    try:
        store = TrajectoryStore.open(run)
    except StoreNotFoundError:
        return False
    with store:
        settings = ResolvedTrainingSettings.from_dict(store.settings["training"])
        epochs = len(store.training_epochs)
        stopped_early = settings.patience is not None and epochs > 0
        return len(store.final_passes) == settings.final_passes and (epochs == settings.epochs or stopped_early)


@contextmanager
def open_rounds(runs: Sequence[Path], *, verify: bool = True) -> Iterator[list[TrajectoryStore]]:
    """Open the rounds of a run for reading, and close them when the block ends.

    Args:
        runs: Folders of the rounds, as `rounds_of` returns them.
        verify: Whether each file is compared with its checksum before it is read for the first time.

    Yields:
        The stores, in the order of the folders.
    """
    with ExitStack() as stack:
        yield [stack.enter_context(TrajectoryStore.open(run, verify=verify)) for run in runs]
