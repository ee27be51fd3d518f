"""Hold the audited data set for the formats that need it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gwaudit.core.errors import DataError
from gwaudit.data.image_files import ImageFile, image_file_of, original_file_of
from gwaudit.export.source_columns import SourceColumns

if TYPE_CHECKING:  # for its type alone: formats that need no data set need no torch
    from gwaudit.data.dataset import LabeledDataset


@dataclass(frozen=True, eq=False)
class OriginalData:
    """Hold the audited data set, as far as a format needs it, and how its image files are written.

    Attributes:
        dataset: The data set; None where the format does without.
        root: Folder that the keys of the samples are relative to, where the keys are paths; image files are then the
            originals.
        copy: Copy image files, instead of linking or embedding them.
        columns: The columns of the source, for the formats that keep them; None where it has none.
    """

    dataset: "LabeledDataset | None" = None
    root: Path | None = None
    copy: bool = False
    columns: SourceColumns | None = None

    @property
    def missing(self) -> tuple[int, ...]:
        """Return the ids of the samples of a run that the source does not hold any more."""
        missing: tuple[int, ...] = getattr(self.dataset, "missing", ())  # of `gwaudit.data.recorded_samples`
        return missing

    def require(self, fingerprint: str) -> "LabeledDataset":
        """Return the data set.

        Raises:
            DataError: it is missing, or its fingerprint is another one.
        """
        if self.dataset is None or self.dataset.fingerprint != fingerprint:
            raise DataError("the data are not those that were audited: give the same source and labels")
        return self.dataset

    def image_file(self, dataset: "LabeledDataset", sample_id: int) -> ImageFile:
        """Return the image file of a sample of the data set.

        Raises:
            DataError: it can no longer be read.
        """
        return image_file_of(dataset, sample_id, self.root)

    def original_file(self, dataset: "LabeledDataset", sample_id: int) -> ImageFile:
        """Return the image file of a sample with all that its source holds.

        Raises:
            DataError: it can no longer be read, or the source holds pixels that no image file can.
        """
        return original_file_of(dataset, sample_id)
