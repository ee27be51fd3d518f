"""Rank a recorded run and write the results (`rank`)."""

from pathlib import Path

from gwaudit.core.settings import RankingSettings
from gwaudit.pipeline.results import AuditResult, write_results
from gwaudit.pipeline.run_data import samples_of_run
from gwaudit.pipeline.stages import StageProgress, Warnings
from gwaudit.store.store import TrajectoryStore
from gwaudit.training.refinement import rank_run, rounds_of


def rank_again(
    run: Path | str,
    ranking: RankingSettings | None = None,
    *,
    root: Path | str | None = None,
    progress: StageProgress | None = None,
) -> AuditResult:
    """Rank a recorded run and write the results into its folder, in place of those of an earlier ranking.

    The data of the run are loaded again for the report; a run is ranked without them where they cannot be read.

    Args:
        run: the folder of the run.
        ranking: the settings of the ranking.
        root: the place of the data now, if they were moved.
        progress: receives the stages, and notes on the data; by default these are warnings.

    Raises:
        GwauditError: the run cannot be ranked by these settings.
    """
    run, progress = Path(run), progress or Warnings()
    progress.on_stage("ranking")
    ranked = rank_run(rounds_of(run), ranking)
    with TrajectoryStore.open(run) as store:
        dataset = samples_of_run(store, progress, root)
    progress.on_stage("writing the results")
    return write_results(ranked, dataset)
