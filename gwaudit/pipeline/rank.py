"""Rank a recorded run, calibrate the ranking on decisions, and write the results (`rank`)."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gwaudit.analysis.audit import FACTS_FILE, Audit
from gwaudit.analysis.calibrated_audit import calibrate, votes_of_neighbours
from gwaudit.analysis.ranking import rank
from gwaudit.core.errors import GwauditError
from gwaudit.core.json import read_json, unsealed
from gwaudit.core.settings import RankingSettings
from gwaudit.pipeline.engine import LOCAL, open_engine
from gwaudit.pipeline.stages import StageProgress, Warnings, note_decisions, note_unfinished, note_unverified
from gwaudit.review.decided_samples import DECISIONS_FILE, read_decided
from gwaudit.store.results import results_of
from gwaudit.store.working_copies import run_folder
from gwaudit.training.rounds import open_rounds, rounds_of, unfinished_round

if TYPE_CHECKING:  # for its type alone
    from gwaudit.pipeline.results import AuditResult


def rank_again(
    run: Path | str,
    ranking: RankingSettings | None = None,
    *,
    decisions: Sequence[Path | str] = (),
    verify: bool = True,
    engine: str = LOCAL,
    root: Path | str | None = None,
    progress: StageProgress | None = None,
) -> "AuditResult":
    """Rank a recorded run and write the results into its folder, in place of those of an earlier ranking.

    Where people decided on samples of the run, odds, order and cut are calibrated on all of their decisions
    (`gwaudit.analysis.calibrated_audit`): those of the run's own `decisions.csv`, which `review` keeps, and of further
    files. The same decisions give the same results.

    The data of the run are loaded again for the report; a run is ranked without them where they cannot be read.

    Args:
        run: the folder of the run.
        ranking: the settings of the ranking.
        decisions: further files with decisions, as `gwaudit.review.decisions.read_decisions` takes them. Rows that
            contradict the run or each other are left out, with a note.
        verify: compare each file of the run with its checksum before it is read; of a huge run that takes about as
            long as reading it. The number of files that were not compared stands in the result, and in a note.
        engine: what computes the blocks of samples: `local`, this process; `dask`, a cluster of workers on this
            machine; or `dask://HOST:PORT`, a cluster that runs. The results are the same.
        root: the place of the data now, if they were moved.
        progress: receives the stages, and notes on the data; by default these are warnings.

    Raises:
        DataError: a file of decisions cannot be read, or is about other data.
        EngineError: the engine cannot be used, or was lost; the results in use stay as they are.
        GwauditError: the run cannot be ranked by these settings.
    """
    run, progress = run_folder(run), progress or Warnings()
    progress.on_stage("ranking")
    rounds = rounds_of(run)
    if (unfinished := unfinished_round(rounds)) is not None:
        progress.on_note(
            f"{unfinished} is not finished, and the ranking goes on without this round: `resume` continues the audit; "
            "or the last files of its commits are missing, as after an incomplete copy"
        )
    with open_rounds(rounds, verify=verify) as (first, *later):
        for store in (first, *later):
            note_unfinished(store, progress)
        with open_engine(engine) as executor:
            ranked = rank(first, ranking, rounds=later, executor=executor)
        ranked = _calibrated(ranked, [Path(file) for file in decisions], progress)
        _note_forgotten(run, ranked, progress)
        # These need torch, half a GiB: not beside the arrays of the ranking.
        from gwaudit.pipeline.results import write_results
        from gwaudit.pipeline.run_data import samples_of_run

        dataset = samples_of_run(first, progress, root)
        progress.on_stage("writing the results")
        result = write_results(ranked, dataset, first)
        unverified = sum(store.unverified_files for store in (first, *later))
    note_unverified(unverified, run, progress)
    return replace(result, unverified_files=unverified)


def _note_forgotten(run: Path, ranked: Audit, progress: StageProgress) -> None:
    """Show that the ranking before this one was calibrated on more decisions, as those of a file that was given."""
    try:
        facts = unsealed(read_json(results_of(run) / FACTS_FILE))
    except (GwauditError, OSError, ValueError):  # no ranking, or one that this one replaces
        return
    before = (facts.get("calibration") or {}).get("decided", 0)
    now = 0 if ranked.calibration is None else ranked.calibration.decided
    if now < before:
        progress.on_note(
            f"the ranking before was calibrated on {before:,} decisions, and this one is on {now:,}: give the files of "
            "the others again (`decisions`)"
        )


def _calibrated(ranked: Audit, files: Sequence[Path], progress: StageProgress) -> Audit:
    """Return a ranking, calibrated on the decisions of its run and of further files."""
    if not files and not (ranked.run / DECISIONS_FILE).exists():
        return ranked
    decided = read_decided(ranked, files)
    decisions = decided.decisions
    note_decisions(decisions, progress)
    return calibrate(ranked, decisions.frame, decided.is_random, votes_of_neighbours(ranked))
