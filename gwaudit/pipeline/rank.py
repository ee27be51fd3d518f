"""Rank a recorded run and write the results (`rank`)."""

from pathlib import Path

from gwaudit.core.settings import RankingSettings
from gwaudit.pipeline.results import AuditResult, write_results
from gwaudit.pipeline.run_data import data_if_recorded
from gwaudit.store.store import TrajectoryStore
from gwaudit.training.refinement import rank_run, rounds_of


def rank_again(run: Path | str, ranking: RankingSettings | None = None) -> AuditResult:
    """Rank a recorded run and write the results into its folder, in place of those of an earlier ranking.

    The data of the run are loaded again; a run of one's own training loop is ranked without them.

    Args:
        run: the folder of the run.
        ranking: the settings of the ranking.

    Raises:
        GwauditError: the run cannot be ranked by these settings, or its data are missing.
    """
    run = Path(run)
    with TrajectoryStore.open(run) as store:
        dataset = data_if_recorded(store)
    return write_results(rank_run(rounds_of(run), ranking), dataset)
