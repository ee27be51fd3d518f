"""Summarise a data set for its reader before an audit: samples, classes, sizes, and the notes of the reading."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from gwaudit.core.urls import redacted
from gwaudit.data.class_names import listed, shown_name
from gwaudit.data.class_sizes import LEAST_SAMPLES, small_classes
from gwaudit.data.reading_notes import FilesPassedOver, ReadingNotes

if TYPE_CHECKING:  # for its type alone: showing a run does not wait for torch
    from gwaudit.data.dataset import LabeledDataset

_LISTED_CLASSES = 10
_EXTREME_CLASSES = 3


@dataclass(frozen=True)
class DataSummary:
    """Describe the data of an audit: what was read, and what was not.

    Attributes:
        source: Source as it was given.
        split: Split that was read.
        samples: Number of samples, in words: "1,797 images of 8x8 pixels".
        n_classes: Number of classes.
        class_counts: Numbers of samples by the name of the class, the largest class first: of all classes where they
            are few, else of the largest and the smallest classes.
        empty_classes: Names of classes without a sample.
        left_out: Number of rows that were left out, and the first of their reasons; empty where there are none.
        notes: Notes of the reader.
        small_classes: Names of classes with too few samples to judge their labels.
    """

    source: str
    split: str
    samples: str
    n_classes: int
    class_counts: dict[str, int]
    empty_classes: list[str]
    left_out: str
    notes: ReadingNotes
    small_classes: list[str] = field(default_factory=list)

    def facts(self) -> list[tuple[str, str]]:
        """Return names and values, in the order in which they are shown, without the warnings."""
        notes = self.notes
        facts = [
            ("source", self.source),
            ("split", self._split()),
            ("samples", self.samples),
            ("classes", self._classes()),
        ]
        if len(set(notes.image_sizes)) > 1:
            low, median, high = (f"{width}x{height}" for width, height in notes.image_sizes)
            facts.append(("image sizes", f"{low} to {high} pixels, median {median}"))
        if notes.columns_used:
            used = (f"{listed(names)} ({role})" for role, names in notes.columns_used.items())
            facts.append(("columns used", ", ".join(used)))
        facts += [("columns left out", f"{listed(names)}: {why}") for why, names in notes.columns_left_out.items()]
        facts += [("files passed over", _passed_over(why, files)) for why, files in notes.files_passed_over.items()]
        if self.left_out:
            facts.append(("rows left out", self.left_out))
        facts += [("note", remark) for remark in notes.remarks]
        return facts

    @property
    def warnings(self) -> list[str]:
        """Return the sentences that a user must read before trusting the audit."""
        empty = [f"No sample has the class {listed(self.empty_classes)}."] if self.empty_classes else []
        # In multi-label data a class that nearly all samples have is small, too.
        is_lacked = any(self.class_counts.get(name, 0) >= LEAST_SAMPLES for name in self.small_classes)
        small = (
            f"that fewer than {LEAST_SAMPLES} samples have, or lack"
            if is_lacked
            else f"with fewer than {LEAST_SAMPLES} samples"
        )
        few = [
            f"Classes {small}: {listed(self.small_classes)}. These are too few to "
            "judge their labels: none of them is flagged or dropped (category too-few). Look at each."
        ]
        return [*self.notes.warnings, *empty, *(few if self.small_classes else [])]

    def _split(self) -> str:
        if not self.notes.splits:
            return "all samples; the source has no splits"
        return f"{self.split}, of {', '.join(self.notes.splits)}" if len(self.notes.splits) > 1 else self.split

    def _classes(self) -> str:
        counts = [f"{shown_name(name)} ({count:,})" for name, count in self.class_counts.items()]
        if len(counts) == self.n_classes:
            return f"{self.n_classes}: {', '.join(counts)}"
        largest, smallest = counts[:_EXTREME_CLASSES], counts[_EXTREME_CLASSES:]
        return f"{self.n_classes:,}, from {', '.join(largest)} to {', '.join(smallest)}"

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as JSON can hold it."""
        return {**asdict(replace(self, notes=ReadingNotes())), "notes": self.notes.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the summary that `to_dict` gave."""
        return cls(**{**values, "notes": ReadingNotes.from_dict(values["notes"])})


def summarise(dataset: "LabeledDataset", source: str | None = None) -> DataSummary:
    """Return the summary of a data set; `source` is its name by default."""
    counts = dataset.labels.sum(0) if dataset.is_multi_label else np.bincount(dataset.labels)
    counts = np.pad(counts, (0, len(dataset.class_names) - len(counts)))
    by_size = np.argsort(-counts, kind="stable")
    shown = by_size
    if len(counts) > _LISTED_CLASSES:
        shown = np.concatenate([by_size[:_EXTREME_CLASSES], by_size[-_EXTREME_CLASSES:]])
    skipped = dataset.skipped
    return DataSummary(
        source=dataset.name if source is None else redacted(source),
        split=dataset.split,
        samples=_samples(dataset),
        n_classes=len(dataset.class_names),
        class_counts={dataset.class_names[c]: int(counts[c]) for c in shown},
        empty_classes=[dataset.class_names[c] for c in np.flatnonzero(counts == 0)],
        left_out=f"{len(skipped):,}; the first is row {skipped[0].row} ({skipped[0].key}): {skipped[0].reason}"
        if skipped
        else "",
        notes=dataset.notes,
        small_classes=[dataset.class_names[c] for c in np.flatnonzero(small_classes(dataset.labels, len(counts)))],
    )


def _samples(dataset: "LabeledDataset") -> str:
    n = f"{len(dataset):,}"
    labels = ", each with any number of classes" if dataset.is_multi_label else ""
    if dataset.texts is not None or dataset.modality == "texts":
        return f"{n} texts{labels}"
    if dataset.modality == "features":
        return f"{n} rows of {dataset.input_shape[0]:,} features{labels}"
    channels, height, width = dataset.input_shape
    kind = "grey images" if channels == 1 else "images"
    if set(dataset.notes.image_sizes) <= {(width, height)}:
        return f"{n} {kind} of {width}x{height} pixels{labels}"
    return f"{n} {kind}, read as {width}x{height} pixels{labels}"


def _passed_over(reason: str, files: FilesPassedOver) -> str:
    more = ", ..." if files.count > len(files.examples) else ""
    return f"{files.count:,} ({', '.join(files.examples)}{more}): {reason}"
