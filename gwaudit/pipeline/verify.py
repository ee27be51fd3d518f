"""Compare the files of a run with their checksums: `show --verify`."""

from pathlib import Path

from gwaudit.core.errors import StoreDamagedError
from gwaudit.core.origins import fetch
from gwaudit.store.results import require_intact, results_of
from gwaudit.store.store import TrajectoryStore
from gwaudit.store.working_copies import run_folder


def verify_run(run: Path | str) -> None:
    """Compare every file that a run vouches for with its checksum: of all rounds, and the results.

    Of each round these are the samples, the epochs and the checkpoints.

    Args:
        run: the folder of the run.

    Raises:
        StoreNotFoundError: there is no run.
        StoreDamagedError: a file or a round is missing, or a file was altered; the message names the first one.
    """
    from gwaudit.training.checkpoints import verify_checkpoints  # imports torch, which the rest of `show` need not

    run = run_folder(run)
    results = results_of(run)
    for file in [*run.rglob("commits/*.json"), *(results.rglob("*") if results != run else ())]:
        if file.is_file():
            fetch(file, anew=True)  # of a run at a URL: its copy here is not what is to be verified
    # The folder of a round whose training was stopped at its beginning holds no run yet.
    begun = {
        int(path.parent.name): path.parent for path in run.glob("rounds/*/run.json") if path.parent.name.isdecimal()
    }
    for number in range(1, max(begun, default=0)):
        if number not in begun:
            raise StoreDamagedError(
                f"{run / 'rounds' / str(number)} is missing, though round {max(begun)} is there: copy the run's folder "
                "again as a whole"
            )
    for path in (run, *(begun[number] for number in sorted(begun))):
        with TrajectoryStore.open(path) as store:
            store.verify()
            verify_checkpoints(store)
    if results != run:
        require_intact(results)
