"""Hold what a reader used of a source, what it left out and why, and what it converted."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

_EXAMPLES = 5
_KEPT_CONTRADICTIONS = 100


@dataclass
class FilesPassedOver:
    """Count the files that were passed over for one reason.

    Attributes:
        count: Number of files.
        examples: The first of them.
    """

    count: int = 0
    examples: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Contradiction:
    """Describe samples with one input, or one key in the source, and different labels.

    Attributes:
        keys: Keys of the samples.
        labels: Given label of each.
        nearly: Whether the inputs are images that are nearly equal only.
    """

    keys: list[str]
    labels: list[str]
    nearly: bool = False


@dataclass
class ReadingNotes:
    """Collect what is to be known about the reading of a source; readers add to it.

    Attributes:
        splits: Names of the splits that the source has; none where all samples belong together.
        columns_used: Names of the columns, by their role: "labels", "images", "keys", ...
        columns_left_out: Names of the columns that are not used, by the reason.
        files_passed_over: Files of the source that are no samples, by the reason.
        image_sizes: Width and height in pixels of images as they are stored: smallest, median and largest, each side by
            itself; empty where the inputs are not images.
        remarks: Sentences about conversions and choices that the reader made.
        warnings: Sentences about data that may not be what the user expects.
        contradictions: Samples that the source holds several times with different labels.

    Example:
        >>> notes = ReadingNotes()
        >>> notes.pass_over("unknown suffix .heic", ["cat/1.heic", "cat/2.heic"])
        >>> notes.files_passed_over["unknown suffix .heic"].count
        2
    """

    splits: list[str] = field(default_factory=list)
    columns_used: dict[str, list[str]] = field(default_factory=dict)
    columns_left_out: dict[str, list[str]] = field(default_factory=dict)
    files_passed_over: dict[str, FilesPassedOver] = field(default_factory=dict)
    image_sizes: list[tuple[int, int]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    contradictions: list[Contradiction] = field(default_factory=list)

    def use_columns(self, role: str, names: Iterable[str]) -> None:
        """Record that columns are used in a role, such as "labels"."""
        self.columns_used.setdefault(role, []).extend(names)

    def leave_out_columns(self, reason: str, names: Iterable[str]) -> None:
        """Record that columns are not used; without names nothing is noted."""
        for name in names:
            self.columns_left_out.setdefault(reason, []).append(name)

    def pass_over(self, reason: str, files: Iterable[str]) -> None:
        """Record that files are not read; without files nothing is noted."""
        for file in files:
            passed = self.files_passed_over.setdefault(reason, FilesPassedOver())
            passed.count += 1
            if passed.count <= _EXAMPLES:
                passed.examples.append(file)

    def remark(self, sentence: str) -> None:
        """Record a conversion or a choice, once."""
        if sentence not in self.remarks:
            self.remarks.append(sentence)

    def warn(self, sentence: str) -> None:
        """Record that data may not be what the user expects, once."""
        if sentence not in self.warnings:
            self.warnings.append(sentence)

    def include(self, other: Self) -> None:
        """Add the sizes, remarks and warnings of other notes."""
        self.image_sizes = other.image_sizes
        for remark in other.remarks:
            self.remark(remark)
        for warning in other.warnings:
            self.warn(warning)

    def measure_sizes(self, sizes: Iterable[tuple[int, int]]) -> None:
        """Record the smallest, the median and the largest of the (width, height) of images."""
        sides = [sorted(side) for side in zip(*sizes, strict=True)]
        if sides:
            positions = (0, len(sides[0]) // 2, -1)
            self.image_sizes = [(sides[0][position], sides[1][position]) for position in positions]

    def to_dict(self) -> dict[str, Any]:
        """Return the notes as JSON can hold them, with the first 100 contradictions."""
        return asdict(replace(self, contradictions=self.contradictions[:_KEPT_CONTRADICTIONS]))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the notes that `to_dict` gave; notes of other versions are left out."""
        known = {name: value for name, value in values.items() if name in cls.__dataclass_fields__}
        passed = {reason: FilesPassedOver(**files) for reason, files in known.get("files_passed_over", {}).items()}
        sizes = [(int(width), int(height)) for width, height in known.get("image_sizes", [])]
        contradictions = [Contradiction(**values) for values in known.get("contradictions", [])]
        return cls(**{**known, "files_passed_over": passed, "image_sizes": sizes, "contradictions": contradictions})
