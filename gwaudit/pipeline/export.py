"""Export a ranked run in the format of another tool: the verb `export`."""

from pathlib import Path

from gwaudit.analysis.audit import Audit
from gwaudit.data.loading import read_source
from gwaudit.export.cleaned_data import Action
from gwaudit.export.formats import ExportOptions, find_format, write_export
from gwaudit.pipeline.run_data import data_of_run, load_data
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
) -> Path:
    """Export a ranked run for review in another tool, or its data without suspects or with corrected ones.

    The data of the run are loaded again if the format needs them.

    Args:
        audit: a ranking that is saved in its run, or the folder of a ranked run.
        format: the format: `csv`, `label-studio`, `cvat`, `fiftyone` or `cleanlab`, to review; `ids`, `hf` or
            `imagefolder`, to train on (`gwaudit.export.formats.FORMATS`).
        output: the new folder or file; it is complete or does not exist.
        action: of formats to train on: "drop" the suspects (the default), or "relabel" them as suggested.
        top: of formats to review: the first samples of the ranking, instead of the suspects.
        all: of formats to review: all samples.
        copy: copy image files, instead of linking or embedding them.

    Returns:
        The output.

    Raises:
        SettingsError: the format is unknown, or does not take an option.
        StoreNotFoundError: the run is not ranked.
        DataError: the data are not those of the audit any more, or of a kind that the format cannot hold.
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
    needs = find_format(format, options).needs
    data = dataset = None
    with TrajectoryStore.open(ranked.run) as store:
        if needs == "data":
            data = data_of_run(store)
            dataset = load_data(data)
        elif needs == "texts" and store.settings.get("has_texts"):
            dataset = read_source(data_of_run(store))
    root = None if data is None else data.files_root
    return write_export(ranked, format, Path(output), options, dataset=dataset, root=root)
