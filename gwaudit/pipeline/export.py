"""Export a ranked run in the format of another tool: the verb `export` as a function."""

from pathlib import Path

from gwaudit.analysis.audit import Audit
from gwaudit.export.formats import Options, export_format, write_export
from gwaudit.pipeline.audit import data_of_run, load_data, load_source
from gwaudit.store.store import TrajectoryStore


def export_audit(audit: Audit, format: str, output: Path | str, options: Options | None = None) -> Path:
    """Export a ranked run, with its data loaded again where the format needs them.

    Args:
        audit: The ranking, saved in its run's folder.
        format: Name of the format, a key of `gwaudit.export.formats.FORMATS`.
        output: The new folder or file; it is complete or does not exist.
        options: Choices that only some of the formats take.

    Returns:
        The output.

    Raises:
        SettingsError: the format is unknown, or does not take an option.
        DataError: the data are no longer those of the audit, or of a kind that the format cannot hold.
        StoreError: the output cannot be written.
    """
    options = options or Options()
    needs = export_format(format, options).needs
    data = dataset = None
    with TrajectoryStore.open(audit.run) as store:
        if needs == "data":
            data = data_of_run(store)
            dataset = load_data(data)
        elif needs == "texts" and store.settings.get("has_texts"):
            dataset = load_source(data_of_run(store))
    root = None if data is None else data.files_root
    return write_export(audit, format, output, options, dataset=dataset, root=root)
