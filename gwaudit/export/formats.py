"""All that an audit can be written as, which options each format takes, and the one function that writes it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from gwaudit.analysis.audit import Audit
from gwaudit.core.errors import DataError, SettingsError
from gwaudit.export import cleanlab, cvat, fiftyone, label_studio
from gwaudit.export.cleaned_data import Action, CleanedFormat, clean_data, write_cleaned_data
from gwaudit.export.findings import Handover
from gwaudit.export.suspects import write_suspects

if TYPE_CHECKING:  # for its type alone
    from gwaudit.data.dataset import LabeledDataset

Needs = Literal["nothing", "texts", "data"]
ANY = ("images", "texts", "features")


@dataclass(frozen=True)
class Options:
    """What a user asks for; None and False where he does not.

    Attributes:
        action: of splits: "drop" the suspects, by default, or "relabel" them to their suggestion.
        top: of hand-overs: the first so many of the ranking, rather than the suspects.
        all: of hand-overs: all samples.
        copy: copy image files, rather than link or embed them.
    """

    action: Action | None = None
    top: int | None = None
    all: bool = False
    copy: bool = False

    def __post_init__(self) -> None:
        if self.action is not None and self.action not in get_args(Action):
            raise SettingsError(f"unknown action {self.action!r}: choose from {', '.join(get_args(Action))}")
        if self.top is not None and self.top < 1:
            raise SettingsError(f"cannot write the first {self.top} of the ranking: at least 1")
        if self.top is not None and self.all:
            raise SettingsError("--top and --all each say how many to write: choose one")


@dataclass(frozen=True)
class Format:
    """One way to write an audit.

    Attributes:
        write: writes it.
        options: those that it takes.
        modalities: what the samples can be.
        needs: of the data set: nothing, the texts where it is one of texts, or all of it.
        whole: always all samples.
        pairs: it has a place for samples with any number of classes.
    """

    write: Callable[[Handover, Path, Options], Path]
    options: tuple[str, ...]
    modalities: tuple[str, ...] = ANY
    needs: Needs = "data"
    whole: bool = False
    pairs: bool = False


def export_format(name: str, options: Options) -> Format:
    """The format of this name.

    Raises:
        SettingsError: there is none, or it does not take the options.
    """
    if name not in FORMATS:
        raise SettingsError(f"unknown format {name!r}: choose from {', '.join(FORMATS)}")
    for option, default in vars(Options()).items():
        if getattr(options, option) != default and option not in FORMATS[name].options:
            takers = [other for other, format in FORMATS.items() if option in format.options]
            raise SettingsError(f"--{option} does not apply to {name}, only to {', '.join(takers)}: leave it out")
    return FORMATS[name]


def write_export(
    audit: Audit,
    name: str,
    output: Path | str,
    options: Options | None = None,
    *,
    dataset: "LabeledDataset | None" = None,
    root: Path | None = None,
) -> Path:
    """Write an audit in some format.

    Args:
        audit: what to write.
        name: of the format, as `FORMATS` has them.
        output: a new folder, or the file; it is there whole or not at all.
        options: what else was asked for.
        dataset: what was audited; `csv` takes it for its texts, `ids` and `cleanlab` do without.
        root: the folder that the samples' keys are paths below, where they are paths: image files are then the
            originals.

    Returns:
        The output.

    Raises:
        SettingsError: an unknown format, or an option that it does not take.
        DataError: the samples are of a kind that it cannot hold, or not those that were audited.
        StoreError: it cannot be written.
    """
    options = options or Options()
    format = export_format(name, options)
    if audit.is_multi_label and not format.pairs:
        others = [other for other, taker in FORMATS.items() if taker.pairs]
        raise DataError(
            f"{name} has no place for samples with any number of classes, as those of {audit.run}: these go as "
            f"{', '.join(others)}"
        )
    if dataset is not None:
        _require_modality(name, format, dataset)
    samples = audit.suspects
    if format.whole or options.all:
        samples = audit.frame
    elif options.top is not None:
        samples = audit.frame.head(options.top)
    return format.write(Handover(audit, samples, dataset, root, options.copy), Path(output), options)


def _require_modality(name: str, format: Format, dataset: "LabeledDataset") -> None:
    modality = "texts" if dataset.texts is not None else dataset.modality
    if modality not in format.modalities:
        others = [other for other, taker in FORMATS.items() if modality in taker.modalities]
        raise DataError(
            f"{name} takes {' or '.join(format.modalities)}, and {dataset.name} holds {modality}: "
            f"these go as {', '.join(others)}"
        )


def _tool(write: Callable[[Handover, Path], Path]) -> Callable[[Handover, Path, Options], Path]:
    return lambda handover, output, options: write(handover, output)


def _write_csv(handover: Handover, output: Path, options: Options) -> Path:
    audit = replace(handover.audit, frame=handover.samples)
    texts = None if handover.data is None else handover.data.texts
    return write_suspects(audit, output, top=len(handover.samples), texts=texts)


def _write_split(format: CleanedFormat, handover: Handover, output: Path, options: Options) -> Path:
    split = clean_data(handover.audit, options.action or "drop")
    return write_cleaned_data(
        split, output, format=format, dataset=handover.data, source_root=handover.root, copy=handover.copy
    )


FORMATS: dict[str, Format] = {
    "csv": Format(_write_csv, ("top", "all"), needs="texts", pairs=True),
    "label-studio": Format(_tool(label_studio.write), ("top", "all", "copy")),
    "cvat": Format(_tool(cvat.write), ("top", "all"), ("images",)),
    "fiftyone": Format(_tool(fiftyone.write), ("all", "copy"), ("images",), whole=True),
    "cleanlab": Format(_tool(cleanlab.write), ("all",), needs="nothing", whole=True),
    "ids": Format(partial(_write_split, "ids"), ("action",), needs="nothing", pairs=True),
    "hf": Format(partial(_write_split, "hf"), ("action",), pairs=True),
    "imagefolder": Format(partial(_write_split, "imagefolder"), ("action", "copy"), ("images",)),
}
"""All formats, by name."""
