"""Write the report of a ranked run: the verb `report` as a function."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from gwaudit.analysis.audit import Audit
from gwaudit.core.errors import SettingsError, StoreError
from gwaudit.core.files import writing
from gwaudit.core.shown_paths import path_at
from gwaudit.core.url_outputs import local_output, shown_output, written_output
from gwaudit.core.urls import restored_url
from gwaudit.pipeline.results import REPORT_FILE
from gwaudit.pipeline.run_data import samples_of_run, true_labels
from gwaudit.pipeline.stages import StageProgress, Warnings, note_unfinished
from gwaudit.review.report.contents import TOP, ReportData, collect_report_data
from gwaudit.review.report.page import write_page
from gwaudit.store.results import publishing
from gwaudit.store.store import TrajectoryStore
from gwaudit.store.working_copies import run_folder


def write_report(
    run: Path | str,
    output: Path | str | None = None,
    *,
    top: int = TOP,
    truth: Path | str | None = None,
    truth_key: str | None = None,
    root: Path | str | None = None,
    progress: StageProgress | None = None,
) -> Path | str:
    """Write the report of a ranked run as one HTML file.

    Args:
        run: Folder of the run.
        output: The file, or its URL at an object store; by default `report.html` in the run's folder.
        top: Number of suspects to show, the most suspicious ones.
        truth: File of true labels; by default those of the data set, where it has any.
        truth_key: Which labels of that file, where it holds several kinds.
        root: Place of the data now, if they were moved.
        progress: Receives the stages, and notes on the data; by default these are warnings.

    Returns:
        The file.

    Raises:
        GwauditError: the run is not ranked, or the true labels are missing or do not fit the run; or the file cannot be
            written, or is one of another kind.
    """
    if top < 1:
        raise SettingsError(f"`top` must be at least 1, not {top}")
    run, progress = run_folder(run), progress or Warnings()
    if output is not None and _is_own_page(run, output):
        output = None

    def write(path: Path) -> None:
        data = load_report_data(run, top=top, truth=truth, truth_key=truth_key, root=root, progress=progress)
        progress.on_stage("writing the report")
        write_page(data, path)

    if output is not None:
        with written_output(output, is_file=True, with_earlier=True) as path:
            _require_page(path, output)
            write(path)
        return shown_output(output)
    with publishing(run, update=True) as folder:  # locked, so that the page is of the ranking that it lies beside
        write(folder / REPORT_FILE)
    return run / REPORT_FILE


def _require_page(path: Path, output: Path | str) -> None:
    """Raise StoreError where a file of another kind than a page would be lost."""
    if not path.is_file():
        return
    with writing(path), path.open("rb") as file:
        start = file.read(1000).lstrip()
    if start and not start.lower().startswith(b"<!doctype html"):
        raise StoreError(f"{shown_output(output)} is not a page, and would be lost: choose another name")


def _is_own_page(run: Path, output: Path | str) -> bool:
    """Return whether an output is the page that lies in the folder of the run."""
    local = local_output(path_at(restored_url(output)) or output)
    return local is not None and local.absolute() == run.absolute() / REPORT_FILE


def load_report_data(
    run: Path | str,
    *,
    top: int = TOP,
    truth: Path | str | None = None,
    truth_key: str | None = None,
    root: Path | str | None = None,
    blind: Sequence[int] | None = None,
    progress: StageProgress | None = None,
) -> ReportData:
    """Collect what a report shows, with the run's data loaded again, as far as they can still be read.

    Args:
        run: Folder of the run.
        top: Number of suspects to show, the most suspicious ones.
        truth: File of true labels; by default those of the data set, where it has any.
        truth_key: Which labels of that file, where it holds several kinds.
        root: Place of the data now, if they were moved.
        blind: Ids of the labels to show instead, their rows in the store, in this order, without scores, ranks and
            suggestions.
        progress: Receives the stages, and notes on the data; by default these are warnings.

    Raises:
        GwauditError: the run is not ranked, or the true labels are missing or do not fit the run.
    """
    run, progress = run_folder(run), progress or Warnings()
    labels = None if truth is None else true_labels(run, Path(truth), truth_key)
    with TrajectoryStore.open(run) as store:
        note_unfinished(store, progress)
        audit, dataset = Audit.load(run), samples_of_run(store, progress, root)
        progress.on_stage("collecting the report")
        on_sample = partial(progress.on_stage, "drawing the samples")
        return collect_report_data(audit, store, dataset, top=top, true_labels=labels, blind=blind, on_sample=on_sample)
