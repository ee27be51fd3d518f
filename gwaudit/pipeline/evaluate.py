"""Evaluate a ranked run against the true labels and keep the result in it (`evaluate`)."""

from pathlib import Path

from gwaudit.analysis.audit import Audit
from gwaudit.analysis.evaluation import Evaluation, evaluate
from gwaudit.pipeline.results import write_evaluation
from gwaudit.pipeline.run_data import true_labels
from gwaudit.pipeline.stages import StageProgress
from gwaudit.store.results import publishing
from gwaudit.store.working_copies import run_folder


def evaluate_run(
    run: Path,
    truth: Path | None = None,
    truth_key: str | None = None,
    *,
    root: Path | None = None,
    progress: StageProgress | None = None,
) -> Evaluation:
    """Evaluate a ranked run against the true labels, and write `evaluation.json` into its folder.

    Args:
        run: the folder of the run.
        truth: a file of true labels; by default those of the data set of the run.
        truth_key: the name of the labels in that file.
        root: the place of the data now, if they were moved.
        progress: receives notes on the data; by default these are warnings.

    Raises:
        StoreNotFoundError: the run is not ranked.
        DataError: there are no true labels, or not one for each sample.
    """
    run = run_folder(run)
    with publishing(run, update=True) as folder:
        evaluation = evaluate(Audit.load(run), true_labels(run, truth, truth_key, root=root, progress=progress))
        write_evaluation(evaluation, folder)
    return evaluation
