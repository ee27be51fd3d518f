"""Register all formats that an audit can be exported to, and write them.

A new format is a module with a function `write` and a line in `FORMATS`; `gwaudit export --to` then takes it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from gwaudit.analysis.audit import Audit
from gwaudit.core.errors import DataError, SettingsError, VerdictError
from gwaudit.core.files import write_folder
from gwaudit.export import cleanlab, cvat, fiftyone, hugging_face, ids, image_folder, label_studio, suspects
from gwaudit.export.cleaned_data import Action, CleanedData, clean_data
from gwaudit.export.findings import Findings
from gwaudit.export.original_data import OriginalData
from gwaudit.export.source_columns import SourceColumns

if TYPE_CHECKING:  # for its type alone
    from gwaudit.data.dataset import LabeledDataset

Needs = Literal["nothing", "texts", "data"]
ALL_MODALITIES = ("images", "texts", "features")


@dataclass(frozen=True)
class ExportOptions:
    """Hold the options of an export; each format takes some of them.

    Attributes:
        action: What cleaned data do with the suspects: "drop" them (the default), or "relabel" them as suggested.
        top: Number of samples from the top of the ranking to write, instead of the suspects.
        all: Write all samples, instead of the suspects.
        copy: Copy image files, instead of linking or embedding them.
    """

    action: Action | None = None
    top: int | None = None
    all: bool = False
    copy: bool = False

    def __post_init__(self) -> None:
        if self.action is not None and self.action not in get_args(Action):
            raise SettingsError(f"unknown action {self.action!r}: choose from {', '.join(get_args(Action))}")
        if self.top is not None and self.top < 1:
            raise SettingsError(f"`top` must be at least 1, not {self.top}")
        if self.top is not None and self.all:
            raise SettingsError("`top` and `all` both say how many samples to write: choose one")


@dataclass(frozen=True)
class ExportFormat:
    """Describe one way to write an audit: exactly one of `write` and `write_cleaned` is given.

    Attributes:
        write: Function that writes findings, for people and their tools, to a new file or folder, and returns it.
        write_cleaned: Function that writes cleaned data, for a training, into an empty folder.
        options: Names of the `ExportOptions` that the format takes.
        modalities: What the samples may be: "images", "texts", "features".
        needs: What the format needs of the data set: "nothing", "texts" (where there are any), or all "data".
        whole: Whether it always holds all samples.
        multi_label: Whether it can hold multi-label data.
        is_file: Whether it is one file, rather than a folder.
    """

    write: Callable[[Findings, Path], Path] | None = None
    write_cleaned: Callable[[CleanedData, Path, OriginalData], None] | None = None
    options: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ALL_MODALITIES
    needs: Needs = "data"
    whole: bool = False
    multi_label: bool = False
    is_file: bool = False


FORMATS: dict[str, ExportFormat] = {
    "csv": ExportFormat(suspects.write, options=("top", "all"), needs="texts", multi_label=True, is_file=True),
    "label-studio": ExportFormat(label_studio.write, options=("top", "all", "copy")),
    "cvat": ExportFormat(cvat.write, options=("top", "all"), modalities=("images",), is_file=True),
    "fiftyone": ExportFormat(fiftyone.write, options=("all", "copy"), modalities=("images",), whole=True),
    "cleanlab": ExportFormat(cleanlab.write, options=("all",), needs="nothing", whole=True, is_file=True),
    "ids": ExportFormat(write_cleaned=ids.write, options=("action",), needs="nothing", multi_label=True),
    "hf": ExportFormat(write_cleaned=hugging_face.write, options=("action",), multi_label=True),
    "imagefolder": ExportFormat(
        write_cleaned=image_folder.write, options=("action", "copy"), modalities=("images",)
    ),
}  # fmt: skip
"""All formats by name: the findings first, then the cleaned data."""


def find_format(name: str, options: ExportOptions | None = None) -> ExportFormat:
    """Return the format of a name.

    Raises:
        SettingsError: there is no such format, or it does not take one of the options.
    """
    if name not in FORMATS:
        raise SettingsError(f"unknown format {name!r}: choose from {', '.join(FORMATS)}")
    for option, default in vars(ExportOptions()).items():
        if getattr(options or ExportOptions(), option) != default and option not in FORMATS[name].options:
            others = [other for other, format in FORMATS.items() if option in format.options]
            raise SettingsError(f"`{option}` does not apply to {name}, only to {', '.join(others)}: leave it out")
    return FORMATS[name]


def cleaned_formats() -> list[str]:
    """Return the names of the formats of cleaned data, which trainings read."""
    return [name for name, format in FORMATS.items() if format.write_cleaned is not None]


def write_export(
    audit: Audit,
    name: str,
    output: Path | str,
    options: ExportOptions | None = None,
    *,
    dataset: "LabeledDataset | None" = None,
    root: Path | None = None,
    columns: SourceColumns | None = None,
) -> Path:
    """Write an audit in one of the formats, which leaves out samples that are gone where it needs their inputs.

    Args:
        audit: The audit.
        name: Name of the format, a key of `FORMATS`.
        output: The new folder or file; it is complete or does not exist.
        options: Options of the export.
        dataset: The audited data set, where the format needs it.
        root: Folder that the keys of the samples are relative to, where the keys are paths: image files are then the
            originals.
        columns: The columns of the source, which `hf` and `imagefolder` keep.

    Returns:
        The output.

    Raises:
        SettingsError: the format is unknown, or does not take one of the options.
        VerdictError: the verdict on the run does not allow its suspects to be exported, or dropped.
        DataError: the format cannot hold the samples, or they are not those that were audited.
        StoreExistsError: the output is a folder that exists.
        StoreError: the output cannot be written.
    """
    options, output = options or ExportOptions(), Path(output)
    format = find_format(name, options)
    original = OriginalData(dataset, root, options.copy, columns)
    _require_samples_fit(name, format, audit.is_multi_label, dataset)
    gone = original.missing if format.needs == "data" else ()
    if format.write is None:
        return _write_cleaned(clean_data(audit, options.action or "drop").without(gone), output, format, original)
    if format.whole or options.all:
        samples = audit.frame
    elif options.top is not None:
        samples = audit.head(options.top, of_undecided=True)
    else:
        _require_cut(audit)
        samples = audit.to_review()
    return format.write(Findings(audit, samples[~samples["sample_id"].isin(gone)], original), output)


def write_cleaned_data(
    cleaned: CleanedData,
    folder: Path | str,
    *,
    format: str = "ids",
    dataset: "LabeledDataset | None" = None,
    root: Path | None = None,
    columns: SourceColumns | None = None,
    copy: bool = False,
) -> Path:
    """Write cleaned data in a format that trainings read.

    Args:
        cleaned: The samples that stay, and their labels.
        folder: The new folder; it is complete or does not exist.
        format: Name of the format, one of `cleaned_formats()`.
        dataset: The data set that they are part of, where the format needs it.
        root: Folder that the keys of the samples are relative to, where the keys are paths: image files are then the
            originals.
        columns: The columns of the source, which `hf` and `imagefolder` keep.
        copy: Copy image files, instead of linking them.

    Returns:
        The folder.

    Raises:
        SettingsError: the format is unknown.
        StoreExistsError: the folder exists.
        DataError: the format cannot hold the samples, or they are not part of the data set.
        StoreError: the folder cannot be written.
    """
    if format not in cleaned_formats():
        raise SettingsError(f"unknown format {format!r} of cleaned data: choose from {', '.join(cleaned_formats())}")
    _require_samples_fit(format, FORMATS[format], cleaned.is_multi_label, dataset)
    return _write_cleaned(cleaned, Path(folder), FORMATS[format], OriginalData(dataset, root, copy, columns))


def _write_cleaned(cleaned: CleanedData, folder: Path, format: ExportFormat, original: OriginalData) -> Path:
    write = format.write_cleaned
    assert write is not None  # asked for cleaned data only
    if format.needs == "data":
        original.require(cleaned.fingerprint)
    return write_folder(folder, lambda temporary: write(cleaned, temporary, original))


def _require_cut(audit: Audit) -> None:
    if not audit.has_cut:
        raise VerdictError(
            f"the verdict on {audit.run} is {audit.verdict.level!r}, so it has no suspects to export "
            f"({audit.verdict.short_reason}): set `top` to take the first samples of its ranking"
        )


def _require_samples_fit(
    name: str, format: ExportFormat, is_multi_label: bool, dataset: "LabeledDataset | None"
) -> None:
    if is_multi_label and not format.multi_label:
        others = [other for other, candidate in FORMATS.items() if candidate.multi_label]
        raise DataError(f"{name} cannot hold multi-label data: export them as {', '.join(others)}")
    if dataset is None:
        return
    modality = "texts" if dataset.texts is not None else dataset.modality
    if modality not in format.modalities:
        others = [other for other, candidate in FORMATS.items() if modality in candidate.modalities]
        raise DataError(
            f"{name} takes {' or '.join(format.modalities)}, and {dataset.name} holds {modality}: export them as "
            f"{', '.join(others)}"
        )
