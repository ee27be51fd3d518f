"""What goes over to another tool: samples of an audit, with the data set that they are of."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gwaudit.analysis.audit import Audit
from gwaudit.core.errors import DataError
from gwaudit.data.image_files import ImageFile, image_file_of

if TYPE_CHECKING:  # for its type alone: what needs no data set is handed over without torch
    from gwaudit.data.dataset import LabeledDataset


@dataclass(frozen=True)
class Finding:
    """What an audit says of one sample.

    Attributes:
        rank: 1 for the most suspicious.
        sample_id, key: which sample.
        given, suggested: labels; suggested is None where the run recorded nothing of the sample.
        predicted: what to propose: the suggested label of a suspect, the given one of any other sample.
        probability: of the given label being wrong; None where nothing was recorded.
        log_odds_wrong: the log of these odds, likewise.
        alignment: mean γ over the window, likewise.
        category: suspect, late-aligned, hard, fine or unrecorded.
        suspect: whether it is flagged.
    """

    rank: int
    sample_id: int
    key: str
    given: int
    suggested: int | None
    predicted: int
    probability: float | None
    log_odds_wrong: float | None
    alignment: float | None
    category: str
    suspect: bool


@dataclass(frozen=True, eq=False)
class Handover:
    """Samples on their way.

    Attributes:
        audit: what found them.
        samples: rows of its frame, in the order to look at them.
        data: the data set, where the format needs it.
        root: the folder that the samples' keys are paths below, where they are paths.
        copy: copy image files rather than link or embed them.
    """

    audit: Audit
    samples: pd.DataFrame
    data: "LabeledDataset | None" = None
    root: Path | None = None
    copy: bool = False

    @cached_property
    def dataset(self) -> "LabeledDataset":
        """The data set.

        Raises:
            DataError: it is missing, or not the one that was audited.
        """
        if self.data is None or self.data.fingerprint != self.audit.fingerprint:
            raise DataError("the data are not those that were audited: give the same source and labels")
        return self.data

    @property
    def class_names(self) -> tuple[str, ...]:
        """C names."""
        return self.audit.class_names

    def findings(self) -> Iterator[Finding]:
        """The samples, one by one.

        Raises:
            DataError: there are none.
        """
        if self.samples.empty:
            raise DataError(
                "there is nothing to hand over: the audit flags no sample; take the first of its ranking (--top)"
            )
        columns = (
            "rank", "sample_id", "key", "given_label", "suggested_label", "probability_wrong",
            "log_odds_wrong", "mean_alignment", "category", "suspect",
        )  # fmt: skip
        for start in range(0, len(self.samples), 4096):  # python objects of a few rows at a time
            rows = self.samples.iloc[start : start + 4096]
            for values in zip(*(rows[column].tolist() for column in columns), strict=True):
                yield _finding(*values)

    def picture(self, sample_id: int) -> ImageFile:
        """The image file of a sample.

        Raises:
            DataError: it can no longer be read.
        """
        return image_file_of(self.dataset, sample_id, self.root)


def _finding(
    rank: int, sample_id: int, key: str, given: int, suggested: int, probability: float,
    log_odds_wrong: float, alignment: float, category: str, suspect: bool,
) -> Finding:  # fmt: skip
    other = suggested if suggested >= 0 else None
    return Finding(
        rank=rank,
        sample_id=sample_id,
        key=key,
        given=given,
        suggested=other,
        predicted=other if suspect and other is not None else given,
        probability=_number(probability),
        log_odds_wrong=_number(log_odds_wrong),
        alignment=_number(alignment),
        category=category,
        suspect=suspect,
    )


def _number(value: Any) -> float | None:
    """A float32 as the shortest decimal that means it; NaN as None, which JSON can say."""
    return None if not np.isfinite(value) else float(str(np.float32(value)))
