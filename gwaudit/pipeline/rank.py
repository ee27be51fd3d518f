"""Rank a recorded run and write the results (`rank`)."""

from dataclasses import replace
from pathlib import Path

from gwaudit.analysis.ranking import rank
from gwaudit.core.settings import RankingSettings
from gwaudit.pipeline.results import AuditResult, write_results
from gwaudit.pipeline.run_data import samples_of_run
from gwaudit.pipeline.stages import StageProgress, Warnings
from gwaudit.training.refinement import open_rounds, rounds_of


def rank_again(
    run: Path | str,
    ranking: RankingSettings | None = None,
    *,
    verify: bool = True,
    root: Path | str | None = None,
    progress: StageProgress | None = None,
) -> AuditResult:
    """Rank a recorded run and write the results into its folder, in place of those of an earlier ranking.

    The data of the run are loaded again for the report; a run is ranked without them where they cannot be read.

    Args:
        run: the folder of the run.
        ranking: the settings of the ranking.
        verify: compare each file of the run with its checksum before it is read; of a huge run that takes about as
            long as reading it. The number of files that were not compared stands in the result, and in a note.
        root: the place of the data now, if they were moved.
        progress: receives the stages, and notes on the data; by default these are warnings.

    Raises:
        GwauditError: the run cannot be ranked by these settings.
    """
    run, progress = Path(run), progress or Warnings()
    progress.on_stage("ranking")
    with open_rounds(rounds_of(run), verify=verify) as (first, *later):
        ranked = rank(first, ranking, rounds=later)
        dataset = samples_of_run(first, progress, root)
        progress.on_stage("writing the results")
        result = write_results(ranked, dataset, first)
        unverified = sum(store.unverified_files for store in (first, *later))
    if unverified:
        progress.on_note(
            f"{unverified:,} files of the run were read without being compared with their checksums: damage to them is "
            f"not noticed. To compare them: gwaudit show {run} --verify"
        )
    return replace(result, unverified_files=unverified)
