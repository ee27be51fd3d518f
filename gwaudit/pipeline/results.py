"""Write the results of a ranking into the folder of its run."""

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

from gwaudit.analysis.audit import FACTS_FILE, FRAME_FILE, Audit
from gwaudit.analysis.evaluation import Evaluation, evaluate
from gwaudit.analysis.neighbours import near_contradictions
from gwaudit.core.allocators import release_memory
from gwaudit.core.json import write_json
from gwaudit.data.dataset import LabeledDataset
from gwaudit.data.reading_notes import Contradiction
from gwaudit.data.recorded_samples import RecordedSamples
from gwaudit.data.summary import DataSummary, summarise
from gwaudit.export.cleaned_data import Action, clean_data
from gwaudit.export.formats import write_cleaned_data
from gwaudit.export.suspects import (
    write_contradictions,
    write_noise,
    write_skipped,
    write_split_copies,
    write_suspects,
)
from gwaudit.review.report.contents import collect_report_data
from gwaudit.review.report.page import write_page
from gwaudit.store.results import publishing
from gwaudit.store.split_copies import SplitCopies, read_split_copies
from gwaudit.store.store import TrajectoryStore

EVALUATION_FILE = "evaluation.json"
"""Name of the file in which a run keeps its evaluation."""

SKIPPED_FILE = "skipped.csv"
"""Name of the file in which a run lists the rows that were left out."""

REPORT_FILE = "report.html"
"""Name of the file in which a run keeps its report."""


@dataclass(frozen=True)
class AuditResult:
    """Hold a finished audit.

    Attributes:
        audit: the ranking.
        evaluation: its score against the true labels; None where they are not known.
        dataset: the data; None for a run of one's own training loop that is ranked without them.
        files: the files and folders that were written.
        unverified_files: the number of files of the run that were not compared with their checksums, as was asked for.
        nearly_equal: the number of groups of nearly equal images with different labels.
        split_copies: the groups of copies in this split and another one; None where no other split was read.
    """

    audit: Audit
    evaluation: Evaluation | None
    dataset: LabeledDataset | None
    files: tuple[Path, ...]
    unverified_files: int = 0
    nearly_equal: int = 0
    split_copies: tuple[SplitCopies, ...] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON can hold it: run, summary, evaluation, reading, skipped rows, files."""
        return {
            "run": str(self.audit.run),
            **self.audit.summary(),
            "evaluation": None if self.evaluation is None else self.evaluation.to_dict(),
            "reading": None if self.dataset is None else summarise(self.dataset).to_dict(),
            "skipped": [] if self.dataset is None else [asdict(sample) for sample in self.dataset.skipped],
            "files": [str(path) for path in self.files],
            "unverified_files": self.unverified_files,
            "nearly_equal": self.nearly_equal,
            "split_copies": None if self.split_copies is None else [asdict(group) for group in self.split_copies],
        }


def write_results(ranked: Audit, dataset: LabeledDataset | None, store: TrajectoryStore) -> AuditResult:
    """Write the results of a ranking into the folder of its run, in place of those of an earlier ranking.

    All of them are put in use in one step: see `gwaudit.store.results`. Cleaned data are written if the verdict allows
    it (`Audit.may_clean`), the tables of estimated noise for a run to trust.

    Args:
        ranked: the ranking.
        dataset: the data of the run; without them samples are named by their keys alone, and nothing is evaluated.
        store: the run, open.

    Raises:
        StoreBusyError: another process is writing results of the run.
        StoreError: a file cannot be written; the results of the earlier ranking stay in use.
    """
    run, evaluation = ranked.run, None
    release_memory()  # here and below: of the step before, which keeps several bytes a sample
    with publishing(run) as folder:
        report = collect_report_data(ranked, store, dataset)
        release_memory()
        files = [write_page(report, folder / REPORT_FILE)]
        del report
        release_memory()
        contradictions, copies = _contradictions(store, dataset), read_split_copies(run)
        files.append(write_suspects(ranked, folder / "suspects.csv", texts=None if dataset is None else dataset.texts))
        release_memory()
        ranked.save(folder)
        files += [folder / FRAME_FILE, folder / FACTS_FILE]
        if ranked.has_probabilities:
            files += write_noise(ranked, folder)
        if dataset is not None and dataset.skipped:
            files.append(write_skipped(dataset.skipped, folder / SKIPPED_FILE))
        elif (dataset is None or isinstance(dataset, RecordedSamples)) and (run / SKIPPED_FILE).exists():
            # The data are no longer as they were audited: the list of the earlier ranking stays.
            files.append(Path(shutil.copy(run / SKIPPED_FILE, folder)))
        if contradictions:
            files.append(write_contradictions(contradictions, folder / "contradictions.csv"))
        if copies:
            files.append(write_split_copies(copies, folder / "across_splits.csv"))
        if ranked.may_clean:
            actions: tuple[Action, ...] = get_args(Action)
            for action in actions:
                release_memory()
                files.append(write_cleaned_data(clean_data(ranked, action), folder / "cleaned" / action))
        if dataset is not None and dataset.true_labels is not None:
            evaluation = evaluate(ranked, dataset.true_labels)
            files.append(write_evaluation(evaluation, folder))
        names = [file.relative_to(folder) for file in files]
    nearly = sum(contradiction.nearly for contradiction in contradictions)
    paths = tuple(run / name for name in names)
    return AuditResult(ranked, evaluation, dataset, paths, nearly_equal=nearly, split_copies=copies)


def _contradictions(store: TrajectoryStore, dataset: LabeledDataset | None) -> list[Contradiction]:
    """Return the contradictions of the data that were audited: as they are read now, or as the run recorded them."""
    now = [] if dataset is None else dataset.notes.contradictions
    reading = store.settings.get("reading")
    recorded = DataSummary.from_dict(reading).notes.contradictions if reading else []
    equal = max(now, recorded, key=len)  # the run records the first ones; later some samples may be gone
    return [*equal, *near_contradictions(store, equal)]


def write_evaluation(evaluation: Evaluation, folder: Path) -> Path:
    """Write `evaluation.json` into a folder, and return its path.

    Raises:
        StoreError: it cannot be written.
    """
    return write_json(folder / EVALUATION_FILE, evaluation.to_dict())
