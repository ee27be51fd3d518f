"""Export a ranked run in the format of another tool: the verb `export`."""

from pathlib import Path

from gwaudit.analysis.audit import Audit
from gwaudit.core.errors import DataError, SettingsError
from gwaudit.core.url_outputs import is_at_url, shown_output, written_output
from gwaudit.data.url_copies import with_local_files
from gwaudit.export.cleaned_data import Action
from gwaudit.export.formats import ExportOptions, cleaned_formats, find_format, write_export
from gwaudit.pipeline.run_data import data_of_run, samples_of_run
from gwaudit.pipeline.source_columns import read_source_columns
from gwaudit.pipeline.stages import StageProgress, Warnings, note_unfinished
from gwaudit.review.decision_files import require_no_answers
from gwaudit.store.store import TrajectoryStore


def export_audit(
    audit: Audit | Path | str,
    format: str,
    output: Path | str,
    *,
    action: Action | None = None,
    top: int | None = None,
    all: bool = False,
    copy: bool = False,
    root: Path | str | None = None,
    progress: StageProgress | None = None,
) -> Path | str:
    """Export a ranked run for review in another tool, or its data without suspects or with corrected ones.

    The data of the run are loaded again if the format needs them. Samples that are no longer there are left out, with a
    note.

    Args:
        audit: a ranking that is saved in its run, or the folder of a ranked run.
        format: the format: `csv`, `label-studio`, `cvat`, `fiftyone` or `cleanlab`, to review; `ids`, `hf` or
            `imagefolder`, to train on (`gwaudit.export.formats.FORMATS`).
        output: the new folder or file, or its URL at an object store; it is complete or does not exist, but for a
            folder at a URL, where a killed export leaves the object `.incomplete` too.
        action: of formats to train on: "drop" the suspects (the default), or "relabel" them as suggested.
        top: of formats to review: the first samples of the ranking, instead of the suspects.
        all: of formats to review: all samples.
        copy: copy image files, instead of linking or embedding them.
        root: the place of the data now, if they were moved.
        progress: receives the stages, and notes on the data; by default these are warnings.

    Returns:
        The output: its path, or its URL.

    Raises:
        SettingsError: the format is unknown, or does not take an option, or not at a URL.
        StoreNotFoundError: the run is not ranked.
        VerdictError: the verdict on the run does not allow its suspects to be exported, or dropped.
        DataError: the data cannot be read, or are of a kind that the format cannot hold; or the output is a table with
            answers, which are never written over.
        StoreError: the output cannot be written.

    Example:
        >>> import gwaudit
        >>> with gwaudit.TrajectoryStore.open("runs/worse") as store:
        ...     gwaudit.rank(store).save("runs/worse")
        >>> gwaudit.export_audit("runs/worse", "csv", "first-ten.csv", top=10).name
        'first-ten.csv'
    """
    ranked = audit if isinstance(audit, Audit) else Audit.load(audit)
    options = ExportOptions(action, top, all, copy)
    chosen, progress = find_format(format, options), progress or Warnings()
    if format == "label-studio" and copy and is_at_url(output):
        raise SettingsError(
            "Label Studio serves copied images from a folder of its machine alone: leave out `copy`, so that the tasks "
            "hold the images, or give a local path"
        )
    with written_output(output, is_file=chosen.is_file, with_earlier=chosen.is_file) as path:
        require_no_answers(path, shown_output(output), "or give this one to `apply` first")
        written = _write(ranked, format, path, options, root, progress)
    return shown_output(output) if is_at_url(output) else written


def _write(
    ranked: Audit, format: str, output: Path, options: ExportOptions, root: Path | str | None, progress: StageProgress
) -> Path:
    """Write an export to a new path on this machine."""
    needs, data, dataset = find_format(format).needs, None, None
    with TrajectoryStore.open(ranked.run) as store:
        note_unfinished(store, progress)
        if needs == "data" or (needs == "texts" and store.settings.get("has_texts")):
            data = data_of_run(store, root)
            dataset = samples_of_run(store, progress, root)
    if needs == "data" and dataset is None:
        raise DataError(f"the format {format} needs the data of the run: give their place now with `root`")
    progress.on_stage("writing the export")
    files_root = columns = None
    if data is not None and dataset is not None:
        data = with_local_files(data)
        files_root, columns = (
            data.files_root,
            read_source_columns(data, dataset) if format in cleaned_formats() else None,
        )
    return write_export(ranked, format, output, options, dataset=dataset, root=files_root, columns=columns)
