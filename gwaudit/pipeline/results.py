"""Write the results of a ranking into the folder of its run."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

from gwaudit.analysis.audit import Audit
from gwaudit.analysis.evaluation import Evaluation, evaluate
from gwaudit.core.json import write_json
from gwaudit.data.dataset import LabeledDataset
from gwaudit.data.summary import summarise
from gwaudit.export.cleaned_data import Action, clean_data
from gwaudit.export.formats import write_cleaned_data
from gwaudit.export.suspects import write_contradictions, write_noise, write_skipped, write_suspects
from gwaudit.review.report.contents import collect_report_data
from gwaudit.review.report.page import write_page
from gwaudit.store.store import TrajectoryStore

EVALUATION_FILE = "evaluation.json"
"""Name of the file in which a run keeps its evaluation."""


@dataclass(frozen=True)
class AuditResult:
    """Hold a finished audit.

    Attributes:
        audit: the ranking.
        evaluation: its score against the true labels; None where they are not known.
        dataset: the data; None for a run of one's own training loop that is ranked without them.
        files: the files and folders that were written.
    """

    audit: Audit
    evaluation: Evaluation | None
    dataset: LabeledDataset | None
    files: tuple[Path, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON can hold it: run, summary, evaluation, reading, skipped rows, files."""
        return {
            "run": str(self.audit.run),
            **self.audit.summary(),
            "evaluation": None if self.evaluation is None else self.evaluation.to_dict(),
            "reading": None if self.dataset is None else summarise(self.dataset).to_dict(),
            "skipped": [] if self.dataset is None else [asdict(sample) for sample in self.dataset.skipped],
            "files": [str(path) for path in self.files],
        }


def write_results(ranked: Audit, dataset: LabeledDataset | None) -> AuditResult:
    """Write the results of a ranking into the folder of its run, in place of those of an earlier ranking.

    Args:
        ranked: the ranking.
        dataset: the data of the run; without them samples are named by their keys alone, and nothing is evaluated.

    Raises:
        StoreError: a file cannot be written.
    """
    run = ranked.run
    ranked.save(run)
    files = [
        write_suspects(ranked, run / "suspects.csv", texts=None if dataset is None else dataset.texts),
        run / "audit.parquet",
        run / "audit.json",
    ]
    files += write_noise(ranked, run)
    if dataset is not None and dataset.skipped:
        files.append(write_skipped(dataset.skipped, run / "skipped.csv"))
    if dataset is not None and dataset.notes.contradictions:
        files.append(write_contradictions(dataset.notes.contradictions, run / "contradictions.csv"))
    actions: tuple[Action, ...] = get_args(Action)
    files += [
        write_cleaned_data(clean_data(ranked, action), run / "cleaned" / action, replace=True) for action in actions
    ]
    evaluation = None
    if dataset is not None and dataset.true_labels is not None:
        evaluation = evaluate(ranked, dataset.true_labels)
        files.append(write_evaluation(evaluation, run))
    with TrajectoryStore.open(run) as store:
        files.insert(0, write_page(collect_report_data(ranked, store, dataset), run / "report.html"))
    return AuditResult(ranked, evaluation, dataset, tuple(files))


def write_evaluation(evaluation: Evaluation, run: Path) -> Path:
    """Write `evaluation.json` into the folder of a run, and return its path.

    Raises:
        StoreError: it cannot be written.
    """
    return write_json(run / EVALUATION_FILE, evaluation.to_dict())
